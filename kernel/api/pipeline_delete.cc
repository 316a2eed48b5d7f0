// Deletion: preconditions, grace, finalizers, propagation, collections.
#include <algorithm>

#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

constexpr size_t kLanes = 32;
constexpr uint32_t kDeleteHook = 4;

// DeleteOptions from the body, or from the query when there is no body.
Result<json::Value> options_of(const Op& op) {
  json::Value options = json::Value::object();
  if (!op.request.body.empty()) {
    Result<Decoded> decoded = decode_body(op.request.body, op.request.content_type, *op.target.snap);
    if (!decoded) return decoded.error();
    if (!decoded->value.is_object()) return bad_request("the body of a DELETE must be DeleteOptions");
    options = std::move(decoded->value);
    const std::string kind(options["kind"].as_string("DeleteOptions"));
    if (kind != "DeleteOptions") return bad_request("the body of a DELETE must be DeleteOptions, not " + kind);
  } else {
    for (const char* name : {"propagationPolicy"}) {
      if (query_has(op.request, name)) options.set(name, query_value(op.request, name));
    }
    if (query_has(op.request, "orphanDependents")) {
      options.set("orphanDependents", query_value(op.request, "orphanDependents") == "true");
    }
    if (query_has(op.request, "gracePeriodSeconds")) {
      const std::string text = query_value(op.request, "gracePeriodSeconds");
      const json::Value seconds = json::parse_or_null(text);
      if (!seconds.is_int()) return bad_request("gracePeriodSeconds: \"" + text + "\" is not a whole number");
      options.set("gracePeriodSeconds", seconds);
    }
  }
  const json::Value& policy = options["propagationPolicy"];
  if (!policy.is_null() && !options["orphanDependents"].is_null()) {
    return invalid_options("DeleteOptions", {{"FieldValueInvalid", "propagationPolicy",
                                              "Invalid value: " + policy.dump() +
                                                  ": orphanDependents and deletionPropagation cannot be both set"}});
  }
  const std::string_view p = policy.as_string("Background");
  if (p != "Background" && p != "Foreground" && p != "Orphan") {
    return invalid_options("DeleteOptions",
                           {{"FieldValueInvalid", "propagationPolicy",
                             "Invalid value: " + policy.dump() + ": Unsupported value: " + policy.dump() +
                                 ": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""}});
  }
  if (options["gracePeriodSeconds"].is_int() && options["gracePeriodSeconds"].as_int() < 0) options.set("gracePeriodSeconds", 1);
  return options;
}

void set_finalizer(json::Value& metadata, const std::string& name, bool present) {
  json::Value next = json::Value::array();
  for (const json::Value& f : metadata["finalizers"].items()) {
    if (f.as_string() != name) next.push(f);
  }
  if (present) next.push(name);
  if (next.empty()) {
    metadata.erase("finalizers");
  } else {
    metadata.set("finalizers", std::move(next));
  }
}

}  // namespace

// The object goes away in this transaction, with the companions that its owner releases.
Async<Result<void>> ApiPipeline::remove(OpRef op, Draft& draft, size_t index, const json::Value& object, json::Value options) {
  const std::shared_ptr<const Kind> kind = op->target.storage;
  if (kind->hooks.delete_final) {
    json::Value ask = json::Value::object();
    ask.set("kind", kind->name());
    ask.set("object", object);
    ask.set("phase", "final");
    ask.set("options", std::move(options));
    Result<json::Value> reply = co_await hook(kind, kind->owner, kDeleteHook, std::move(ask));
    if (!reply) co_return reply.error();
    for (const json::Value& gone : (*reply)["deletes"].items()) {
      const Key key{std::string(gone["kind"].as_string()), std::string(gone["namespace"].as_string()), std::string(gone["name"].as_string())};
      const Present now = present(draft, key);
      if (!now.value) continue;
      draft.check({key, now.revision(), false}, Draft::Role::kSelf, index);
      draft.write(key, std::nullopt);
    }
    for (const json::Value& w : (*reply)["warnings"].items()) op->warnings.emplace_back(w.as_string());
  }
  draft.write(op->target.key, std::nullopt);
  co_return Result<void>();
}

Async<Result<Outcome>> ApiPipeline::plan_delete(OpRef op, Draft& draft, size_t index) {
  const Kind& kind = *op->target.kind;
  const std::shared_ptr<const Kind> storage = op->target.storage;
  const Key key = op->target.key;
  Result<json::Value> parsed = options_of(*op);
  if (!parsed) co_return parsed.error();
  json::Value options = std::move(*parsed);
  for (const json::Value& d : options["dryRun"].items()) op->dry_run = op->dry_run || d.as_string() == "All";
  const Present old = present(draft, key);
  if (!old.value) co_return not_found(kind, key.name);
  json::Value object = *old.value;
  object.set("metadata").erase("managedFields");
  const std::string uid(object["metadata"]["uid"].as_string());
  for (const std::string& wanted : {std::string(options["preconditions"]["uid"].as_string()), op->request.if_uid}) {
    if (!wanted.empty() && wanted != uid) {
      co_return conflict(kind, key.name,
                         "the UID in the precondition (" + wanted + ") does not match the UID in record (" + uid +
                             "). The object might have been deleted and then recreated");
    }
  }
  const std::string revision = std::to_string(old.revision());
  for (const std::string& wanted : {std::string(options["preconditions"]["resourceVersion"].as_string()),
                                    op->request.if_revision ? std::to_string(op->request.if_revision) : std::string()}) {
    if (old.stored && !wanted.empty() && wanted != revision) {
      co_return conflict(kind, key.name,
                         "the ResourceVersion in the precondition (" + wanted + ") does not match the ResourceVersion in record (" +
                             revision + "). The object might have been modified");
    }
  }
  const bool deleting = !object["metadata"]["deletionTimestamp"].is_null();
  const bool spec_finalizers = has_finalizers(*storage, object) && object["metadata"]["finalizers"].empty();
  if (deleting && spec_finalizers) {
    co_return conflict(kind, key.name,
                       "The system is ensuring all content is removed from this " + kind.singular + ".  Upon completion, this " +
                           kind.singular + " will automatically be purged by the system.");
  }
  json::Value none;
  Result<void> step = co_await admit(op, false, "DELETE", none, &*old.value);
  if (!step) co_return step.error();

  int64_t grace = 0;
  if (storage->hooks.delete_request) {
    json::Value ask = json::Value::object();
    ask.set("kind", storage->name());
    ask.set("object", object);
    ask.set("phase", "request");
    ask.set("options", options);
    Result<json::Value> reply = co_await hook(storage, storage->owner, kDeleteHook, std::move(ask));
    if (!reply) co_return reply.error();
    const std::string action((*reply)["action"].as_string("immediate"));
    if (action == "deny") {
      co_return forbidden(kind, key.name, std::string((*reply)["message"].as_string("its owner does not allow its deletion")));
    }
    for (const json::Value& w : (*reply)["warnings"].items()) op->warnings.emplace_back(w.as_string());
    if (action == "grace") grace = (*reply)["gracePeriodSeconds"].as_int();
    if ((*reply)["object"].is_object()) {
      json::Value changed = std::move(*reply->find("object"));
      for (const char* path : {"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.uid", "metadata.creationTimestamp",
                               "metadata.generation", "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds"}) {
        copy_path(object, changed, path);
      }
      object = std::move(changed);
    }
  }
  json::Value& metadata = object.set("metadata");
  std::string policy(options["propagationPolicy"].as_string());
  if (options["orphanDependents"].is_bool()) policy = options["orphanDependents"].as_bool() ? "Orphan" : "Background";
  if (!policy.empty()) {
    set_finalizer(metadata, "orphan", policy == "Orphan");
    set_finalizer(metadata, "foregroundDeletion", policy == "Foreground");
  }
  Outcome out;
  out.key = key;
  out.stored = old.stored;
  const int64_t present_grace = metadata["deletionGracePeriodSeconds"].as_int();
  if (deleting) grace = std::min(grace, present_grace);
  const bool keep = has_finalizers(*storage, object) || grace > 0;
  if (old.stored) draft.check({key, old.stored->revision(), false}, Draft::Role::kSelf, index);
  if (keep) {
    if (!deleting || grace < present_grace) {
      metadata.set("deletionTimestamp", rfc3339(executor_.wall() + grace * 1000000000));
      metadata.set("deletionGracePeriodSeconds", grace);
      if (const int64_t g = metadata["generation"].as_int(); !deleting && g > 0) metadata.set("generation", g + 1);
    }
    json::Value before = *old.value;
    before.set("metadata").erase("managedFields");
    if (before == object && old.stored) co_return out;
    metadata.erase("resourceVersion");
    draft.write(key, std::move(object));
    co_return out;
  }
  step = co_await remove(op, draft, index, object, std::move(options));
  if (!step) co_return step.error();
  if (!storage->hooks.delete_request) {
    out.shape = Outcome::Shape::kFixed;
    out.fixed = success_status(kind, key.name, uid);
  }
  co_return out;
}

namespace {
// Deletes the matched objects, some at a time; the first error that is not "already gone" is kept.
class Collection : public std::enable_shared_from_this<Collection> {
 public:
  Collection(std::shared_ptr<Pipeline> pipeline, Executor& executor, ApiRequest request, std::vector<ObjectRef> objects,
             std::function<void(Error)> done)
      : pipeline_(std::move(pipeline)), executor_(executor), request_(std::move(request)), objects_(std::move(objects)),
        left_(objects_.size()), done_(std::move(done)) {}

  void start() {
    if (objects_.empty()) return done_(error_);
    for (size_t i = 0; i < std::min(kLanes, objects_.size()); ++i) post();
  }

 private:
  void post() {
    executor_.post([self = shared_from_this()] { self->step(); });
  }
  void step() {
    ApiRequest r = request_;
    {
      const std::lock_guard lock(mutex_);
      if (next_ == objects_.size()) return;
      r.ns = objects_[next_]->key().ns;
      r.name = objects_[next_]->key().name;
      ++next_;
    }
    pipeline_->execute(std::move(r), [self = shared_from_this()](ApiAnswer a) {
      bool last = false;
      {
        const std::lock_guard lock(self->mutex_);
        if (!a.ok() && a.error.code != PINTLE_NOT_FOUND && self->error_.code == PINTLE_OK) self->error_ = a.error;
        last = --self->left_ == 0;
      }
      if (last) {
        self->done_(self->error_);
      } else {
        self->post();
      }
    });
  }

  std::shared_ptr<Pipeline> pipeline_;
  Executor& executor_;
  const ApiRequest request_;
  const std::vector<ObjectRef> objects_;
  std::mutex mutex_;
  size_t next_ = 0, left_;
  Error error_{PINTLE_OK, ""};
  std::function<void(Error)> done_;
};
}  // namespace

Async<ApiAnswer> ApiPipeline::delete_collection(ApiRequest request, OpRef op) {
  ApiAnswer out;
  ApiRequest listing = request;
  listing.verb = Verb::kList;
  Result<ListAnswer> page = list(listing);
  if (!page) {
    out.error = page.error();
    co_return out;
  }
  const std::vector<ObjectRef> objects = page->objects;
  request.verb = Verb::kDelete;
  std::erase_if(request.query, [](const auto& p) {
    return p.first == "labelSelector" || p.first == "fieldSelector" || p.first == "limit" || p.first == "continue";
  });
  request.identity.groups.push_back("system:masters");  // the collection was authorised; its parts need no second permission
  out.error = co_await Wait<Error>([this, &request, &objects](std::function<void(Error)> done) {
    std::make_shared<Collection>(shared_from_this(), executor_, request, objects, std::move(done))->start();
  });
  if (!out.ok()) co_return out;
  json::Value items = json::Value::array();
  for (const ObjectRef& o : objects) {
    Result<json::Value> face = co_await from_storage(op, json::parse_or_null(o->json()));
    if (face) items.push(std::move(*face));
  }
  const Kind& kind = *op->target.kind;
  out.document = json::Value::object();
  out.document.set("kind", kind.kind + "List");
  out.document.set("apiVersion", (kind.group.empty() ? "" : kind.group + "/") + op->target.version->name);
  out.document.set("metadata", json::Value::object()).set("resourceVersion", std::to_string(page->revision));
  out.document.set("items", std::move(items));
  co_return out;
}

}  // namespace pintle::kernel
