#include "kernel/cli/api_client.h"

#include "kernel/base/file.h"
#include "kernel/cli/tls.h"

namespace pintle::cli {

Result<ApiClient> ApiClient::open(const std::string& data) {
  const std::string file = data + "/admin.kubeconfig";
  auto text = kernel::read_file(file);
  if (!text) {
    if (text.error().code == PINTLE_NOT_FOUND) return Error(PINTLE_NOT_FOUND, "no cluster in " + data + " (no admin.kubeconfig there); start one with pintle up, or name another directory with --data");
    return Error(text.error().code, text.error().text + "; the cluster belongs to another user: use sudo, or --data");
  }
  auto value = parse_yaml(*text);
  if (!value) return Error(PINTLE_INVALID, file + ":" + value.error().text);
  auto access = access_of(*value);
  if (!access) return Error(access.error().code, file + ": " + access.error().text);
  ApiClient client;
  client.access_ = std::move(*access);
  return client;
}

Result<HttpReply> ApiClient::raw(const std::string& method, const std::string& path, const std::string& body, const std::string& content_type) const {
  auto stream = connect_tls(access_.host, access_.port, access_.identity, kTimeoutMs);
  if (!stream) return stream.error();
  return exchange(**stream, method, path, access_.host, body, content_type, path.rfind("/api", 0) == 0 ? "application/json" : "*/*");
}

Result<json::Value> ApiClient::call(const std::string& method, const std::string& path, const std::string& body, const std::string& content_type) const {
  auto reply = raw(method, path, body, content_type);
  if (!reply) return reply.error();
  json::Value value = json::parse_or_null(reply->body);
  if (reply->status / 100 == 2) return value;
  const std::string message(value["message"].as_string());
  const pintle_code code = reply->status == 404   ? PINTLE_NOT_FOUND
                           : reply->status == 409 ? PINTLE_CONFLICT
                           : reply->status == 403 ? PINTLE_FORBIDDEN
                           : reply->status == 503 ? PINTLE_UNAVAILABLE
                                                  : PINTLE_BAD_REQUEST;
  return Error(code, message.empty() ? "the server answered " + std::to_string(reply->status) + " to " + method + " " + path : message);
}

}  // namespace pintle::cli
