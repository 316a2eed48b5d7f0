#include <openssl/evp.h>

#include "kernel/api/certs/certs.h"
#include "kernel/api/certs/files.h"
#include "pintle/json.h"

namespace pintle::kernel {
namespace {

std::string base64(const std::string& in) {
  std::string out(4 * ((in.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(in.data()), static_cast<int>(in.size()));
  return out;
}

// A JSON string is a YAML string, whatever it holds.
std::string quoted(const std::string& s) {
  std::string out;
  json::quote(s, out);
  return out;
}

}  // namespace

Result<std::string> kubeconfig_text(const std::string& dir, const KubeconfigOptions& options) {
  auto ca = read_small_file(dir + "/ca.crt");
  if (!ca) return ca.error();
  auto certificate = read_small_file(dir + "/" + options.certificate_name + ".crt");
  if (!certificate) return certificate.error();
  auto key = read_small_file(dir + "/" + options.certificate_name + ".key");
  if (!key) return key.error();
  return "apiVersion: v1\nkind: Config\nclusters:\n- name: " + quoted(options.cluster) + "\n  cluster:\n    server: " + quoted(options.server) +
         "\n    certificate-authority-data: " + base64(*ca) + "\nusers:\n- name: " + quoted(options.user) +
         "\n  user:\n    client-certificate-data: " + base64(*certificate) + "\n    client-key-data: " + base64(*key) +
         "\ncontexts:\n- name: " + quoted(options.context) + "\n  context:\n    cluster: " + quoted(options.cluster) +
         "\n    user: " + quoted(options.user) + "\ncurrent-context: " + quoted(options.context) + "\npreferences: {}\n";
}

Result<void> write_kubeconfig(const std::string& path, const std::string& dir, const KubeconfigOptions& options) {
  auto text = kubeconfig_text(dir, options);
  if (!text) return text.error();
  return replace_file(path, *text, 0600);
}

}  // namespace pintle::kernel
