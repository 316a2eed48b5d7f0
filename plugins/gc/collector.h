// Decides about one object at a time, always from its present state.
//
//   gone                     its dependents are looked at
//   deleting, `orphan`       dependents lose their reference, then the finalizer goes
//   deleting, foreground     dependents are deleted; when none blocks any more, the finalizer goes
//   otherwise, with owners   one owner there: references to absent ones go; none there: it is deleted
//
// An owner counts as absent only when its kind is served and the store has no object of its name and UID. Owners of unknown
// or disabled kinds count as present.
//
// Threads: any.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "pintle/host.h"
#include "plugins/gc/graph.h"

namespace pintle::gc {

using Answered = std::function<void(json::Value result)>;  // {"result":...} of pintle.controller/1 without the key

class Collector {
 public:
  explicit Collector(Host host);
  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }
  void reconcile(const Place& place, Answered answered);
  // The place of an owner, when its kind is known.
  std::optional<Place> owner_place(const json::Value& reference, const std::string& dependent_ns);

 private:
  enum class Owner { kSolid, kWaiting, kAbsent };
  struct Live {
    Object object;
    json::Value metadata;
    bool deleting() const { return metadata.contains("deletionTimestamp"); }
    bool has_finalizer(std::string_view name) const;
  };
  enum class Found { kYes, kNo, kUnknown };
  Found find(const Place& place, Live* out) const;
  bool served(const std::string& kind) const;
  std::optional<Graph::KindName> kind_of(const json::Value& reference);
  Owner judge(const json::Value& reference, const std::string& dependent_ns);
  void attempt(const Place& place, std::vector<Op>& ops);
  void collect(const Place& place, const Live& live, std::vector<Op>& ops);
  void orphan(const Place& place, const Live& live, Answered answered);
  void foreground(const Place& place, const Live& live, Answered answered);
  void commit(std::vector<Op> ops, int64_t again_ms, Answered answered) const;
  static Op without_finalizer(const Place& place, const Live& live, std::string_view finalizer);
  static Op with_references(const Place& place, const Live& live, json::Value references);

  const Host host_;
  const uint32_t metadata_path_;
  Graph graph_;
};

}  // namespace pintle::gc
