#include "plugins/namespace/terminator.h"

#include "pintle/timestamp.h"

namespace pintle::ns {
namespace {

constexpr const char* kFinalizer = "kubernetes";
constexpr size_t kBatch = 500;
constexpr int64_t kLookAgainMs = 200, kWaitMs = 2000;

json::Value done() { return json::Value::object({{"result", "done"}}); }
json::Value after(int64_t ms) { return json::Value::object({{"result", "after"}, {"afterMs", ms}}); }
json::Value retry(std::string text) { return json::Value::object({{"result", "retry"}, {"message", std::move(text)}}); }

bool has_finalizer(const json::Value& ns) {
  for (const auto& f : ns["spec"]["finalizers"].items())
    if (f.as_string() == kFinalizer) return true;
  return false;
}

std::string counted(const std::map<std::string, size_t>& what, const char* unit) {
  std::string out;
  for (const auto& [name, n] : what) out += (out.empty() ? "" : ", ") + name + " " + unit + " " + std::to_string(n) + " resource instances";
  return out;
}

}  // namespace

Terminator::Left Terminator::look(const std::string& ns) const {
  Left left;
  const auto kinds = contents_.of(ns);
  // Pods first: what they use must not vanish below them.
  const bool pods_only = kinds.count("pods") > 0;
  for (const auto& [kind, known] : kinds) {
    const auto list = host_.list({.kind = kind, .ns = ns});
    if (!list) {
      if (list.error().code == PINTLE_NOT_FOUND) left.hidden[kind] = known;
      else if (left.failure.empty()) left.failure = list.error().text;
      continue;
    }
    if (list->objects.empty()) continue;  // the watch will say so too
    left.objects[kind] = list->objects.size();
    for (const auto& o : list->objects) {
      const json::Value meta = o.json()["metadata"];
      for (const auto& f : meta["finalizers"].items()) ++left.finalizers[std::string(f.as_string())];
      if (meta.contains("deletionTimestamp") || (pods_only && kind != "pods") || left.deletes.size() >= kBatch) continue;
      left.deletes.push_back(Op::remove(kind, ns, std::string(meta["name"].as_string()), std::string(meta["uid"].as_string()),
                                        json::Value::object({{"propagationPolicy", "Background"}})));
    }
  }
  return left;
}

void Terminator::reconcile(const std::string& name, Answered answered) {
  const auto stored = host_.get_object("namespaces", "", name);
  if (!stored) return answered(stored.error().code == PINTLE_NOT_FOUND ? done() : retry(stored.error().text));
  json::Value ns = stored->json();
  if (!ns["metadata"].contains("deletionTimestamp") || !has_finalizer(ns)) return answered(done());
  // Nothing can be created in it any more; what was created before must have been seen.
  if (!contents_.seen(stored->revision())) return answered(after(kLookAgainMs));
  Left left = look(name);
  if (left.deletes.empty()) {
    if (left.objects.empty() && left.hidden.empty() && left.failure.empty())
      return contents_.of(name).empty() ? finalize(*stored, std::move(ns), std::move(answered)) : answered(after(kLookAgainMs));
    return report(*stored, std::move(ns), left, std::move(answered));
  }
  const auto deletes = left.deletes;
  host_.commit(
      deletes,
      [this, left = std::move(left), stored = *stored, ns = std::move(ns), answered = std::move(answered)](CommitResult r) mutable {
        for (const auto& op : r.ops)
          if (op.code != PINTLE_OK && op.code != PINTLE_NOT_FOUND && op.code != PINTLE_CONFLICT && left.failure.empty()) left.failure = op.text;
        if (left.failure.empty()) return answered(after(kLookAgainMs));
        report(stored, std::move(ns), left, std::move(answered));
      },
      PINTLE_COMMIT_INDEPENDENT);
}

// Conditions say what the namespace waits for.
void Terminator::report(const Object& stored, json::Value ns, const Left& left, Answered answered) const {
  struct Wish {
    const char* type;
    bool holds;
    const char *reason, *clear_reason;
    std::string message, clear_message;
  };
  const Wish wishes[] = {
      {"NamespaceDeletionDiscoveryFailure", !left.hidden.empty(), "KindsNotServed", "ResourcesDiscovered",
       "Kinds whose plugin is disabled still have objects here: " + counted(left.hidden, "has"), "All resources successfully discovered"},
      {"NamespaceDeletionContentFailure", !left.failure.empty(), "ContentDeletionFailed", "ContentDeleted",
       "Failed to delete all resource types: " + left.failure, "All content successfully deleted, may be waiting on finalization"},
      {"NamespaceContentRemaining", !left.objects.empty(), "SomeResourcesRemain", "ContentRemoved",
       "Some resources are remaining: " + counted(left.objects, "has"), "All content successfully removed"},
      {"NamespaceFinalizersRemaining", !left.finalizers.empty(), "SomeFinalizersRemain", "ContentHasNoFinalizers",
       "Some content in the namespace has finalizers remaining: " + counted(left.finalizers, "in"),
       "All content-preserving finalizers finished"}};
  const std::string now = format_time(host_.wall());
  json::Value& conditions = ns.make("status.conditions");
  bool changed = false;
  for (const auto& w : wishes) {
    json::Value* c = nullptr;
    for (auto& item : conditions.make_array())
      if (item["type"].as_string() == w.type) c = &item;
    const char* status = w.holds ? "True" : "False";
    const std::string& message = w.holds ? w.message : w.clear_message;
    if (c && (*c)["status"].as_string() == status && (*c)["message"].as_string() == message) continue;
    changed = true;
    if (!c) c = &conditions.push(json::Value::object({{"type", w.type}}));
    if ((*c)["status"].as_string() != status) c->set("lastTransitionTime", now);
    c->set("status", status);
    c->set("reason", w.holds ? w.reason : w.clear_reason);
    c->set("message", message);
  }
  if (!changed) return answered(after(kWaitMs));
  const std::string name(ns["metadata"]["name"].as_string());
  Op op = Op::update("namespaces", "", name, ns, "status");
  op.if_revision = stored.revision();
  host_.commit({op}, [answered = std::move(answered)](CommitResult) { answered(after(kLookAgainMs)); });
}

void Terminator::finalize(const Object& stored, json::Value ns, Answered answered) const {
  json::Value kept = json::Value::array();
  for (const auto& f : ns["spec"]["finalizers"].items())
    if (f.as_string() != kFinalizer) kept.push(f);
  ns.make("spec.finalizers") = std::move(kept);
  const std::string name(ns["metadata"]["name"].as_string());
  Op op = Op::update("namespaces", "", name, ns, "finalize");
  op.if_revision = stored.revision();
  host_.commit({op}, [answered = std::move(answered)](CommitResult r) {
    const OpResult* bad = r.failed();
    if (r.ok() || (bad && bad->code == PINTLE_NOT_FOUND)) return answered(done());
    if (bad && bad->code == PINTLE_CONFLICT) return answered(after(kLookAgainMs));
    answered(retry(bad ? bad->text : "the write failed"));
  });
}

}  // namespace pintle::ns
