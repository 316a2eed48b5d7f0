// Continuations as coroutines: the pipeline reads top to bottom and still never blocks a thread.
//
// Async<T> is lazy: it runs when awaited (or given to spawn()) and continues on whichever thread its last wait ended. What ends
// before it has to wait continues without growing the stack, so loops of any length are fine.
#pragma once
#include <atomic>
#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

namespace pintle::kernel {

namespace async_internal {
enum : int { kRunning, kSuspended, kDone };
struct Promise {
  std::coroutine_handle<> next;
  std::atomic<int> state{kRunning};
  std::suspend_always initial_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { std::terminate(); }
  struct Final {
    bool await_ready() noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> self) noexcept {
      const std::coroutine_handle<> next = self.promise().next;  // the frame may be gone after the exchange
      if (self.promise().state.exchange(kDone) == kSuspended) next.resume();
    }
    void await_resume() noexcept {}
  };
  Final final_suspend() noexcept { return {}; }
};
}  // namespace async_internal

template <class T>
class [[nodiscard]] Async {
 public:
  struct promise_type : async_internal::Promise {
    std::optional<T> value;
    Async get_return_object() { return Async(std::coroutine_handle<promise_type>::from_promise(*this)); }
    void return_value(T v) { value.emplace(std::move(v)); }
  };
  Async(Async&& o) noexcept : handle_(std::exchange(o.handle_, nullptr)) {}
  Async(const Async&) = delete;
  Async& operator=(const Async&) = delete;
  ~Async() {
    if (handle_) handle_.destroy();
  }
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) {
    handle_.promise().next = parent;
    handle_.resume();
    return handle_.promise().state.exchange(async_internal::kSuspended) != async_internal::kDone;
  }
  T await_resume() { return std::move(*handle_.promise().value); }

 private:
  explicit Async(std::coroutine_handle<promise_type> h) : handle_(h) {}
  std::coroutine_handle<promise_type> handle_;
};

// Waits for a function that takes a callback: co_await Wait<int>([](std::function<void(int)> done) { ... }).
template <class T>
class Wait {
 public:
  using Start = std::function<void(std::function<void(T)>)>;
  explicit Wait(Start start) : start_(std::move(start)) {}
  Wait(const Wait&) = delete;
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) {
    self_ = self;
    start_([this](T v) {
      const std::coroutine_handle<> next = self_;
      value_.emplace(std::move(v));
      if (state_.exchange(async_internal::kDone) == async_internal::kSuspended) next.resume();
    });
    return state_.exchange(async_internal::kSuspended) != async_internal::kDone;
  }
  T await_resume() { return std::move(*value_); }

 private:
  Start start_;
  std::coroutine_handle<> self_;
  std::optional<T> value_;
  std::atomic<int> state_{async_internal::kRunning};
};

namespace async_internal {
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};
template <class T>
Detached run(Async<T> work, std::function<void(T)> done) {
  T value = co_await work;
  done(std::move(value));
}
}  // namespace async_internal

// Starts `work` now; `done` runs with its value, possibly before spawn() returns.
template <class T>
void spawn(Async<T> work, std::function<void(T)> done) {
  async_internal::run<T>(std::move(work), std::move(done));
}

}  // namespace pintle::kernel
