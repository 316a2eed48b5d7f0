// What happens to an object's content before it is stored: decoding, defaults, companions, validation.
#include <algorithm>

#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"
#include "pintle/if/resource.h"

namespace pintle::kernel {
namespace {
constexpr uint64_t kHookTimeout = 10ull * 1000000000;
enum : uint32_t { kDefault, kValidate, kConvert, kPrepare };

std::string api_version(const Kind& kind, const Version& version) {
  return kind.group.empty() ? version.name : kind.group + "/" + version.name;
}

struct Place {
  const ObjectType* type;
  std::string path;
  json::Value* value;
};
std::vector<Place> hooked_places(json::Value& object, TypeId type, const TypeTable& types) {
  std::vector<Place> out;
  visit_hooked(object, type, types, "", [&](const ObjectType& t, const std::string& path, json::Value& v) {
    out.push_back({&t, path, &v});
  });
  return out;
}
}  // namespace

Async<Result<json::Value>> ApiPipeline::hook(std::shared_ptr<const Kind> kind, std::string plugin, uint32_t method, json::Value request) {
  if (kind && !kind->available && plugin == kind->owner) {
    Error e(PINTLE_UNAVAILABLE, "plugin \"" + plugin + "\", which serves " + kind->name() + ", is not running now");
    e.retry_after_ms = 1000;
    co_return e;
  }
  Result<std::string> reply = co_await call(plugin, PINTLE_RESOURCE, method, request.dump(), kHookTimeout);
  if (!reply) {
    Error e = reply.error();
    if (e.code == PINTLE_UNAVAILABLE && !e.retry_after_ms) e.retry_after_ms = 1000;
    if (kind && e.code == PINTLE_INVALID && e.status["causes"].is_array() && !e.status["message"].is_string()) {
      const std::string name(request["object"]["metadata"]["name"].as_string());
      e = invalid(*kind, name, causes_from(e.status["causes"], ""));
    }
    co_return e;
  }
  json::ParseResult parsed = json::parse(*reply);
  if (!parsed) co_return internal("plugin \"" + plugin + "\" answered with malformed JSON: " + parsed.error);
  co_return std::move(parsed.value);
}

// Brings `object` (in the asked version) into the type's form; what does not fit is an error, what is unknown follows fieldValidation.
Result<void> ApiPipeline::fit(Op& op, json::Value& object, std::vector<std::string> problems) const {
  const Target& t = op.target;
  if (t.version->type != kNoType) {
    Result<void> r = normalise(object, t.version->type, t.snap->types, &problems);
    if (!r) return r;
  }
  if (problems.empty() || op.validation == FieldValidation::kIgnore) return {};
  if (op.validation == FieldValidation::kWarn) {
    for (std::string& p : problems) op.warnings.push_back(std::move(p));
    return {};
  }
  std::string text;
  for (const std::string& p : problems) text += (text.empty() ? "" : ", ") + p;
  if (op.request.verb == Verb::kPatch) {
    return invalid(*t.kind, op.request.name, {{"FieldValueInvalid", "patch", "Invalid value: strict decoding error: " + text}});
  }
  return bad_request(t.kind->kind + " in version \"" + t.version->name + "\" cannot be handled as a " + t.kind->kind +
                     ": strict decoding error: " + text);
}

Result<json::Value> ApiPipeline::decode(Op& op) const {
  const Target& t = op.target;
  Result<Decoded> decoded = decode_body(op.request.body, op.request.content_type, *t.snap);
  if (!decoded) return decoded.error();
  json::Value object = std::move(decoded->value);
  if (!object.is_object()) return bad_request("the body of the request must be an object");
  const std::string expected = api_version(*t.kind, *t.version);
  const std::string given(object["apiVersion"].as_string());
  if (!given.empty() && given != expected) {
    return bad_request("the API version in the data (" + given + ") does not match the expected API version (" + expected + ")");
  }
  const std::string kind(object["kind"].as_string());
  if (!kind.empty() && kind != t.kind->kind) {
    return bad_request("the kind in the data (" + kind + ") does not match the expected kind (" + t.kind->kind + ")");
  }
  object.set("apiVersion", expected);
  object.set("kind", t.kind->kind);
  if (const json::Value* m = object.find("metadata"); m && !m->is_object() && !m->is_null()) {
    return bad_request(t.kind->kind + " in version \"" + t.version->name + "\" cannot be handled as a " + t.kind->kind +
                       ": json: cannot unmarshal metadata into Go struct field " + t.kind->kind + ".metadata of type v1.ObjectMeta");
  }
  Result<void> fits = fit(op, object, std::move(decoded->problems));
  if (!fits) return fits.error();
  return object;
}

Async<Result<void>> ApiPipeline::apply_all_defaults(std::shared_ptr<const RegistrySnapshot> snap, std::shared_ptr<const Kind> kind,
                                                    json::Value& object) {
  const TypeId type = kind->storage().type;
  if (type != kNoType) apply_defaults(object, type, snap->types);
  if (type != kNoType) {
    std::vector<Place> places = hooked_places(object, type, snap->types);
    // Inner ones first: a hook replaces its whole value.
    for (size_t i = places.size(); i-- > 0;) {
      const Place& place = places[i];
      if (!place.type->hook_default) continue;
      json::Value ask = json::Value::object();
      ask.set("type", place.type->name);
      ask.set("object", *place.value);
      Result<json::Value> reply = co_await hook(kind, place.type->owner, kDefault, std::move(ask));
      if (!reply) co_return reply.error();
      if ((*reply)["object"].is_object()) *place.value = std::move(*reply->find("object"));
    }
  }
  if (kind->hooks.default_) {
    json::Value ask = json::Value::object();
    ask.set("type", type == kNoType ? std::string() : snap->types.get(type).name);
    ask.set("kind", kind->name());
    ask.set("object", object);
    Result<json::Value> reply = co_await hook(kind, kind->owner, kDefault, std::move(ask));
    if (!reply) co_return reply.error();
    if ((*reply)["object"].is_object()) object = std::move(*reply->find("object"));
  }
  co_return Result<void>();
}

Async<Result<void>> ApiPipeline::check_object(OpRef op, const json::Value& object, const json::Value* old, bool with_hooks) {
  const std::shared_ptr<const Kind> kind = op->target.storage;
  const TypeTable& types = op->target.snap->types;
  const TypeId type = kind->storage().type;
  std::vector<FieldCause> causes;
  validate_metadata(object["metadata"], *kind, causes);
  if (type != kNoType) validate(object, old, type, types, "", causes);
  if (old) {
    for (const std::string& path : kind->immutable) {
      const json::Value& was = old->at(path);
      const json::Value& is = object.at(path);
      if (!was.is_null() && was != is) causes.push_back({"FieldValueInvalid", path, "Invalid value: " + is.dump() + ": field is immutable"});
    }
  }
  if (with_hooks) {
    std::vector<json::Value> asks;
    std::vector<std::string> plugins, paths;
    bool root_done = false;
    if (type != kNoType) {
      json::Value copy = object;
      for (const Place& place : hooked_places(copy, type, types)) {
        if (!place.type->hook_validate) continue;
        root_done = root_done || place.path.empty();
        json::Value ask = json::Value::object();
        ask.set("type", place.type->name);
        ask.set("path", place.path);
        ask.set("object", std::move(*place.value));
        // Items of lists move: only values at fixed places have an old one.
        const bool fixed = old && place.path.find('[') == std::string::npos;
        ask.set("old", !fixed ? json::Value() : place.path.empty() ? *old : old->at(place.path));
        asks.push_back(std::move(ask));
        plugins.push_back(place.type->owner);
        paths.push_back(place.path);
        *place.value = asks.back()["object"];
      }
    }
    if (kind->hooks.validate && !root_done) {
      json::Value ask = json::Value::object();
      ask.set("type", type == kNoType ? std::string() : types.get(type).name);
      ask.set("kind", kind->name());
      ask.set("path", "");
      ask.set("object", object);
      ask.set("old", old ? *old : json::Value());
      asks.push_back(std::move(ask));
      plugins.push_back(kind->owner);
      paths.emplace_back();
    }
    for (size_t i = 0; i < asks.size(); ++i) {
      Result<json::Value> reply = co_await hook(kind, plugins[i], kValidate, std::move(asks[i]));
      if (!reply) co_return reply.error();
      for (FieldCause& c : causes_from((*reply)["causes"], paths[i])) causes.push_back(std::move(c));
      for (const json::Value& w : (*reply)["warnings"].items()) op->warnings.emplace_back(w.as_string());
    }
  }
  if (!causes.empty()) co_return invalid(*op->target.kind, std::string(object["metadata"]["name"].as_string()), causes);
  if (type != kNoType && op->request.identity.plugin.empty()) {
    for (const std::string& path : stored_only_fields(object, old, type, types)) {
      op->warnings.push_back("field \"" + path + "\" is stored, but nothing in this cluster acts upon it yet");
    }
  }
  co_return Result<void>();
}

Result<void> ApiPipeline::add_companion(const Op& op, Draft& draft, size_t index, const json::Value& put, bool* taken) {
  const std::string kind_name(put["kind"].as_string());
  const auto kind = op.target.snap->by_name(kind_name);
  if (!kind) return internal("prepare of " + op.target.storage->name() + " asked for an object of the unknown kind \"" + kind_name + "\"");
  json::Value object = put["object"];
  object.set("apiVersion", api_version(*kind, kind->storage()));
  object.set("kind", kind->kind);
  json::Value& metadata = object.set("metadata");
  metadata.make_object();
  Key key{kind->name(), kind->namespaced ? std::string(metadata["namespace"].as_string(op.target.key.ns)) : "",
          std::string(metadata["name"].as_string())};
  if (key.name.empty()) return internal("prepare of " + op.target.storage->name() + " returned a companion without a name");
  const Present present_one = present(draft, key);
  if (present_one.value) {
    *taken = true;
    return {};
  }
  metadata.set("uid", uuid4(executor_));
  metadata.set("creationTimestamp", rfc3339(executor_.wall()));
  if (kind->namespaced) metadata.set("namespace", key.ns);
  if (!kind->generation.empty()) metadata.set("generation", 1);
  const TypeId type = kind->storage().type;
  if (type != kNoType) {
    std::vector<std::string> problems;
    Result<void> fits = normalise(object, type, op.target.snap->types, &problems);
    if (!fits) return fits;
    apply_defaults(object, type, op.target.snap->types);
  }
  draft.check({key, 0, false}, Draft::Role::kCompanion, index);
  draft.write(std::move(key), std::move(object));
  return {};
}

Async<Result<void>> ApiPipeline::prepare(OpRef op, Draft& draft, size_t index, const char* operation, json::Value& object,
                                         const json::Value* old) {
  const std::shared_ptr<const Kind> kind = op->target.storage;
  while (true) {
    json::Value ask = json::Value::object();
    ask.set("operation", operation);
    ask.set("kind", kind->name());
    ask.set("subresource", op->request.subresource);
    ask.set("dryRun", op->dry_run);
    ask.set("user", op->request.identity.user);
    ask.set("object", object);
    ask.set("old", old ? *old : json::Value());
    ask.set("attempt", op->prepare_attempt);
    ask.set("taken", op->taken);
    Result<json::Value> reply = co_await hook(kind, kind->owner, kPrepare, std::move(ask));
    if (!reply) co_return reply.error();
    const std::vector<Draft::Check> checks = draft.checks;
    const std::vector<Draft::Write> writes = draft.writes;
    bool again = false;
    for (const json::Value& put : (*reply)["puts"].items()) {
      bool taken = false;
      Result<void> added = add_companion(*op, draft, index, put, &taken);
      if (!added) co_return added.error();
      if (!taken) continue;
      again = true;
      json::Value key = json::Value::object();
      key.set("kind", put["kind"]);
      key.set("namespace", put["object"]["metadata"]["namespace"].as_string());
      key.set("name", put["object"]["metadata"]["name"]);
      op->taken.push(std::move(key));
    }
    if (again) {
      draft.checks = checks;
      draft.writes = writes;
      if (++op->prepare_attempt < 16) continue;
      co_return internal("no free companion found for " + kind->name() + " \"" + op->target.key.name + "\" in 16 attempts");
    }
    for (const json::Value& gone : (*reply)["deletes"].items()) {
      const Key key{std::string(gone["kind"].as_string()), std::string(gone["namespace"].as_string()), std::string(gone["name"].as_string())};
      const Present now = present(draft, key);
      if (!now.value) continue;
      draft.check({key, now.revision(), false}, Draft::Role::kSelf, index);
      draft.write(key, std::nullopt);
    }
    for (const json::Value& w : (*reply)["warnings"].items()) op->warnings.emplace_back(w.as_string());
    if ((*reply)["object"].is_object()) object = std::move(*reply->find("object"));
    co_return Result<void>();
  }
}

// A namespaced object needs the object that scopes it, and that one must not be going away.
Result<void> ApiPipeline::check_scope(Op& op, Draft& draft, size_t index) const {
  if (!op.target.kind->namespaced) return {};
  for (const auto& kind : op.target.snap->kinds) {
    if (!kind->scopes || kind->namespaced) continue;
    const Key key{kind->name(), "", op.target.key.ns};
    const Present scope = present(draft, key);
    if (!scope.value) return not_found(*kind, key.name);
    if (!(*scope.value)["metadata"]["deletionTimestamp"].is_null()) {
      Error e = forbidden(*op.target.kind, op.target.key.name,
                          "unable to create new content in " + kind->singular + " " + key.name + " because it is being terminated");
      json::Value cause = json::Value::object();
      cause.set("reason", kind->kind + "Terminating");
      cause.set("message", kind->singular + " " + key.name + " is being terminated");
      cause.set("field", "metadata." + kind->singular);
      e.status.find("details")->set("causes", json::Value::array()).push(std::move(cause));
      return e;
    }
    draft.check({key, scope.revision(), false}, Draft::Role::kScope, index);
  }
  return {};
}

}  // namespace pintle::kernel
