#include "kernel/api/certs/x509.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <time.h>

namespace pintle::kernel {
namespace {

Error failure(const char* what) {
  const unsigned long code = ERR_get_error();
  char text[256] = "";
  ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return Error(PINTLE_INTERNAL, "cannot " + std::string(what) + ": " + text);
}

bool add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  if (!extension) return false;
  const bool good = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return good;
}

bool add_name(X509_NAME* name, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

bool set_serial(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
  bytes[0] &= 0x7f;  // positive
  bytes[0] |= 0x40;  // and never short
  BIGNUM* number = BN_bin2bn(bytes, sizeof bytes, nullptr);
  const bool good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  return good;
}

bool set_time(const ASN1_TIME* where, int64_t seconds) {
  return ASN1_TIME_set(const_cast<ASN1_TIME*>(where), static_cast<time_t>(seconds)) != nullptr;
}

std::string bio_text(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(length));
  BIO_free(bio);
  return out;
}

}  // namespace

Result<Issued> issue(const Subject& subject, const Issued* issuer) {
  ERR_clear_error();
  Issued out;
  out.key.reset(EVP_EC_gen("P-256"));
  out.certificate.reset(X509_new());
  if (!out.key || !out.certificate) return failure("make a key");
  X509* c = out.certificate.get();
  X509* signer = issuer ? issuer->certificate.get() : c;
  X509_NAME* name = X509_get_subject_name(c);
  bool good = X509_set_version(c, 2) == 1 && set_serial(c) && X509_set_pubkey(c, out.key.get()) == 1 &&
              set_time(X509_getm_notBefore(c), subject.not_before) && set_time(X509_getm_notAfter(c), subject.not_after);
  for (const std::string& organization : subject.organizations) good = good && add_name(name, "O", organization);
  good = good && add_name(name, "CN", subject.common_name) && X509_set_issuer_name(c, X509_get_subject_name(signer)) == 1;
  const bool authority = subject.purpose == Purpose::kAuthority;
  good = good && add_extension(c, signer, NID_basic_constraints, authority ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
         add_extension(c, signer, NID_key_usage, authority ? "critical,digitalSignature,keyCertSign,cRLSign" : "critical,digitalSignature") &&
         add_extension(c, signer, NID_subject_key_identifier, "hash");
  if (!authority) {
    good = good && add_extension(c, signer, NID_ext_key_usage, subject.purpose == Purpose::kServer ? "serverAuth" : "clientAuth") &&
           add_extension(c, signer, NID_authority_key_identifier, "keyid:always");
  }
  if (!subject.sans.empty()) {
    std::string list;
    for (const std::string& san : subject.sans)
      list += (list.empty() ? "" : ",") + std::string(canonical_address(san).empty() ? "DNS:" : "IP:") + san;
    good = good && add_extension(c, signer, NID_subject_alt_name, list);
  }
  if (!good || X509_sign(c, issuer ? issuer->key.get() : out.key.get(), EVP_sha256()) == 0) return failure("make a certificate");
  return out;
}

std::string certificate_pem(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate);
  return bio_text(bio);
}

std::string key_pem(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_secmem() ? BIO_s_secmem() : BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  return bio_text(bio);
}

CertificateHandle parse_certificate(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  CertificateHandle out(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr));
  BIO_free(bio);
  ERR_clear_error();
  return out;
}

KeyHandle parse_key(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  // The empty passphrase callback keeps OpenSSL from asking on the terminal.
  KeyHandle out(PEM_read_bio_PrivateKey(bio, nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  BIO_free(bio);
  ERR_clear_error();
  return out;
}

Life life_of(X509* certificate) {
  struct tm begin {}, end {};
  Life out;
  if (ASN1_TIME_to_tm(X509_get0_notBefore(certificate), &begin) == 1) out.not_before = timegm(&begin);
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1) out.not_after = timegm(&end);
  return out;
}

std::string canonical_address(const std::string& text) {
  unsigned char bytes[16];
  char out[INET6_ADDRSTRLEN];
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) return inet_ntop(AF_INET, bytes, out, sizeof out);
  if (inet_pton(AF_INET6, text.c_str(), bytes) == 1) return inet_ntop(AF_INET6, bytes, out, sizeof out);
  return {};
}

std::vector<std::string> sans_of(X509* certificate) {
  std::vector<std::string> out;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DNS) {
      out.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                       static_cast<size_t>(ASN1_STRING_length(name->d.dNSName)));
    } else if (name->type == GEN_IPADD) {
      char text[INET6_ADDRSTRLEN] = "";
      const int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
      inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), text, sizeof text);
      out.emplace_back(text);
    }
  }
  GENERAL_NAMES_free(names);
  return out;
}

std::string subject_of(X509* certificate) {
  std::string out;
  X509_NAME* name = X509_get_subject_name(certificate);
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    X509_NAME_ENTRY* entry = X509_NAME_get_entry(name, i);
    unsigned char* text = nullptr;
    const int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
    if (length < 0) continue;
    out += OBJ_nid2sn(OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)));
    out += "=" + std::string(reinterpret_cast<char*>(text), static_cast<size_t>(length)) + ",";
    OPENSSL_free(text);
  }
  return out;
}

std::string subject_text(const Subject& subject) {
  std::string out;
  for (const std::string& organization : subject.organizations) out += "O=" + organization + ",";
  return out + "CN=" + subject.common_name + ",";
}

}  // namespace pintle::kernel
