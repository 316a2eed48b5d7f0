// A watch on the bus with selectors: the initial state, then changes, as one stream of events.
#pragma once
#include <functional>
#include <memory>

#include "kernel/api/pipeline.h"
#include "kernel/bus/bus.h"
#include "kernel/plugin/backend.h"

namespace pintle::kernel {

// `kind` null: all kinds. Events of objects that enter or leave the selection come as ADDED and DELETED. BAD_REQUEST: a bad
// selector; EXPIRED: `query.revision` is outside the window.
Result<std::unique_ptr<WatchFeed>> open_feed(Store& store, Bus& bus, std::shared_ptr<const Kind> kind, const StoreQuery& query,
                                             std::function<void()> wake);

}  // namespace pintle::kernel
