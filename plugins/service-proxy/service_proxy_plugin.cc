// The plugin `service-proxy`: keeps the node's packet filter as Services and EndpointSlices say and confirms how far it has come.
//
// One strand holds the state; at most one application to the packet filter is under way, on the blocking pool; what changes meanwhile is merged into the
// next one. After each, the revision that is now in force is written to the ServiceProxy object of this node: node agents wait for it before
// they stop a container.
#include <unistd.h>

#include <memory>
#include <optional>

#include "flows.h"
#include "packet_filter.h"
#include "pintle/sdk.h"
#include "ruleset.h"
#include "pintle/timestamp.h"

namespace pintle::service_proxy {
namespace {

using json::Value;

constexpr char kSlices[] = "endpointslices.discovery.k8s.io";
constexpr size_t kMostEnded = 10'000;
constexpr char kProxies[] = "serviceproxies.pintle.dev";

std::string node_name(const Value& config) {
  const std::string_view configured = config["nodeName"].as_string();
  if (!configured.empty()) return std::string(configured);
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

class ServiceProxy final : public Plugin {
 public:
  ServiceProxy(Host h, const Value& config)
      : Plugin(h), node_(node_name(config)), rules_(std::string(config["table"].as_string("pintle")), node_), strand_(h) {}

  static Result<void> validate(const Value& config) {
    for (char c : config["table"].as_string("pintle"))
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_')
        return Error(PINTLE_INVALID, "table \"" + std::string(config["table"].as_string()) + "\" may hold letters, digits, - and _ only");
    return {};
  }

  void start() override {
    filter_ = std::make_shared<PacketFilter>();
    strand_.post([this] {
      watch("services", services_, &Ruleset::set_service, &Ruleset::keep_services);
      watch(kSlices, slices_, &Ruleset::set_slice, &Ruleset::keep_slices);
    });
  }

  void activate(std::string_view slot, uint64_t epoch) override {
    strand_.post([this, slot = std::string(slot), epoch] {
      rules_.set_holder(epoch);
      slot_ = slot;
      epoch_ = epoch;
      active_ = true;
      wake();
    });
  }

  void drain(Call done) override {
    auto shared = std::make_shared<Call>(std::move(done));
    strand_.post([this, shared] {
      draining_ = true;
      drained_ = shared;
      if (!busy_) leave();
    });
  }

  void stop() override {
    strand_.close();
    services_.watch.reset();
    slices_.watch.reset();
    retry_.reset();
    if (!filter_) return;
    // What we put there goes with us: a stale rule would send traffic to addresses that others may get. A successor's table stays, and ours stays in
    // force until a successor has put its own in its place. One that never came to that removes what it found.
    if (!followed_.value_or(false)) {
      const std::string commands = applied_once_ ? rules_.removal() : active_ && followed_ ? rules_.removal_of_any() : "";
      if (!commands.empty() && filter_->apply(commands).ok()) filter_->unadmit_in_docker();
    }
    filter_.reset();
  }

 private:
  struct Source {
    Watch watch;
    Timer again;
    bool synced = false;
    uint64_t revision = 0;
    std::set<std::string> listed;  // until it is synced
  };

  void watch(const char* kind, Source& source, void (Ruleset::*set)(const std::string&, const Value&), void (Ruleset::*keep)(const std::set<std::string>&)) {
    source.synced = false;
    source.listed.clear();
    const auto again = [this, kind, &source, set, keep] {
      source.again = host.after(kSecond, strand_.wrap([this, kind, &source, set, keep] { watch(kind, source, set, keep); }));
    };
    auto w = host.watch({.kind = kind}, strand_.wrap([this, kind, &source, set, keep, again](Event e) {
      switch (e.type) {
        case PINTLE_EVENT_ADDED:
        case PINTLE_EVENT_MODIFIED: {
          const Value v = e.object.json();
          const std::string key = key_of(v);
          if (!source.synced) source.listed.insert(key);
          (rules_.*set)(key, v);
          break;
        }
        case PINTLE_EVENT_DELETED: (rules_.*set)(key_of(e.object.json()), {}); break;
        case PINTLE_EVENT_SYNCED:
          source.synced = true;
          (rules_.*keep)(source.listed);
          source.listed.clear();
          break;
        case PINTLE_EVENT_CLOSED:
          host.info("watch ended, starting again", Value::object({{"kind", kind}}));
          again();
          return;
      }
      source.revision = std::max(source.revision, e.revision);
      wake();
    }));
    if (w) source.watch = std::move(*w);
    else again();
  }

  static std::string key_of(const Value& v) {
    return std::string(v.at("metadata.namespace").as_string()) + "/" + std::string(v.at("metadata.name").as_string());
  }

  void wake() {
    if (!active_ || busy_ || draining_ || !services_.synced || !slices_.synced) return;
    rules_.set_bridges(bridges_);
    std::string commands = applied_once_ && !failed_ ? rules_.changes() : rules_.everything();
    // Of EndpointSlices only: a Service's event may overtake an earlier one of a slice, which is on another watch.
    const uint64_t revision = slices_.revision;
    Ruleset::News news = rules_.take_news();
    for (const auto& text : news.conflicts) host.warn(text);
    ended_.insert(ended_.end(), news.ended.begin(), news.ended.end());
    std::erase_if(ended_, [this](const EndedEndpoint& e) { return rules_.lists(e); });  // the address is another pod's already
    if (commands.empty() && news.ended.empty()) {
      if (revision != confirmed_) confirm(revision);
      return;
    }
    busy_ = true;
    const bool docker = host.now() - docker_checked_ > 30 * kSecond || !applied_once_;
    if (docker) docker_checked_ = host.now();
    host.post_blocking([this, filter = filter_, commands = std::move(commands), revision, docker, news = std::move(news), ended = std::exchange(ended_, {})]() mutable {
      PacketFilter::allow_hairpin(news.endpoint_addresses);
      std::string failed;
      auto result = std::make_shared<Result<void>>(commands.empty() ? Result<void>{} : filter->apply(commands));
      if (result->ok()) {
        auto forgotten = forget_udp_flows(news.udp);
        // No rule leads there any more, and those that may do so again come after this.
        if (forgotten) forgotten = forget_tcp_flows(ended);
        if (forgotten) ended.clear();
        else failed = forgotten.error().text;
      }
      if (docker) {
        filter->admit_in_docker();
        if (PacketFilter::enable_forwarding()) host.info("switched on net.ipv4.ip_forward");
      }
      auto bridges = PacketFilter::unfiltered_bridges();
      strand_.post([this, result, revision, bridges = std::move(bridges), ended = std::move(ended), failed = std::move(failed)] {
        // Tried again with the next change; where connections cannot be forgotten at all, it is said once.
        ended_.insert(ended_.end(), ended.begin(), ended.end());
        if (ended_.size() > kMostEnded) ended_.erase(ended_.begin(), ended_.end() - kMostEnded);
        if (std::exchange(unforgotten_, failed) != failed && !failed.empty())
          host.warn("clients may be sent to endpoints that are gone: their connections cannot be forgotten", Value::object({{"error", failed}}));
        applied(*result, revision, bridges);
      });
    });
  }

  void applied(const Result<void>& result, uint64_t revision, const std::set<std::string>& bridges) {
    busy_ = false;
    bridges_ = bridges;
    if (!result) {
      failed_ = true;
      host.error("the packet filter was not updated, trying again in 2 s", Value::object({{"error", result.error().text}}));
      retry_ = host.after(2 * kSecond, strand_.wrap([this] { wake(); }));
    } else {
      applied_once_ = true;
      failed_ = false;
    }
    if (draining_) return leave();
    if (!result) return;
    confirm(revision);
    wake();
  }

  // Nobody is to wait for a proxy that no longer confirms. Where a successor has the slot, this is refused: the object is its own.
  void leave() {
    if (!drained_) return;
    followed_ = host.epoch(slot_) > epoch_;
    host.commit({Op::remove(kProxies, "", node_)}, strand_.wrap([done = std::exchange(drained_, nullptr)](CommitResult) { done->reply(); }));
  }

  // Cheap and merged: at most one write under way, the newest revision wins.
  void confirm(uint64_t revision) {
    wanted_ = std::max(wanted_, revision);
    if (confirming_ || draining_ || wanted_ == confirmed_) return;
    confirming_ = true;
    const uint64_t now = wanted_;
    const Value status = Value::object({{"syncedRevision", now}, {"services", rules_.services()}, {"endpoints", rules_.endpoints()}});
    host.commit({Op::merge(kProxies, "", node_, Value::object({{"status", status}}), "status")}, strand_.wrap([this, now](CommitResult r) {
      confirming_ = false;
      const OpResult* failed = r.failed();
      if (!failed && r.code == PINTLE_OK) {
        confirmed_ = now;
        if (wanted_ != confirmed_) confirm(wanted_);
        return;
      }
      if (failed && failed->code == PINTLE_NOT_FOUND) {
        confirming_ = true;
        host.commit({Op::create(kProxies, "",
                                Value::object({{"apiVersion", "pintle.dev/v1"}, {"kind", "ServiceProxy"}, {"metadata", Value::object({{"name", node_}})}}))},
                    strand_.wrap([this](CommitResult c) {
                      confirming_ = false;
                      if (c.ok()) confirm(wanted_);
                      else retry_ = host.after(kSecond, strand_.wrap([this] { confirm(wanted_); }));
                    }));
        return;
      }
      retry_ = host.after(kSecond, strand_.wrap([this] { confirm(wanted_); }));
    }));
  }

  const std::string node_;
  std::shared_ptr<PacketFilter> filter_;
  // Everything below belongs to the strand (and to stop(), after it is closed).
  Ruleset rules_;
  Source services_, slices_;
  std::set<std::string> bridges_;
  Timer retry_;
  std::vector<EndedEndpoint> ended_;  // whose flows are still to be forgotten
  std::string unforgotten_;           // why that failed the last time
  std::shared_ptr<Call> drained_;
  std::string slot_;
  uint64_t epoch_ = 0;
  std::optional<bool> followed_;  // somebody else has the slot; known after the drain
  bool active_ = false, busy_ = false, failed_ = false, draining_ = false, confirming_ = false;
  bool applied_once_ = false;
  uint64_t confirmed_ = 0, wanted_ = 0, docker_checked_ = 0;
  Strand strand_;
};

}  // namespace
}  // namespace pintle::service_proxy

PINTLE_PLUGIN(pintle::service_proxy::ServiceProxy)
