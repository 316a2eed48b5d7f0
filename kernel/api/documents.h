// Documents rendered from the registry: made on first request, kept compressed while they are asked for.
#pragma once
#include <functional>
#include <map>
#include <mutex>

#include "kernel/api/front/http.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {

struct Document {
  Chunk gzip;
  std::string etag;  // without quotes; a hash of the content
};

// Threads: any.
class Documents {
 public:
  explicit Documents(Executor& executor) : executor_(executor) {}
  // The document `name` of this registry generation. Others' generations, and what nobody asked for in ten minutes, are dropped.
  Document get(uint64_t generation, const std::string& name, const std::function<std::string()>& render);

 private:
  struct Entry {
    Document document;
    uint64_t used;
  };
  Executor& executor_;
  std::mutex mutex_;
  uint64_t generation_ = 0;
  std::map<std::string, Entry> entries_;
};

std::string content_hash(std::string_view text);
std::string gunzip(std::string_view compressed);

}  // namespace pintle::kernel
