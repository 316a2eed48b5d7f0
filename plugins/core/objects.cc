#include "plugins/core/objects.h"

#include <set>

namespace pintle::core {
namespace {

constexpr int64_t kMaxData = 1048576;
constexpr const char* kImmutable = "field is immutable when `immutable` is set";

void check_key(const std::string& name, const std::string& field, Causes& causes) {
  bool good = !name.empty() && name.size() <= 253 && name != "." && name.substr(0, 2) != "..";
  for (const char c : name)
    good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.');
  if (!good)
    causes.invalid(key(field, name), name,
                   "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
                   "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
}

// With `immutable` set nothing of the data changes any more, and it stays set.
void check_frozen(const json::Value& now, const json::Value& old, std::initializer_list<const char*> fields, Causes& causes) {
  if (!old["immutable"].as_bool()) return;
  if (!now["immutable"].as_bool()) causes.forbidden("immutable", kImmutable);
  for (const char* f : fields) {
    const json::Value &a = now[f], &b = old[f];
    if (a != b && !(a.empty() && b.empty())) causes.forbidden(f, kImmutable);
  }
}

std::string from_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0, have = 0;
  for (const char c : text) {
    uint32_t d = 0;
    if (c >= 'A' && c <= 'Z') d = static_cast<uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z') d = static_cast<uint32_t>(c - 'a') + 26;
    else if (c >= '0' && c <= '9') d = static_cast<uint32_t>(c - '0') + 52;
    else if (c == '+') d = 62;
    else if (c == '/') d = 63;
    else continue;  // padding, line ends: what is no base64 does not come here
    bits = bits << 6 | d;
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out += static_cast<char>(bits >> have & 0xff);
  }
  return out;
}

// Credentials of registries must be a JSON object; what is wrong is said without showing them.
void check_json(const json::Value& secret, const char* name, Causes& causes) {
  const json::Value* data = secret["data"].find(name);
  if (!data) return causes.required(key("data", name));
  const std::string text = from_base64(data->as_string());
  const json::ParseResult parsed = json::parse(text);
  const auto bad = [&](const char* why) { causes.invalid(key("data", name), "<secret contents redacted>", why); };
  if (text.find_first_not_of(" \t\r\n") == text.npos) bad("unexpected end of JSON input");
  else if (!parsed.ok) bad("invalid JSON");
  else if (!parsed.value.is_object() && !parsed.value.is_null()) bad("must be a JSON object");
}

void check_type(const json::Value& secret, Causes& causes) {
  const auto type = secret["type"].as_string();
  const auto need = [&](const char* name) {
    if (!secret["data"].contains(name)) causes.required(key("data", name));
  };
  if (type == "kubernetes.io/tls") {
    need("tls.crt");
    need("tls.key");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    check_json(secret, ".dockerconfigjson", causes);
  } else if (type == "kubernetes.io/dockercfg") {
    check_json(secret, ".dockercfg", causes);
  } else if (type == "kubernetes.io/ssh-auth") {
    need("ssh-privatekey");
  } else if (type == "kubernetes.io/basic-auth") {
    if (!secret["data"].contains("username") && !secret["data"].contains("password")) {
      need("username");
      need("password");
    }
  } else if (type == "kubernetes.io/service-account-token") {
    if (secret["metadata"]["annotations"]["kubernetes.io/service-account.name"].as_string().empty())
      causes.required("metadata.annotations[kubernetes.io/service-account.name]");
  }
}

}  // namespace

std::string base64(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t v = 0;
    for (size_t k = 0; k < 3; ++k) v = v << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += k <= n ? kAlphabet[v >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

size_t base64_length(std::string_view text) {
  size_t n = 0;
  for (const char c : text) n += c != '=' && c != '\n' && c != '\r';
  return n * 3 / 4;
}

void default_secret(json::Value& secret) {
  const json::Value* texts = secret.find("stringData");
  if (!texts) return;
  const json::Value copy = *texts;
  for (const auto& m : copy.members()) secret.set("data").set(m.key, base64(m.value.as_string()));
  secret.erase("stringData");
}

void validate_secret(const json::Value& secret, const json::Value& old, Causes& causes) {
  int64_t total = 0;
  for (const auto& m : secret["data"].members()) {
    check_key(m.key, "data", causes);
    total += static_cast<int64_t>(base64_length(m.value.as_string()));
  }
  if (total > kMaxData) causes.too_long("data", kMaxData);
  check_type(secret, causes);
  check_frozen(secret, old, {"data"}, causes);
}

void validate_config_map(const json::Value& map, const json::Value& old, Causes& causes) {
  int64_t total = 0;
  for (const auto& m : map["data"].members()) {
    check_key(m.key, "data", causes);
    if (map["binaryData"].contains(m.key)) causes.invalid(key("data", m.key), m.key, "duplicate of key present in binaryData");
    total += static_cast<int64_t>(m.value.as_string().size());
  }
  for (const auto& m : map["binaryData"].members()) {
    check_key(m.key, "binaryData", causes);
    total += static_cast<int64_t>(base64_length(m.value.as_string()));
  }
  if (total > kMaxData) causes.too_long("", kMaxData);
  check_frozen(map, old, {"data", "binaryData"}, causes);
}

void validate_event(const json::Value& event, std::string_view reference, Causes& causes) {
  const auto about = event[reference]["namespace"].as_string(), ns = event["metadata"]["namespace"].as_string();
  const bool fits = about.empty() ? ns.empty() || ns == "default" || ns == "kube-system" : about == ns;
  if (!fits) causes.invalid(std::string(reference) + ".namespace", about, "does not match event.namespace");
}

void default_node(json::Value& node) {
  json::Value* status = node.find("status");
  if (status && status->contains("capacity") && !status->contains("allocatable")) {
    json::Value all = (*status)["capacity"];
    status->set("allocatable", std::move(all));
  }
}

void validate_node(const json::Value& node, Causes& causes) {
  std::set<std::string> seen;
  size_t i = 0;
  for (const auto& t : node["spec"]["taints"].items()) {
    const std::string at = index("spec.taints", i++);
    const std::string pair = std::string(t["key"].as_string()) + ":" + std::string(t["effect"].as_string());
    if (!seen.insert(pair).second) causes.duplicate(at, t);
  }
}

void prepare_namespace(json::Value& ns, bool create) {
  const std::string name(ns["metadata"]["name"].as_string());
  if (!name.empty()) ns.make("metadata.labels").set("kubernetes.io/metadata.name", name);
  if (!create) return;
  json::Value& finalizers = ns.make("spec.finalizers");
  bool ours = false;
  for (const auto& f : finalizers.items()) ours = ours || f.as_string() == "kubernetes";
  if (!ours) finalizers.push("kubernetes");
  ns.make("status.phase") = "Active";
}

}  // namespace pintle::core
