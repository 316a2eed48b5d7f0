#include "kernel/plugin/control_plane.h"

namespace pintle::kernel {

InstanceFactory default_factory(std::string modules_directory) {
  return [modules_directory = std::move(modules_directory)](InstanceOptions options, bool own_process) -> Result<std::shared_ptr<Instance>> {
    if (own_process) return Error(PINTLE_UNSUPPORTED, "this build cannot run plugins in their own process");
    return make_in_process_instance(std::move(options), modules_directory);
  };
}

}  // namespace pintle::kernel
