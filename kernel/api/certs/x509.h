// Certificates and keys through OpenSSL, as values. Private to this room.
#pragma once
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::kernel {

struct X509Free {
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};
using CertificateHandle = std::unique_ptr<X509, X509Free>;
using KeyHandle = std::unique_ptr<EVP_PKEY, X509Free>;

struct Issued {
  CertificateHandle certificate;
  KeyHandle key;
};

enum class Purpose { kAuthority, kServer, kClient };

struct Subject {
  Purpose purpose = Purpose::kClient;
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> sans;  // DNS names and IP addresses as text
  int64_t not_before = 0, not_after = 0;  // seconds since 1970
};

// A new P-256 key and its certificate; `issuer` null = signed by itself.
Result<Issued> issue(const Subject& subject, const Issued* issuer);

std::string certificate_pem(X509* certificate);
std::string key_pem(EVP_PKEY* key);
CertificateHandle parse_certificate(const std::string& pem);  // null: not a certificate
KeyHandle parse_key(const std::string& pem);                  // null: not a key

struct Life {
  int64_t not_before = 0, not_after = 0;  // seconds since 1970
};
Life life_of(X509* certificate);
// The alternative names as text: "localhost", "127.0.0.1", "::1" (addresses in their canonical form).
std::vector<std::string> sans_of(X509* certificate);
// "10.0.0.1" or "::1" in canonical form; "" when the text is not an address.
std::string canonical_address(const std::string& text);
// "CN=admin,O=system:masters" for comparisons.
std::string subject_of(X509* certificate);
std::string subject_text(const Subject& subject);

}  // namespace pintle::kernel
