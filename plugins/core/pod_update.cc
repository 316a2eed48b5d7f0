#include "plugins/core/pod_validation.h"

namespace pintle::core {
namespace {

constexpr const char* kRule =
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

// Everything but tolerationSeconds must stay.
bool same_toleration(const json::Value& a, const json::Value& b) {
  for (const char* field : {"key", "operator", "value", "effect"})
    if (a[field].as_string() != b[field].as_string()) return false;
  return true;
}

void check_tolerations(const json::Value& now, const json::Value& before, Causes& causes) {
  for (const auto& old : before.items()) {
    bool kept = false;
    for (const auto& t : now.items()) kept = kept || same_toleration(t, old);
    if (!kept) {
      causes.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds");
      return;
    }
  }
}

void check_deadline(const json::Value& now, const json::Value& before, Causes& causes) {
  if (!before.is_int()) return;
  if (!now.is_int()) causes.invalid("spec.activeDeadlineSeconds", now, "must not update from a positive integer to nil value");
  else if (now.as_int() > before.as_int())
    causes.invalid("spec.activeDeadlineSeconds", now, "must be less than or equal to previous value");
}

// Gates may go, never come.
bool only_removed(const json::Value& now, const json::Value& before) {
  for (const auto& gate : now.items()) {
    bool known = false;
    for (const auto& old : before.items()) known = known || old["name"] == gate["name"];
    if (!known) return false;
  }
  return true;
}

// `now` with the fields that may change set to their old values: what is left must be equal.
json::Value levelled(const json::Value& now, const json::Value& before) {
  json::Value out = now;
  for (const char* list : {"containers", "initContainers"}) {
    json::Value* containers = out.find(list);
    if (!containers || !containers->is_array()) continue;
    auto& items = containers->make_array();
    for (size_t i = 0; i < items.size(); ++i)
      if (before[list][i].is_object()) items[i].set("image", before[list][i]["image"]);
  }
  for (const char* field : {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"}) {
    if (before.contains(field)) out.set(field, before[field]);
    else out.erase(field);
  }
  // Binding is a write of the scheduling role; who may do it is decided where the writer is known.
  if (before["nodeName"].as_string().empty()) {
    if (before.contains("nodeName")) out.set("nodeName", before["nodeName"]);
    else out.erase("nodeName");
  }
  return out;
}

}  // namespace

void validate_pod_update(const json::Value& pod, const json::Value& old, Causes& causes) {
  const json::Value &now = pod["spec"], &before = old["spec"];
  for (const char* list : {"containers", "initContainers"}) {
    if (now[list].size() != before[list].size()) {
      causes.forbidden(std::string("spec.") + list, "pod updates may not add or remove containers");
      return;
    }
  }
  check_tolerations(now["tolerations"], before["tolerations"], causes);
  check_deadline(now["activeDeadlineSeconds"], before["activeDeadlineSeconds"], causes);
  if (!only_removed(now["schedulingGates"], before["schedulingGates"]))
    causes.forbidden("spec.schedulingGates", "only deletion is allowed, but found new scheduling gates");
  const int64_t grace = now["terminationGracePeriodSeconds"].as_int(), had = before["terminationGracePeriodSeconds"].as_int();
  const json::Value rest = levelled(now, before);
  std::string changed;
  for (const auto& m : rest.members())
    if (m.value != before[m.key]) changed += " spec." + m.key;
  for (const auto& m : before.members())
    if (!rest.contains(m.key)) changed += " spec." + m.key;
  if (grace != had && !(had < 0 && grace == 1)) changed += " spec.terminationGracePeriodSeconds";
  if (!changed.empty()) causes.forbidden("spec", std::string(kRule) + "\nchanged:" + changed);
}

}  // namespace pintle::core
