#include "kernel/api/stream_bridge.h"

namespace pintle::kernel {

void bridge_stream(Executor&, HookCaller&, const ExchangeRef& ex, const std::string& mode, const std::string&, json::Value) {
  ex->fail(Error(PINTLE_UNSUPPORTED, "streams of mode \"" + mode + "\" are not available"));
}

}  // namespace pintle::kernel
