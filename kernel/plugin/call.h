// Calls into a plugin: the kernel's side of pintle.call/1.
//
// A pintle_call* is a number, not an address: a plugin that answers twice, or after its instance is gone, meets an
// unknown number instead of freed memory.
// Order: parts, then the answer, one at a time on the executor, never inside emit() or complete().
#pragma once
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "kernel/plugin/backend.h"
#include "kernel/plugin/traffic.h"

namespace pintle::kernel {

// What an instance's calls share; lives as long as the last of them.
struct CallScope {
  std::string plugin;  // for messages
  Executor* executor;
  Traffic traffic;
  std::atomic<uint64_t> calls{0}, failures{0}, timeouts{0};
  std::mutex mutex;
  std::unordered_map<uint64_t, std::weak_ptr<class CallState>> open;
  void cancel_all();  // callers get UNAVAILABLE
};

class CallState : public OpenCall, public std::enable_shared_from_this<CallState> {
 public:
  // Counts the call as open. The deadline's timer runs from here.
  static std::shared_ptr<CallState> make(std::shared_ptr<CallScope> scope, Invoke call);
  ~CallState() override;

  pintle_call* handle() const { return reinterpret_cast<pintle_call*>(id_); }
  const std::string& request() const { return call_.request; }
  const std::string& interface_id() const { return call_.interface_id; }
  uint32_t method() const { return call_.method; }

  // The kernel's answer in place of the plugin's: cannot be called, wrong interface.
  void refuse(Error error);
  // The plugin's code is no longer asked: it has seen nothing of the call. False: it is already cancelled and settled.
  bool begin();

  void cancel() override;
  void resume() override;

  static const pintle_call_api* api();

 private:
  CallState(std::shared_ptr<CallScope> scope, Invoke call);
  static std::shared_ptr<CallState> find(const pintle_call* handle);
  void give_up(Error error);           // cancel or deadline
  void run_cancel();                   // the plugin's on_cancel function, through the trampoline
  void complete(pintle_code code, const pintle_error* error, pintle_buf reply);
  bool emit(pintle_buf part);
  void settle();                       // the plugin owes nothing any more
  void answer(Result<Reply> result);   // lock held
  void schedule();                     // lock held
  void deliver();

  struct Api;
  friend struct CallScope;
  const std::shared_ptr<CallScope> scope_;
  Invoke call_;
  uint64_t id_ = 0;
  TimerId timer_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> parts_;
  size_t part_bytes_ = 0;
  std::unique_ptr<Result<Reply>> result_;
  bool settled_ = false;     // complete() was called, or never will be
  bool answered_ = false;    // result_ was set
  bool cancelled_ = false;
  bool delivering_ = false, paused_ = false, resumed_ = false, delivered_ = false;
  bool cancel_running_ = false;
  std::thread::id cancel_thread_;
  pintle_task_fn ready_fn_ = nullptr, cancel_fn_ = nullptr;
  void *ready_ctx_ = nullptr, *cancel_ctx_ = nullptr;
  std::vector<int> out_fds_;
};

}  // namespace pintle::kernel
