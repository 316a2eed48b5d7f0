// The cluster's own certificates: a CA for 10 years, leaves for 1 year, renewed when two thirds of their life have passed.
//
//   auto certs = ensure_certificates(dir, options, now);   // makes what is missing, renews what is due; calling it daily is enough
//
// Files in `dir` (created with mode 0700): ca.crt ca.key, server.crt server.key, and NAME.crt NAME.key for each client. ECDSA P-256, PEM.
// Every file is replaced atomically (temporary file, fsync, rename); keys are 0600. The front end sees changed files by itself.
//
// Threads: any; calls for one directory must not overlap. They read and write files: run them where blocking is allowed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::kernel {

struct ClientSubject {
  std::string file;                       // "admin" -> admin.crt, admin.key
  std::string common_name;                // user
  std::vector<std::string> organizations; // groups
};

struct CertificateOptions {
  // Names and addresses the server certificate must also be good for, beside localhost, 127.0.0.1, ::1, the machine's host name and
  // kubernetes, kubernetes.default, kubernetes.default.svc, kubernetes.default.svc.cluster.local.
  std::vector<std::string> extra_sans;
  std::vector<ClientSubject> clients = {{"admin", "kubernetes-admin", {"system:masters"}}};
};

struct Certificates {
  std::string ca_file, ca_key_file, server_file, server_key_file;  // paths
  std::vector<std::string> renewed;   // file names written by this call, e.g. "server.crt"
  std::vector<std::string> warnings;  // sentences for the log: a CA near its end, a damaged leaf that was replaced
  int64_t next_check = 0;             // ns since 1970: when the first renewal is due
};

// `now`: ns since 1970. Errors: BAD_REQUEST (a CA file is damaged, half present or expired, an extra SAN is not a name or address; the
// text names the file), INTERNAL (file system, OpenSSL). A damaged CA is never replaced: every client would be locked out.
Result<Certificates> ensure_certificates(const std::string& dir, const CertificateOptions& options, int64_t now);

// True when two thirds of the certificate's life have passed at `now` (ns since 1970), or it is not valid yet by more than a day.
// BAD_REQUEST: the file is not a certificate.
Result<bool> renew_due(const std::string& certificate_file, int64_t now);

struct KubeconfigOptions {
  std::string server;                 // "https://127.0.0.1:6443"
  std::string cluster = "pintle", user = "pintle-admin", context = "pintle";
  std::string certificate_name = "admin";  // NAME.crt and NAME.key in the directory
};
// The text of a kubeconfig with the CA, the client's certificate and key inside.
Result<std::string> kubeconfig_text(const std::string& dir, const KubeconfigOptions& options);
// Writes it to `path` (0600, atomically).
Result<void> write_kubeconfig(const std::string& path, const std::string& dir, const KubeconfigOptions& options);

}  // namespace pintle::kernel
