// Between a kind's stored form and its served ones: apiVersion and kind, renames as data, then the convert hook.
#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"
#include "pintle/if/resource.h"

namespace pintle::kernel {
namespace {

void move_path(json::Value& object, const std::string& from, const std::string& to) {
  const json::Value& at = object.at(from);
  if (at.is_null()) return;
  json::Value moved = at;
  erase_path(object, from);
  object.make(to) = std::move(moved);
}

std::string api_version(const Kind& kind, const std::string& version) {
  return kind.group.empty() ? version : kind.group + "/" + version;
}

void rename(json::Value& object, const json::Value& renames, bool to_served) {
  for (const json::Member& m : renames.members()) {
    const std::string stored(m.value.as_string());
    if (to_served) {
      move_path(object, stored, m.key);
    } else {
      move_path(object, m.key, stored);
    }
  }
}

}  // namespace

Async<Result<std::vector<json::Value>>> ApiPipeline::converted(Target target, bool to_served, std::vector<json::Value> objects) {
  const Kind& kind = *target.kind;
  const std::string from = to_served ? target.storage->storage().name : target.version->name;
  const std::string to = to_served ? target.version->name : target.storage->storage().name;
  const json::Value& renames = kind.renames[target.version->name];
  for (json::Value& o : objects) {
    rename(o, renames, to_served);
    o.set("apiVersion", to_served ? api_version(kind, to) : api_version(*target.storage, to));
    o.set("kind", to_served ? kind.kind : target.storage->kind);
  }
  if (kind.hooks.convert && from != to) {
    json::Value ask = json::Value::object();
    ask.set("kind", kind.name());
    ask.set("from", from);
    ask.set("to", to);
    json::Value& list = ask.set("objects", json::Value::array());
    for (json::Value& o : objects) list.push(std::move(o));
    Result<json::Value> reply = co_await hook(target.kind, kind.owner, 2, std::move(ask));
    if (!reply) co_return reply.error();
    const json::Value& out = (*reply)["objects"];
    if (out.size() != objects.size()) co_return internal("conversion of " + kind.name() + " returned the wrong number of objects");
    objects.assign(out.items().begin(), out.items().end());
  }
  co_return objects;
}

Async<Result<json::Value>> ApiPipeline::to_storage(OpRef op, json::Value object) {
  if (op->target.as_stored) co_return object;
  std::vector<json::Value> one(1, std::move(object));
  Result<std::vector<json::Value>> r = co_await converted(op->target, false, std::move(one));
  if (!r) co_return r.error();
  co_return std::move((*r)[0]);
}

Async<Result<json::Value>> ApiPipeline::from_storage(OpRef op, json::Value object) {
  if (op->target.as_stored) co_return object;
  std::vector<json::Value> one(1, std::move(object));
  Result<std::vector<json::Value>> r = co_await converted(op->target, true, std::move(one));
  if (!r) co_return r.error();
  co_return std::move((*r)[0]);
}

void ApiPipeline::convert(std::shared_ptr<const Kind> kind, std::string version, std::vector<ObjectRef> objects,
                          std::function<void(Result<std::vector<json::Value>>)> done) {
  Target target;
  target.snap = registry_.snapshot();
  target.kind = kind;
  target.storage = kind->same_storage_as.empty() ? kind : target.snap->by_name(kind->same_storage_as);
  target.version = kind->version(version);
  if (!target.storage || !target.version) {
    done(unknown_path());
    return;
  }
  target.as_stored = target.kind == target.storage && target.version->storage;
  std::vector<json::Value> values;
  values.reserve(objects.size());
  for (const ObjectRef& o : objects) values.push_back(json::parse_or_null(o->json()));
  if (target.as_stored) {
    done(std::move(values));
    return;
  }
  auto self = shared_from_this();
  spawn<Result<std::vector<json::Value>>>(converted(std::move(target), true, std::move(values)),
                                          [self, done = std::move(done)](auto r) { done(std::move(r)); });
}

}  // namespace pintle::kernel
