#include "kernel/cli/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <csignal>

namespace pintle::cli {
namespace {

template <class T, void (*kFree)(T*)>
struct Freed {
  void operator()(T* t) const { kFree(t); }
};
void free_bio(BIO* b) { BIO_free(b); }
using Bio = std::unique_ptr<BIO, Freed<BIO, free_bio>>;
using Certificate = std::unique_ptr<X509, Freed<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX, SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Freed<SSL, SSL_free>>;

Error failed(pintle_code code, const std::string& what) {
  const unsigned long number = ERR_get_error();
  const char* reason = number ? ERR_reason_error_string(number) : nullptr;
  return Error(code, reason ? what + ": " + reason : what);
}

Bio memory(const std::string& pem) { return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()))); }

class TlsStream : public Stream {
 public:
  TlsStream(std::unique_ptr<Stream> socket, Context context, Session session)
      : socket_(std::move(socket)), context_(std::move(context)), session_(std::move(session)) {}

  Result<void> write(const std::string& bytes) override {
    if (bytes.empty()) return {};
    size_t done = 0;
    if (SSL_write_ex(session_.get(), bytes.data(), bytes.size(), &done) != 1) return failed(PINTLE_UNAVAILABLE, "connection lost");
    return {};
  }
  Result<std::string> read() override {
    char buffer[16384];
    size_t n = 0;
    if (SSL_read_ex(session_.get(), buffer, sizeof buffer, &n) == 1) return std::string(buffer, n);
    const int why = SSL_get_error(session_.get(), 0);
    if (why == SSL_ERROR_ZERO_RETURN) return std::string();
    if (why == SSL_ERROR_WANT_READ) return Error(PINTLE_TIMEOUT, "no answer in time");
    if (why == SSL_ERROR_SYSCALL) return Error(PINTLE_UNAVAILABLE, "connection lost");
    return failed(PINTLE_UNAUTHORIZED, "TLS");
  }

 private:
  std::unique_ptr<Stream> socket_;  // owns the descriptor; outlives the session
  Context context_;
  Session session_;
};

}  // namespace

Result<std::unique_ptr<Stream>> connect_tls(const std::string& host, const std::string& port, const TlsIdentity& identity, int timeout_ms) {
  signal(SIGPIPE, SIG_IGN);  // OpenSSL writes with write(2)
  int fd = -1;
  auto socket = connect_tcp(host, port, timeout_ms, fd);
  if (!socket) return socket.error();
  Context context(SSL_CTX_new(TLS_client_method()));
  if (!context) return failed(PINTLE_INTERNAL, "OpenSSL");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  const Certificate ca(PEM_read_bio_X509(memory(identity.ca).get(), nullptr, nullptr, nullptr));
  if (!ca || X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), ca.get()) != 1)
    return failed(PINTLE_INVALID, "the certificate-authority-data of the kubeconfig cannot be read");
  if (!identity.certificate.empty()) {
    const Certificate own(PEM_read_bio_X509(memory(identity.certificate).get(), nullptr, nullptr, nullptr));
    const Key key(PEM_read_bio_PrivateKey(memory(identity.key).get(), nullptr, nullptr, nullptr));
    if (!own || !key || SSL_CTX_use_certificate(context.get(), own.get()) != 1 || SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1)
      return failed(PINTLE_INVALID, "the client certificate of the kubeconfig cannot be used");
  }
  Session session(SSL_new(context.get()));
  if (!session) return failed(PINTLE_INTERNAL, "OpenSSL");
  in6_addr scratch{};
  if (inet_pton(AF_INET, host.c_str(), &scratch) == 1 || inet_pton(AF_INET6, host.c_str(), &scratch) == 1) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session.get()), host.c_str());
  } else {
    SSL_set1_host(session.get(), host.c_str());
    SSL_set_tlsext_host_name(session.get(), host.c_str());
  }
  SSL_set_fd(session.get(), fd);
  if (SSL_connect(session.get()) != 1) {
    const long verdict = SSL_get_verify_result(session.get());
    if (verdict != X509_V_OK)
      return Error(PINTLE_UNAUTHORIZED, "the certificate of " + host + ":" + port + " is not this cluster's: " + X509_verify_cert_error_string(verdict));
    return failed(PINTLE_UNAVAILABLE, host + ":" + port + " does not speak TLS");
  }
  return std::unique_ptr<Stream>(std::make_unique<TlsStream>(std::move(*socket), std::move(context), std::move(session)));
}

Result<std::string> base64_decode(const std::string& text) {
  std::string out(text.size() / 4 * 3 + 3, '\0');
  const int n = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (n < 0) return Error(PINTLE_INVALID, "not base64");
  size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.resize(static_cast<size_t>(n) - padding);
  return out;
}

}  // namespace pintle::cli
