// A scheduler: takes the first node that has room. The messages are described in <pintle/if/scheduler.h>. Methods come
// one at a time and in order, so there is no lock; deciding is pure: no store, no clock, no I/O.
#include <map>

#include "pintle/sdk.h"

namespace {

using pintle::Call;
using pintle::json::Value;

class @Class@ final : public pintle::Plugin, public pintle::SchedulerProvider {
 public:
  @Class@(pintle::Host h, const Value&) : Plugin(h) {}

  void observe(Value request, Call call) override {
    if (request["reset"].as_bool()) {
      nodes_.clear();
      pods_.clear();
    }
    for (const Value& n : request["nodes"].items()) nodes_[std::string(n["name"].as_string())] = n;
    for (const Value& n : request["removedNodes"].items()) nodes_.erase(std::string(n.as_string()));
    for (const Value& p : request["pods"].items()) pods_[std::string(p["uid"].as_string())] = p;
    for (const Value& p : request["removedPods"].items()) pods_.erase(std::string(p.as_string()));
    call.reply();
  }

  void schedule(Value request, Call call) override {
    Value decisions = Value::array();
    for (const Value& pod : request["pods"].items()) {
      const std::string uid(pod["uid"].as_string());
      std::string why, chosen;
      for (const auto& [name, node] : nodes_) {
        why = reason_against(pod, name, node);
        if (why.empty()) {
          chosen = name;
          break;
        }
      }
      if (chosen.empty()) {
        decisions.push(Value::object(
            {{"uid", uid},
             {"unschedulable", Value::object({{"message", "0/" + std::to_string(nodes_.size()) + " nodes are available: " +
                                                              (why.empty() ? "there is none" : why) + "."},
                                              {"filters", Value::array({"NodeResourcesFit"})}})}}));
        continue;
      }
      Value assumed = pod;  // later decisions of this call take it into account
      assumed.set("node", chosen);
      pods_[uid] = assumed;
      decisions.push(Value::object({{"uid", uid}, {"node", chosen}}));
    }
    call.reply(Value::object({{"decisions", decisions}}));
  }

  void explain(Value request, Call call) override {
    Value nodes = Value::array();
    for (const auto& [name, node] : nodes_) {
      const std::string why = reason_against(request["pod"], name, node);
      Value line = Value::object({{"name", name}});
      if (!why.empty()) {
        line.set("filter", "NodeResourcesFit");
        line.set("reason", why);
      }
      nodes.push(line);
    }
    call.reply(Value::object({{"message", "the first node with room"}, {"nodes", nodes}}));
  }

 private:
  // "" when the pod fits.
  std::string reason_against(const Value& pod, const std::string& name, const Value& node) const {
    if (node["unschedulable"].as_bool()) return "the node is cordoned";
    if (!node["ready"].as_bool(true)) return "the node is not ready";
    for (const auto& need : pod["requests"].members()) {
      int64_t used = 0;
      for (const auto& [uid, p] : pods_)
        if (p["node"].as_string() == name) used += p["requests"][need.key].as_int();
      const int64_t free = node["allocatable"][need.key].as_int() - used;
      if (need.value.as_int() > free)
        return "Insufficient " + need.key + ": needs " + need.value.dump() + ", " + std::to_string(free) + " free";
    }
    return "";
  }

  std::map<std::string, Value> nodes_, pods_;  // by name, by uid
};

}  // namespace

PINTLE_PLUGIN(@Class@)
