// The plugin `core`: hooks of its kinds by name, and its controllers. The rules themselves are in the files beside.
#include <atomic>
#include <fstream>
#include <memory>
#include <sstream>

#include "pintle/plugin.h"
#include "plugins/core/connect.h"
#include "plugins/core/node_lifecycle.h"
#include "plugins/core/objects.h"
#include "plugins/core/pod_defaults.h"
#include "plugins/core/pod_deletion.h"
#include "plugins/core/pod_validation.h"
#include "plugins/core/tables.h"

namespace pintle::core {
namespace {

std::string read_ca(const json::Value& config) {
  const std::string path(config["caFile"].as_string());
  if (path.empty()) return {};
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in || text.str().empty()) throw Error(PINTLE_INVALID, "caFile \"" + path + "\" cannot be read");
  return text.str();
}

}  // namespace

class Core final : public Plugin, public ResourceProvider, public ControllerProvider {
 public:
  Core(Host h, const json::Value& config)
      : Plugin(h),
        config_(config),
        nodes_(h, static_cast<uint64_t>(config["nodeMonitorGraceSeconds"].as_int(40)) * 1000000000) {}

  void start() override {
    namespaces_ = std::make_unique<Namespaces>(host, read_ca(config_));
    namespaces_->start();
  }
  void stop() override {
    if (namespaces_) namespaces_->stop();
  }

  void default_(json::Value request, Call call) override {
    const std::string type(request["type"].as_string());
    json::Value& object = request.set("object");
    if (type == "api.core.v1.PodSpec") default_pod_spec(object);
    else if (type == "api.core.v1.Pod") default_pod(object);
    else if (type == "api.core.v1.Secret") default_secret(object);
    else if (type == "api.core.v1.Node") default_node(object);
    call.reply(json::Value::object({{"object", std::move(object)}}));
  }

  void validate_object(json::Value request, Call call) override {
    const std::string type(request["type"].as_string());
    const json::Value &object = request["object"], &old = request["old"];
    Causes causes;
    if (type == "api.core.v1.PodSpec") {
      validate_pod_spec(object, causes);
    } else if (type == "api.core.v1.Pod") {
      if (old.is_object()) validate_pod_update(object, old, causes);
      else if (!object["spec"]["ephemeralContainers"].empty())
        causes.forbidden("spec.ephemeralContainers", "cannot be set on create");
    } else if (type == "api.core.v1.Secret") {
      validate_secret(object, old, causes);
    } else if (type == "api.core.v1.ConfigMap") {
      validate_config_map(object, old, causes);
    } else if (type == "api.core.v1.Event") {
      validate_event(object, "involvedObject", causes);
    } else if (type == "api.events.v1.Event") {
      validate_event(object, "regarding", causes);
    } else if (type == "api.core.v1.Node") {
      validate_node(object, causes);
    }
    call.reply(causes.reply());
  }

  void prepare(json::Value request, Call call) override {
    const std::string kind(request["kind"].as_string());
    const bool create = request["operation"].as_string() == "create";
    json::Value& object = request.set("object");
    json::Value warnings = json::Value::array();
    if (kind == "namespaces") {
      prepare_namespace(object, create);
    } else if (kind == "pods" && create) {
      prepare_pod(object, warnings);
    } else if (kind == "pods") {
      refuse_foreign_binding(request);
    }
    json::Value reply = json::Value::object({{"object", std::move(object)}});
    if (!warnings.empty()) reply.set("warnings", std::move(warnings));
    call.reply(reply);
  }

  void delete_(json::Value request, Call call) override {
    const std::string kind(request["kind"].as_string());
    if (request["phase"].as_string() == "final") return call.reply();
    if (kind == "pods") return call.reply(delete_pod(request["object"], request["options"]));
    if (kind == "namespaces") return call.reply(delete_namespace(request["object"]));
    call.reply(json::Value::object({{"action", "immediate"}}));
  }

  void table(json::Value request, Call call) override {
    call.reply(table_rows(request["kind"].as_string(), request["objects"], host.wall()));
  }

  void connect(json::Value request, Call call) override { call.reply(connect_pod(request)); }

  void describe(json::Value, Call call) override {
    const auto watch = [](const char* kind, const char* map, json::Value fields = {}) {
      json::Value w = json::Value::object({{"kind", kind}, {"map", map}});
      if (!fields.is_null()) w.set("fields", std::move(fields));
      return w;
    };
    call.reply(json::Value::object(
        {{"controllers",
          json::Value::array(
              {json::Value::object({{"name", "namespace-contents"},
                                    {"workers", 2},
                                    {"watches", json::Value::array({watch("namespaces", "self"), watch("serviceaccounts", "call"),
                                                                    watch("configmaps", "call", json::Value::array({"data"}))})}}),
               json::Value::object(
                   {{"name", "node-lifecycle"},
                    {"workers", 1},
                    {"watches", json::Value::array(
                                    {watch("nodes", "self", json::Value::array({"spec", "status.conditions"})),
                                     watch("pods", "call", json::Value::array({"spec.nodeName", "spec.tolerations"}))})}})})}}));
  }

  void map(json::Value request, Call call) override {
    call.reply(request["controller"].as_string() == "node-lifecycle" ? NodeLifecycle::map(request) : Namespaces::map(request));
  }

  void reconcile(json::Value request, Call call) override {
    struct Batch {
      explicit Batch(Call c) : call(std::move(c)) {}
      Call call;
      std::mutex mutex;
      json::Value results = json::Value::array();
      size_t left = 0;
    };
    const json::Value keys = request["keys"];
    if (keys.empty()) return call.reply(json::Value::object({{"results", json::Value::array()}}));
    auto batch = std::make_shared<Batch>(std::move(call));
    batch->left = keys.size();
    const bool nodes = request["controller"].as_string() == "node-lifecycle";
    for (const auto& k : keys.items()) {
      const std::string name(k.as_string());
      const Answered answered = [batch, name](json::Value result) {
        result.set("key", name);
        std::lock_guard lock(batch->mutex);
        batch->results.push(std::move(result));
        if (--batch->left == 0) batch->call.reply(json::Value::object({{"results", std::move(batch->results)}}));
      };
      if (nodes) nodes_.reconcile(name, answered);
      else namespaces_->reconcile(name, answered);
    }
  }

 private:
  void prepare_pod(json::Value& pod, json::Value& warnings) {
    const auto refuse = [&](const std::string& why) {
      throw Error(PINTLE_FORBIDDEN, "pods \"" + std::string(pod["metadata"]["name"].as_string()) + "\" is forbidden: " + why);
    };
    if (const auto priority = pod_priority(pod["spec"]); !priority) refuse(priority.error().text);
    complete_new_pod(pod);
    json::Value& spec = pod.set("spec");
    if (const std::string name(spec["runtimeClassName"].as_string()); !name.empty()) {
      const auto runtime = host.get_object("runtimeclasses.node.k8s.io", "", name);
      if (!runtime && runtime.error().code == PINTLE_NOT_FOUND) refuse("pod rejected: RuntimeClass \"" + name + "\" not found");
    }
    const std::string account(spec["serviceAccountName"].as_string()), ns(pod["metadata"]["namespace"].as_string());
    const auto found = host.get_object("serviceaccounts", ns, account);
    if (!found && found.error().code == PINTLE_NOT_FOUND && account != "default")
      refuse("error looking up service account " + ns + "/" + account + ": serviceaccounts \"" + account + "\" not found");
    if (found && spec["imagePullSecrets"].empty()) {
      json::Value secrets = found->json()["imagePullSecrets"];
      if (!secrets.empty()) spec.set("imagePullSecrets", std::move(secrets));
    }
    if (spec["automountServiceAccountToken"].as_bool())
      warnings.push("spec.automountServiceAccountToken: service account tokens are not mounted into pods yet; the pod runs without one");
  }

  // Only the scheduling role binds pods; everybody else asks it by pods/binding.
  static void refuse_foreign_binding(const json::Value& request) {
    const auto before = request["old"]["spec"]["nodeName"].as_string(), now = request["object"]["spec"]["nodeName"].as_string();
    if (!before.empty() || now.empty()) return;
    if (request["user"].as_string() == "system:plugin:scheduling" || request["subresource"].as_string() == "binding") return;
    Causes causes;
    causes.forbidden("spec.nodeName", "pod updates may not bind a pod; create a Binding at its subresource \"binding\" instead");
    throw Error(PINTLE_INVALID, std::string(causes.list()[0]["message"].as_string()), json::Value::object({{"causes", causes.list()}}));
  }

  const json::Value config_;
  std::unique_ptr<Namespaces> namespaces_;
  NodeLifecycle nodes_;
};

}  // namespace pintle::core

PINTLE_PLUGIN(pintle::core::Core)
