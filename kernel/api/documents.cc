#include "kernel/api/documents.h"

#include <zlib.h>

#include <cstdio>

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

Document Documents::get(uint64_t generation, const std::string& name, const std::function<std::string()>& render) {
  const uint64_t now = executor_.now();
  {
    const std::lock_guard lock(mutex_);
    if (generation > generation_) {
      generation_ = generation;
      entries_.clear();
    }
    std::erase_if(entries_, [&](const auto& e) { return now - e.second.used > kUnused; });
    const auto at = entries_.find(name);
    if (generation == generation_ && at != entries_.end()) {
      at->second.used = now;
      return at->second.document;
    }
  }
  const std::string text = render();
  Gzip gzip;
  Document document{std::make_shared<const std::string>(gzip.add(text, true)), content_hash(text)};
  const std::lock_guard lock(mutex_);
  if (generation == generation_) entries_[name] = {document, now};
  return document;
}

}  // namespace pintle::kernel
