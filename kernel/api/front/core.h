// What the connections of one front end share. Private to this room.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernel/api/front/http.h"
#include "kernel/api/front/loop.h"
#include "kernel/api/front/refusal.h"
#include "kernel/api/front/tls.h"

namespace pintle::kernel {

class Connection;

// Threads: any, all of them atomic.
struct Counters {
  std::atomic<uint64_t> accepted{0}, shed{0}, refused{0}, timeouts{0}, requests{0}, bytes_in{0}, bytes_out{0};
  std::atomic<uint64_t> handshakes{0}, handshake_failures{0}, reloads{0}, reload_failures{0};
  std::array<std::atomic<uint64_t>, 6> answers{};  // by code / 100
};

// The connections that live on one loop; everything here on the loop's thread but `count`.
struct Shard {
  std::shared_ptr<Loop> loop;
  std::unordered_map<int, std::shared_ptr<Connection>> connections;  // by descriptor
  std::list<Connection*> idle;                                       // waiting for (the rest of) a header, oldest first
  std::atomic<size_t> count{0};
};

struct FrontCore : std::enable_shared_from_this<FrontCore> {
  FrontCore(Executor& e, FrontOptions o, HttpHandler h) : executor(e), options(std::move(o)), handler(std::move(h)) {}

  // Hands a complete request to the executor. Its decoding (gzip, path, query) happens there, too.
  void dispatch(std::shared_ptr<HttpRequest> request, std::shared_ptr<Responder> answer);
  void run_handler(HttpRequest& request, const std::shared_ptr<Responder>& answer);
  void warn(const std::string& sentence) const {
    if (options.warn) options.warn(sentence);
  }

  Executor& executor;
  const FrontOptions options;
  const HttpHandler handler;
  std::unique_ptr<TlsContext> tls;  // null: plain
  Counters counters;
  std::atomic<size_t> connections{0};
  std::atomic<size_t> body_bytes{0};   // of requests that are being read or answered
  std::atomic<bool> stopping{false};   // answers close their connection
  std::mutex mutex;
  std::condition_variable quiet;       // signalled when a handler returns or a connection ends
  bool stopped = false;                // guarded by mutex: no handler starts any more
  size_t handlers_running = 0;         // guarded by mutex
};

}  // namespace pintle::kernel
