// The conversation with pintled: loads the plugin when told to, passes calls on, ends the process with the connection.
#pragma once
#include "kernel/run/executor.h"

namespace pintle::kernel {

// Returns at once. The process ends, with 0 when pintled closed the connection, from inside. `executor` and what is made here live
// until then.
void serve(Executor& executor, int fd);

}  // namespace pintle::kernel
