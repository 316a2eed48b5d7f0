// Lists from one snapshot: selectors, pages, resource versions.
#include <algorithm>
#include <charconv>

#include "kernel/api/pipeline_impl.h"
#include "kernel/api/selection.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

constexpr const char kToken[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string base64url(std::string_view in) {
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (const unsigned char c : in) {
    bits = bits << 8 | c;
    n += 8;
    while (n >= 6) out += kToken[bits >> (n -= 6) & 63];
  }
  if (n) out += kToken[bits << (6 - n) & 63];
  return out;
}

bool unbase64url(std::string_view in, std::string* out) {
  uint32_t bits = 0;
  int n = 0;
  for (const char c : in) {
    if (c == '=') break;
    const char* at = std::char_traits<char>::find(kToken, 64, c);
    if (!at) return false;
    bits = bits << 6 | static_cast<uint32_t>(at - kToken);
    n += 6;
    if (n >= 8) *out += static_cast<char>(bits >> (n -= 8) & 255);
  }
  return true;
}

struct Continue {
  int64_t revision = 0;  // -1: the newest
  std::string ns, name;
};

std::string encode(const Continue& c) {
  json::Value v = json::Value::object();
  v.set("v", "meta.k8s.io/v1");
  v.set("rv", c.revision);
  v.set("start", c.ns + "/" + c.name);
  return base64url(v.dump());
}

Result<Continue> decode_token(const std::string& token) {
  std::string text;
  const bool ok = unbase64url(token, &text);
  const json::ParseResult v = json::parse(text);
  const std::string start(v.value["start"].as_string());
  const size_t slash = start.find('/');
  if (!ok || !v || v.value["v"].as_string() != "meta.k8s.io/v1" || !v.value["rv"].is_int() || slash == std::string::npos) {
    return bad_request("continue key is not valid: the token was not made by this server");
  }
  return Continue{v.value["rv"].as_int(), start.substr(0, slash), start.substr(slash + 1)};
}

Error forbidden_option(const char* field, const std::string& why) {
  return invalid_options("ListOptions", {{"FieldValueForbidden", field, "Forbidden: " + why}});
}

}  // namespace

Result<Revision> wanted_revision(const ApiRequest& request, const Store& store) {
  const std::string version = query_value(request, "resourceVersion");
  Revision wanted = 0;
  if (version.empty()) return wanted;
  const auto parsed = std::from_chars(version.data(), version.data() + version.size(), wanted);
  if (parsed.ec != std::errc() || parsed.ptr != version.data() + version.size()) {
    return invalid_options("ListOptions", {{"FieldValueInvalid", "resourceVersion", "Invalid value: \"" + version + "\": must be a decimal number"}});
  }
  const Revision now = store.revision();
  if (wanted <= now) return wanted;
  Error e(PINTLE_TIMEOUT, "Timeout: Too large resource version: " + version + ", current: " + std::to_string(now));
  e.retry_after_ms = 1000;
  e.status = json::parse_or_null(R"({"details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1}})");
  return e;
}

std::string selectable_path(const Kind& kind, const std::string& version, const std::string& field) {
  std::string path;
  for (const auto& [name, to] : kind.selectable_alias) {
    if (name == field) path = to;
  }
  if (path.empty() && std::find(kind.selectable.begin(), kind.selectable.end(), field) != kind.selectable.end()) path = field;
  if (path.empty()) return path;
  // A face with other names: the longest rename that is the path or leads to it.
  std::string best_from, best_to;
  for (const json::Member& m : kind.renames[version].members()) {
    const bool leads = path == m.key || (path.starts_with(m.key) && path[m.key.size()] == '.');
    if (leads && m.key.size() > best_from.size()) {
      best_from = m.key;
      best_to = m.value.as_string();
    }
  }
  return best_from.empty() ? path : best_to + path.substr(best_from.size());
}

Result<Selection> Selection::make(const Kind& kind, const Kind& storage, const std::string& version, const std::string& labels,
                                  const std::string& fields, const std::string& only_name) {
  Selection s;
  if (!labels.empty()) {
    Result<LabelSelector> parsed = LabelSelector::parse(labels);
    if (!parsed) return parsed.error();
    s.labels_ = std::move(*parsed);
  }
  if (!only_name.empty()) s.name_ = only_name;
  if (fields.empty()) return s;
  Result<std::vector<FieldRequirement>> parsed = parse_field_selector(fields);
  if (!parsed) return parsed.error();
  const std::vector<std::string> positions = facet_fields(storage);
  for (FieldRequirement& r : *parsed) {
    if (r.field == "metadata.name" || (r.field == "metadata.namespace" && kind.namespaced)) {
      const bool is_name = r.field == "metadata.name";
      if (is_name && r.equal) {
        if (!s.name_.empty() && s.name_ != r.value) {
          if (!only_name.empty()) return bad_request("fieldSelector metadata.name doesn't match requested name");
          s.nothing_ = true;
        }
        s.name_ = r.value;
      } else if (!is_name && r.equal) {
        s.ns_ = r.value;
      } else {
        s.not_.emplace_back(is_name, r.value);
      }
      continue;
    }
    const std::string path = selectable_path(kind, version, r.field);
    const auto at = std::find(positions.begin(), positions.end(), path);
    if (path.empty() || at == positions.end()) {
      if (kind.selectable.empty()) {
        return bad_request("\"" + r.field + "\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
      }
      return bad_request("field label not supported: " + r.field);
    }
    const size_t position = static_cast<size_t>(at - positions.begin());
    s.fields_.push_back({position, r.value, r.equal});
    const bool indexed = std::find(storage.indexed.begin(), storage.indexed.end(), path) != storage.indexed.end();
    if (indexed && r.equal && !s.index_) s.index_ = {position, r.value};
  }
  return s;
}

bool Selection::all() const { return labels_.empty() && fields_.empty() && name_.empty() && ns_.empty() && not_.empty() && !nothing_; }

bool Selection::matches(const StoredObject& o) const {
  if (nothing_) return false;
  if (!name_.empty() && o.key().name != name_) return false;
  if (!ns_.empty() && o.key().ns != ns_) return false;
  for (const auto& [is_name, value] : not_) {
    if ((is_name ? o.key().name : o.key().ns) == value) return false;
  }
  if (!labels_.empty() && !labels_.matches(o.facets().labels)) return false;
  for (const Field& f : fields_) {
    const std::string empty;
    const std::string& is = f.position < o.facets().fields.size() ? o.facets().fields[f.position] : empty;
    if ((is == f.value) != f.equal) return false;
  }
  return true;
}

Result<Pipeline::ListAnswer> ApiPipeline::list(const ApiRequest& request) {
  Result<Target> target = resolve(request);
  if (!target) return target.error();
  const Target& t = *target;
  Result<Selection> selection = Selection::make(*t.kind, *t.storage, t.version->name, query_value(request, "labelSelector"),
                                                query_value(request, "fieldSelector"), request.name);
  if (!selection) return selection.error();
  auto select = std::make_shared<const Selection>(std::move(*selection));

  ListQuery query;
  query.kind = t.storage->name();
  query.ns = t.kind->namespaced ? request.ns : "";
  if (!select->all()) {
    query.filter = [select](const StoredObject& o) { return select->matches(o); };
    query.index = select->index();
  }
  const std::string limit = query_value(request, "limit");
  if (!limit.empty()) {
    int64_t n = 0;
    const auto parsed = std::from_chars(limit.data(), limit.data() + limit.size(), n);
    if (parsed.ec != std::errc() || parsed.ptr != limit.data() + limit.size()) return bad_request("limit: \"" + limit + "\" is not a whole number");
    if (n < 0) return forbidden_option("limit", "must not be negative");
    query.limit = static_cast<size_t>(n);
  }
  const std::string token = query_value(request, "continue"), version = query_value(request, "resourceVersion"),
                    match = query_value(request, "resourceVersionMatch");
  if (!query_value(request, "sendInitialEvents").empty()) return forbidden_option("sendInitialEvents", "sendInitialEvents is forbidden for list");
  const Result<Revision> asked = wanted_revision(request, store_);
  // What is wrong about the other parameters is said first.
  if (!asked && asked.error().code != PINTLE_TIMEOUT) return asked.error();
  const Revision wanted = asked ? *asked : 1;
  if (!match.empty()) {
    if (!token.empty()) return forbidden_option("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
    if (version.empty()) return forbidden_option("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (match != "Exact" && match != "NotOlderThan") {
      return invalid_options("ListOptions", {{"FieldValueNotSupported", "resourceVersionMatch",
                                              "Unsupported value: \"" + match + "\": supported values: \"Exact\", \"NotOlderThan\", \"\""}});
    }
    if (match == "Exact" && wanted == 0) return forbidden_option("resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
  }
  bool current_token = false;
  if (!token.empty()) {
    if (!version.empty() && version != "0") return bad_request("specifying resource version is not allowed when using continue");
    Result<Continue> c = decode_token(token);
    if (!c) return c.error();
    query.after_ns = c->ns;
    query.after_name = c->name;
    current_token = c->revision < 0;
    query.at = c->revision < 0 ? 0 : static_cast<Revision>(c->revision);
  } else if (!asked) {
    return asked.error();
  } else if (wanted) {
    if (match == "Exact" || (match.empty() && query.limit)) query.at = wanted;
  }
  Result<ListPage> page = store_.list(query);
  if (!page) {
    Error e = page.error();
    if (e.code != PINTLE_EXPIRED) return e;
    if (token.empty()) {
      e.text = "The resourceVersion for the provided list is too old.";
      return e;
    }
    e.text = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
             "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with "
             "the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the "
             "first chunk was returned and now may show up in the list.";
    e.status = json::Value::object();
    e.status.set("metadata", json::Value::object()).set("continue", encode({-1, query.after_ns, query.after_name}));
    return e;
  }
  ListAnswer out;
  out.kind = t.kind;
  out.revision = page->revision;
  if (page->more && !page->objects.empty()) {
    const Key& last = page->objects.back()->key();
    out.continue_token = encode({current_token ? -1 : static_cast<int64_t>(page->revision), last.ns, last.name});
    if (select->all()) out.remaining = static_cast<int64_t>(page->remaining);
  }
  out.objects = std::move(page->objects);
  return out;
}

}  // namespace pintle::kernel
