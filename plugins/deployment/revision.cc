#include "revision.h"

#include <algorithm>
#include <set>

#include "pintle/workload.h"

namespace pintle::deployment {
namespace {

const std::set<std::string_view> kNotCopied{"kubectl.kubernetes.io/last-applied-configuration", kRevision, kRevisionHistory, kDesired, kMost,
                                            "deprecated.deployment.rollback.to"};

// Order of members must not matter: another version of the schema may write them in another one.
void mix(const json::Value& v, uint64_t& h) {
  const auto bytes = [&](std::string_view s) {
    for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    h = (h ^ 0xff) * 1099511628211ull;
  };
  if (v.is_object()) {
    std::vector<const json::Member*> sorted;
    for (const auto& m : v.members()) sorted.push_back(&m);
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->key < b->key; });
    bytes("{");
    for (const auto* m : sorted) {
      bytes(m->key);
      mix(m->value, h);
    }
    bytes("}");
  } else if (v.is_array()) {
    bytes("[");
    for (const auto& i : v.items()) mix(i, h);
    bytes("]");
  } else {
    bytes(v.dump());
  }
}

}  // namespace

std::string template_hash(const json::Value& pod_template, int64_t collisions) {
  uint64_t h = 1469598103934665603ull;
  mix(without_hash(pod_template), h);
  if (collisions > 0) mix(json::Value(collisions), h);
  // No vowels and nothing that looks alike: a hash should not spell a word.
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  uint64_t v = (h >> 32) ^ (h & 0xffffffffu);
  std::string out;
  for (const char digit : std::to_string(v)) out += kAlphabet[static_cast<size_t>(digit - '0') * 2 % kAlphabet.size()];
  return out;
}

json::Value without_hash(const json::Value& pod_template) {
  json::Value t = pod_template;
  if (json::Value* meta = t.find("metadata")) {
    if (json::Value* labels = meta->find("labels")) {
      labels->erase(kHashLabel);
      if (labels->empty()) meta->erase("labels");
    }
    meta->erase("creationTimestamp");
    if (meta->empty()) t.erase("metadata");
  }
  return t;
}

int find_newest(const json::Value& deployment, const std::vector<SetState>& sets) {
  const json::Value wanted = without_hash(deployment.at("spec.template"));
  int found = -1;
  for (size_t i = 0; i < sets.size(); ++i) {
    if (without_hash(sets[i].object.at("spec.template")) != wanted) continue;
    if (found < 0 || sets[i].created_ns < sets[static_cast<size_t>(found)].created_ns ||
        (sets[i].created_ns == sets[static_cast<size_t>(found)].created_ns && sets[i].name < sets[static_cast<size_t>(found)].name))
      found = static_cast<int>(i);
  }
  return found;
}

int64_t largest_revision(const std::vector<SetState>& sets, int except) {
  int64_t most = 0;
  for (size_t i = 0; i < sets.size(); ++i)
    if (static_cast<int>(i) != except) most = std::max(most, sets[i].revision);
  return most;
}

json::Value size_notes(const Wish& wish) {
  return json::Value::object({{kDesired, std::to_string(wish.replicas)}, {kMost, std::to_string(wish.replicas + wish.surge)}});
}

json::Value new_set(const json::Value& deployment, const Wish& wish, int64_t replicas, int64_t revision, int64_t collisions) {
  const json::Value& spec = deployment["spec"];
  const std::string hash = template_hash(spec["template"], collisions);
  json::Value annotations = json::Value::object();
  for (const auto& m : deployment.at("metadata.annotations").members())
    if (!kNotCopied.contains(m.key)) annotations.set(m.key, m.value);
  annotations.set(kRevision, std::to_string(revision));
  const json::Value notes = size_notes(wish);
  for (const auto& m : notes.members()) annotations.set(m.key, m.value);
  json::Value pod_template = spec["template"];
  json::Value& labels = pod_template.make("metadata.labels");
  labels.make_object();
  labels.set(kHashLabel, hash);
  json::Value selector = spec["selector"];
  selector.set("matchLabels").make_object();
  selector.set("matchLabels").set(kHashLabel, hash);
  json::Value meta = json::Value::object({{"name", std::string(deployment.at("metadata.name").as_string()) + "-" + hash},
                                          {"namespace", deployment.at("metadata.namespace")},
                                          {"labels", labels},
                                          {"annotations", std::move(annotations)},
                                          {"ownerReferences", json::Value::array({controller_reference(deployment)})}});
  json::Value set_spec = json::Value::object({{"replicas", replicas}});
  if (const int64_t wait = spec["minReadySeconds"].as_int(); wait > 0) set_spec.set("minReadySeconds", wait);
  set_spec.set("selector", std::move(selector));
  set_spec.set("template", std::move(pod_template));
  return json::Value::object({{"apiVersion", "apps/v1"}, {"kind", "ReplicaSet"}, {"metadata", std::move(meta)}, {"spec", std::move(set_spec)}});
}

json::Value annotations_to_set(const json::Value& deployment, const SetState& set, int64_t revision) {
  const json::Value& has = set.object.at("metadata.annotations");
  json::Value out = json::Value::object();
  for (const auto& m : deployment.at("metadata.annotations").members())
    if (!kNotCopied.contains(m.key) && has[m.key] != m.value) out.set(m.key, m.value);
  if (set.revision >= revision) return out;
  out.set(kRevision, std::to_string(revision));
  if (set.revision > 0) {
    const std::string history(has[kRevisionHistory].as_string()), old = std::to_string(set.revision);
    // At most some 2000 characters, as Kubernetes keeps: the oldest go.
    std::string longer = history.empty() ? old : history + "," + old;
    while (longer.size() > 2000) longer = longer.substr(longer.find(',') + 1);
    out.set(kRevisionHistory, longer);
  }
  return out;
}

std::vector<size_t> beyond_history(const json::Value& deployment, const std::vector<SetState>& sets, int newest) {
  const int64_t limit = deployment.at("spec.revisionHistoryLimit").as_int(10);
  std::vector<size_t> old;
  for (size_t i = 0; i < sets.size(); ++i)
    if (static_cast<int>(i) != newest && sets[i].object.at("metadata.deletionTimestamp").is_null()) old.push_back(i);
  const int64_t surplus = static_cast<int64_t>(old.size()) - limit;
  if (surplus <= 0) return {};
  std::stable_sort(old.begin(), old.end(), [&](size_t a, size_t b) {
    return sets[a].revision != sets[b].revision ? sets[a].revision < sets[b].revision : sets[a].created_ns < sets[b].created_ns;
  });
  std::vector<size_t> out;
  for (size_t i = 0; i < static_cast<size_t>(surplus); ++i) {
    const SetState& s = sets[old[i]];
    if (s.wished == 0 && s.replicas == 0 && s.observed) out.push_back(old[i]);
  }
  return out;
}

}  // namespace pintle::deployment
