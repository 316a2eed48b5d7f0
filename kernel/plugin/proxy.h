// An instance whose code is in a process of its own: pintle-host loads the same file and gives it the same host services.
//
// What may go wrong over there stays there: an exit, a signal, a frame that makes no sense or a control function that does not
// return ends that process; its open calls are answered UNAVAILABLE, the instance is Failed with the reason ("was killed by
// SIGSEGV"), and the kernel goes on. kernel/docs/isolation.md has the whole picture.
#pragma once
#include <string>

#include "kernel/plugin/instance.h"

namespace pintle::kernel {

// `program`: pintle-host. UNSUPPORTED in simulation: another process keeps its own time.
Result<std::shared_ptr<Instance>> make_process_instance(InstanceOptions options, const std::string& program);

}  // namespace pintle::kernel
