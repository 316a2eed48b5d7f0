#include "kernel/api/front/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstring>

namespace pintle::kernel {
namespace {

std::string last_error() {
  const unsigned long code = ERR_get_error();
  char text[256];
  ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return code ? text : "unknown reason";
}

// A certificate that does not verify does not end the handshake: the caller is then nobody, and the answer can say so.
int verify_without_refusing(X509_STORE_CTX* store, void*) {
  X509_verify_cert(store);
  ERR_clear_error();
  return 1;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_len, const unsigned char* in, unsigned int in_len, void*) {
  static const unsigned char kOurs[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_len, kOurs, sizeof kOurs, in, in_len) != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Error refused(const std::string& what, const std::string& path) {
  return Error(PINTLE_BAD_REQUEST, "cannot use " + what + " \"" + path + "\": " + last_error());
}

Result<std::shared_ptr<SSL_CTX>> make_context(const TlsFiles& files) {
  ERR_clear_error();
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SslFree());
  if (!context) return Error(PINTLE_INTERNAL, "cannot set up TLS: " + last_error());
  SSL_CTX* c = context.get();
  SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
  SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF |
                             SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_alpn_select_cb(c, choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(c, files.certificate.c_str()) != 1) return refused("the certificate", files.certificate);
  if (SSL_CTX_use_PrivateKey_file(c, files.key.c_str(), SSL_FILETYPE_PEM) != 1) return refused("the private key", files.key);
  if (SSL_CTX_check_private_key(c) != 1) return refused("the private key", files.key);
  if (!files.client_ca.empty()) {
    if (SSL_CTX_load_verify_locations(c, files.client_ca.c_str(), nullptr) != 1) return refused("the client CA", files.client_ca);
    STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.client_ca.c_str());
    if (!names) return refused("the client CA", files.client_ca);
    SSL_CTX_set_client_CA_list(c, names);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(c, verify_without_refusing, nullptr);
    SSL_CTX_set_verify_depth(c, 4);
  }
  return context;
}

std::string name_entry(X509_NAME_ENTRY* entry) {
  unsigned char* text = nullptr;
  const int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
  if (length < 0) return {};
  std::string out(reinterpret_cast<char*>(text), static_cast<size_t>(length));
  OPENSSL_free(text);
  return out;
}

}  // namespace

void SslFree::operator()(SSL* ssl) const { SSL_free(ssl); }
void SslFree::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

Result<std::unique_ptr<TlsContext>> TlsContext::load(const TlsFiles& files) {
  std::unique_ptr<TlsContext> out(new TlsContext(files));
  out->stamp_ = out->stamp();
  auto context = make_context(files);
  if (!context) return context.error();
  out->context_ = std::move(*context);
  return out;
}

SslHandle TlsContext::open(int fd) {
  std::shared_ptr<SSL_CTX> context;
  {
    std::lock_guard lock(mutex_);
    context = context_;
  }
  SslHandle ssl(SSL_new(context.get()));  // takes its own reference of the context
  if (!ssl || SSL_set_fd(ssl.get(), fd) != 1) return nullptr;
  SSL_set_accept_state(ssl.get());
  return ssl;
}

std::string TlsContext::stamp() const {
  std::string out;
  for (const std::string* path : {&files_.certificate, &files_.key, &files_.client_ca}) {
    struct stat info {};
    if (!path->empty() && stat(path->c_str(), &info) == 0)
      out += std::to_string(info.st_ino) + "." + std::to_string(info.st_size) + "." + std::to_string(info.st_mtim.tv_sec) + "." +
             std::to_string(info.st_mtim.tv_nsec);
    out += "/";
  }
  return out;
}

TlsContext::Reload TlsContext::reload_if_changed(std::string* problem) {
  const std::string seen = stamp();
  {
    std::lock_guard lock(mutex_);
    if (seen == stamp_) return Reload::kUnchanged;
    stamp_ = seen;
  }
  auto fresh = make_context(files_);
  if (!fresh) {
    *problem = fresh.error().text;
    return Reload::kFailed;
  }
  std::lock_guard lock(mutex_);
  context_ = std::move(*fresh);
  return Reload::kDone;
}

std::unique_ptr<ClientCertificate> client_certificate(SSL* ssl, int64_t* not_after) {
  X509* certificate = SSL_get0_peer_certificate(ssl);
  if (!certificate || SSL_get_verify_result(ssl) != X509_V_OK) return nullptr;
  auto out = std::make_unique<ClientCertificate>();
  X509_NAME* subject = X509_get_subject_name(certificate);
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    const int what = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
    if (what == NID_commonName) out->common_name = name_entry(entry);
    if (what == NID_organizationName) out->organizations.push_back(name_entry(entry));
  }
  struct tm end {};
  *not_after = ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? static_cast<int64_t>(timegm(&end)) : 0;
  return out;
}

}  // namespace pintle::kernel
