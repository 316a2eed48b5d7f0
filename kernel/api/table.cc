#include "kernel/api/table.h"

#include "kernel/api/object_text.h"
#include "pintle/if/resource.h"

namespace pintle::kernel {
namespace {

constexpr size_t kPerCall = 500;
constexpr uint32_t kTableHook = 5;
constexpr uint64_t kTimeout = 10ull * 1000000000;

std::string quoted(std::string_view s) {
  std::string out;
  json::quote(s, out);
  return out;
}

std::string joined(const json::Value& list, const char* member) {
  std::string out;
  for (const json::Value& v : list.items()) {
    const json::Value& part = member ? v[member] : v;
    out += (out.empty() ? "" : ",") + (part.is_string() ? std::string(part.as_string()) : part.dump());
  }
  return out;
}

std::string map_text(const json::Value& map) {
  std::string out;
  for (const json::Member& m : map.members()) {
    out += (out.empty() ? "" : ",") + m.key + "=" + (m.value.is_string() ? std::string(m.value.as_string()) : m.value.dump());
  }
  return out;
}

std::string selector_text(const json::Value& s) {
  if (!s.contains("matchLabels") && !s.contains("matchExpressions")) return map_text(s);
  std::string out = map_text(s["matchLabels"]);
  for (const json::Value& e : s["matchExpressions"].items()) {
    const std::string key(e["key"].as_string());
    const std::string_view op = e["operator"].as_string();
    std::string part = key;
    if (op == "In") part = key + " in (" + joined(e["values"], nullptr) + ")";
    if (op == "NotIn") part = key + " notin (" + joined(e["values"], nullptr) + ")";
    if (op == "DoesNotExist") part = "!" + key;
    out += (out.empty() ? "" : ",") + part;
  }
  return out;
}

std::string or_none(std::string s) { return quoted(s.empty() ? "<none>" : s); }

}  // namespace

Result<Face> face_of(Registry& registry, const ApiRequest& request) {
  Face f;
  f.snap = registry.snapshot();
  f.kind = f.snap->find(request.group, request.version, request.resource);
  const Version* version = f.kind ? f.kind->version(request.version) : nullptr;
  if (version) f.storage = f.kind->same_storage_as.empty() ? f.kind : f.snap->by_name(f.kind->same_storage_as);
  if (!f.storage) return Error(PINTLE_NOT_FOUND, "the server could not find the requested resource");
  f.version = request.version;
  f.as_stored = f.kind == f.storage && version->storage;
  return f;
}

std::string partial_metadata(std::string_view text, const std::string& meta_version) {
  std::string_view metadata = raw_member(text, "metadata");
  return "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/" + meta_version + "\",\"metadata\":" +
         std::string(metadata.empty() ? "{}" : metadata) + "}";
}

TableMaker::TableMaker(HookCaller& hooks, Executor& executor, Face face, Representation rep)
    : hooks_(hooks), executor_(executor), face_(std::move(face)), rep_(std::move(rep)), columns_(face_.kind->columns) {
  if (columns_.empty()) {
    Column name, created;
    name.name = "Name";
    name.type = "string";
    name.format = "name";
    name.path = "metadata.name";
    name.description = "Name must be unique within a namespace.";
    created.name = "Created At";
    created.type = "date";
    created.path = "metadata.creationTimestamp";
    created.description = "When the object was created, in RFC3339 form and UTC.";
    columns_ = {name, created};
  }
  for (const Column& c : columns_) computed_ = computed_ || c.computed;
}

std::string TableMaker::columns() const {
  json::Value out = json::Value::array();
  for (const Column& c : columns_) {
    json::Value v = json::Value::object();
    v.set("name", c.name);
    v.set("type", c.type.empty() ? "string" : c.type);
    v.set("format", c.format);
    v.set("description", c.description);
    v.set("priority", c.priority);
    out.push(std::move(v));
  }
  return out.dump();
}

std::string TableMaker::cell(const Column& c, std::string_view text, const json::Value& computed) const {
  if (c.computed) return computed["cells"][c.name].dump();
  const std::string_view raw = raw_path(text, c.path);
  if (c.as == "age") {
    const std::optional<int64_t> at = parse_rfc3339(raw_text(raw));
    return quoted(at ? human_duration(executor_.wall() - *at) : "<unknown>");
  }
  if (c.as == "count") return std::to_string(parse_raw(raw).size());
  if (c.as == "list") return or_none(joined(parse_raw(raw), nullptr));
  if (c.as == "map" || c.as == "keys=value") return or_none(map_text(parse_raw(raw)));
  if (c.as == "labelSelector") return or_none(selector_text(parse_raw(raw)));
  if (c.as == "images") return or_none(joined(parse_raw(raw), "image"));
  if (c.as == "containers") return or_none(joined(parse_raw(raw), "name"));
  if (!raw.empty() && raw != "null") {
    // Structures do not fit into a cell; their text does.
    return raw[0] == '{' || raw[0] == '[' ? quoted(raw) : std::string(raw);
  }
  if (c.type == "integer") return "0";
  if (c.type == "boolean") return "false";
  return c.type == "string" ? "\"\"" : "null";
}

Async<Result<std::vector<std::string>>> TableMaker::rows(const std::vector<Shown>& objects) const {
  std::vector<std::string> out;
  out.reserve(objects.size());
  for (size_t from = 0; from < objects.size(); from += kPerCall) {
    const size_t to = std::min(objects.size(), from + kPerCall);
    json::Value computed;
    if (computed_ && face_.kind->hooks.table) {
      std::string ask = "{\"kind\":" + quoted(face_.kind->name()) + ",\"objects\":[";
      for (size_t i = from; i < to; ++i) {
        if (i > from) ask += ',';
        ask += objects[i].text();
      }
      ask += "]}";
      const std::string owner = face_.kind->owner;
      const uint64_t deadline = executor_.now() + kTimeout;
      HookCaller& hooks = hooks_;
      Result<std::string> reply = co_await Wait<Result<std::string>>(
          [&hooks, &owner, &ask, deadline](std::function<void(Result<std::string>)> done) {
            hooks.call(owner, PINTLE_RESOURCE, kTableHook, std::move(ask), deadline, std::move(done));
          });
      if (!reply) {
        Error e = reply.error();
        if (e.code == PINTLE_UNAVAILABLE && !e.retry_after_ms) e.retry_after_ms = 1000;
        co_return e;
      }
      computed = json::parse_or_null(*reply);
    }
    for (size_t i = from; i < to; ++i) {
      const json::Value& mine = computed["rows"][i - from];
      const std::string_view text = objects[i].text();
      std::string row = "{\"cells\":[";
      for (size_t c = 0; c < columns_.size(); ++c) {
        if (c) row += ',';
        row += cell(columns_[c], text, mine);
      }
      row += ']';
      if (mine["conditions"].is_array()) row += ",\"conditions\":" + mine["conditions"].dump();
      row += ",\"object\":";
      if (rep_.include == "Object") {
        row += text;
      } else if (rep_.include == "None") {
        row += "null";
      } else {
        row += partial_metadata(text, rep_.meta_version);
      }
      row += '}';
      out.push_back(std::move(row));
    }
  }
  co_return out;
}

}  // namespace pintle::kernel
