// Create, update and patch.
#include <algorithm>

#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

constexpr int kNameTries = 8;
constexpr const char* kPatchTypes = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

void drop_server_fields(json::Value& metadata) {
  for (const char* name : {"selfLink", "managedFields", "resourceVersion"}) metadata.erase(name);
}

bool has_status_subresource(const Kind& kind) {
  return std::any_of(kind.subresources.begin(), kind.subresources.end(),
                     [](const Subresource& s) { return s.mode == Subresource::Mode::kStatus; });
}

std::string media_type(const std::string& content_type) {
  std::string type = content_type.substr(0, content_type.find(';'));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  return type;
}

}  // namespace

bool has_finalizers(const Kind& kind, const json::Value& object) {
  if (!object["metadata"]["finalizers"].empty()) return true;
  const bool finalize = std::any_of(kind.subresources.begin(), kind.subresources.end(),
                                    [](const Subresource& s) { return s.mode == Subresource::Mode::kFinalize; });
  return finalize && !object["spec"]["finalizers"].empty();
}

Async<Result<Outcome>> ApiPipeline::plan_create(OpRef op, Draft& draft, size_t index) {
  const Kind& kind = *op->target.kind;
  const std::shared_ptr<const Kind> storage = op->target.storage;
  Result<json::Value> decoded = decode(*op);
  if (!decoded) co_return decoded.error();
  json::Value object = std::move(*decoded);
  if (!object["metadata"].is_object()) object.set("metadata", json::Value::object());
  {
    json::Value& metadata = object.set("metadata");
    const std::string ns(metadata["namespace"].as_string());
    if (kind.namespaced) {
      if (op->request.ns.empty()) op->request.ns = ns;
      if (!ns.empty() && ns != op->request.ns) {
        co_return bad_request("the namespace of the provided object does not match the namespace sent on the request");
      }
      if (op->request.ns.empty()) co_return bad_request("the namespace of a " + kind.kind + " must be given");
      op->target.key.ns = op->request.ns;
      metadata.set("namespace", op->request.ns);
    } else {
      metadata.erase("namespace");
    }
    if (!metadata["resourceVersion"].as_string().empty()) {
      Error e(PINTLE_INTERNAL, "resourceVersion should not be set on objects to be created");
      e.status = json::Value::object();
      e.status.set("reason", "");
      co_return e;
    }
    std::string name(metadata["name"].as_string());
    if (!op->request.name.empty() && !name.empty() && name != op->request.name) {
      co_return bad_request("the name of the object (" + name + ") does not match the name on the URL (" + op->request.name + ")");
    }
    if (name.empty()) name = op->request.name;
    const std::string base(metadata["generateName"].as_string());
    if (name.empty() && base.empty()) {
      co_return invalid(kind, "", {{"FieldValueRequired", "metadata.name", "Required value: name or generateName is required"}});
    }
    const bool generated = name.empty();
    for (int i = 0; generated && i < kNameTries; ++i) {
      name = generated_name(executor_, base);
      const Key candidate{storage->name(), op->target.key.ns, name};
      if (!present(draft, candidate).value) break;
    }
    op->target.key.name = name;
    const Present existing = present(draft, op->target.key);
    if (existing.value) {
      Error e = already_exists(kind, name, !(*existing.value)["metadata"]["deletionTimestamp"].is_null());
      if (generated) e.retry_after_ms = 1000;
      co_return e;
    }
    drop_server_fields(metadata);
    for (const char* f : {"deletionTimestamp", "deletionGracePeriodSeconds", "generation"}) metadata.erase(f);
    metadata.set("name", name);
    metadata.set("uid", uuid4(executor_));
    metadata.set("creationTimestamp", rfc3339(executor_.wall()));
    if (!storage->generation.empty()) metadata.set("generation", 1);
  }
  Result<void> scope = check_scope(*op, draft, index);
  if (!scope) co_return scope.error();
  if (storage->status_reset && has_status_subresource(*storage)) object.erase("status");
  Result<void> step = co_await admit(op, true, "CREATE", object, nullptr);
  if (!step) co_return step.error();
  Result<json::Value> stored = co_await to_storage(op, std::move(object));
  if (!stored) co_return stored.error();
  object = std::move(*stored);
  step = co_await apply_all_defaults(op->target.snap, storage, object);
  if (!step) co_return step.error();
  if (storage->hooks.prepare_create) {
    step = co_await prepare(op, draft, index, "create", object, nullptr);
    if (!step) co_return step.error();
  }
  step = co_await check_object(op, object, nullptr, true);
  if (!step) co_return step.error();
  step = co_await admit(op, false, "CREATE", object, nullptr);
  if (!step) co_return step.error();
  draft.check({op->target.key, 0, false}, Draft::Role::kSelf, index);
  draft.write(op->target.key, std::move(object));
  Outcome out;
  out.key = op->target.key;
  out.code = 201;
  co_return out;
}

Result<void> known_patch_type(const std::string& content_type) {
  const std::string media = media_type(content_type);
  if (media.starts_with("application/apply-patch+")) {
    return Error(PINTLE_UNSUPPORTED_MEDIA,
                 "server-side apply is not available in this server yet (kubectl: leave out --server-side; helm 4: --server-side=false) - "
                 "accepted media types include: " + std::string(kPatchTypes));
  }
  if (media != "application/json-patch+json" && media != "application/merge-patch+json" && media != "application/strategic-merge-patch+json") {
    return Error(PINTLE_UNSUPPORTED_MEDIA,
                 "the body of the request was in an unknown format - accepted media types include: " + std::string(kPatchTypes));
  }
  return {};
}

Result<void> ApiPipeline::patch_value(Op& op, json::Value& value, TypeId type) const {
  const std::string media = media_type(op.request.content_type);
  const bool is_json = media == "application/json-patch+json", is_merge = media == "application/merge-patch+json";
  std::vector<std::string> duplicates;
  json::ParseOptions options;
  options.duplicates = &duplicates;
  json::ParseResult patch = json::parse(op.request.body, options);
  if (!patch) return bad_request("error decoding patch: " + patch.error);
  if (is_json) return json_patch(value, patch.value);
  if (!patch.value.is_object()) return bad_request("error decoding patch: the patch must be an object");
  if (is_merge || type == kNoType) return merge_patch(value, patch.value);
  return strategic_patch(value, patch.value, type, op.target.snap->types);
}

Async<Result<json::Value>> ApiPipeline::patched(OpRef op, const json::Value& current) {
  json::Value face = current;
  Result<json::Value> served = co_await from_storage(op, std::move(face));
  if (!served) co_return served.error();
  json::Value value = std::move(*served);
  Result<void> done = patch_value(*op, value, op->target.version->type);
  if (!done) co_return done.error();
  if (!value.is_object()) co_return bad_request("the patched object is not an object");
  const Kind& kind = *op->target.kind;
  const std::string expected = (kind.group.empty() ? "" : kind.group + "/") + op->target.version->name;
  if (value["apiVersion"].as_string(expected) != expected) {
    co_return bad_request("the API version in the data (" + std::string(value["apiVersion"].as_string()) +
                          ") does not match the expected API version (" + expected + ")");
  }
  if (value["kind"].as_string(kind.kind) != kind.kind) {
    co_return bad_request("the kind of an object cannot be changed by a patch");
  }
  value.set("apiVersion", expected);
  value.set("kind", kind.kind);
  Result<void> fits = fit(*op, value, {});
  if (!fits) co_return fits.error();
  co_return value;
}

Async<Result<Outcome>> ApiPipeline::plan_update(OpRef op, Draft& draft, size_t index) {
  const Kind& kind = *op->target.kind;
  Present old = present(draft, op->target.key);
  if (!old.value) co_return not_found(kind, op->target.key.name);
  json::Value incoming;
  if (op->request.verb == Verb::kPatch) {
    Result<json::Value> p = co_await patched(op, *old.value);
    if (!p) co_return p.error();
    incoming = std::move(*p);
  } else {
    Result<json::Value> d = decode(*op);
    if (!d) co_return d.error();
    incoming = std::move(*d);
  }
  Result<Outcome> r = co_await replace(op, draft, index, std::move(old), std::move(incoming));
  co_return r;
}

// `incoming` is in the asked version. What is not the request's to change is taken from `old`.
Async<Result<Outcome>> ApiPipeline::replace(OpRef op, Draft& draft, size_t index, Present old, json::Value incoming) {
  const Kind& kind = *op->target.kind;
  const std::shared_ptr<const Kind> storage = op->target.storage;
  const Key& key = op->target.key;
  const json::Value& was = *old.value;
  const auto mode = op->target.sub ? op->target.sub->mode : Subresource::Mode::kHook;
  const bool main = !op->target.sub || mode == Subresource::Mode::kScale;

  json::Value metadata = incoming["metadata"].is_object() ? incoming["metadata"] : json::Value::object();
  const std::string name(metadata["name"].as_string(key.name));
  if (name != key.name && !name.empty()) {
    co_return bad_request("the name of the object (" + name + ") does not match the name on the URL (" + key.name + ")");
  }
  if (kind.namespaced && metadata["namespace"].as_string(key.ns) != key.ns && !metadata["namespace"].as_string().empty()) {
    co_return bad_request("the namespace of the object (" + std::string(metadata["namespace"].as_string()) +
                          ") does not match the namespace on the request (" + key.ns + ")");
  }
  const std::string uid(was["metadata"]["uid"].as_string());
  for (const std::string& wanted : {std::string(metadata["uid"].as_string()), op->request.if_uid}) {
    if (!wanted.empty() && wanted != uid) {
      co_return conflict(kind, key.name, "Precondition failed: UID in precondition: " + wanted + ", UID in object meta: " + uid);
    }
  }
  const std::string revision(metadata["resourceVersion"].as_string());
  const std::string present_revision = std::to_string(old.revision());
  if (!revision.empty() && old.stored && revision != present_revision) co_return modified(kind, key.name);
  if (op->request.if_revision && old.stored && op->request.if_revision != old.revision()) co_return modified(kind, key.name);

  incoming.set("metadata", std::move(metadata));
  Result<json::Value> stored = co_await to_storage(op, std::move(incoming));
  if (!stored) co_return stored.error();
  json::Value object = std::move(*stored);
  if (!main) {
    json::Value next = was;
    if (mode == Subresource::Mode::kStatus) {
      copy_path(object, next, "status");
      for (const char* path : {"metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.ownerReferences"}) {
        copy_path(object, next, path);
      }
    } else {
      copy_path(object, next, "spec.finalizers");
    }
    object = std::move(next);
  } else if (storage->status_reset && has_status_subresource(*storage)) {
    copy_path(was, object, "status");
  }
  for (const char* path : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
                           "generateName"}) {
    copy_path(was, object, std::string("metadata.") + path);
  }
  drop_server_fields(object.set("metadata"));

  Result<void> step;
  if (main) {
    step = co_await apply_all_defaults(op->target.snap, storage, object);
    if (!step) co_return step.error();
  } else if (storage->storage().type != kNoType) {
    apply_defaults(object, storage->storage().type, op->target.snap->types);
  }
  step = co_await admit(op, true, "UPDATE", object, &was);
  if (!step) co_return step.error();
  if (main && storage->hooks.prepare_update) {
    step = co_await prepare(op, draft, index, "update", object, &was);
    if (!step) co_return step.error();
  }

  const bool deleting = !was["metadata"]["deletionTimestamp"].is_null();
  if (deleting) {
    std::string added;
    for (const json::Value& f : object["metadata"]["finalizers"].items()) {
      const auto& had = was["metadata"]["finalizers"].items();
      if (std::find(had.begin(), had.end(), f) == had.end()) added += (added.empty() ? "\"" : ", \"") + std::string(f.as_string()) + "\"";
    }
    if (!added.empty()) {
      co_return invalid(kind, key.name,
                        {{"FieldValueForbidden", "metadata.finalizers",
                          "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{" +
                              added + "}"}});
    }
  }
  json::Value before = was;
  if (before["metadata"].is_object()) drop_server_fields(before.set("metadata"));
  Outcome out;
  out.key = key;
  out.stored = old.stored;
  if (before == object && draft.writes.empty() && old.stored) co_return out;

  bool bump = false;
  for (const std::string& path : storage->generation) bump = bump || before.at(path) != object.at(path);
  if (bump) object.set("metadata").set("generation", was["metadata"]["generation"].as_int() + 1);
  step = co_await check_object(op, object, &before, main);
  if (!step) co_return step.error();
  step = co_await admit(op, false, "UPDATE", object, &before);
  if (!step) co_return step.error();

  if (old.stored) draft.check({key, old.stored->revision(), false}, Draft::Role::kSelf, index);
  if (deleting && !has_finalizers(*storage, object) && object["metadata"]["deletionGracePeriodSeconds"].as_int() == 0) {
    // The last finalizer fell: the object goes in this very write.
    step = co_await remove(op, draft, index, object, json::Value::object());
    if (!step) co_return step.error();
  } else {
    draft.write(key, std::move(object));
  }
  co_return out;
}

}  // namespace pintle::kernel
