#include "plugins/gc/collector.h"

#include <cctype>

namespace pintle::gc {
namespace {

constexpr const char* kOrphan = "orphan";
constexpr const char* kForeground = "foregroundDeletion";
constexpr int64_t kBlockedMs = 5000;  // a foreground owner is looked at again also without an event

json::Value done() { return json::Value::object({{"result", "done"}}); }
json::Value after(int64_t ms) { return json::Value::object({{"result", "after"}, {"afterMs", ms}}); }
json::Value retry(std::string text) { return json::Value::object({{"result", "retry"}, {"message", std::move(text)}}); }

std::string group_of(const json::Value& reference) {
  const auto v = reference["apiVersion"].as_string();
  const size_t slash = v.find('/');
  return slash == std::string_view::npos ? std::string() : std::string(v.substr(0, slash));
}

// What plurals of a Kind usually look like.
std::vector<std::string> plurals(std::string_view kind) {
  std::string s;
  for (const char c : kind) s += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::vector<std::string> out{s + "s", s + "es", s};
  if (!s.empty() && s.back() == 'y') out.insert(out.begin(), s.substr(0, s.size() - 1) + "ies");
  return out;
}

json::Value references_without(const json::Value& references, const std::function<bool(const json::Value&)>& drop) {
  json::Value out = json::Value::array();
  for (const auto& r : references.items())
    if (!drop(r)) out.push(r);
  return out;
}

}  // namespace

Collector::Collector(Host host) : host_(host), metadata_path_(host.path("metadata")) {}

bool Collector::Live::has_finalizer(std::string_view name) const {
  for (const auto& f : metadata["finalizers"].items())
    if (f.as_string() == name) return true;
  return false;
}

bool Collector::served(const std::string& kind) const { return host_.list({.kind = kind, .limit = 1}).ok(); }

Collector::Found Collector::find(const Place& place, Live* out) const {
  auto object = host_.get_object(place.kind, place.ns, place.name);
  if (!object) {
    // A kind that is not served answers the same code as an object that is not there.
    return object.error().code == PINTLE_NOT_FOUND && served(place.kind) ? Found::kNo : Found::kUnknown;
  }
  json::Value metadata = json::parse_or_null(object->field(metadata_path_));
  if (metadata["uid"].as_string() != place.uid) return Found::kNo;
  if (out) *out = Live{std::move(*object), std::move(metadata)};
  return Found::kYes;
}

std::optional<Graph::KindName> Collector::kind_of(const json::Value& reference) {
  const std::string group = group_of(reference), kind(reference["kind"].as_string());
  if (auto known = graph_.kind(group, kind)) return known;
  for (const auto& plural : plurals(kind)) {
    const std::string name = group.empty() ? plural : plural + "." + group;
    const auto list = host_.list({.kind = name, .limit = 1});
    if (!list) continue;
    if (list->objects.empty()) return Graph::KindName{name, false};  // there is none: whether it has namespaces stays open
    const json::Value first = list->objects[0].json();
    if (first["kind"].as_string() != kind) continue;
    const bool namespaced = !first["metadata"]["namespace"].as_string().empty();
    graph_.learn(group, kind, name, namespaced);
    return Graph::KindName{name, namespaced};
  }
  return std::nullopt;
}

std::optional<Place> Collector::owner_place(const json::Value& reference, const std::string& dependent_ns) {
  const auto known = graph_.kind(group_of(reference), std::string(reference["kind"].as_string()));
  if (!known) return std::nullopt;
  return Place{known->name, known->namespaced ? dependent_ns : std::string(), std::string(reference["name"].as_string()),
               std::string(reference["uid"].as_string())};
}

Collector::Owner Collector::judge(const json::Value& reference, const std::string& dependent_ns) {
  const auto kind = kind_of(reference);
  if (!kind) return Owner::kSolid;
  const bool sure = graph_.kind(group_of(reference), std::string(reference["kind"].as_string())).has_value();
  // A cluster-wide object cannot be owned by something in a namespace: such a reference says nothing.
  if (dependent_ns.empty() && (kind->namespaced || !sure)) return Owner::kSolid;
  Place place{kind->name, "", std::string(reference["name"].as_string()), std::string(reference["uid"].as_string())};
  Live live;
  Found found = Found::kNo;
  if (!sure || kind->namespaced) {
    place.ns = dependent_ns;
    found = find(place, &live);
  }
  if (found == Found::kNo && (!sure || !kind->namespaced)) {
    place.ns.clear();
    found = find(place, &live);
  }
  if (found == Found::kNo) return Owner::kAbsent;
  return found == Found::kYes && live.deleting() && live.has_finalizer(kForeground) ? Owner::kWaiting : Owner::kSolid;
}

Op Collector::with_references(const Place& place, const Live& live, json::Value references) {
  json::Value patch = json::Value::object();
  patch.make("metadata.ownerReferences") = references.empty() ? json::Value() : std::move(references);
  Op op = Op::merge(place.kind, place.ns, place.name, patch);
  op.if_revision = live.object.revision();
  op.if_uid = place.uid;
  return op;
}

Op Collector::without_finalizer(const Place& place, const Live& live, std::string_view finalizer) {
  json::Value kept = json::Value::array();
  for (const auto& f : live.metadata["finalizers"].items())
    if (f.as_string() != finalizer) kept.push(f);
  json::Value patch = json::Value::object();
  patch.make("metadata.finalizers") = kept.empty() ? json::Value() : std::move(kept);
  Op op = Op::merge(place.kind, place.ns, place.name, patch);
  op.if_revision = live.object.revision();
  op.if_uid = place.uid;
  return op;
}

void Collector::attempt(const Place& place, std::vector<Op>& ops) {
  Live live;
  const Found found = find(place, &live);
  if (found == Found::kNo) graph_.gone(place.uid);
  if (found == Found::kYes && !live.deleting()) collect(place, live, ops);
}

void Collector::collect(const Place& place, const Live& live, std::vector<Op>& ops) {
  const json::Value& references = live.metadata["ownerReferences"];
  if (references.empty()) return;
  std::vector<Owner> owners;
  size_t solid = 0, waiting = 0;
  for (const auto& r : references.items()) {
    owners.push_back(judge(r, place.ns));
    solid += owners.back() == Owner::kSolid;
    waiting += owners.back() == Owner::kWaiting;
  }
  if (solid > 0) {
    if (solid == owners.size()) return;
    size_t i = 0;
    ops.push_back(with_references(place, live, references_without(references, [&](const json::Value&) { return owners[i++] != Owner::kSolid; })));
    return;
  }
  std::string policy = live.has_finalizer(kOrphan) ? "Orphan" : live.has_finalizer(kForeground) ? "Foreground" : "Background";
  bool unblocked = false;
  if (waiting > 0 && graph_.has_dependents(place.uid)) {
    policy = "Foreground";
    // A circle of owners that wait for each other is opened here.
    for (const auto& d : graph_.dependents(place.uid)) {
      Live dependent;
      if (unblocked || find(d, &dependent) != Found::kYes || !dependent.deleting() || !dependent.has_finalizer(kForeground)) continue;
      json::Value open = references;
      for (auto& r : open.make_array()) r.set("blockOwnerDeletion", false);
      ops.push_back(with_references(place, live, std::move(open)));
      unblocked = true;
    }
  }
  Op op = Op::remove(place.kind, place.ns, place.name, place.uid, json::Value::object({{"propagationPolicy", policy}}));
  if (!unblocked) op.if_revision = live.object.revision();
  ops.push_back(std::move(op));
}

void Collector::commit(std::vector<Op> ops, int64_t again_ms, Answered answered) const {
  const json::Value result = again_ms ? after(again_ms) : done();
  if (ops.empty()) return answered(result);
  host_.commit(
      ops,
      [answered = std::move(answered), result](CommitResult r) {
        for (const auto& op : r.ops)
          if (op.code != PINTLE_OK && op.code != PINTLE_NOT_FOUND) return answered(retry(op.text));
        if (r.code != PINTLE_OK && r.ops.empty()) return answered(retry("the write failed"));
        answered(result);
      },
      PINTLE_COMMIT_INDEPENDENT);
}

void Collector::orphan(const Place& place, const Live& live, Answered answered) {
  std::vector<Op> ops;
  for (const auto& d : graph_.dependents(place.uid)) {
    Live dependent;
    const Found found = find(d, &dependent);
    if (found == Found::kNo) graph_.gone(d.uid);
    // What cannot be reached now keeps its reference, and the owner keeps its finalizer.
    if (found == Found::kUnknown) return answered(after(kBlockedMs));
    if (found != Found::kYes) continue;
    const auto& references = dependent.metadata["ownerReferences"];
    json::Value kept = references_without(references, [&](const json::Value& r) { return r["uid"].as_string() == place.uid; });
    if (kept.size() != references.size()) ops.push_back(with_references(d, dependent, std::move(kept)));
  }
  Op last = without_finalizer(place, live, kOrphan);
  if (ops.empty()) return commit({std::move(last)}, 0, std::move(answered));
  host_.commit(
      ops,
      [this, last = std::move(last), answered = std::move(answered)](CommitResult r) {
        for (const auto& op : r.ops)
          if (op.code != PINTLE_OK && op.code != PINTLE_NOT_FOUND) return answered(retry(op.text));
        if (r.code != PINTLE_OK) return answered(retry("the write failed"));
        commit({last}, 0, answered);
      },
      PINTLE_COMMIT_INDEPENDENT);
}

void Collector::foreground(const Place& place, const Live& live, Answered answered) {
  std::vector<Op> ops;
  bool blocked = graph_.waits_for_leaving(place.uid);
  for (const auto& d : graph_.staying(place.uid)) {
    Live dependent;
    const Found found = find(d, &dependent);
    if (found == Found::kNo) graph_.gone(d.uid);
    if (found == Found::kNo) continue;
    bool blocks = found == Found::kUnknown;
    for (const auto& r : dependent.metadata["ownerReferences"].items())
      blocks = blocks || (r["uid"].as_string() == place.uid && r["blockOwnerDeletion"].as_bool());
    blocked = blocked || blocks;
    if (found == Found::kYes && !dependent.deleting()) collect(d, dependent, ops);
  }
  if (!blocked) ops.push_back(without_finalizer(place, live, kForeground));
  commit(std::move(ops), blocked ? kBlockedMs : 0, std::move(answered));
}

void Collector::reconcile(const Place& place, Answered answered) {
  Live live;
  const Found found = find(place, &live);
  if (found == Found::kUnknown) return answered(done());  // its kind is disabled: nothing is decided about it
  std::vector<Op> ops;
  if (found == Found::kNo) {
    graph_.gone(place.uid);
    for (const auto& d : graph_.dependents(place.uid)) attempt(d, ops);
    return commit(std::move(ops), 0, std::move(answered));
  }
  if (live.deleting() && live.has_finalizer(kOrphan)) return orphan(place, live, std::move(answered));
  if (live.deleting() && live.has_finalizer(kForeground)) return foreground(place, live, std::move(answered));
  if (!live.deleting()) collect(place, live, ops);
  commit(std::move(ops), 0, std::move(answered));
}

}  // namespace pintle::gc
