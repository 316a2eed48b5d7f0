// Server side TLS: one context from files, replaced when they change; what a client certificate says.
//
// Threads: open() and reload_if_changed() from any thread.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "kernel/api/front/http.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;

namespace pintle::kernel {

struct SslFree {
  void operator()(SSL* ssl) const;
  void operator()(SSL_CTX* context) const;
};
using SslHandle = std::unique_ptr<SSL, SslFree>;

class TlsContext {
 public:
  // BAD_REQUEST: a file cannot be read or does not fit; the text names it.
  static Result<std::unique_ptr<TlsContext>> load(const TlsFiles& files);

  // A server session on `fd` (not owned, non-blocking); null when out of memory.
  SslHandle open(int fd);

  enum class Reload { kUnchanged, kDone, kFailed };
  // Looks at the files; a broken new set leaves the old one in use and is tried again at the next change. `problem`: why.
  Reload reload_if_changed(std::string* problem);

 private:
  explicit TlsContext(TlsFiles files) : files_(std::move(files)) {}
  std::string stamp() const;

  const TlsFiles files_;
  std::mutex mutex_;
  std::shared_ptr<SSL_CTX> context_;  // guarded by mutex_
  std::string stamp_;                 // guarded by mutex_
};

// The verified client certificate; null when there is none or it is not the CA's. `not_after`: seconds since 1970.
std::unique_ptr<ClientCertificate> client_certificate(SSL* ssl, int64_t* not_after);

}  // namespace pintle::kernel
