// Watch frames, encoded once per change and form and shared by all watchers.
#pragma once
#include <functional>
#include <list>
#include <map>
#include <mutex>

#include "kernel/api/front/http.h"
#include "kernel/store/store.h"

namespace pintle::kernel {

// Keeps the newest `capacity` frames. Threads: any.
class FrameCache {
 public:
  explicit FrameCache(size_t capacity = 1024) : capacity_(capacity) {}
  // The frame of `change` in the form named `form`; `make` runs when nobody made it yet (or it was forgotten).
  Chunk get(const ChangeRef& change, const std::string& form, const std::function<std::string()>& make);

 private:
  using Id = std::pair<const Change*, std::string>;
  struct Entry {
    ChangeRef change;  // keeps the address from being used again
    Chunk frame;
  };
  const size_t capacity_;
  std::mutex mutex_;
  std::map<Id, Entry> frames_;
  std::list<Id> order_;
};

}  // namespace pintle::kernel
