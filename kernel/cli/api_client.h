// The API of the cluster in a data directory, with its administrator's certificate.
#pragma once
#include <string>

#include "kernel/cli/http.h"
#include "kernel/cli/kubeconfig.h"
#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::cli {

// Threads: any; each call has a connection of its own.
class ApiClient {
 public:
  // NOT_FOUND: no cluster was started with this data directory; FORBIDDEN: it is another user's.
  static Result<ApiClient> open(const std::string& data);

  std::string url() const { return "https://" + (access_.host.find(':') == std::string::npos ? access_.host : "[" + access_.host + "]") + ":" + access_.port; }
  // 2xx: the body as JSON (null when it is not JSON). Otherwise the message of the Status, with a code that fits.
  Result<json::Value> call(const std::string& method, const std::string& path, const std::string& body = {}, const std::string& content_type = {}) const;
  Result<json::Value> get(const std::string& path) const { return call("GET", path); }
  // Whatever the server answers. UNAVAILABLE: it does not.
  Result<HttpReply> raw(const std::string& method, const std::string& path, const std::string& body = {}, const std::string& content_type = {}) const;

  static constexpr int kTimeoutMs = 20000;

 private:
  Access access_;
};

}  // namespace pintle::cli
