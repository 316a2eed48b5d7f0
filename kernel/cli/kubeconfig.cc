#include "kernel/cli/kubeconfig.h"

#include <algorithm>
#include <string_view>

namespace pintle::cli {
namespace {

using json::Value;

// The entry of that name in clusters, users or contexts; null when there is none.
const Value* named(const Value& list, std::string_view name) {
  for (const Value& v : list.items())
    if (v["name"].as_string() == name) return &v;
  return nullptr;
}

void put(Value& list, Value entry) {
  list.make_array();
  for (Value& v : list.make_array()) {
    if (v["name"].as_string() != entry["name"].as_string()) continue;
    v = std::move(entry);
    return;
  }
  list.push(std::move(entry));
}

bool plain(const std::string& s) {
  if (s.empty()) return false;
  const char first = s[0];
  if (!((first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '/')) return false;
  for (const char c : s)
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view("/+=._:@-").find(c) != std::string_view::npos)) return false;
  if (s.back() == ':') return false;
  std::string low;
  for (const char c : s) low += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  for (const char* word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
    if (low == word) return false;
  return true;
}

void scalar(const Value& v, std::string& out) {
  if (v.is_string() && plain(std::string(v.as_string()))) out += v.as_string();
  else v.dump_to(out);
}

void block(const Value& v, size_t indent, bool in_list, std::string& out) {
  bool first = in_list;  // the first line of a list item stands behind its dash
  const auto start = [&] {
    if (!first) out.append(indent, ' ');
    first = false;
  };
  for (const auto& m : v.members()) {
    start();
    scalar(Value(m.key), out);
    out += ':';
    if ((m.value.is_object() || m.value.is_array()) && !m.value.empty()) {
      out += '\n';
      block(m.value, m.value.is_array() ? indent : indent + 2, false, out);
    } else {
      out += ' ';
      scalar(m.value, out);
      out += '\n';
    }
  }
  for (const Value& item : v.items()) {
    start();
    out += "- ";
    if ((item.is_object() || item.is_array()) && !item.empty()) {
      block(item, indent + 2, true, out);
    } else {
      scalar(item, out);
      out += '\n';
    }
  }
}

}  // namespace

std::string write_yaml(const Value& value) {
  std::string out;
  if ((value.is_object() || value.is_array()) && !value.empty()) {
    block(value, 0, false, out);
  } else {
    scalar(value, out);
    out += '\n';
  }
  return out;
}

Result<Access> access_of(const Value& kubeconfig) {
  const Value* context = named(kubeconfig["contexts"], kubeconfig["current-context"].as_string());
  if (!context) return Error(PINTLE_INVALID, "the kubeconfig has no current context");
  const Value* cluster = named(kubeconfig["clusters"], context->at("context.cluster").as_string());
  const Value* user = named(kubeconfig["users"], context->at("context.user").as_string());
  if (!cluster || !user) return Error(PINTLE_INVALID, "the kubeconfig's current context names a cluster or user that it does not have");
  Access out;
  std::string server(cluster->at("cluster.server").as_string());
  static constexpr std::string_view kScheme = "https://";
  if (server.rfind(kScheme, 0) != 0) return Error(PINTLE_INVALID, "the kubeconfig's server \"" + server + "\" is not https://");
  server.erase(0, kScheme.size());
  server.resize(std::min(server.find('/'), server.size()));
  const size_t colon = server.rfind(':');
  const bool has_port = colon != std::string::npos && server.find(']', colon) == std::string::npos;
  out.port = has_port ? server.substr(colon + 1) : "443";
  out.host = has_port ? server.substr(0, colon) : server;
  if (out.host.size() > 1 && out.host.front() == '[') out.host = out.host.substr(1, out.host.size() - 2);
  const std::pair<const Value&, std::string*> parts[] = {{cluster->at("cluster.certificate-authority-data"), &out.identity.ca},
                                                         {user->at("user.client-certificate-data"), &out.identity.certificate},
                                                         {user->at("user.client-key-data"), &out.identity.key}};
  for (const auto& [text, into] : parts) {
    auto pem = base64_decode(std::string(text.as_string()));
    if (!pem) return Error(PINTLE_INVALID, "a certificate in the kubeconfig is " + pem.error().text);
    *into = std::move(*pem);
  }
  return out;
}

Merged merge_kubeconfig(Value theirs, const Value& ours) {
  Merged out;
  const Value* context = named(ours["contexts"], ours["current-context"].as_string());
  const Value none;
  const Value* cluster = context ? named(ours["clusters"], context->at("context.cluster").as_string()) : nullptr;
  const Value* user = context ? named(ours["users"], context->at("context.user").as_string()) : nullptr;
  Value our_cluster = cluster ? *cluster : none, our_user = user ? *user : none;
  const std::string ca(our_cluster.at("cluster.certificate-authority-data").as_string());
  if (theirs.is_null()) theirs = Value::object({{"apiVersion", "v1"}, {"kind", "Config"}});

  const auto foreign = [&](const std::string& name) {
    const Value* c = named(theirs["clusters"], name);
    const bool same_ca = c && c->at("cluster.certificate-authority-data").as_string() == ca;
    if (same_ca) return false;
    return c || named(theirs["contexts"], name) || named(theirs["users"], name);
  };
  out.name = "pintle";
  for (int n = 2; foreign(out.name); ++n) out.name = "pintle-" + std::to_string(n);
  out.replaced = named(theirs["clusters"], out.name) != nullptr;
  our_cluster.set("name", out.name);
  our_user.set("name", out.name);
  put(theirs.set("clusters", theirs["clusters"]), std::move(our_cluster));
  put(theirs.set("users", theirs["users"]), std::move(our_user));
  Value inner = Value::object({{"cluster", out.name}, {"user", out.name}});
  // The namespace a user chose for this context stays.
  if (const Value* before = named(theirs["contexts"], out.name); before && before->at("context").contains("namespace"))
    inner.set("namespace", before->at("context.namespace"));
  put(theirs.set("contexts", theirs["contexts"]), Value::object({{"name", out.name}, {"context", std::move(inner)}}));
  if (theirs["current-context"].as_string().empty()) {
    theirs.set("current-context", out.name);
    out.made_current = true;
  }
  out.kubeconfig = std::move(theirs);
  return out;
}

}  // namespace pintle::cli
