// Bytes on their way to one socket: shared chunks in order, written in bounded pieces without blocking.
//
// Threads: none of its own; the connection's lock guards it.
#pragma once
#include <cstddef>
#include <vector>

#include "kernel/api/front/http.h"

typedef struct ssl_st SSL;

namespace pintle::kernel {

class Outbox {
 public:
  void push(Chunk chunk);
  bool empty() const { return bytes_ == 0; }
  size_t bytes() const { return bytes_; }
  void clear();

  enum class Wrote { kAll, kMore, kBlocked, kWantsRead, kBroken };
  // Writes at most about `budget` bytes. kMore: the budget is used up, the socket still takes bytes. `written` is added to.
  // `scratch`: kRecordBytes of room for joining small pieces into one TLS record.
  Wrote write_to(int fd, SSL* ssl, char* scratch, size_t budget, size_t* written);
  static constexpr size_t kRecordBytes = 16 << 10;

 private:
  Wrote write_plain(int fd, size_t* count);
  Wrote write_tls(SSL* ssl, char* scratch, size_t* count);
  void consume(size_t count);

  std::vector<Chunk> chunks_;
  size_t head_ = 0;    // index of the first unsent chunk
  size_t offset_ = 0;  // sent bytes of it
  size_t bytes_ = 0;
};

}  // namespace pintle::kernel
