// Admission plugins: match rules decide here before any call leaves; a failing one follows its declared policy.
#include <algorithm>

#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"
#include "pintle/if/admission.h"

namespace pintle::kernel {
namespace {
constexpr uint64_t kTimeout = 1000000000;
constexpr uint64_t kRulesFor = 10ull * 1000000000;
constexpr uint64_t kBreakFor = 5ull * 1000000000;
constexpr int kBreakAfter = 5;
enum : uint32_t { kDescribeAdmission, kMutateAdmission, kValidateAdmission };

bool holds(const json::Value& list, std::string_view value) {
  if (!list.is_array()) return true;
  return std::any_of(list.items().begin(), list.items().end(),
                     [&](const json::Value& v) { return v.as_string() == value || v.as_string() == "*"; });
}
}  // namespace

Async<ApiPipeline::AdmissionRules> ApiPipeline::admission_rules(std::string slot) {
  {
    const std::lock_guard lock(mutex_);
    const auto at = admission_.find(slot);
    if (at != admission_.end() && at->second.until > executor_.now()) co_return at->second;
  }
  Result<std::string> reply = co_await call(slot, PINTLE_ADMISSION, kDescribeAdmission, "{}", kTimeout);
  const std::lock_guard lock(mutex_);
  AdmissionRules& rules = admission_[slot];
  if (reply) {
    const json::Value v = json::parse_or_null(*reply);
    rules.rules = v["rules"];
    rules.fail = v["failurePolicy"].as_string("Fail") != "Ignore";
    rules.until = executor_.now() + kRulesFor;
  } else {
    rules.until = executor_.now() + kTimeout;  // the last known rules go on; none known = everything, Fail
    if (rules.rules.is_null()) rules.rules = json::parse_or_null(R"([{}])");
  }
  co_return rules;
}

Async<Result<void>> ApiPipeline::admit(OpRef op, bool mutate, const char* operation, json::Value& object, const json::Value* old) {
  const std::vector<std::string> slots = hooks_.slots("admission");
  for (const std::string& slot : slots) {
    const AdmissionRules rules = co_await admission_rules(slot);
    const Key key = op->target.key;
    bool wanted = false;
    for (const json::Value& rule : rules.rules.items()) {
      wanted = wanted || (holds(rule["kinds"], key.kind) && holds(rule["operations"], operation) && holds(rule["namespaces"], key.ns) &&
                          (!rule["phase"].is_string() || rule["phase"].as_string() == (mutate ? "mutate" : "validate")));
    }
    if (!wanted) continue;
    bool open = false;
    {
      const std::lock_guard lock(mutex_);
      open = breakers_[slot].until > executor_.now();
    }
    Result<std::string> reply = Error(PINTLE_UNAVAILABLE, "not asked after repeated failures");
    if (!open) {
      json::Value ask = json::Value::object();
      ask.set("uid", uuid4(executor_));
      ask.set("operation", operation);
      ask.set("kind", key.kind);
      ask.set("namespace", key.ns);
      ask.set("name", key.name);
      ask.set("subresource", op->request.subresource);
      ask.set("user", op->request.identity.user);
      json::Value& groups = ask.set("groups", json::Value::array());
      for (const std::string& g : op->request.identity.groups) groups.push(g);
      ask.set("object", object);
      if (old) ask.set("oldObject", *old);
      ask.set("dryRun", op->dry_run);
      reply = co_await call(slot, PINTLE_ADMISSION, mutate ? kMutateAdmission : kValidateAdmission, ask.dump(), kTimeout);
      const std::lock_guard lock(mutex_);
      Breaker& breaker = breakers_[slot];
      if (reply) {
        breaker = {};
      } else if (++breaker.failures >= kBreakAfter) {
        breaker = {0, executor_.now() + kBreakFor};
      }
    }
    if (!reply) {
      if (!rules.fail) continue;
      co_return internal("failed calling admission plugin \"" + slot + "\": " + reply.error().text);
    }
    const json::Value verdict = json::parse_or_null(*reply);
    for (const json::Value& w : verdict["warnings"].items()) op->warnings.emplace_back(w.as_string());
    if (!verdict["allowed"].as_bool()) {
      const json::Value& status = verdict["status"];
      Error e(PINTLE_FORBIDDEN, "admission plugin \"" + slot + "\" denied the request: " +
                                    std::string(status["message"].as_string("without explanation")));
      if (status.is_object()) {
        e.status = status;
        e.status.set("message", e.text);
      }
      co_return e;
    }
    if (mutate && verdict["object"].is_object()) {
      object = verdict["object"];
      Result<void> fits = fit(*op, object, {});
      if (!fits) co_return fits.error();
    }
  }
  co_return Result<void>();
}

}  // namespace pintle::kernel
