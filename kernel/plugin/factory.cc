#include "kernel/plugin/control_plane.h"
#include "kernel/plugin/process.h"
#include "kernel/plugin/proxy.h"

namespace pintle::kernel {

InstanceFactory default_factory(std::string modules_directory) {
  return [modules_directory = std::move(modules_directory)](InstanceOptions options, bool own_process) -> Result<std::shared_ptr<Instance>> {
    if (!own_process) return make_in_process_instance(std::move(options), modules_directory);
    auto program = find_host_program();
    if (!program) return program.error();
    return make_process_instance(std::move(options), *program);
  };
}

}  // namespace pintle::kernel
