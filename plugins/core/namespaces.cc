#include "plugins/core/namespaces.h"

namespace pintle::core {
namespace {

constexpr const char* kAlways[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
constexpr const char* kAccount = "default";
constexpr const char* kRootCa = "kube-root-ca.crt";
constexpr uint64_t kRetry = 200000000;  // ns

json::Value named(const char* api_version, const char* kind, std::string_view name) {
  return json::Value::object(
      {{"apiVersion", api_version}, {"kind", kind}, {"metadata", json::Value::object({{"name", std::string(name)}})}});
}

}  // namespace

void Namespaces::start() {
  host_.report(PINTLE_HEALTH_STARTING, "the namespaces default, kube-system, kube-public and kube-node-lease are being made");
  // From a task: this plugin must be able to answer its own hooks when the kernel calls them for these writes.
  host_.post([this] { create_all(); });
}

void Namespaces::stop() {
  Timer last;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    last = std::move(retry_);
  }
}

void Namespaces::create_all() {
  std::vector<Op> ops;
  for (const char* name : kAlways)
    if (!host_.get_object("namespaces", "", name).ok()) ops.push_back(Op::create("namespaces", "", named("v1", "Namespace", name)));
  if (ops.empty()) return host_.report(PINTLE_HEALTH_READY);
  host_.commit(
      ops,
      [this](CommitResult r) {
        bool again = r.code != PINTLE_OK;
        std::string why;
        for (const auto& op : r.ops)
          if (op.code != PINTLE_OK && op.code != PINTLE_ALREADY_EXISTS) {
            again = true;
            why = op.text;
          }
        if (!again) return host_.report(PINTLE_HEALTH_READY);
        host_.report(PINTLE_HEALTH_STARTING, "the namespaces that every cluster has could not be made yet: " + (why.empty() ? "the write failed" : why));
        std::lock_guard lock(mutex_);
        if (!stopped_) retry_ = host_.after(kRetry, [this] { create_all(); });
      },
      PINTLE_COMMIT_INDEPENDENT);
}

void Namespaces::reconcile(const std::string& name, Answered answered) {
  const auto done = json::Value::object({{"result", "done"}});
  const auto ns = host_.get_object("namespaces", "", name);
  if (!ns) return answered(done);
  const json::Value object = ns->json();
  if (object["metadata"].contains("deletionTimestamp") || object["status"]["phase"].as_string() == "Terminating") return answered(done);
  std::vector<Op> ops;
  if (!host_.get_object("serviceaccounts", name, kAccount).ok())
    ops.push_back(Op::create("serviceaccounts", name, named("v1", "ServiceAccount", kAccount)));
  if (!ca_.empty()) {
    const json::Value data = json::Value::object({{"ca.crt", ca_}});
    const auto map = host_.get_object("configmaps", name, kRootCa);
    if (!map) {
      json::Value fresh = named("v1", "ConfigMap", kRootCa);
      fresh.make("metadata.annotations")
          .set("kubernetes.io/description", "The certificate of this cluster's API server is signed by this CA");
      fresh.set("data", data);
      ops.push_back(Op::create("configmaps", name, fresh));
    } else if (map->json()["data"] != data) {
      json::Value next = map->json();
      next.set("data", data);
      ops.push_back(Op::update("configmaps", name, kRootCa, next));
    }
  }
  if (ops.empty()) return answered(done);
  host_.commit(
      ops,
      [answered = std::move(answered), done](CommitResult r) {
        for (const auto& op : r.ops) {
          // Gone or going meanwhile, or somebody was faster: the next event brings the key back when something is left to do.
          if (op.code == PINTLE_OK || op.code == PINTLE_ALREADY_EXISTS || op.code == PINTLE_FORBIDDEN || op.code == PINTLE_NOT_FOUND) continue;
          return answered(json::Value::object({{"result", "retry"}, {"message", op.text}}));
        }
        if (r.code != PINTLE_OK) return answered(json::Value::object({{"result", "retry"}, {"message", "the write failed"}}));
        answered(done);
      },
      PINTLE_COMMIT_INDEPENDENT);
}

json::Value Namespaces::map(const json::Value& request) {
  json::Value keys = json::Value::array();
  const json::Value& meta = request["object"]["metadata"];
  if (meta["name"].as_string() == (request["kind"].as_string() == "serviceaccounts" ? kAccount : kRootCa))
    keys.push(std::string(meta["namespace"].as_string()));
  return json::Value::object({{"keys", std::move(keys)}});
}

}  // namespace pintle::core
