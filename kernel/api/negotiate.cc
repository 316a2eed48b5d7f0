#include "kernel/api/negotiate.h"

#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <map>

namespace pintle::kernel {
namespace {

struct Clause {
  std::string type;
  std::map<std::string, std::string> params;
  double q = 1;
};

std::string trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return std::string(s);
}

std::vector<Clause> parse_accept(std::string_view accept) {
  std::vector<Clause> out;
  while (!accept.empty()) {
    const size_t comma = accept.find(',');
    std::string_view part = accept.substr(0, comma);
    accept.remove_prefix(comma == std::string_view::npos ? accept.size() : comma + 1);
    Clause c;
    bool first = true;
    while (!part.empty()) {
      const size_t semi = part.find(';');
      const std::string piece = trim(part.substr(0, semi));
      part.remove_prefix(semi == std::string_view::npos ? part.size() : semi + 1);
      if (first) {
        c.type = piece;
        first = false;
        continue;
      }
      const size_t eq = piece.find('=');
      const std::string value = eq == std::string::npos ? "" : piece.substr(eq + 1);
      if (piece.substr(0, eq) == "q") {
        c.q = std::strtod(value.c_str(), nullptr);
      } else {
        c.params[piece.substr(0, eq)] = value;
      }
    }
    if (!c.type.empty() && c.q > 0) out.push_back(std::move(c));
  }
  std::stable_sort(out.begin(), out.end(), [](const Clause& a, const Clause& b) { return a.q > b.q; });
  return out;
}

bool agent_wants_pretty(std::string_view agent) {
  return agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0");
}

bool plain_scalar(const std::string& s) {
  if (s.empty() || s.size() > 200) return false;
  const char first = s[0];
  if (!((first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '/')) return false;
  for (const char c : s) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '/';
    if (!fine) return false;
  }
  std::string lower = s;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* word : {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}) {
    if (lower == word) return false;
  }
  return true;
}

void yaml_scalar(const json::Value& v, std::string& out) {
  if (v.is_string() && plain_scalar(std::string(v.as_string()))) {
    out += v.as_string();
  } else {
    v.dump_to(out);
  }
}

void yaml(const json::Value& v, size_t indent, bool in_list, std::string& out) {
  bool first = true;
  if (v.is_object() && !v.empty()) {
    for (const json::Member& m : v.members()) {
      if (!first || !in_list) out.append(indent, ' ');
      first = false;
      yaml_scalar(json::Value(m.key), out);
      out += ':';
      const bool nested = (m.value.is_object() || m.value.is_array()) && !m.value.empty();
      if (nested) {
        out += '\n';
        yaml(m.value, m.value.is_array() ? indent : indent + 2, false, out);
      } else {
        out += ' ';
        yaml_scalar(m.value, out);
        out += '\n';
      }
    }
  } else if (v.is_array() && !v.empty()) {
    for (const json::Value& item : v.items()) {
      if (!first || !in_list) out.append(indent, ' ');
      first = false;
      out += "- ";
      if ((item.is_object() || item.is_array()) && !item.empty()) {
        yaml(item, indent + 2, true, out);
      } else {
        yaml_scalar(item, out);
        out += '\n';
      }
    }
  } else {
    out.append(in_list ? 0 : indent, ' ');
    yaml_scalar(v, out);
    out += '\n';
  }
}

}  // namespace

std::string to_yaml(const json::Value& value) {
  std::string out;
  yaml(value, 0, false, out);
  return out;
}

Result<Representation> negotiate(const HttpRequest& request) {
  Representation r;
  const std::string_view pretty = request.param("pretty");
  r.pretty = pretty == "true" || pretty == "1" || (pretty.empty() && agent_wants_pretty(request.header("user-agent")));
  r.gzip = request.header("accept-encoding").find("gzip") != std::string_view::npos;
  const std::vector<Clause> clauses = parse_accept(request.header("accept"));
  bool found = clauses.empty();
  for (const Clause& c : clauses) {
    const bool json = c.type == "*/*" || c.type == "application/*" || c.type == "application/json";
    if (!json && c.type != "application/yaml") continue;
    const auto as = c.params.find("as");
    if (as != c.params.end()) {
      const auto g = c.params.find("g"), v = c.params.find("v");
      if (g == c.params.end() || g->second != "meta.k8s.io" || v == c.params.end() || (v->second != "v1" && v->second != "v1beta1")) continue;
      if (as->second == "Table") {
        r.shape = Representation::Shape::kTable;
      } else if (as->second == "PartialObjectMetadata" || as->second == "PartialObjectMetadataList") {
        r.shape = Representation::Shape::kPartial;
      } else {
        continue;
      }
      r.meta_version = v->second;
    }
    r.yaml = !json;
    found = true;
    break;
  }
  if (!found) {
    return Error(PINTLE_NOT_ACCEPTABLE, "only the following media types are accepted: application/json, application/yaml");
  }
  if (r.shape == Representation::Shape::kTable && request.has_param("includeObject")) {
    r.include = request.param("includeObject");
    if (r.include.empty()) r.include = "Metadata";
    if (r.include != "Metadata" && r.include != "Object" && r.include != "None") {
      return Error(PINTLE_BAD_REQUEST, "unrecognized includeObject value: \"" + r.include + "\"");
    }
  }
  return r;
}

std::string_view wanted_media_type(std::string_view accept, std::initializer_list<std::string_view> offered) {
  for (const Clause& c : parse_accept(accept.empty() ? "*/*" : accept)) {
    for (const std::string_view type : offered) {
      if (c.type == type || c.type == "*/*") return type;
      if (c.type.ends_with("/*") && type.starts_with(std::string_view(c.type).substr(0, c.type.size() - 1))) return type;
    }
  }
  return {};
}

std::string aggregated_discovery_version(std::string_view accept) {
  for (const Clause& c : parse_accept(accept)) {
    const auto as = c.params.find("as"), g = c.params.find("g"), v = c.params.find("v");
    if (as == c.params.end()) return "";
    if (c.type == "application/json" && as->second == "APIGroupDiscoveryList" && g != c.params.end() &&
        g->second == "apidiscovery.k8s.io" && v != c.params.end() && v->second == "v2") {
      return v->second;
    }
  }
  return "";
}

struct Gzip::State {
  z_stream z{};
};

Gzip::Gzip() : state_(std::make_unique<State>()) { deflateInit2(&state_->z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY); }
Gzip::~Gzip() { deflateEnd(&state_->z); }

std::string Gzip::add(std::string_view data, bool last) {
  std::string out;
  z_stream& z = state_->z;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  z.avail_in = static_cast<uInt>(data.size());
  char buf[16384];
  while (true) {
    z.next_out = reinterpret_cast<Bytef*>(buf);
    z.avail_out = sizeof buf;
    const int code = deflate(&z, last ? Z_FINISH : Z_NO_FLUSH);
    out.append(buf, sizeof buf - z.avail_out);
    if (last ? code == Z_STREAM_END || code == Z_STREAM_ERROR : z.avail_out != 0) return out;
  }
}

}  // namespace pintle::kernel
