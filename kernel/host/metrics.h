// The metrics of a plugin in its own process: counted here, told to pintled as what was added since the last time.
#pragma once
#include "kernel/plugin/proxy_wire.h"

namespace pintle::kernel {

// Payload of a kMetrics frame. False: nothing changed. Threads: one at a time.
bool write_metric_changes(Writer& w);

}  // namespace pintle::kernel
