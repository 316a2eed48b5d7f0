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

// Threads: any. The executor must outlive it.
class Documents {
 public:
  explicit Documents(Executor& executor) : kept_(std::make_shared<Kept>(executor)) {}
  // The document `name` of this registry generation. Others' generations are dropped with the first request for a newer one, and what
  // nobody asks for in ten minutes then, by a timer: a quiet server keeps none.
  Document get(uint64_t generation, const std::string& name, const std::function<std::string()>& render);
  size_t bytes() const;  // compressed, kept now

 private:
  struct Entry {
    Document document;
    uint64_t used;
  };
  struct Kept {
    explicit Kept(Executor& e) : executor(e) {}
    Executor& executor;
    std::mutex mutex;
    uint64_t generation = 0;
    std::map<std::string, Entry> entries;
    bool sweeping = false;  // a timer is set
  };
  static void sweep_later(const std::shared_ptr<Kept>& kept);
  const std::shared_ptr<Kept> kept_;
};

std::string content_hash(std::string_view text);
std::string gunzip(std::string_view compressed);

}  // namespace pintle::kernel
