#include "kernel/api/certs/certs.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "kernel/api/certs/files.h"
#include "kernel/api/certs/x509.h"
#include "kernel/base/file.h"

namespace pintle::kernel {
namespace {

constexpr int64_t kDay = 24 * 3600;
constexpr int64_t kAuthorityLife = 3650 * kDay, kLeafLife = 365 * kDay;
constexpr int64_t kBackdate = 300;  // clients whose clock is a little behind
constexpr int64_t kSecond = 1000000000;

int64_t due_at(const Life& life) { return life.not_before + (life.not_after - life.not_before) / 3 * 2; }

bool is_due(const Life& life, int64_t now_s) { return now_s >= due_at(life) || now_s < life.not_before - kDay; }

bool is_dns_name(const std::string& name) {
  if (name.empty() || name.size() > 253) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '*' || c == '_';
  });
}

std::string lower(std::string s) {
  for (char& c : s)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return s;
}

Result<std::vector<std::string>> server_names(const CertificateOptions& options) {
  std::vector<std::string> out = {"localhost",  "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                  "kubernetes.default.svc.cluster.local"};
  char host[256] = "";
  if (gethostname(host, sizeof host - 1) == 0 && is_dns_name(host)) out.push_back(lower(host));
  for (const std::string& extra : options.extra_sans) {
    const std::string address = canonical_address(extra);
    if (address.empty() && !is_dns_name(extra))
      return Error(PINTLE_BAD_REQUEST, "\"" + extra + "\" is neither a host name nor an IP address and cannot be put into the server certificate");
    out.push_back(address.empty() ? lower(extra) : address);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<void> save(const std::string& dir, const std::string& name, const Issued& issued, Certificates& result) {
  // The key first: a certificate without its key would be worse than the other way round.
  if (auto done = replace_file(dir + "/" + name + ".key", key_pem(issued.key.get()), 0600); !done) return done.error();
  if (auto done = replace_file(dir + "/" + name + ".crt", certificate_pem(issued.certificate.get()), 0644); !done) return done.error();
  result.renewed.push_back(name + ".crt");
  return {};
}

// What is wrong with a key that others can use; "" = nothing, or there is none.
std::string exposed(const std::string& key) {
  const std::string mode = mode_for_others(key);
  return mode.empty() ? "" : "the key \"" + key + "\" has mode " + mode + ", so others may use it";
}

Result<Issued> ensure_authority(const std::string& dir, int64_t now_s, Certificates& result) {
  if (const std::string wrong = exposed(dir + "/ca.key"); !wrong.empty())
    return Error(PINTLE_FORBIDDEN, wrong + ": if nobody did, chmod 600 it; else delete the directory \"" + dir + "\", which makes a new CA for which every client needs a new kubeconfig");
  auto certificate = read_small_file(dir + "/ca.crt");
  auto key = read_small_file(dir + "/ca.key");
  for (const auto* file : {&certificate, &key})
    if (!*file && file->error().code != PINTLE_NOT_FOUND) return file->error();
  if (!certificate && !key) {
    Subject subject{Purpose::kAuthority, "pintle-ca", {}, {}, now_s - kBackdate, now_s + kAuthorityLife};
    auto made = issue(subject, nullptr);
    if (!made) return made.error();
    if (auto done = save(dir, "ca", *made, result); !done) return done.error();
    return made;
  }
  // A crash between the two writes of the first start leaves a key that has signed nothing yet.
  if (!certificate && key) {
    if (access((dir + "/server.crt").c_str(), F_OK) != 0) {
      unlink((dir + "/ca.key").c_str());
      return ensure_authority(dir, now_s, result);
    }
    return Error(PINTLE_BAD_REQUEST, "the cluster CA certificate \"" + dir + "/ca.crt\" is missing although its key is there: restore it from a backup");
  }
  if (!key)
    return Error(PINTLE_BAD_REQUEST, "the cluster CA key \"" + dir + "/ca.key\" is missing although its certificate is there: restore it from a backup");
  Issued out;
  out.certificate = parse_certificate(*certificate);
  out.key = parse_key(*key);
  if (!out.certificate) return Error(PINTLE_BAD_REQUEST, "the cluster CA certificate \"" + dir + "/ca.crt\" is damaged: restore it from a backup");
  if (!out.key || X509_check_private_key(out.certificate.get(), out.key.get()) != 1)
    return Error(PINTLE_BAD_REQUEST, "the cluster CA key \"" + dir + "/ca.key\" is damaged or belongs to another certificate: restore it from a backup");
  const Life life = life_of(out.certificate.get());
  if (now_s >= life.not_after)
    return Error(PINTLE_BAD_REQUEST, "the cluster CA certificate \"" + dir + "/ca.crt\" has expired: a new CA must be made and every client given it");
  if (now_s >= due_at(life))
    result.warnings.push_back("the cluster CA certificate ends in " + std::to_string((life.not_after - now_s) / kDay) +
                              " days; it is not replaced by itself because every client must be given the new one");
  return out;
}

// Why the present leaf cannot stay; "" when it can.
std::string reason_to_issue(const std::string& dir, const std::string& name, const Subject& subject, const Issued& authority, int64_t now_s,
                            bool* damaged) {
  auto certificate_text = read_small_file(dir + "/" + name + ".crt");
  auto key_text = read_small_file(dir + "/" + name + ".key");
  if (!certificate_text && !key_text) return "missing";
  const CertificateHandle certificate = parse_certificate(certificate_text ? *certificate_text : "");
  const KeyHandle key = parse_key(key_text ? *key_text : "");
  if (!certificate || !key || X509_check_private_key(certificate.get(), key.get()) != 1) {
    *damaged = true;
    return "damaged";
  }
  if (X509_verify(certificate.get(), authority.key.get()) != 1) return "of another CA";
  if (is_due(life_of(certificate.get()), now_s)) return "due";
  if (subject_of(certificate.get()) != subject_text(subject)) return "for another subject";
  const std::vector<std::string> present = sans_of(certificate.get());
  for (const std::string& san : subject.sans)
    if (std::find(present.begin(), present.end(), san) == present.end()) return "without the name " + san;
  return {};
}

Result<void> ensure_leaf(const std::string& dir, const std::string& name, Subject subject, const Issued& authority, int64_t now_s,
                         Certificates& result) {
  const int64_t authority_end = life_of(authority.certificate.get()).not_after;
  subject.not_before = now_s - kBackdate;
  subject.not_after = std::min(now_s + kLeafLife, authority_end);
  bool damaged = false;
  std::string reason = reason_to_issue(dir, name, subject, authority, now_s, &damaged);
  if (const std::string wrong = exposed(dir + "/" + name + ".key"); !wrong.empty()) {
    reason = wrong;
    result.warnings.push_back(wrong + "; it has been replaced");
  }
  if (damaged) result.warnings.push_back("the certificate \"" + dir + "/" + name + ".crt\" or its key was damaged and has been replaced");
  Life life{subject.not_before, subject.not_after};
  if (!reason.empty()) {
    auto made = issue(subject, &authority);
    if (!made) return made.error();
    if (auto done = save(dir, name, *made, result); !done) return done.error();
  } else {
    auto text = read_small_file(dir + "/" + name + ".crt");
    if (!text) return text.error();
    const CertificateHandle certificate = parse_certificate(*text);
    if (certificate) life = life_of(certificate.get());
  }
  const int64_t due = due_at(life) * kSecond;
  if (result.next_check == 0 || due < result.next_check) result.next_check = due;
  return {};
}

}  // namespace

Result<Certificates> ensure_certificates(const std::string& dir, const CertificateOptions& options, int64_t now) {
  if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST)
    return Error(PINTLE_INTERNAL, "cannot create the directory \"" + dir + "\": " + strerror(errno));
  auto names = server_names(options);
  if (!names) return names.error();
  for (const ClientSubject& client : options.clients)
    if (client.file.empty() || client.file.find('/') != std::string::npos || client.file == "ca" || client.file == "server")
      return Error(PINTLE_BAD_REQUEST, "a client certificate cannot be named \"" + client.file + "\"");
  const int64_t now_s = now / kSecond;
  Certificates result;
  result.ca_file = dir + "/ca.crt";
  result.ca_key_file = dir + "/ca.key";
  result.server_file = dir + "/server.crt";
  result.server_key_file = dir + "/server.key";
  auto authority = ensure_authority(dir, now_s, result);
  if (!authority) return authority.error();
  if (auto done = ensure_leaf(dir, "server", {Purpose::kServer, "pintle-apiserver", {}, *names, 0, 0}, *authority, now_s, result); !done)
    return done.error();
  for (const ClientSubject& client : options.clients) {
    Subject subject{Purpose::kClient, client.common_name, client.organizations, {}, 0, 0};
    if (auto done = ensure_leaf(dir, client.file, std::move(subject), *authority, now_s, result); !done) return done.error();
  }
  return result;
}

Result<bool> renew_due(const std::string& certificate_file, int64_t now) {
  auto text = read_small_file(certificate_file);
  if (!text) return text.error();
  const CertificateHandle certificate = parse_certificate(*text);
  if (!certificate) return Error(PINTLE_BAD_REQUEST, "the file \"" + certificate_file + "\" is not a certificate");
  return is_due(life_of(certificate.get()), now / kSecond);
}

}  // namespace pintle::kernel
