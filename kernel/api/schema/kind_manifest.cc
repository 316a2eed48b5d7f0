#include "kernel/api/schema/kind_manifest.h"

#include <initializer_list>

#include "kernel/api/schema/duration.h"
#include "pintle/format.h"

namespace pintle::kernel {
namespace {

// Reads members of one object and remembers the first thing wrong, so that callers can read straight on.
class Reader {
 public:
  Reader(const json::Value& v, std::string where) : v_(v), where_(std::move(where)) {
    if (!v.is_object()) fail("", "must be an object");
  }

  void only(std::initializer_list<std::string_view> known) {
    for (const json::Member& m : v_.members()) {
      bool found = false;
      for (const std::string_view k : known) found |= k == m.key;
      if (!found) fail(m.key, "unknown member");
    }
  }
  void text(std::string_view key, std::string& out) {
    const json::Value* v = v_.find(key);
    if (!v || v->is_null()) return;
    if (!v->is_string()) return fail(key, "must be a string");
    out.assign(v->as_string());
  }
  void flag(std::string_view key, bool& out) {
    const json::Value* v = v_.find(key);
    if (!v || v->is_null()) return;
    if (!v->is_bool()) return fail(key, "must be true or false");
    out = v->as_bool();
  }
  void texts(std::string_view key, std::vector<std::string>& out) {
    const json::Value* v = v_.find(key);
    if (!v || v->is_null()) return;
    if (!v->is_array()) return fail(key, "must be a list of strings");
    out.clear();
    for (const json::Value& s : v->items()) {
      if (!s.is_string()) return fail(key, "must be a list of strings");
      out.emplace_back(s.as_string());
    }
  }
  const json::Value& operator[](std::string_view key) const { return v_[key]; }
  void fail(std::string_view key, const std::string& what) {
    if (!error_.empty()) return;
    error_ = where_ + (key.empty() ? "" : "." + std::string(key)) + ": " + what;
  }
  const std::string& error() const { return error_; }
  const std::string& where() const { return where_; }

 private:
  const json::Value& v_;
  std::string where_, error_;
};

Error invalid(const std::string& text) { return Error(PINTLE_INVALID, text); }

bool known_verb(std::string_view verb) {
  for (const char* v : {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"})
    if (verb == v) return true;
  return false;
}

Result<void> read_versions(Kind& k, Reader& r, const TypeTable& types) {
  for (const json::Value& item : r["versions"].items()) {
    Reader vr(item, r.where() + ".versions");
    vr.only({"name", "type", "served", "storage"});
    Version v;
    std::string type;
    vr.text("name", v.name);
    vr.text("type", type);
    vr.flag("served", v.served);
    vr.flag("storage", v.storage);
    if (!vr.error().empty()) return invalid(vr.error());
    v.type = types.find(type);
    if (v.name.empty()) return invalid(vr.where() + ": a version without a name");
    if (v.type == kNoType) return invalid(vr.where() + ": version " + v.name + ": nobody exports the type \"" + type + "\"");
    if (k.version(v.name)) return invalid(vr.where() + ": version " + v.name + " is there twice");
    k.versions.push_back(std::move(v));
  }
  if (k.versions.empty()) return invalid(r.where() + ".versions: at least one version is needed");
  int storage = 0;
  for (const Version& v : k.versions) storage += v.storage;
  if (storage == 0 && k.versions.size() == 1) k.versions[0].storage = true;
  else if (storage != 1) return invalid(r.where() + ".versions: exactly one must say storage: true");
  return {};
}

Result<void> read_hooks(Kind& k, Reader& r) {
  if (r["hooks"].is_null()) return {};
  Reader h(r["hooks"], r.where() + ".hooks");
  h.only({"default", "validate", "prepare", "delete", "table", "convert"});
  h.flag("default", k.hooks.default_);
  h.flag("validate", k.hooks.validate);
  h.flag("table", k.hooks.table);
  h.flag("convert", k.hooks.convert);
  std::vector<std::string> prepare, del;
  h.texts("prepare", prepare);
  h.texts("delete", del);
  for (const std::string& p : prepare) {
    if (p == "create") k.hooks.prepare_create = true;
    else if (p == "update") k.hooks.prepare_update = true;
    else h.fail("prepare", "\"" + p + "\" is neither create nor update");
  }
  for (const std::string& d : del) {
    if (d == "request") k.hooks.delete_request = true;
    else if (d == "final") k.hooks.delete_final = true;
    else h.fail("delete", "\"" + d + "\" is neither request nor final");
  }
  return h.error().empty() ? Result<void>() : invalid(h.error());
}

Result<void> read_columns(Kind& k, Reader& r) {
  for (const json::Value& item : r["columns"].items()) {
    Reader c(item, r.where() + ".columns");
    c.only({"name", "type", "format", "description", "priority", "path", "computed", "as"});
    Column col;
    col.type = "string";
    c.text("name", col.name);
    c.text("type", col.type);
    c.text("format", col.format);
    c.text("description", col.description);
    c.text("path", col.path);
    c.text("as", col.as);
    c.flag("computed", col.computed);
    if (const json::Value& p = c["priority"]; !p.is_null() && !p.is_int()) c.fail("priority", "must be a number");
    col.priority = static_cast<int>(c["priority"].as_int());
    if (col.name.empty()) c.fail("name", "is missing");
    if (col.path.empty() && !col.computed) c.fail(col.name, "needs a path or computed: true");
    if (!c.error().empty()) return invalid(c.error());
    k.columns.push_back(std::move(col));
  }
  return {};
}

Subresource::Mode default_mode(std::string_view name) {
  if (name == "status") return Subresource::Mode::kStatus;
  if (name == "scale") return Subresource::Mode::kScale;
  return name == "finalize" ? Subresource::Mode::kFinalize : Subresource::Mode::kHook;
}

Result<void> read_subresources(Kind& k, Reader& r) {
  for (const json::Member& m : r["subresources"].members()) {
    Reader s(m.value, r.where() + ".subresources." + m.key);
    s.only({"mode", "group", "version", "kind", "type", "verbs", "provider", "stream", "specReplicas", "statusReplicas", "selector"});
    Subresource sub;
    sub.name = m.key;
    sub.mode = default_mode(m.key);
    std::string mode;
    s.text("mode", mode);
    using Mode = Subresource::Mode;
    if (mode == "status") sub.mode = Mode::kStatus;
    else if (mode == "scale") sub.mode = Mode::kScale;
    else if (mode == "finalize") sub.mode = Mode::kFinalize;
    else if (mode == "connect") sub.mode = Mode::kConnect;
    else if (mode == "hook") sub.mode = Mode::kHook;
    else if (!mode.empty()) s.fail("mode", "\"" + mode + "\" is none of status, scale, finalize, connect, hook");
    if (sub.mode == Mode::kScale) {
      sub.kind_group = "autoscaling";
      sub.kind_version = "v1";
      sub.kind_name = "Scale";
    }
    s.text("group", sub.kind_group);
    s.text("version", sub.kind_version);
    s.text("kind", sub.kind_name);
    s.text("type", sub.type);
    s.texts("verbs", sub.verbs);
    s.text("provider", sub.provider);
    s.text("stream", sub.stream);
    s.text("specReplicas", sub.spec_replicas);
    s.text("statusReplicas", sub.status_replicas);
    s.text("selector", sub.selector);
    for (const std::string& v : sub.verbs)
      if (!known_verb(v)) s.fail("verbs", "unknown verb \"" + v + "\"");
    if (sub.verbs.empty()) {
      if (sub.mode == Mode::kStatus || sub.mode == Mode::kScale) sub.verbs = {"get", "patch", "update"};
      else if (sub.mode == Mode::kFinalize) sub.verbs = {"update"};
      else s.fail("verbs", "is missing");
    }
    if (sub.mode == Mode::kConnect && sub.stream != "text" && sub.stream != "exec" && sub.stream != "attach" &&
        sub.stream != "portforward")
      s.fail("stream", "must be text, exec, attach or portforward");
    if (sub.mode == Mode::kScale && sub.spec_replicas.empty()) s.fail("specReplicas", "is missing");
    if (!s.error().empty()) return invalid(s.error());
    k.subresources.push_back(std::move(sub));
  }
  return {};
}

}  // namespace

Result<Kind> parse_kind(const std::string& owner, const json::Value& v, const TypeTable& types) {
  Kind k;
  k.owner = owner;
  Reader r(v, "kind " + std::string(v["kind"].as_string("?")));
  r.only({"group", "kind", "plural", "singular", "shortNames", "categories", "namespaced", "versions", "nameFormat", "generation",
          "statusReset", "selectable", "selectableAlias", "indexed", "immutable", "sealed", "history", "expiresAfter", "hooks",
          "columns", "subresources", "supported", "sameStorageAs", "verbs", "renames", "scopes"});
  r.text("group", k.group);
  r.text("kind", k.kind);
  r.text("plural", k.plural);
  r.text("singular", k.singular);
  r.texts("shortNames", k.short_names);
  r.texts("categories", k.categories);
  r.flag("namespaced", k.namespaced);
  r.flag("scopes", k.scopes);
  r.text("nameFormat", k.name_format);
  r.texts("generation", k.generation);
  r.flag("statusReset", k.status_reset);
  r.texts("selectable", k.selectable);
  r.texts("indexed", k.indexed);
  r.texts("immutable", k.immutable);
  r.flag("sealed", k.sealed);
  r.flag("history", k.history);
  r.texts("verbs", k.verbs);
  r.text("sameStorageAs", k.same_storage_as);
  k.renames = r["renames"];
  std::string expires;
  r.text("expiresAfter", expires);
  if (!expires.empty()) {
    const auto ns = parse_duration(expires);
    if (!ns || *ns < 0) r.fail("expiresAfter", "\"" + expires + "\" is not a duration such as 1h");
    else k.expires_after_ns = static_cast<uint64_t>(*ns);
  }
  for (const json::Member& m : r["selectableAlias"].members()) {
    if (!m.value.is_string()) r.fail("selectableAlias." + m.key, "must be a string");
    k.selectable_alias.emplace_back(m.key, std::string(m.value.as_string()));
  }
  if (k.kind.empty()) r.fail("kind", "is missing");
  if (k.plural.empty()) r.fail("plural", "is missing");
  if (!k.group.empty() && !check_format(Format::kDns1123Subdomain, k.group).empty()) r.fail("group", "is not a DNS subdomain");
  if (!k.plural.empty() && !check_format(Format::kDns1123Label, k.plural).empty()) r.fail("plural", "is not a DNS label");
  if (format_by_name(k.name_format) == Format::kUnknown) r.fail("nameFormat", "unknown format \"" + k.name_format + "\"");
  for (const std::string& verb : k.verbs)
    if (!known_verb(verb)) r.fail("verbs", "unknown verb \"" + verb + "\"");
  for (const char* list : {"versions", "columns"})
    if (!r[list].is_null() && !r[list].is_array()) r.fail(list, "must be a list");
  for (const char* object : {"subresources", "selectableAlias"})
    if (!r[object].is_null() && !r[object].is_object()) r.fail(object, "must be an object");
  if (!r.error().empty()) return invalid(r.error());
  if (k.singular.empty())
    for (const char c : k.kind) k.singular += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (auto done = read_versions(k, r, types); !done) return done.error();
  if (auto done = read_hooks(k, r); !done) return done.error();
  if (auto done = read_columns(k, r); !done) return done.error();
  if (auto done = read_subresources(k, r); !done) return done.error();
  k.name_is_generated_rfc1123_subdomain = k.name_format == "dns1123subdomain";
  return k;
}

}  // namespace pintle::kernel
