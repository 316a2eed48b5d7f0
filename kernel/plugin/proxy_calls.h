// Calls over a channel, the same on both ends: RemoteCaller asks, RemoteCallee lets its own side answer.
//
// Partial answers flow against credit: the callee sends at most kCallWindow bytes (and one part) that the caller's `part` has not taken;
// what its side offers beyond that is refused and offered again. Deadlines and cancellation are kept by the caller, whatever
// the callee does.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "kernel/plugin/call.h"
#include "kernel/plugin/proxy_channel.h"

namespace pintle::kernel {

// Threads: any.
class RemoteCaller : public std::enable_shared_from_this<RemoteCaller> {
 public:
  RemoteCaller(std::shared_ptr<CallScope> scope, std::shared_ptr<Channel> channel) : scope_(std::move(scope)), channel_(std::move(channel)) {}
  // `slot`: "" when the other end is the plugin itself.
  std::shared_ptr<CallState> call(const std::string& slot, Invoke invoke);

  // Frames of this caller, one at a time. False: nonsense.
  bool on_part(Frame frame);
  bool on_done(Frame frame);
  // The other end is gone: what is open gets `why`, and so does what comes later.
  void end(const Error& why);

 private:
  struct Remote;
  static void on_cancel(void* ctx);
  void taken(const std::shared_ptr<Remote>& remote, size_t bytes);
  void flush(const std::shared_ptr<Remote>& remote);
  void finish(const std::shared_ptr<Remote>& remote, Result<Reply> result);
  std::shared_ptr<Remote> find(uint64_t id);
  const std::shared_ptr<CallScope> scope_;
  const std::shared_ptr<Channel> channel_;
  std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<Remote>> open_;
  uint64_t next_ = 1;
  std::unique_ptr<Error> ended_;
};

// Threads: any.
class RemoteCallee : public std::enable_shared_from_this<RemoteCallee> {
 public:
  using Target = std::function<std::shared_ptr<OpenCall>(const std::string& slot, Invoke invoke)>;
  RemoteCallee(std::shared_ptr<Channel> channel, Target target) : channel_(std::move(channel)), target_(std::move(target)) {}
  // Frames for this callee, one at a time. False: nonsense.
  bool on_call(Frame frame);
  bool on_credit(const Frame& frame);
  bool on_cancel(const Frame& frame);
  size_t open() const;
  void end();  // nobody waits any more: cancels what is open, and lets go of the target

 private:
  struct Served;
  void done(uint64_t id, const std::shared_ptr<Served>& served, Result<Reply> result);
  std::shared_ptr<Served> find(uint64_t id);
  const std::shared_ptr<Channel> channel_;
  Target target_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<Served>> open_;
};

}  // namespace pintle::kernel
