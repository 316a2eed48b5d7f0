// One node: its pods' workers, its share of the runtime, the room that it has.
//
// Threads: every public member function posts to the node's strand and may be called from anywhere, unless it says otherwise.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "context.h"
#include "pod_worker.h"
#include "runtime_link.h"

namespace pintle::node_agent {

class AgentNode final : public PodSite {
 public:
  // `links`: the way to a driver by slot; the same one for every node that uses it. Called on any thread.
  using Links = std::function<std::shared_ptr<RuntimeLink>(const std::string& slot)>;
  AgentNode(Context& context, const NodeConfig& config, Links links);
  ~AgentNode() override;

  void activate();                       // may act from now on
  void pod(Object object);               // added or changed
  void pod_gone(Object object);
  void pods_known(std::shared_ptr<const std::set<std::string>> uids);  // the whole list was told: what is missing is gone
  void runtime_synced(const std::string& slot);          // list everything
  void runtime_changed(const std::string& uid);
  void source_changed(const std::string& ns, const std::string& source);  // "c/name", "s/name"
  void stop();                           // waits for what runs on the strand; nothing is left

  struct Target {
    std::shared_ptr<RuntimeLink> link;
    std::string node, sandbox_id, container_id;
    std::string trouble;  // why there is none
    int64_t attempt = 0;
  };
  // Where the container of a pod is, for logs and exec; `previous`: the run before. `done` on the strand. `uid` "" = any of that name.
  void find(std::string ns, std::string name, std::string uid, std::string container, bool previous, std::function<void(Target)> done);

  const NodeConfig& config() const { return config_; }

  // PodSite, on the strand
  const Strand& strand() const override { return strand_; }
  NodeFacts facts() const override;
  const std::string& host_ip() const override { return config_.ip; }
  const json::Value& allocatable() const override { return config_.allocatable; }
  bool ready() const override { return active_ && listed_ && pods_known_; }
  std::shared_ptr<RuntimeLink> runtime(const std::string& handler) override;
  void refresh(const std::string& uid, const std::shared_ptr<RuntimeLink>& link, std::function<void()> done) override;
  Refusal admit(const json::Value& pod, bool already) override;
  void release(const std::string& uid) override;
  void finished(const std::string& uid) override;

 private:
  struct Refresh {
    std::shared_ptr<RuntimeLink> link;
    bool busy = false;
    std::vector<std::function<void()>> waiting, next;
  };
  struct Admitted {
    std::map<std::string, int64_t> requests;
    std::vector<HostPort> ports;
  };
  // What stands in the way of `mine`; `but_leaving`: as if the pods that are leaving had left.
  Refusal refuse(const Admitted& mine, bool but_leaving) const;
  void list_all(const std::shared_ptr<RuntimeLink>& link);
  void take(Object object, bool gone);
  void sync_all();
  void begin_refresh(const std::string& uid);
  void remove_orphans();

  Context& context_;
  const NodeConfig config_;
  const Links links_;
  Strand strand_;
  std::map<std::string, std::shared_ptr<PodWorker>> workers_;  // by uid
  std::map<std::string, PodView> views_;                       // of pods without a worker
  std::map<std::string, Refresh> refreshes_;
  std::map<std::string, Admitted> admitted_;
  std::set<std::string> crowded_;        // wait for the room of pods that are leaving
  std::map<std::string, int64_t> room_;  // allocatable in scheduler's units
  Timer again_, again_refresh_;
  bool active_ = false, listed_ = false, pods_known_ = false, cleaned_ = false;
};

}  // namespace pintle::node_agent
