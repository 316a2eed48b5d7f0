#include "sync.h"

#include <algorithm>

#include "config_hash.h"
#include "pintle/labels.h"
#include "pintle/workload.h"

namespace pintle::deployment {
namespace {

constexpr int kMostRounds = 32;
const char* const kSets = "replicasets.apps";
const char* const kDeployments = "deployments.apps";

uint64_t revision_of(const json::Value& object) {
  return std::strtoull(std::string(object.at("metadata.resourceVersion").as_string("0")).c_str(), nullptr, 10);
}

json::Value with_annotations(json::Value annotations) {
  return json::Value::object({{"metadata", json::Value::object({{"annotations", std::move(annotations)}})}});
}

}  // namespace

Sync::Sync(Host host, EventRecorder& events, std::string key, uint32_t owner_path, Done done)
    : host_(host), events_(events), key_(std::move(key)), owner_path_(owner_path), done_(std::move(done)) {
  const size_t slash = key_.find('/');
  ns_ = key_.substr(0, slash);
  name_ = slash == std::string::npos ? key_ : key_.substr(slash + 1);
}

void Sync::finish(const char* result, const std::string& message) {
  json::Value r = json::Value::object({{"key", key_}, {"result", result}});
  if (!message.empty()) r.set("message", message);
  if (std::string_view(result) == "after") r.set("afterMs", std::max<int64_t>(1, again_ns_ / 1000000 + 1));
  done_(std::move(r));
}

void Sync::run() { round(); }

bool Sync::read() {
  const auto object = host_.get_object(kDeployments, ns_, name_);
  if (!object.ok()) {
    finish(object.error().code == PINTLE_NOT_FOUND ? "done" : "retry", object.error().code == PINTLE_NOT_FOUND ? "" : object.error().text);
    return false;
  }
  deployment_ = (*object).json();
  revision_ = (*object).revision();
  uid_ = deployment_.at("metadata.uid").as_string();
  wish_ = Wish::of(deployment_);
  const auto list = host_.list({.kind = kSets, .ns = ns_});
  if (!list.ok()) {
    finish("retry", list.error().text);
    return false;
  }
  sets_.clear();
  for (const Object& o : list->objects) {
    const std::string_view owners = o.field(owner_path_);
    if (owners.find("\"controller\":true") != std::string_view::npos && owners.find(uid_) == std::string_view::npos) continue;
    sets_.push_back(SetState::of(o.json()));
  }
  return true;
}

// Leaves in sets_ what is ours. Orphans that match are adopted, sets that match no more are released.
bool Sync::claim() {
  const auto selector = Selector::from_object(deployment_.at("spec.selector"));
  const bool valid = selector.ok() && !selector->empty();
  const bool deleting = !deployment_.at("metadata.deletionTimestamp").is_null();
  std::vector<Op> ops;
  std::vector<SetState> ours;
  for (auto& s : sets_) {
    const bool matches = valid && selector->matches(s.object.at("metadata.labels"));
    const std::string_view owner = controller_uid(s.object);
    if (owner == uid_ && (matches || deleting || !valid)) {
      ours.push_back(std::move(s));
      continue;
    }
    const bool release = owner == uid_, adopt = owner.empty() && matches && !deleting && s.object.at("metadata.deletionTimestamp").is_null();
    if (!release && !adopt) continue;
    json::Value refs = json::Value::array();
    for (const auto& r : s.object.at("metadata.ownerReferences").items())
      if (r["uid"].as_string() != uid_) refs.push(r);
    if (adopt) refs.push(controller_reference(deployment_));
    ops.push_back(patch_set(s, json::Value::object({{"metadata", json::Value::object({{"ownerReferences", std::move(refs)}})}})));
  }
  sets_ = std::move(ours);
  if (ops.empty()) return false;
  commit(std::move(ops));
  return true;
}

void Sync::round() {
  if (!read() || claim()) return;
  newest_ = find_newest(deployment_, sets_);
  if (!deployment_.at("metadata.deletionTimestamp").is_null() || ++rounds_ > kMostRounds) return write_status();
  const bool paused = deployment_.at("spec.paused").as_bool();
  if (paused || is_scaling(wish_, sets_)) {
    if (apply(scaling_steps(wish_, sets_, newest_))) return;
    if (paused) {
      if (!clean_up()) write_status();
      return;
    }
  }
  if (follow_config() || roll_back()) return;
  if (newest_ < 0) {
    if (!wish_.rolling) {
      // The new version's set comes when the old pods are gone.
      if (apply(recreate_steps(wish_, sets_, newest_))) return;
      if (!old_pods_are_gone(sets_, newest_)) return write_status();
    }
    if (make_set()) return;
  } else if (mark_set() || mark_revision()) {
    return;
  }
  if (apply(wish_.rolling ? rolling_steps(wish_, sets_, newest_) : recreate_steps(wish_, sets_, newest_))) return;
  if (complete(deployment_, wish_, status_of(deployment_, wish_, sets_, newest_, {}, host_.wall(), nullptr)) && clean_up()) return;
  write_status();
}

bool Sync::follow_config() {
  if (deployment_.at("metadata.annotations")[kRollOnConfigChange].as_string() != "true") return false;
  const std::string hash = config_hash(deployment_.at("spec.template.spec"), [this](const ConfigRef& ref) {
    const auto o = host_.get_object(ref.first, ns_, ref.second);
    return o.ok() ? (*o).json() : json::Value();
  });
  const std::string_view has = deployment_.at("spec.template.metadata.annotations")[kConfigHash].as_string();
  if (hash == has) return false;
  json::Value annotation = json::Value::object();
  annotation.set(kConfigHash, hash.empty() ? json::Value() : json::Value(hash));
  json::Value patch = json::Value::object();
  patch.make("spec.template") = with_annotations(std::move(annotation));
  const bool first = has.empty();
  commit({patch_deployment(patch)}, [this, first] {
    if (!first)
      events_.normal(EventSubject::of(deployment_), "ConfigChanged", "A ConfigMap or Secret of the template changed: rolling out");
  });
  return true;
}

bool Sync::roll_back() {
  const json::Value& notes = deployment_.at("metadata.annotations");
  if (notes[kAutoRollback].as_string() != "true" || newest_ < 0 || !timed_out(deployment_["status"])) return false;
  const SetState& failed = sets_[static_cast<size_t>(newest_)];
  const int64_t revision = largest_revision(sets_, newest_);
  const auto target = std::find_if(sets_.begin(), sets_.end(), [&](const SetState& s) { return s.revision == revision && s.name != failed.name; });
  // Once: a version that was given up is not gone back to.
  if (revision == 0 || target == sets_.end() || notes[kRolledBackFrom].as_string() == target->name) return false;
  const std::string message = "Rolled back to revision " + std::to_string(revision) + ": ReplicaSet \"" + failed.name + "\" has timed out progressing";
  json::Value full = deployment_;
  full.make("spec").set("template", without_hash(target->object.at("spec.template")));
  full.make("metadata.annotations").set(kRolledBackFrom, failed.name);
  Op op = Op::update(kDeployments, ns_, name_, full);
  op.if_revision = revision_;
  op.if_uid = uid_;
  commit({std::move(op)}, [this, message] { events_.warning(EventSubject::of(deployment_), "DeploymentRollback", message); });
  return true;
}

bool Sync::make_set() {
  const int64_t collisions = deployment_.at("status.collisionCount").as_int();
  int64_t all = 0;
  for (const auto& s : sets_) all += s.wished;
  const int64_t size = next_size_of_new(wish_, all, 0);
  const json::Value set = new_set(deployment_, wish_, size, largest_revision(sets_, -1) + 1, collisions);
  const std::string set_name(set.at("metadata.name").as_string());
  commit(
      {Op::create(kSets, ns_, set)},
      [this, set_name, size] {
        happened_.created_set = set_name;
        if (size > 0)
          events_.normal(EventSubject::of(deployment_), "ScalingReplicaSet",
                         "Scaled up replica set " + set_name + " from 0 to " + std::to_string(size));
      },
      [this, collisions, set_name](const OpResult& failed) {
        if (failed.code == PINTLE_ALREADY_EXISTS) {
          // Another template, or another owner, has that name: the next hash is another one.
          Op op = Op::merge(kDeployments, ns_, name_, json::Value::object({{"status", json::Value::object({{"collisionCount", collisions + 1}})}}), "status");
          op.if_uid = uid_;
          commit({std::move(op)});
          return true;
        }
        happened_.failed_to_create = "Failed to create new replica set \"" + set_name + "\": " + failed.text;
        events_.warning(EventSubject::of(deployment_), "ReplicaSetCreateError", happened_.failed_to_create);
        write_status();
        return true;
      });
  return true;
}

bool Sync::mark_set() {
  const SetState& s = sets_[static_cast<size_t>(newest_)];
  const int64_t revision = largest_revision(sets_, newest_) + 1;
  const json::Value missing = annotations_to_set(deployment_, s, revision);
  const int64_t wait = deployment_.at("spec.minReadySeconds").as_int();
  const bool other_wait = s.object.at("spec.minReadySeconds").as_int() != wait;
  if (missing.empty() && !other_wait) return false;
  json::Value patch = missing.empty() ? json::Value::object() : with_annotations(missing);
  if (other_wait) patch.set("spec", json::Value::object({{"minReadySeconds", wait}}));
  const bool older = s.revision > 0 && s.revision < revision;
  commit({patch_set(s, patch)}, [this, older, set_name = s.name] {
    if (older) happened_.found_set = set_name;
  });
  return true;
}

bool Sync::mark_revision() {
  const std::string revision = std::to_string(sets_[static_cast<size_t>(newest_)].revision);
  if (deployment_.at("metadata.annotations")[kRevision].as_string() == revision) return false;
  json::Value annotation = json::Value::object();
  annotation.set(kRevision, revision);
  commit({patch_deployment(with_annotations(std::move(annotation)))});
  return true;
}

bool Sync::apply(const std::vector<Step>& steps) {
  const json::Value notes = size_notes(wish_);
  std::vector<Op> ops;
  std::vector<std::string> messages;
  for (const Step& step : steps) {
    const SetState& s = sets_[step.set];
    const json::Value& has = s.object.at("metadata.annotations");
    const bool noted = has[kDesired] == notes[kDesired] && has[kMost] == notes[kMost];
    if (s.wished == step.wished && noted) continue;
    json::Value patch = with_annotations(notes);
    if (s.wished != step.wished) {
      patch.set("spec", json::Value::object({{"replicas", step.wished}}));
      messages.push_back(std::string("Scaled ") + (step.wished > s.wished ? "up" : "down") + " replica set " + s.name + " from " +
                         std::to_string(s.wished) + " to " + std::to_string(step.wished));
    }
    ops.push_back(patch_set(s, patch));
  }
  if (ops.empty()) return false;
  commit(std::move(ops), [this, messages] {
    for (const auto& m : messages) events_.normal(EventSubject::of(deployment_), "ScalingReplicaSet", m);
  });
  return true;
}

bool Sync::clean_up() {
  std::vector<Op> ops;
  for (const size_t i : beyond_history(deployment_, sets_, newest_)) {
    Op op = Op::remove(kSets, ns_, sets_[i].name, sets_[i].uid);
    op.if_revision = revision_of(sets_[i].object);
    ops.push_back(std::move(op));
  }
  if (ops.empty()) return false;
  commit(std::move(ops), {}, {}, true);
  return true;
}

void Sync::write_status() {
  const json::Value fresh = status_of(deployment_, wish_, sets_, newest_, happened_, host_.wall(), &again_ns_);
  const json::Value patch = status_patch(deployment_["status"], fresh);
  const bool just_timed_out = timed_out(fresh) && !timed_out(deployment_["status"]);
  const auto end = [self = shared_from_this(), just_timed_out] {
    if (!self->happened_.failed_to_create.empty()) return self->finish("retry", self->happened_.failed_to_create);
    if (just_timed_out && self->deployment_.at("metadata.annotations")[kAutoRollback].as_string() == "true" && self->rounds_ <= kMostRounds)
      return self->round();  // what follows from it
    self->finish(self->again_ns_ != INT64_MAX ? "after" : "done");
  };
  if (patch.is_null()) return end();
  Op op = Op::merge(kDeployments, ns_, name_, patch, "status");
  op.if_uid = uid_;
  host_.commit({op}, [self = shared_from_this(), end](CommitResult r) {
    const OpResult* bad = r.failed();
    if (r.ok() || (bad && bad->code == PINTLE_NOT_FOUND)) return end();
    self->finish("retry", bad ? bad->text : "the status could not be written");
  });
}

void Sync::commit(std::vector<Op> ops, std::function<void()> then, std::function<bool(const OpResult&)> otherwise, bool independent) {
  host_.commit(
      ops,
      [self = shared_from_this(), then = std::move(then), otherwise = std::move(otherwise), independent](CommitResult r) {
        const OpResult* failed = r.failed();
        if (r.ok() || (independent && r.code == PINTLE_OK && failed && (failed->code == PINTLE_NOT_FOUND || failed->code == PINTLE_CONFLICT))) {
          if (then) then();
          return self->round();
        }
        if (failed && otherwise && otherwise(*failed)) return;
        self->finish("retry", failed ? failed->text : "the store refused the commit");
      },
      independent ? PINTLE_COMMIT_INDEPENDENT : PINTLE_COMMIT_ATOMIC);
}

Op Sync::patch_deployment(const json::Value& patch) const {
  Op op = Op::merge(kDeployments, ns_, name_, patch);
  op.if_revision = revision_;
  op.if_uid = uid_;
  return op;
}

Op Sync::patch_set(const SetState& set, const json::Value& patch) const {
  Op op = Op::merge(kSets, ns_, set.name, patch);
  op.if_revision = revision_of(set.object);
  op.if_uid = set.uid;
  return op;
}

}  // namespace pintle::deployment
