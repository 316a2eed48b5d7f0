#include "pod_env.h"

#include <algorithm>
#include <cstdio>

#include "pintle/quantity.h"
#include "pod_spec.h"

namespace pintle::node_agent {

using json::Value;

namespace {

void put(Env& env, std::string name, std::string value) {
  for (auto& [k, v] : env)
    if (k == name) {
      v = std::move(value);
      return;
    }
  env.emplace_back(std::move(name), std::move(value));
}

const std::string* get(const Env& env, std::string_view name) {
  for (auto it = env.rbegin(); it != env.rend(); ++it)
    if (it->first == name) return &it->second;
  return nullptr;
}

std::string upper_name(std::string_view s) {
  std::string out;
  for (char c : s) out += c == '-' || c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return out;
}

// The variables that tell where a Service is, as Docker links once did.
void add_service(Env& env, const Value& service) {
  const std::string ip = str(service["spec"]["clusterIP"]);
  if (ip.empty() || ip == "None") return;
  const std::string base = upper_name(service["metadata"]["name"].as_string());
  const auto& ports = service["spec"]["ports"].items();
  if (ports.empty()) return;
  const std::string host = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
  put(env, base + "_SERVICE_HOST", ip);
  put(env, base + "_SERVICE_PORT", std::to_string(ports[0]["port"].as_int()));
  bool first = true;
  for (const auto& p : ports) {
    const std::string number = std::to_string(p["port"].as_int());
    std::string protocol = str(p["protocol"]);
    if (protocol.empty()) protocol = "TCP";
    std::string lower = protocol;
    for (char& c : lower)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    if (const auto n = p["name"].as_string(); !n.empty()) put(env, base + "_SERVICE_PORT_" + upper_name(n), number);
    const std::string url = lower + "://" + host + ":" + number;
    if (first) put(env, base + "_PORT", url);
    first = false;
    const std::string prefix = base + "_PORT_" + number + "_" + protocol;
    put(env, prefix, url);
    put(env, prefix + "_PROTO", lower);
    put(env, prefix + "_PORT", number);
    put(env, prefix + "_ADDR", ip);
  }
}

Result<std::string> key_of(const char* what, const Value& ref, const std::function<Result<Value>(const std::string&)>& source, bool base64, bool& absent) {
  absent = false;
  const std::string name = str(ref["name"]), key = str(ref["key"]);
  auto object = source(name);
  if (!object) {
    if (object.error().code == PINTLE_NOT_FOUND) {
      absent = ref["optional"].as_bool();
      return Error(PINTLE_NOT_FOUND, std::string(what) + " \"" + name + "\" not found");
    }
    return object.error();
  }
  if (const Value* v = (*object)["data"].find(key)) {
    if (!base64) return str(*v);
    if (auto raw = from_base64(v->as_string())) return std::move(*raw);
    return Error(PINTLE_INVALID, std::string(what) + " \"" + name + "\": data." + key + " is not base64");
  }
  absent = ref["optional"].as_bool();
  return Error(PINTLE_NOT_FOUND, "couldn't find key " + key + " in " + (base64 ? "Secret" : "ConfigMap"));
}

bool valid_name(std::string_view s) {
  if (s.empty() || (s[0] >= '0' && s[0] <= '9')) return false;
  return s.find('=') == std::string_view::npos && s.find('\0') == std::string_view::npos;
}

}  // namespace

std::optional<std::string> from_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  bool ended = false;
  for (char c : text) {
    uint32_t d;
    if (c >= 'A' && c <= 'Z') d = static_cast<uint32_t>(c - 'A');
    else if (c >= 'a' && c <= 'z') d = static_cast<uint32_t>(c - 'a' + 26);
    else if (c >= '0' && c <= '9') d = static_cast<uint32_t>(c - '0' + 52);
    else if (c == '+') d = 62;
    else if (c == '/') d = 63;
    else if (c == '=') {
      ended = true;
      continue;
    } else if (c == '\n' || c == '\r') {
      continue;
    } else {
      return std::nullopt;
    }
    if (ended) return std::nullopt;
    bits = bits << 6 | d;
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 255);
    }
  }
  return out;
}

std::string expand(std::string_view text, const Env& env) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    const size_t close = text[i + 1] == '(' ? text.find(')', i) : std::string_view::npos;
    const std::string* value = close == std::string_view::npos ? nullptr : get(env, text.substr(i + 2, close - i - 2));
    if (value) {
      out += *value;
      i = close;
    } else {
      out += '$';
    }
  }
  return out;
}

Result<std::string> field_value(const Value& pod, std::string_view path, const Sources& sources) {
  const Value& meta = pod["metadata"];
  if (path == "metadata.name") return str(meta["name"]);
  if (path == "metadata.namespace") return str(meta["namespace"]);
  if (path == "metadata.uid") return str(meta["uid"]);
  if (path == "spec.nodeName") return str(pod["spec"]["nodeName"]);
  if (path == "spec.serviceAccountName") {
    const std::string name = str(pod["spec"]["serviceAccountName"]);
    return name.empty() ? "default" : name;
  }
  if (path == "status.hostIP" || path == "status.hostIPs") return sources.host_ip;
  if (path == "status.podIP") return sources.pod_ips.empty() ? std::string() : sources.pod_ips[0];
  if (path == "status.podIPs") {
    std::string out;
    for (const auto& ip : sources.pod_ips) out += (out.empty() ? "" : ",") + ip;
    return out;
  }
  for (const char* map : {"labels", "annotations"}) {
    const std::string whole = std::string("metadata.") + map;
    if (path == whole) {
      std::vector<std::string> lines;
      for (const auto& m : meta[map].members()) {
        std::string line = m.key + "=";
        json::quote(m.value.as_string(), line);
        lines.push_back(std::move(line));
      }
      std::sort(lines.begin(), lines.end());
      std::string out;
      for (const auto& l : lines) out += (out.empty() ? "" : "\n") + l;
      return out;
    }
    if (path.starts_with(whole + "['") && path.ends_with("']")) {
      const std::string_view key = path.substr(whole.size() + 2, path.size() - whole.size() - 4);
      return str(meta[map][key]);
    }
  }
  return Error(PINTLE_INVALID, "field path \"" + std::string(path) + "\" is not supported");
}

Result<std::string> resource_value(const Value& pod, std::string_view container, const Value& ref, const Sources& sources) {
  std::string_view name = ref["containerName"].as_string();
  if (name.empty()) name = container;
  const std::string_view resource = ref["resource"].as_string();
  const size_t dot = resource.find('.');
  if (dot == std::string_view::npos) return Error(PINTLE_INVALID, "resource \"" + std::string(resource) + "\" is not supported");
  const std::string_view list = resource.substr(0, dot), key = resource.substr(dot + 1);
  if (list != "limits" && list != "requests") return Error(PINTLE_INVALID, "resource \"" + std::string(resource) + "\" is not supported");
  for (const auto& c : containers_of(pod)) {
    if (c.name() != name) continue;
    const Value* found = (*c.spec)["resources"][list].find(key);
    if (!found && list == "limits") found = sources.allocatable.find(key);  // no limit: what the node has
    const std::string text = !found ? "0" : found->is_string() ? str(*found) : found->dump();
    const auto amount = Quantity::parse(text);
    std::string by = str(ref["divisor"]);
    if (by.empty() || by == "0") by = "1";
    const auto divisor = Quantity::parse(by);
    if (!amount || !divisor) return Error(PINTLE_INVALID, "divisor \"" + by + "\" is not a quantity");
    if (key == "cpu") {
      const int64_t d = std::max<int64_t>(1, divisor->milli());
      return std::to_string((amount->milli() + d - 1) / d);
    }
    const int64_t d = std::max<int64_t>(1, divisor->value());
    return std::to_string((amount->value() + d - 1) / d);
  }
  return Error(PINTLE_INVALID, "container \"" + std::string(name) + "\" not found in the pod");
}

Result<Env> container_env(const Value& pod, const Value& container, const Sources& sources) {
  Env services;
  for (const auto& s : sources.services) add_service(services, s);
  Env env;
  for (const auto& from : container["envFrom"].items()) {
    const std::string prefix = str(from["prefix"]);
    for (const bool secret : {false, true}) {
      const Value* ref = from.find(secret ? "secretRef" : "configMapRef");
      if (!ref) continue;
      const char* what = secret ? "secret" : "configmap";
      auto object = secret ? sources.secret(str((*ref)["name"])) : sources.config_map(str((*ref)["name"]));
      if (!object) {
        if (object.error().code == PINTLE_NOT_FOUND && (*ref)["optional"].as_bool()) continue;
        if (object.error().code == PINTLE_NOT_FOUND) return Error(PINTLE_NOT_FOUND, std::string(what) + " \"" + str((*ref)["name"]) + "\" not found");
        return object.error();
      }
      for (const auto& m : (*object)["data"].members()) {
        const std::string name = prefix + m.key;
        if (!valid_name(name)) continue;
        if (!secret) {
          put(env, name, str(m.value));
        } else if (auto raw = from_base64(m.value.as_string())) {
          put(env, name, std::move(*raw));
        }
      }
    }
  }
  for (const auto& e : container["env"].items()) {
    const std::string name = str(e["name"]);
    std::string value;
    if (const Value* from = e.find("valueFrom"); from && !from->empty()) {
      Result<std::string> r = Error(PINTLE_INVALID, "env \"" + name + "\": valueFrom has no known source");
      bool absent = false;
      if (const Value* f = from->find("fieldRef")) r = field_value(pod, (*f)["fieldPath"].as_string(), sources);
      else if (const Value* q = from->find("resourceFieldRef")) r = resource_value(pod, container["name"].as_string(), *q, sources);
      else if (const Value* c = from->find("configMapKeyRef")) r = key_of("configmap", *c, sources.config_map, false, absent);
      else if (const Value* s = from->find("secretKeyRef")) r = key_of("secret", *s, sources.secret, true, absent);
      if (!r && absent) continue;
      if (!r) return r.error();
      value = std::move(*r);
    } else {
      Env known = services;
      known.insert(known.end(), env.begin(), env.end());
      value = expand(e["value"].as_string(), known);
    }
    put(env, name, std::move(value));
  }
  // Service variables are the weakest: they only fill what nothing else sets.
  for (auto& [k, v] : services)
    if (!get(env, k)) env.emplace_back(k, v);
  return env;
}

}  // namespace pintle::node_agent
