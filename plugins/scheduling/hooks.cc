// Subresources of pods that this plugin serves: binding (for schedulers outside), eviction, explain.
#include "messages.h"
#include "pintle/timestamp.h"
#include "scheduling.h"

namespace pintle::scheduling_plugin {
namespace {

json::Value success() {
  return json::Value::object(
      {{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::Value::object()}, {"status", "Success"}, {"code", 201}});
}

json::Value op(const char* verb, const char* kind, const std::string& ns, const std::string& name, json::Value body) {
  json::Value v = json::Value::object({{"verb", verb}, {"kind", kind}, {"namespace", ns}, {"name", name}, {"subresource", ""}});
  if (!body.is_null()) v.set("body", std::move(body));
  return v;
}

int64_t revision_of(const json::Value& object) {
  const std::string text(object.at("metadata.resourceVersion").as_string("0"));
  return static_cast<int64_t>(std::strtoull(text.c_str(), nullptr, 10));
}

}  // namespace

void Scheduling::hook(const json::Value& request, Call call) {
  const std::string_view sub = request["subresource"].as_string();
  if (request["object"].is_null())
    return call.fail(PINTLE_NOT_FOUND, "pods \"" + std::string(request["name"].as_string()) + "\" not found");
  if (sub == "binding") return binding_hook(request, std::move(call));
  if (sub == "eviction") return eviction_hook(request, std::move(call));
  if (sub == "explain") return explain_hook(request, std::move(call));
  call.fail(PINTLE_NOT_FOUND, "scheduling does not serve pods/" + std::string(sub));
}

// The same ledger as the plugin's own binds: the account is read with its revision, and the transaction compares it.
void Scheduling::binding_hook(const json::Value& request, Call call) {
  const json::Value &pod = request["object"], &body = request["body"];
  const std::string ns(pod.at("metadata.namespace").as_string()), name(pod.at("metadata.name").as_string());
  const std::string uid(pod.at("metadata.uid").as_string()), node(body.at("target.name").as_string());
  const std::string wanted_uid(body.at("metadata.uid").as_string());
  const std::string target_kind(body.at("target.kind").as_string("Node"));
  if (node.empty()) return call.fail(PINTLE_INVALID, "target.name: Required value");
  if (!target_kind.empty() && target_kind != "Node")
    return call.fail(PINTLE_INVALID, "target.kind: Unsupported value: \"" + target_kind + "\": supported values: \"Node\"");
  const auto conflict = [&](const std::string& why) {
    call.fail(PINTLE_CONFLICT, "Operation cannot be fulfilled on pods/binding \"" + name + "\": " + why);
  };
  if (!wanted_uid.empty() && wanted_uid != uid) return conflict("the UID in the precondition (" + wanted_uid + ") does not match the UID in record (" + uid + ")");
  if (!pod.at("metadata.deletionTimestamp").is_null()) return conflict("pod " + name + " is being deleted, cannot be assigned to a host");
  if (const std::string_view now = pod.at("spec.nodeName").as_string(); !now.empty())
    return conflict("pod " + name + " is already assigned to node \"" + std::string(now) + "\"");
  if (gated(pod)) return conflict("pod " + name + " has non-empty .spec.schedulingGates");
  if (!nodes_.contains(node)) {
    const auto fresh = host.get_object("nodes", "", node);
    if (!fresh.ok()) return call.fail(PINTLE_NOT_FOUND, "nodes \"" + node + "\" not found");
    ledger_.set_node(node, scheduling::Amounts::from_numbers(node_message((*fresh).json())["allocatable"]));
  }
  if (!read_account(node)) return call.fail(PINTLE_UNAVAILABLE, "the ledger of node \"" + node + "\" cannot be read");
  const scheduling::Amounts requests = scheduling::pod_requests(pod["spec"]);
  std::string why;
  if (!ledger_.fits(node, requests, &why, uid)) return conflict("node \"" + node + "\" has no room: " + why);
  Ledger::Account after = *ledger_.account(node);
  if (ledger_.node_of(uid) != node) after.used.add(requests);  // or else on its way there by our own decision
  ++after.binds;

  json::Value patch = json::Value::object({{"spec", json::Value::object({{"nodeName", node}})}});
  for (const char* map : {"annotations", "labels"})
    if (const json::Value& m = body.at(std::string("metadata.") + map); !m.empty()) patch.set("metadata").set(map, m);
  json::Value bind_op = op("merge", "pods", ns, name, std::move(patch));
  bind_op.set("uid", uid);
  bind_op.set("revision", revision_of(pod));
  const json::Value condition = scheduled_condition(pod, true, "", "", format_time(host.wall()));
  json::Value status_op = op("merge", "pods", ns, name,
                             json::Value::object({{"status", json::Value::object({{"conditions", with_condition(pod.at("status.conditions"), condition)}})}}));
  status_op.set("subresource", "status");
  status_op.set("uid", uid);
  json::Value ledger_op = op(after.revision ? "update" : "create", "nodeledgers.pintle.dev", "", node, ledger_object(node, after));
  if (after.revision) ledger_op.set("revision", after.revision);
  call.reply(json::Value::object({{"reply", success()},
                                  {"ops", json::Value::array({std::move(ledger_op), std::move(bind_op), std::move(status_op)})},
                                  {"code", 201},
                                  {"retry", true}}));
}

void Scheduling::eviction_hook(const json::Value& request, Call call) {
  const json::Value &pod = request["object"], &body = request["body"];
  const std::string ns(pod.at("metadata.namespace").as_string()), name(pod.at("metadata.name").as_string());
  const std::string named(body.at("metadata.name").as_string(name));
  if (named != name)
    return call.fail(PINTLE_BAD_REQUEST, "name in URL does not match name in Eviction object: " + name + " != " + named);
  json::Value options = body["deleteOptions"];
  const std::string wanted_uid(options.at("preconditions.uid").as_string());
  const std::string uid(pod.at("metadata.uid").as_string());
  if (!wanted_uid.empty() && wanted_uid != uid)
    return call.fail(PINTLE_CONFLICT, "Operation cannot be fulfilled on pods \"" + name + "\": the UID in the precondition (" + wanted_uid +
                                          ") does not match the UID in record (" + uid + ")");
  if (options.is_object()) options.erase("preconditions");
  json::Value remove = op("delete", "pods", ns, name, options.is_object() ? std::move(options) : json::Value::object());
  remove.set("uid", uid);
  call.reply(json::Value::object({{"reply", success()}, {"ops", json::Value::array({std::move(remove)})}, {"code", 201}}));
}

void Scheduling::explain_hook(const json::Value& request, Call call) {
  const json::Value& pod = request["object"];
  const std::string key = std::string(pod.at("metadata.namespace").as_string()) + "/" + std::string(pod.at("metadata.name").as_string());
  const auto at_once = [&](const std::string& message) {
    call.reply(json::Value::object(
        {{"reply", json::Value::object({{"text", "pod " + key + ": " + message + "\n"}, {"message", message}, {"nodes", json::Value::array()}})},
         {"code", 200}}));
  };
  if (const std::string_view node = pod.at("spec.nodeName").as_string(); !node.empty())
    return at_once("it is assigned to node \"" + std::string(node) + "\"");
  if (finished(pod)) return at_once("it has finished");
  if (gated(pod)) return at_once("scheduling is blocked due to non-empty scheduling gates");
  if (draining_ || !active_) return call.fail(PINTLE_UNAVAILABLE, "scheduling is not active");
  Profile& p = profile(std::string(pod.at("spec.schedulerName").as_string("default-scheduler")));
  p.questions.push_back({pending_message(pod), std::make_shared<Call>(std::move(call))});
  pump();
}

}  // namespace pintle::scheduling_plugin
