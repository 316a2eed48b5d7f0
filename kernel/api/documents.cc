#include "kernel/api/documents.h"

#include <zlib.h>

#include <cstdio>
#include <utility>

#include "kernel/api/negotiate.h"

namespace pintle::kernel {
namespace {
constexpr uint64_t kUnused = 600ull * 1000000000;
}

std::string content_hash(std::string_view text) {
  uint64_t a = 14695981039346656037ull, b = 1099511628211ull;
  for (const unsigned char c : text) {
    a = (a ^ c) * 1099511628211ull;
    b = (b + c) * 6364136223846793005ull + 1442695040888963407ull;
  }
  char out[40];
  std::snprintf(out, sizeof out, "%016llX%016llX", static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
  return out;
}

std::string gunzip(std::string_view compressed) {
  z_stream z{};
  std::string out;
  if (inflateInit2(&z, 15 + 16) != Z_OK) return out;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  z.avail_in = static_cast<uInt>(compressed.size());
  char buf[16384];
  int code = Z_OK;
  while (code == Z_OK) {
    z.next_out = reinterpret_cast<Bytef*>(buf);
    z.avail_out = sizeof buf;
    code = inflate(&z, Z_NO_FLUSH);
    out.append(buf, sizeof buf - z.avail_out);
  }
  inflateEnd(&z);
  return out;
}

void Documents::sweep_later(const std::shared_ptr<Kept>& kept) {
  kept->executor.after(kUnused, [weak = std::weak_ptr<Kept>(kept)] {
    const std::shared_ptr<Kept> self = weak.lock();
    if (!self) return;
    bool more = false;
    {
      const std::lock_guard lock(self->mutex);
      const uint64_t now = self->executor.now();
      std::erase_if(self->entries, [&](const auto& e) { return now - e.second.used >= kUnused; });
      more = self->sweeping = !self->entries.empty();
    }
    if (more) sweep_later(self);
  });
}

Document Documents::get(uint64_t generation, const std::string& name, const std::function<std::string()>& render) {
  Kept& kept = *kept_;
  const uint64_t now = kept.executor.now();
  {
    const std::lock_guard lock(kept.mutex);
    if (generation > kept.generation) {
      kept.generation = generation;
      kept.entries.clear();
    }
    const auto at = kept.entries.find(name);
    if (generation == kept.generation && at != kept.entries.end()) {
      at->second.used = now;
      return at->second.document;
    }
  }
  const std::string text = render();
  Gzip gzip;
  Document document{std::make_shared<const std::string>(gzip.add(text, true)), content_hash(text)};
  bool first = false;
  {
    const std::lock_guard lock(kept.mutex);
    if (generation != kept.generation) return document;
    kept.entries[name] = {document, now};
    first = !std::exchange(kept.sweeping, true);
  }
  if (first) sweep_later(kept_);
  return document;
}

size_t Documents::bytes() const {
  const std::lock_guard lock(kept_->mutex);
  size_t n = 0;
  for (const auto& [name, entry] : kept_->entries) n += entry.document.gzip->size();
  return n;
}

}  // namespace pintle::kernel
