// TLS with a client certificate on top of a TCP connection. OpenSSL stays in tls.cc.
#pragma once
#include <memory>
#include <string>

#include "kernel/cli/http.h"
#include "pintle/result.h"

namespace pintle::cli {

struct TlsIdentity {
  std::string ca, certificate, key;  // PEM; certificate and key may both be empty
};

// Connects and checks that the server's certificate comes from `ca` and is good for `host`. UNAVAILABLE: nobody listens;
// UNAUTHORIZED: a certificate does not fit.
Result<std::unique_ptr<Stream>> connect_tls(const std::string& host, const std::string& port, const TlsIdentity& identity, int timeout_ms);

// Of "-data" members of a kubeconfig. INVALID: not base64.
Result<std::string> base64_decode(const std::string& text);

}  // namespace pintle::cli
