// One pod on its node: brings the runtime to what the pod's spec says, step by step, and tells the API how far it is.
//
// It decides from the pod as the store has it and from what the runtime lists, never from what it did before; what it remembers
// besides (back-off, probe verdicts) may be lost. So a restart of the agent continues where the last one was killed.
//
// Threads: everything on the site's strand. Files: pod_worker.cc decides, container_start.cc starts, pod_stop.cc ends.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "backoff.h"
#include "context.h"
#include "endpoint_gate.h"
#include "pod_env.h"
#include "pod_spec.h"
#include "pod_status.h"
#include "probes.h"
#include "runtime_link.h"
#include "runtime_request.h"
#include "runtime_view.h"
#include "volumes.h"

namespace pintle::node_agent {

// What a worker needs of its node.
class PodSite {
 public:
  virtual ~PodSite() = default;
  virtual const Strand& strand() const = 0;
  virtual NodeFacts facts() const = 0;
  virtual const std::string& host_ip() const = 0;
  virtual const json::Value& allocatable() const = 0;
  virtual bool ready() const = 0;  // the runtime's state is known
  // The driver behind a RuntimeClass handler; "" = the node's own.
  virtual std::shared_ptr<RuntimeLink> runtime(const std::string& handler) = 0;
  // Lists the pod anew, hands the view to its worker, then calls `done` on the strand.
  virtual void refresh(const std::string& uid, const std::shared_ptr<RuntimeLink>& link, std::function<void()> done) = 0;
  // Room for the pod? Empty reason: yes, and it is kept until release(). `already`: it runs here, no question. `for_now`: pods that are
  // leaving hold what is missing; the worker is synced again when room is released.
  struct Refusal {
    std::string reason, message;
    bool for_now = false;
  };
  virtual Refusal admit(const json::Value& pod, bool already) = 0;
  virtual void release(const std::string& uid) = 0;
  virtual void finished(const std::string& uid) = 0;  // the worker is over(): it may be forgotten, later
};

class PodWorker : public std::enable_shared_from_this<PodWorker> {
 public:
  PodWorker(Context& context, PodSite& site, Object object);
  void update(Object object);     // a newer version; older ones are ignored
  void gone();                    // it is no longer in the store
  void set_view(PodView view);    // what the runtime has
  void sources_changed();         // a configMap or secret that it shows
  void request_sync();
  void stop();                    // the agent ends: no timer is left

  const std::string& uid() const { return uid_; }
  bool over() const { return over_ && gone_; }  // may be forgotten
  bool leaving() const { return gone_ || leaving_; }  // its containers end; nothing new starts
  bool was_seen_running() const;                // by the status: it was admitted before
  const Object& object() const { return object_; }
  const PodView& view() const { return view_; }
  std::shared_ptr<RuntimeLink> link() const { return link_; }
  const std::set<std::string>& shown_sources() const { return shown_sources_; }

 private:
  struct Memory {  // of one container
    ContainerNote note;
    Backoff backoff, pull_backoff;
    uint64_t pull_failed_at = 0, retry_at = 0;
    std::string pull_error;
    std::shared_ptr<Probes> probes;
    bool busy = false;              // an action is under way
    std::string started_id;         // started by this instance
    std::string restart_id;         // must be ended and started anew
    std::optional<int64_t> restart_grace;  // of the probe that gave it up
    std::string told_back_off, heard_out;  // heard_out: whose last words were read
    bool listening = false;         // they are being read
    Timer stop_again;
  };
  struct Start;  // one container on its way up
  enum class Stage : uint8_t { kNone, kGate, kStop, kStatus, kRemove, kDelete, kDone };
  enum class Volumes : uint8_t { kNone, kBusy, kReady };

  // pod_worker.cc
  void sync();
  void step();
  bool prepare();                                 // volumes, runtime, sandbox; true: containers may start
  void run_containers();
  bool run_container(const ContainerSpec& c, const SandboxView& sandbox);  // true: the next init container may follow
  void watch_container(const ContainerSpec& c, const ContainerView& v);
  void hear_out(const ContainerSpec& c, const ContainerView& v);
  void remove_old_containers();
  void write_status();
  void fail(std::string reason, std::string message);
  void wait_all(const std::string& reason, const std::string& message);
  void wake(uint64_t in_ns);
  void finish(const std::string& container);
  bool deleting() const;
  bool ended() const;                             // by its phase
  Memory& memory(std::string_view container) { return memory_[std::string(container)]; }
  Sources sources(const json::Value& pod) const;
  EventSubject subject() const { return EventSubject::of(object_.json()); }
  void event(const char* type, const char* reason, const std::string& message) { context_.events.record(subject(), type, reason, message); }

  // container_start.cc
  void start_container(const ContainerSpec& c, int64_t attempt, const SandboxView& sandbox);
  void resume_container(const ContainerSpec& c, const ContainerView& v);
  void find_image(std::shared_ptr<Start> s);
  void pull_image(std::shared_ptr<Start> s, bool present);
  void create_container(std::shared_ptr<Start> s);
  void launch(std::shared_ptr<Start> s);
  void launched(std::shared_ptr<Start> s);
  void not_started(const std::shared_ptr<Start>& s, const char* reason, const std::string& message, uint64_t again_ns);
  json::Value pull_secret(const json::Value& pod, const std::string& image) const;

  // pod_stop.cc
  void end_step();
  int64_t grace_seconds() const;
  bool stop_containers(int64_t grace);            // true: nothing runs any more
  void stop_container(const ContainerSpec& c, const ContainerView& v, int64_t grace, const std::string& message);
  void forget_connections(std::function<void()> then);
  void remove_from_runtime();
  void remove_from_store();

  Context& context_;
  PodSite& site_;
  const std::string uid_;
  Object object_;
  json::Value pod_;       // parsed object_, during a sync
  PodView view_;
  std::shared_ptr<RuntimeLink> link_;
  std::map<std::string, Memory, std::less<>> memory_;
  std::set<std::string> shown_sources_;  // "c/name", "s/name"
  std::string failed_reason_, failed_message_, complaint_;
  std::shared_ptr<EndpointGate> gate_;
  Timer wake_, cut_;
  uint64_t wake_in_ = UINT64_MAX, retry_sandbox_at_ = 0, retry_volumes_at_ = 0;
  uint64_t status_due_ = 0;  // when a change that is not pressing is written at the latest; 0 = there is none
  int64_t cut_grace_ = -1;
  unsigned sandbox_failures_ = 0, volume_failures_ = 0;
  Stage stage_ = Stage::kNone;
  Volumes volumes_ = Volumes::kNone;
  bool unseen_ = false;  // its driver has not been asked yet what it has of the pod
  bool gone_ = false, over_ = false, leaving_ = false, admitted_ = false, sync_posted_ = false, sandbox_busy_ = false, volumes_dirty_ = false,
       status_busy_ = false, status_refused_ = false, stopped_ = false;
  std::vector<VolumePlan> plan_;
};

}  // namespace pintle::node_agent
