// exec, attach and port-forward: from an HTTP request to the stream slot, through the bridges of kernel/api/streams.
#pragma once
#include "kernel/api/exchange.h"

namespace pintle::kernel {

// `mode`: "exec", "attach", "portforward". Answers `ex`: an upgrade, or a Status that says what the client has to send.
void bridge_stream(Executor& executor, HookCaller& hooks, const ExchangeRef& ex, const std::string& mode, const std::string& slot,
                   json::Value request);

}  // namespace pintle::kernel
