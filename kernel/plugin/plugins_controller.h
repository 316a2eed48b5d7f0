// Makes plugins what the Plugin and Slot objects say: level-based, one action at a time.
//
// Each step reads the objects, the directories and what runs, and takes the first of: start who should run; give slots to
// whom they belong; replace who changed; end who should not run. New comes before old; a failure leaves the old one.
//
//        ┌────────── step: is there something to do? ◀───────────┐
//        │ yes                                   │ no            │ objects, files, timers, crashes
//        ▼                                       ▼               │
//     action ── done ──▶ step again        settled ──────────────┘
//
// Threads: public functions from any thread; all state lives on one strand of the executor.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernel/plugin/config.h"
#include "kernel/plugin/events.h"
#include "kernel/plugin/graph.h"
#include "kernel/plugin/hook_caller.h"
#include "kernel/plugin/kernel_backend.h"
#include "kernel/plugin/unit.h"

namespace pintle::kernel {

constexpr const char* kPluginKind = "plugins.pintle.dev";
constexpr const char* kSlotKind = "slots.pintle.dev";
constexpr const char* kKernelOwner = "pintle";

class PluginsController : public std::enable_shared_from_this<PluginsController> {
 public:
  PluginsController(KernelServices& services, PluginCalls& calls, Config config, std::string modules_directory, InstanceFactory factory);
  ~PluginsController();
  // Last call, before the services are destroyed: what is queued is dropped, what runs on another thread is waited for. Timers and
  // answers that come later find nothing to do.
  void close();

  // Registers the kernel's kinds and those of all manifests that can be found. Before the first request.
  Result<void> prepare();
  // Brings the objects in line with the configuration file and begins. `settled` runs once, when there is nothing to do for the
  // first time; an error when a required plugin does not run.
  void start(std::function<void(Result<void>)> settled);
  // Ends all plugins, last started first, and waits for the instances before them; nothing is started afterwards.
  void stop(std::function<void()> done);
  // Something may have changed: look soon.
  void kick();

  // The hooks of the kernel's own kinds (pintle.resource/1).
  void hook(uint32_t method, std::string request, std::function<void(Result<std::string>)> done);
  bool permits(const std::string& plugin, const std::string& kind, const std::string& subresource, const char* verb) const;
  // Enabled plugins whose manifests provide the interface.
  std::vector<std::string> providers(const std::string& interface_id) const;
  json::Value metrics() const;
  // Per plugin: name -> state; for readiness and tests.
  std::map<std::string, PluginState> states() const;
  // What running plugins still owe before the cluster can be used, "plugin \"core\": ..."; "" = nothing.
  std::string still_starting() const;

 private:
  struct SlotObject {
    std::string provider, uid, written;
    bool required = false, writing = false;
    std::string previous, message, last_swap;
  };

  void strand(std::function<void()> fn);
  void run_strand();
  void step();
  void finish();  // of an action
  void later(uint64_t delay_ns);

  // objects.cc
  void seed(std::function<void()> done);
  void read_objects();
  bool create_missing();
  void publish();
  void publish_unit(Unit& unit);
  void publish_slot(const std::string& name, SlotObject& slot);
  json::Value unit_status(const Unit& unit, bool counters) const;
  ApiRequest request(Verb verb, const char* plural, const std::string& name) const;

  // resolve.cc
  void resolve();
  std::map<std::string, GraphNode> look_at_files(std::map<std::string, json::Value>& configs);
  void find_file(Unit& unit, const std::map<std::string, PluginFile>& files);
  Error check(Unit& unit, std::map<std::string, json::Value>& configs);
  void choose_holders();
  void show_plan(Unit& unit);
  void tell_problem(Unit& unit);
  void register_kinds(Unit& unit);
  bool should_run(const Unit& unit) const;
  bool can_try(const Unit& unit) const;
  bool came_with_us(const std::string& path) const;
  bool own_process(const Unit& unit) const;  // its file and manifest are known
  std::vector<std::string> slots_for(const std::string& unit) const;

  // plugins_controller.cc
  bool act();
  void show(Unit& unit, PluginState state, std::string reason, std::string message);

  // lifecycle.cc
  void bring_up(Unit& unit);
  void started(const std::string& name, std::shared_ptr<Generation> g, Result<void> r);
  void take_slots(const std::string& name, std::shared_ptr<Generation> g);
  void failed(const std::string& name, std::shared_ptr<Generation> g, const Error& why);
  void swap(Unit& unit, std::vector<std::string> slots);
  // Slot -> who held it: of those that go over to `name`, or away from it.
  using Holders = std::map<std::string, std::string>;
  Holders note_change(const std::vector<std::string>& slots, const std::string& name);
  void taken(const std::string& name, const Holders& before);
  void slot_event(const std::string& slot, const char* reason, const std::string& text);
  void reconfigure(Unit& unit);
  void retire(Unit& unit, std::function<void()> done);
  void end_generation(const std::string& name, std::shared_ptr<Generation> g, std::function<void()> done);
  void start_loops(const std::string& name, std::shared_ptr<Generation> g);
  void drain_loops(std::shared_ptr<Generation> g, std::function<void()> done);
  void on_state(const std::string& name, uint64_t number, PluginState state, const std::string& message);
  void on_report(const std::string& name, uint64_t number, int health, const std::string& message);
  void on_exit(const std::string& name, uint64_t number, const Error& why);
  void stop_next(std::vector<std::string> order, std::function<void()> done);

  // rules.cc
  Result<std::string> prepare_hook(const json::Value& request) const;
  Result<std::string> delete_hook(const json::Value& request) const;
  std::vector<std::string> dependents_of(const std::string& name) const;

  KernelServices& services_;
  PluginCalls& calls_;
  const Config config_;
  const std::string modules_directory_;
  const InstanceFactory factory_;
  Inventory inventory_;
  EventBuffer events_;

  std::mutex strand_mutex_;
  std::deque<std::function<void()>> strand_queue_;
  bool strand_running_ = false, closed_ = false;
  std::thread::id strand_thread_;  // none while no function runs
  std::condition_variable strand_idle_;

  // On the strand.
  std::map<std::string, Unit> units_;
  std::map<std::string, SlotObject> slot_objects_;
  std::map<std::string, std::vector<std::string>> candidates_;  // slot -> who can hold it, in order
  std::map<std::string, std::string> wanted_;                   // slot -> who shall hold it
  std::map<std::string, std::string> registered_;               // manifest name -> digest
  Plan plan_;
  std::vector<std::string> run_order_;
  bool busy_ = false, again_ = false, started_ = false, stopping_ = false;
  uint64_t next_number_ = 1;
  std::function<void(Result<void>)> settled_;
  std::function<void()> stopped_;
  size_t ending_ = 0;  // generations on their way out
  std::function<void()> all_ended_;
  uint64_t watches_[2] = {0, 0};
  TimerId timer_ = 0;
  uint64_t timer_at_ = 0;

  // A copy for other threads.
  struct Seen {
    std::map<std::string, std::shared_ptr<const Manifest>> manifests;  // by manifest name
    std::map<std::string, GraphNode> enabled;                          // by object name
    std::map<std::string, std::vector<std::string>> candidates;        // slots
    std::map<std::string, bool> required_slots;
    std::map<std::string, PluginState> states;
    std::map<std::string, std::shared_ptr<Instance>> instances;
    std::map<std::string, std::shared_ptr<ReconcileLoops>> loops;
    std::string starting;  // what running instances still owe
  };
  void remember();
  mutable std::mutex seen_mutex_;
  Seen seen_;
};

}  // namespace pintle::kernel
