// The plugin `service`: owns Services, their addresses and ports, EndpointSlices and Endpoints.
#include <map>
#include <memory>
#include <mutex>

#include "endpoints.h"
#include "pintle/labels.h"
#include "pintle/sdk.h"
#include "pintle/timestamp.h"
#include "service_spec.h"

namespace pintle::service {
namespace {

using json::Value;

constexpr char kAddresses[] = "ipaddresses.networking.k8s.io";
constexpr char kNodePorts[] = "nodeports.pintle.dev";
constexpr char kSlices[] = "endpointslices.discovery.k8s.io";
constexpr uint64_t kEmptyFor = 90'000'000'000;  // longer than a node agent may be told to wait for the proxies

class ServicePlugin final : public Plugin, public ResourceProvider, public ControllerProvider {
 public:
  ServicePlugin(Host h, const Value& config) : Plugin(h), advertise_(config["advertiseAddress"].as_string()) {
    auto range = AddressRange::parse(config["serviceCIDR"].as_string("10.96.0.0/16"));
    if (!range) throw range.error();
    ranges_.addresses = *range;
    ranges_.port_from = static_cast<uint16_t>(config["nodePortFrom"].as_int(30000));
    ranges_.port_to = static_cast<uint16_t>(config["nodePortTo"].as_int(32767));
  }

  static Result<void> validate(const Value& config) {
    auto range = AddressRange::parse(config["serviceCIDR"].as_string("10.96.0.0/16"));
    if (!range) return range.error();
    if (config["nodePortFrom"].as_int(30000) > config["nodePortTo"].as_int(32767))
      return Error(PINTLE_INVALID, "nodePortFrom is greater than nodePortTo");
    const std::string_view a = config["advertiseAddress"].as_string();
    if (!a.empty() && !parse_ipv4(a.substr(0, a.find(':'))))
      return Error(PINTLE_INVALID, "advertiseAddress \"" + std::string(a) + "\" is not an IPv4 address and port like 192.0.2.1:6443");
    return {};
  }

  // ---- resource hooks ----------------------------------------------------------------------------------------------

  void default_(Value request, Call call) override {
    Value& object = request.set("object");
    default_service(object);
    call.reply(Value::object({{"object", std::move(object)}}));
  }

  void validate_object(Value request, Call call) override {
    Value causes = Value::array();
    const bool slice = request["type"].as_string() == "api.discovery.v1.EndpointSlice";
    for (const Cause& c : slice ? validate_slice(request["object"]) : validate_service(request["object"], request["old"]))
      causes.push(Value::object({{"reason", c.reason}, {"field", c.field}, {"message", c.message}}));
    call.reply(Value::object({{"causes", std::move(causes)}}));
  }

  void prepare(Value request, Call call) override {
    Value object = request["object"];
    const Value& old = request["old"];
    // What another transaction took between our look and its commit counts as taken, even when the list does not show it yet.
    std::set<std::string> lost;
    for (const Value& k : request["taken"].items()) lost.insert(std::string(k["name"].as_string()));
    const auto taken = [&](std::string_view kind, const std::string& name) {
      return lost.count(name) > 0 || host.get_object(kind == "nodeports" ? kNodePorts : kAddresses, "", name).ok();
    };
    const Needs before = old.is_null() ? Needs{} : needs_of(old);
    if (auto r = allocate(object, old, ranges_, host.random(), taken); !r) return call.fail(r.error());
    const Needs after = needs_of(object);
    const Value parent = Value::object({{"group", ""}, {"resource", "services"}, {"namespace", object.at("metadata.namespace")}, {"name", object.at("metadata.name")}});
    Value puts = Value::array(), deletes = Value::array();
    difference(before.addresses, after.addresses, "networking.k8s.io/v1", "IPAddress", kAddresses, parent, puts, deletes);
    difference(before.ports, after.ports, "pintle.dev/v1", "NodePort", kNodePorts, parent, puts, deletes);
    call.reply(Value::object({{"object", std::move(object)}, {"puts", std::move(puts)}, {"deletes", std::move(deletes)}}));
  }

  void delete_(Value request, Call call) override {
    const Needs held = needs_of(request["object"]);
    Value deletes = Value::array();
    for (const auto& a : held.addresses) deletes.push(Value::object({{"kind", kAddresses}, {"namespace", ""}, {"name", a}}));
    for (const auto& p : held.ports) deletes.push(Value::object({{"kind", kNodePorts}, {"namespace", ""}, {"name", p}}));
    call.reply(Value::object({{"action", "immediate"}, {"deletes", std::move(deletes)}}));
  }

  void table(Value request, Call call) override {
    Value rows = Value::array();
    const std::string_view kind = request["kind"].as_string();
    for (const Value& o : request["objects"].items()) {
      Value cells = Value::object();
      if (kind == "services") service_cells(o, cells);
      else if (kind == "endpoints") cells.set("Endpoints", endpoints_text(o));
      else if (kind == kSlices) slice_cells(o, cells);
      else cells.set("ParentRef", parent_text(o.at("spec.parentRef")));
      rows.push(Value::object({{"cells", std::move(cells)}}));
    }
    call.reply(Value::object({{"rows", std::move(rows)}}));
  }

  // ---- controllers -------------------------------------------------------------------------------------------------

  void describe(Value, Call call) override {
    const auto watch = [](const char* kind, const char* map) { return Value::object({{"kind", kind}, {"map", map}}); };
    Value pods = watch("pods", "call");
    pods.set("fields", Value::array({"metadata.labels", "metadata.deletionTimestamp", "spec.nodeName", "status.podIP", "status.phase", "status.conditions"}));
    Value slices = watch(kSlices, "label:kubernetes.io/service-name");
    call.reply(Value::object({{"controllers",
                               Value::array({Value::object({{"name", "endpoints"},
                                                            {"workers", 2},
                                                            {"watches", Value::array({watch("services", "self"), std::move(pods), std::move(slices), watch("endpoints", "self")})}}),
                                             Value::object({{"name", "kubernetes-service"},
                                                            {"workers", 1},
                                                            {"watches", Value::array({watch("namespaces", "self")})}})})}}));
  }

  // Pods: all Services of the namespace whose selector matches the pod as it is or as it was.
  void map(Value request, Call call) override {
    Value keys = Value::array();
    const std::string ns(request.at("object.metadata.namespace").as_string());
    auto services = host.list({.kind = "services", .ns = ns});
    if (!services) return call.fail(services.error());
    for (const Object& service : services->objects) {
      const auto selector = selector_of(service);
      if (!selector->uses_selector) continue;
      if (selector->selector.matches(request.at("object.metadata.labels")) ||
          (!request["previous"].is_null() && selector->selector.matches(request.at("previous.metadata.labels"))))
        keys.push(ns + "/" + selector->name);
    }
    call.reply(Value::object({{"keys", std::move(keys)}}));
  }

  void reconcile(Value request, Call call) override {
    std::vector<Op> ops;
    Value results = Value::array();
    const bool bootstrap = request["controller"].as_string() == "kubernetes-service";
    for (const Value& k : request["keys"].items()) {
      const std::string key(k.as_string());
      if (bootstrap) {
        if (key == "default") plan_kubernetes_service(ops);
        continue;
      }
      const size_t slash = key.find('/');
      if (slash == std::string::npos) continue;
      if (const uint64_t again = plan_service(key.substr(0, slash), key.substr(slash + 1), ops))
        results.push(Value::object({{"key", key}, {"result", "after"}, {"afterMs", again / 1'000'000}}));
    }
    const Value reply = Value::object({{"results", std::move(results)}});
    if (ops.empty()) return call.reply(reply);
    auto shared = std::make_shared<Call>(std::move(call));
    host.commit(
        ops,
        [shared, reply](CommitResult r) {
          for (const OpResult& o : r.ops)
            // Gone or there already: the next reconcile, which their events bring, sees it.
            if (o.code != PINTLE_OK && o.code != PINTLE_NOT_FOUND && o.code != PINTLE_ALREADY_EXISTS) return shared->fail(o.code, o.text);
          shared->reply(reply);
        },
        PINTLE_COMMIT_INDEPENDENT);
  }

 private:
  struct ParsedSelector {
    uint64_t revision = 0;
    std::string name;
    bool uses_selector = false;
    Selector selector;
  };

  // Parsed once per revision of a Service.
  std::shared_ptr<const ParsedSelector> selector_of(const Object& service) {
    const std::string_view name = service.text(name_path_), ns = service.text(namespace_path_);
    const std::string key = std::string(ns) + "/" + std::string(name);
    std::lock_guard lock(mutex_);
    auto& slot = selectors_[key];
    if (!slot || slot->revision != service.revision()) {
      auto parsed = std::make_shared<ParsedSelector>();
      parsed->revision = service.revision();
      parsed->name = std::string(name);
      const Value selector = json::parse_or_null(service.field(selector_path_));
      parsed->uses_selector = !selector.empty();
      parsed->selector = Selector::from_map(selector);
      slot = std::move(parsed);
    }
    return slot;
  }

  void difference(const std::vector<std::string>& before, const std::vector<std::string>& after, const char* api_version, const char* kind, const char* plural,
                  const Value& parent, Value& puts, Value& deletes) {
    for (const auto& name : after)
      if (std::count(before.begin(), before.end(), name) == 0)
        puts.push(Value::object({{"kind", plural},
                                 {"object", Value::object({{"apiVersion", api_version},
                                                           {"kind", kind},
                                                           {"metadata", Value::object({{"name", name}})},
                                                           {"spec", Value::object({{"parentRef", parent}})}})}}));
    for (const auto& name : before)
      if (std::count(after.begin(), after.end(), name) == 0) deletes.push(Value::object({{"kind", plural}, {"namespace", ""}, {"name", name}}));
  }

  static bool managed(const Value& slice, const char* by) { return slice.at("metadata.labels[endpointslice.kubernetes.io/managed-by]").as_string() == by; }

  // Returns after how many nanoseconds it wants to look again; 0 = when something happens.
  uint64_t plan_service(const std::string& ns, const std::string& name, std::vector<Op>& ops) {
    auto object = host.get_object("services", ns, name);
    std::vector<Value> slices;
    auto listed = host.list({.kind = kSlices, .ns = ns, .label_selector = "kubernetes.io/service-name=" + name});
    if (!listed) throw listed.error();
    for (const Object& o : listed->objects) slices.push_back(o.json());
    auto current = host.get_object("endpoints", ns, name);
    if (!object) {
      // Slices and Endpoints of a Service that is gone: ours go with it (the owner reference says so too, if gc runs).
      {
        std::lock_guard lock(mutex_);
        selectors_.erase(ns + "/" + name);
      }
      if (current && current->json().at("metadata.labels[endpoints.kubernetes.io/managed-by]").as_string() == "endpoint-controller")
        ops.push_back(Op::remove("endpoints", ns, name));
      for (const Value& s : slices)
        if (managed(s, kManagedBy)) ops.push_back(Op::remove(kSlices, ns, std::string(s.at("metadata.name").as_string())));
      return 0;
    }
    const Value service = object->json();
    if (!service.at("metadata.deletionTimestamp").is_null()) return 0;
    if (service.at("spec.type").as_string() == "LoadBalancer") say_load_balancer(service, ops);
    if (service.at("spec.type").as_string() == "ExternalName") {
      for (const Value& s : slices)
        if (managed(s, kManagedBy) || managed(s, kMirroredBy)) ops.push_back(Op::remove(kSlices, ns, std::string(s.at("metadata.name").as_string())));
      return 0;
    }
    const bool selects = !service.at("spec.selector").empty();
    const auto mirror = plan_mirror(!selects && current ? current->json() : Value(), slices);
    ops.insert(ops.end(), mirror.begin(), mirror.end());
    if (!selects) return 0;
    auto pods_listed = host.list({.kind = "pods", .ns = ns, .label_selector = Selector::from_map(service.at("spec.selector")).text()});
    if (!pods_listed) throw pods_listed.error();
    std::vector<Value> pods;
    for (const Object& o : pods_listed->objects) pods.push_back(o.json());
    uint64_t again = 0;
    auto slice_ops = plan_slices(service, pods, slices, [&](const Value& slice) {
      const uint64_t since = empty_since(slice), now = host.now();
      if (now >= since + kEmptyFor) return true;
      again = std::max(again, since + kEmptyFor - now);
      return false;
    });
    ops.insert(ops.end(), slice_ops.begin(), slice_ops.end());
    Value wished = make_endpoints(service, pods);
    if (!current) {
      ops.push_back(Op::create("endpoints", ns, wished));
    } else {
      const Value now = current->json();
      if (now["subsets"] != wished["subsets"] || now.at("metadata.labels") != wished.at("metadata.labels")) {
        wished.make("metadata.resourceVersion") = now.at("metadata.resourceVersion");
        ops.push_back(Op::update("endpoints", ns, name, wished));
      }
    }
    return again;
  }

  // Since when this instance knows the slice, at its present revision, as empty.
  uint64_t empty_since(const Value& slice) {
    const std::string uid(slice.at("metadata.uid").as_string());
    std::lock_guard lock(mutex_);
    std::erase_if(empty_since_, [limit = host.now()](const auto& e) { return e.second + 2 * kEmptyFor < limit; });
    return empty_since_.try_emplace(uid + "/" + std::string(slice.at("metadata.resourceVersion").as_string()), host.now()).first->second;
  }

  // `kubernetes` in `default`: the API, at the first address of the range.
  void plan_kubernetes_service(std::vector<Op>& ops) {
    if (!host.get_object("services", "default", "kubernetes").ok()) {
      ops.push_back(Op::create(
          "services", "default",
          Value::object({{"apiVersion", "v1"},
                         {"kind", "Service"},
                         {"metadata", Value::object({{"name", "kubernetes"},
                                                     {"namespace", "default"},
                                                     {"labels", Value::object({{"component", "apiserver"}, {"provider", "kubernetes"}})}})},
                         {"spec", Value::object({{"clusterIP", ipv4_text(ranges_.addresses.first())},
                                                 {"type", "ClusterIP"},
                                                 {"ports", Value::array({Value::object({{"name", "https"}, {"port", 443}, {"protocol", "TCP"}, {"targetPort", api_port()}})})}})}})));
    }
    if (advertise_.empty()) return;
    Value endpoints = Value::object(
        {{"apiVersion", "v1"},
         {"kind", "Endpoints"},
         {"metadata", Value::object({{"name", "kubernetes"}, {"namespace", "default"}})},
         {"subsets", Value::array({Value::object({{"addresses", Value::array({Value::object({{"ip", advertise_.substr(0, advertise_.find(':'))}})})},
                                                  {"ports", Value::array({Value::object({{"name", "https"}, {"port", api_port()}, {"protocol", "TCP"}})})}})})}});
    auto current = host.get_object("endpoints", "default", "kubernetes");
    if (!current) {
      ops.push_back(Op::create("endpoints", "default", endpoints));
    } else if (current->json()["subsets"] != endpoints["subsets"]) {
      endpoints.make("metadata.resourceVersion") = current->json().at("metadata.resourceVersion");
      ops.push_back(Op::update("endpoints", "default", "kubernetes", endpoints));
    }
  }
  int64_t api_port() const {
    const size_t colon = advertise_.find(':');
    return colon == std::string::npos ? 6443 : std::atoll(advertise_.c_str() + colon + 1);
  }

  // Once per Service (the Event's name is fixed): there is no balancer, the node ports are what there is.
  void say_load_balancer(const Value& service, std::vector<Op>& ops) {
    const std::string ns(service.at("metadata.namespace").as_string()), name(service.at("metadata.name").as_string());
    const std::string event = name + ".no-load-balancer";
    if (host.get_object("events", ns, event).ok()) return;
    const std::string now = format_time(host.wall());
    ops.push_back(Op::create(
        "events", ns,
        Value::object({{"apiVersion", "v1"},
                       {"kind", "Event"},
                       {"metadata", Value::object({{"name", event}, {"namespace", ns}})},
                       {"involvedObject", Value::object({{"apiVersion", "v1"}, {"kind", "Service"}, {"namespace", ns}, {"name", name}, {"uid", service.at("metadata.uid")}})},
                       {"reason", "NoLoadBalancer"},
                       {"message", "This cluster has no load balancer: the Service works as a NodePort Service, reach it at any node's address on " + ports_text(service["spec"])},
                       {"type", "Warning"},
                       {"source", Value::object({{"component", "service"}})},
                       {"firstTimestamp", now},
                       {"lastTimestamp", now},
                       {"count", 1}})));
  }

  static void service_cells(const Value& o, Value& cells) {
    const Value& spec = o["spec"];
    const std::string_view type = spec["type"].as_string();
    const std::string_view ip = spec["clusterIP"].as_string();
    cells.set("Cluster-IP", ip.empty() ? std::string_view("<none>") : ip);
    std::string external;
    const auto append = [&](std::string_view s) {
      if (!external.empty()) external += ",";
      external += s;
    };
    if (type == "ExternalName") append(spec["externalName"].as_string());
    for (const Value& i : o.at("status.loadBalancer.ingress").items()) append(i["ip"].as_string().empty() ? i["hostname"].as_string() : i["ip"].as_string());
    for (const Value& i : spec["externalIPs"].items()) append(i.as_string());
    if (external.empty()) external = type == "LoadBalancer" ? "<pending>" : "<none>";
    cells.set("External-IP", external);
    cells.set("Port(s)", ports_text(spec));
    const std::string selector = Selector::from_map(spec["selector"]).text();
    cells.set("Selector", selector.empty() ? std::string("<none>") : selector);
  }

  static std::string endpoints_text(const Value& o) {
    std::vector<std::string> all;
    for (const Value& s : o["subsets"].items())
      for (const Value& a : s["addresses"].items()) {
        if (s["ports"].empty()) all.emplace_back(a["ip"].as_string());
        for (const Value& p : s["ports"].items()) all.push_back(std::string(a["ip"].as_string()) + ":" + std::to_string(p["port"].as_int()));
      }
    return first_three(all, "<none>");
  }

  static void slice_cells(const Value& o, Value& cells) {
    std::vector<std::string> ports, addresses;
    for (const Value& p : o["ports"].items()) ports.push_back(p["port"].is_null() ? "*" : std::to_string(p["port"].as_int()));
    for (const Value& e : o["endpoints"].items())
      for (const Value& a : e["addresses"].items()) addresses.emplace_back(a.as_string());
    cells.set("Ports", first_three(ports, "<unset>"));
    cells.set("Endpoints", first_three(addresses, "<unset>"));
  }

  static std::string first_three(const std::vector<std::string>& all, const char* none) {
    if (all.empty()) return none;
    std::string out;
    for (size_t i = 0; i < all.size() && i < 3; ++i) out += (i ? "," : "") + all[i];
    if (all.size() > 3) out += " + " + std::to_string(all.size() - 3) + " more...";
    return out;
  }

  static std::string parent_text(const Value& ref) {
    std::string out(ref["resource"].as_string());
    if (!ref["group"].as_string().empty()) out += "." + std::string(ref["group"].as_string());
    if (!ref["namespace"].as_string().empty()) out += "/" + std::string(ref["namespace"].as_string());
    return out + "/" + std::string(ref["name"].as_string());
  }

  Ranges ranges_;
  const std::string advertise_;
  const uint32_t name_path_ = host.path("metadata.name"), namespace_path_ = host.path("metadata.namespace"), selector_path_ = host.path("spec.selector");
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ParsedSelector>> selectors_;  // "ns/name"; guarded by mutex_
  std::map<std::string, uint64_t> empty_since_;                             // "uid/revision" of a slice; guarded by mutex_
};

}  // namespace
}  // namespace pintle::service

PINTLE_PLUGIN(pintle::service::ServicePlugin)
