#include "kernel/api/front/inflate.h"

#include <zlib.h>

#include <algorithm>

namespace pintle::kernel {

Refusal gunzip(std::string& body, size_t budget) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return {500, "cannot set up gzip decoding"};
  stream.next_in = reinterpret_cast<Bytef*>(body.data());
  stream.avail_in = static_cast<uInt>(body.size());
  std::string plain;
  int rc = Z_OK;
  while (rc == Z_OK && plain.size() <= budget) {
    const size_t before = plain.size();
    // One byte more than the budget tells "just full" from "over".
    const size_t room = std::min<size_t>(std::max<size_t>(64 << 10, before), budget + 1 - before);
    plain.resize(before + room);
    stream.next_out = reinterpret_cast<Bytef*>(plain.data() + before);
    stream.avail_out = static_cast<uInt>(room);
    rc = inflate(&stream, Z_NO_FLUSH);
    plain.resize(before + room - stream.avail_out);
    if (rc == Z_STREAM_END && stream.avail_in > 0) rc = inflateReset(&stream);  // several members in a row
  }
  inflateEnd(&stream);
  if (plain.size() > budget) return {413, "Request entity too large: limit is " + std::to_string(budget)};
  if (rc != Z_STREAM_END) return {400, "the request body is not complete gzip data"};
  body = std::move(plain);
  return {};
}

}  // namespace pintle::kernel
