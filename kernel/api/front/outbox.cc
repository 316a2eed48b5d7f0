#include "kernel/api/front/outbox.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

namespace pintle::kernel {

void Outbox::push(Chunk chunk) {
  if (!chunk || chunk->empty()) return;
  bytes_ += chunk->size();
  chunks_.push_back(std::move(chunk));
}

void Outbox::clear() {
  std::vector<Chunk>().swap(chunks_);
  head_ = offset_ = bytes_ = 0;
}

void Outbox::consume(size_t count) {
  bytes_ -= count;
  while (count > 0) {
    const size_t left = chunks_[head_]->size() - offset_;
    if (count < left) {
      offset_ += count;
      return;
    }
    count -= left;
    offset_ = 0;
    chunks_[head_++].reset();
  }
  if (bytes_ == 0) {
    chunks_.clear();
    head_ = 0;
    if (chunks_.capacity() > 64) std::vector<Chunk>().swap(chunks_);
  } else if (head_ >= 1024 && head_ * 2 >= chunks_.size()) {
    chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
}

Outbox::Wrote Outbox::write_plain(int fd, size_t* count) {
  iovec pieces[64];
  size_t used = 0, total = 0;
  for (size_t i = head_; i < chunks_.size() && used < 64 && total < (256 << 10); ++i, ++used) {
    const size_t skip = i == head_ ? offset_ : 0;
    // sendmsg does not write through the pointer.
    pieces[used].iov_base = const_cast<char*>(chunks_[i]->data() + skip);
    pieces[used].iov_len = std::min<size_t>(chunks_[i]->size() - skip, 256 << 10);
    total += pieces[used].iov_len;
    if (pieces[used].iov_len < chunks_[i]->size() - skip) {
      ++used;
      break;
    }
  }
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = used;
  const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Wrote::kBlocked : Wrote::kBroken;
  *count = static_cast<size_t>(n);
  return Wrote::kMore;
}

Outbox::Wrote Outbox::write_tls(SSL* ssl, char* scratch, size_t* count) {
  // One record. A retry after WANT_WRITE sees the same bytes again: the queue only grows at its end.
  const std::string& first = *chunks_[head_];
  const char* data = first.data() + offset_;
  size_t length = std::min(first.size() - offset_, kRecordBytes);
  if (length < kRecordBytes && head_ + 1 < chunks_.size()) {
    memcpy(scratch, data, length);
    for (size_t i = head_ + 1; i < chunks_.size() && length < kRecordBytes; ++i) {
      const size_t take = std::min(chunks_[i]->size(), kRecordBytes - length);
      memcpy(scratch + length, chunks_[i]->data(), take);
      length += take;
    }
    data = scratch;
  }
  ERR_clear_error();
  const int n = SSL_write(ssl, data, static_cast<int>(length));
  if (n > 0) {
    *count = static_cast<size_t>(n);
    return Wrote::kMore;
  }
  switch (SSL_get_error(ssl, n)) {
    case SSL_ERROR_WANT_WRITE: return Wrote::kBlocked;
    case SSL_ERROR_WANT_READ: return Wrote::kWantsRead;
    default: return Wrote::kBroken;
  }
}

Outbox::Wrote Outbox::write_to(int fd, SSL* ssl, char* scratch, size_t budget, size_t* written) {
  size_t sent = 0;
  while (bytes_ > 0) {
    if (sent >= budget) return Wrote::kMore;
    size_t count = 0;
    const Wrote result = ssl ? write_tls(ssl, scratch, &count) : write_plain(fd, &count);
    if (result != Wrote::kMore) return result;
    consume(count);
    sent += count;
    *written += count;
  }
  return Wrote::kAll;
}

}  // namespace pintle::kernel
