#include "pintle/testing/harness.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <tuple>

#include "pintle/labels.h"

struct pintle_object {
  int references = 1;
  const std::vector<std::string>* paths = nullptr;
  std::string kind, bytes;
  uint64_t revision = 0;
  pintle::json::Value value;
  std::map<std::string, std::string> fields;  // by path, as text
};

struct pintle_call {
  pintle::testing::Harness* harness = nullptr;
  bool answered = false, cancelled = false;
  size_t cancel_after = 0;
  pintle::testing::Harness::Answer answer;
  std::vector<int> fds;
  std::vector<std::pair<pintle_task_fn, void*>> on_cancel;
  int* open = nullptr;
  // A call to a peer plugin: who gets its answers.
  pintle_part_fn part = nullptr;
  pintle_done_fn done = nullptr;
  void* ctx = nullptr;
  bool paused = false;
  std::vector<std::pair<pintle_task_fn, void*>> on_ready;
};

struct pintle_timer {
  uint64_t at = 0, order = 0;
  pintle_task_fn fn = nullptr;
  void* ctx = nullptr;
  bool fired = false;
};

struct pintle_watch {
  std::string kind, ns;
  pintle_event_fn fn = nullptr;
  void* ctx = nullptr;
  bool ended = false;
};

struct pintle_fdwatch {
  int fd = -1;
  uint32_t events = 0;
  pintle_fd_fn fn = nullptr;
  void* ctx = nullptr;
  bool ended = false;
};

struct pintle_metric {
  double value = 0;
};

namespace pintle::testing {
namespace {

struct HostBox {
  pintle_host host;
  Harness* harness;
  void* state;
};

}  // namespace

struct Harness::State {
  HarnessOptions options;
  Result<void> ok;
  json::Value manifest;
  void* library = nullptr;
  const pintle_entry* entry = nullptr;
  const pintle_plugin* plugin = nullptr;
  bool started = false, stopped = false;
  HostBox box{};
  std::mt19937_64 random;
  uint64_t now = 1000000000, order = 0, revision = 0;
  std::deque<std::pair<pintle_task_fn, void*>> tasks;
  std::deque<std::function<void()>> own;
  std::vector<pintle_timer*> timers;
  std::vector<pintle_watch*> watches;
  std::vector<pintle_fdwatch*> fdwatches;
  std::map<std::tuple<std::string, std::string, std::string>, pintle_object*> objects;
  std::vector<std::string> paths, log;
  std::map<std::string, pintle_metric> metrics;
  int health = PINTLE_HEALTH_READY;
  std::string health_message;
  std::map<std::string, uint64_t> epochs;
  struct PeerPlugin {
    void* library = nullptr;
    const pintle_plugin* plugin = nullptr;
  };
  std::map<std::string, PeerPlugin> peers;  // by slot
  int calls = 0;

  static State& of(const pintle_host* h) { return *static_cast<State*>(reinterpret_cast<const HostBox*>(h)->state); }

  static void release(pintle_object* o) {
    if (--o->references == 0) delete o;
  }

  void notify(pintle_event_type type, pintle_object* object, pintle_object* previous) {
    for (pintle_watch* w : watches) {
      if (w->ended || (w->kind != "*" && w->kind != object->kind)) continue;
      const std::string ns(object->value.at("metadata.namespace").as_string());
      if (!w->ns.empty() && w->ns != ns) continue;
      ++object->references;
      if (previous) ++previous->references;
      own.emplace_back([this, w, type, object, previous] {
        if (!w->ended) {
          pintle_event e{sizeof(pintle_event), type, object, previous, object->revision, 0};
          w->fn(w->ctx, &e);
        }
        release(object);
        if (previous) release(previous);
        sweep();
      });
    }
  }
  void sweep() {
    // Ended watches are freed once nothing in the queue refers to them.
    if (!own.empty()) return;
    for (auto it = watches.begin(); it != watches.end();) {
      if ((*it)->ended) {
        delete *it;
        it = watches.erase(it);
      } else {
        ++it;
      }
    }
  }

  pintle_object* store(const std::string& kind, json::Value v) {
    const std::string ns(v.at("metadata.namespace").as_string()), name(v.at("metadata.name").as_string());
    auto& slot = objects[{kind, ns, name}];
    auto* o = new pintle_object;
    o->revision = ++revision;
    v.make("metadata.resourceVersion") = std::to_string(o->revision);
    if (v.at("metadata.uid").is_null()) v.make("metadata.uid") = slot ? slot->value.at("metadata.uid") : json::Value("uid-" + std::to_string(o->revision));
    o->bytes = v.dump();
    o->bytes.append(64, '\0');
    o->value = std::move(v);
    o->kind = kind;
    o->paths = &paths;
    pintle_object* before = slot;
    slot = o;
    notify(before ? PINTLE_EVENT_MODIFIED : PINTLE_EVENT_ADDED, o, before);
    if (before) release(before);
    return o;
  }
  bool erase(const std::string& kind, const std::string& ns, const std::string& name) {
    const auto it = objects.find({kind, ns, name});
    if (it == objects.end()) return false;
    pintle_object* o = it->second;
    objects.erase(it);
    o->revision = ++revision;
    notify(PINTLE_EVENT_DELETED, o, nullptr);
    release(o);
    return true;
  }

  static uint64_t clock() {
    timespec t{};
    clock_gettime(CLOCK_BOOTTIME, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
  }

  // The answer of a peer plugin, to who asked.
  static void tell_caller(pintle_call* c) {
    std::unique_ptr<pintle_call> owned_call(c);
    for (int fd : c->fds)
      if (fd >= 0) close(fd);
    if (c->answer.reply) {
      const std::string text = c->answer.reply->dump();
      return c->done(c->ctx, PINTLE_OK, nullptr, bytes(text), c->answer.fds.data(), c->answer.fds.size());
    }
    pintle_error e{};
    e.size = sizeof e;
    c->answer.reply.error().to_c(&e);
    c->done(c->ctx, c->answer.reply.error().code, &e, {"", 0}, nullptr, 0);
  }

  // One step; false when nothing can happen before `until`.
  bool step(uint64_t until) {
    if (options.real_time) now = clock();
    if (!own.empty()) {
      auto fn = std::move(own.front());
      own.pop_front();
      fn();
      return true;
    }
    if (!tasks.empty()) {
      const auto [fn, ctx] = tasks.front();
      tasks.pop_front();
      fn(ctx);
      return true;
    }
    // Real descriptors that are ready now.
    std::vector<pollfd> fds;
    std::vector<pintle_fdwatch*> who;
    for (auto* w : fdwatches)
      if (!w->ended && w->events) {
        fds.push_back({w->fd, static_cast<short>(((w->events & PINTLE_READABLE) ? POLLIN : 0) | ((w->events & PINTLE_WRITABLE) ? POLLOUT : 0)), 0});
        who.push_back(w);
      }
    pintle_timer* next = nullptr;
    for (auto* t : timers)
      if (!t->fired && (!next || std::tie(t->at, t->order) < std::tie(next->at, next->order))) next = t;
    if (options.real_time) {
      if (next && next->at <= now) {
        next->fired = true;
        next->fn(next->ctx);
        return true;
      }
      if (now >= until || (fds.empty() && !next)) return false;
    }
    if (!fds.empty() || options.real_time) {
      // A descriptor may answer in real time: give it a moment before virtual time jumps.
      int wait_ms = next && next->at <= now ? 0 : 20;
      if (options.real_time && next) wait_ms = static_cast<int>(std::min<uint64_t>(20, (next->at - now) / 1000000 + 1));
      const int ready = poll(fds.data(), fds.size(), wait_ms);
      if (ready > 0) {
        for (size_t i = 0; i < fds.size(); ++i) {
          if (!fds[i].revents || who[i]->ended) continue;
          const uint32_t ev = ((fds[i].revents & POLLIN) ? uint32_t{PINTLE_READABLE} : 0u) | ((fds[i].revents & POLLOUT) ? uint32_t{PINTLE_WRITABLE} : 0u) |
                              ((fds[i].revents & (POLLHUP | POLLERR)) ? uint32_t{PINTLE_HANGUP} : 0u);
          who[i]->events = 0;
          who[i]->fn(who[i]->ctx, ev);
        }
        for (auto it = fdwatches.begin(); it != fdwatches.end();) {
          if ((*it)->ended) {
            delete *it;
            it = fdwatches.erase(it);
          } else {
            ++it;
          }
        }
        return true;
      }
      if (options.real_time) return true;
    }
    if (next && next->at <= until) {
      now = std::max(now, next->at);
      next->fired = true;
      next->fn(next->ctx);
      return true;
    }
    if (!fds.empty() && now < until) {  // only the outside can help now: let virtual time follow the poll
      now += 20000000;
      return true;
    }
    now = std::max(now, until);
    return false;
  }
};

namespace {

pintle_code fail(pintle_error* e, pintle_code code, const std::string& text) {
  Error(code, text).to_c(e);
  return code;
}

}  // namespace

Harness::Harness(HarnessOptions options) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.options = std::move(options);
  s.random.seed(s.options.seed);
  if (s.options.real_time) s.now = State::clock();
  s.box.harness = this;
  s.box.state = &s;
  s.box.host = {sizeof(pintle_host), PINTLE_ABI_MAJOR, PINTLE_ABI_MINOR, "testing",
                [](const pintle_host*, const char* id) -> const void* {
    static constexpr pintle_call_api call{
        sizeof(pintle_call_api),
        [](pintle_call* c, pintle_code code, const pintle_error* e, pintle_buf reply) {
          if (code == PINTLE_OK) {
            auto r = json::parse(reply.len ? std::string_view(reply.ptr, reply.len) : std::string_view("{}"));
            if (r) c->answer.reply = std::move(r.value);
            else c->answer.reply = Error(PINTLE_INTERNAL, "the answer is not JSON: " + r.error);
          } else {
            c->answer.reply = Error::from_c(code, e);
          }
          if (reply.release) reply.release(reply.owner, reply.ptr, reply.len);
          if (c->answered) std::abort();  // answered twice
          c->answered = true;
          --*c->open;
          if (c->done) State::of(&c->harness->state_->box.host).own.emplace_back([c] { State::tell_caller(c); });
        },
        [](pintle_call* c, pintle_buf part) {
          if (c->done) {
            if (c->paused || (c->part && !c->part(c->ctx, {part.ptr, part.len}))) {
              c->paused = true;
              return false;
            }
            if (part.release) part.release(part.owner, part.ptr, part.len);
            return true;
          }
          c->answer.parts.emplace_back(part.ptr, part.len);
          if (part.release) part.release(part.owner, part.ptr, part.len);
          if (c->cancel_after && c->answer.parts.size() >= c->cancel_after && !c->cancelled) {
            c->cancelled = true;
            for (auto [fn, ctx] : std::exchange(c->on_cancel, {})) State::of(&c->harness->state_->box.host).tasks.emplace_back(fn, ctx);
          }
          return true;
        },
        [](pintle_call* c, pintle_task_fn fn, void* ctx) {
          if (c->paused) c->on_ready.emplace_back(fn, ctx);
          else fn(ctx);
        },
        [](pintle_call* c, pintle_task_fn fn, void* ctx) {
          if (c->cancelled) fn(ctx);
          else c->on_cancel.emplace_back(fn, ctx);
        },
        [](const pintle_call* c) { return c->cancelled; },
        [](const pintle_call*) -> uint64_t { return 0; },
        [](pintle_call* c, uint32_t i) {
          if (i >= c->fds.size()) return -1;
          return std::exchange(c->fds[i], -1);
        },
        [](pintle_call* c, int fd) { c->answer.fds.push_back(fd); }};
    static constexpr pintle_log_api log{sizeof(pintle_log_api),
        [](const pintle_host* h, int, pintle_bytes text, pintle_bytes fields) {
          State::of(h).log.push_back(std::string(view(text)) + (fields.len ? " " + std::string(view(fields)) : ""));
        },
        [](const pintle_host*) -> int { return PINTLE_LOG_DEBUG; }};
    static constexpr pintle_object_api object{
        sizeof(pintle_object_api), [](pintle_object* o) { ++o->references; }, [](pintle_object* o) { State::release(o); },
        [](const pintle_object* o) -> pintle_bytes { return {o->bytes.data(), o->bytes.size() - 64}; },
        [](const pintle_object* o) { return o->revision; },
        [](const pintle_host* h, pintle_bytes p) {
          State::of(h).paths.emplace_back(view(p));
          return static_cast<uint32_t>(State::of(h).paths.size() - 1);
        },
        [](const pintle_object* o, uint32_t path) -> pintle_bytes {
          const std::string& dotted = (*o->paths)[path];
          const json::Value& v = o->value.at(dotted);
          if (v.is_null()) return {nullptr, 0};
          return bytes(const_cast<pintle_object*>(o)->fields.try_emplace(dotted, v.dump()).first->second);
        },
        [](const pintle_object* o) { return bytes(o->kind); }};
    static constexpr pintle_store_api store{
        sizeof(pintle_store_api),
        [](const pintle_host* h, const pintle_key* k, pintle_object** out, pintle_error* e) {
          State& st = State::of(h);
          const auto it = st.objects.find({std::string(view(k->kind)), std::string(view(k->ns)), std::string(view(k->name))});
          if (it == st.objects.end())
            return fail(e, PINTLE_NOT_FOUND, std::string(view(k->kind)) + " \"" + std::string(view(k->name)) + "\" not found");
          ++it->second->references;
          *out = it->second;
          return PINTLE_OK;
        },
        [](const pintle_host* h, const pintle_query* q, void (*each)(void*, pintle_object*), void* ctx, uint64_t* revision,
           pintle_buf*, pintle_error* e) {
          State& st = State::of(h);
          auto selector = Selector::parse(view(q->label_selector));
          if (!selector) return fail(e, PINTLE_BAD_REQUEST, selector.error().text);
          for (auto& [key, o] : st.objects) {
            if (std::get<0>(key) != view(q->kind) || (q->ns.len && std::get<1>(key) != view(q->ns))) continue;
            if (!selector->matches(o->value.at("metadata.labels"))) continue;
            each(ctx, o);
          }
          *revision = st.revision;
          return PINTLE_OK;
        },
        [](const pintle_host* h, const pintle_query* q, pintle_event_fn fn, void* ctx, pintle_watch** out, pintle_error*) {
          State& st = State::of(h);
          auto* w = new pintle_watch{std::string(view(q->kind)), std::string(view(q->ns)), fn, ctx, false};
          st.watches.push_back(w);
          *out = w;
          if (q->revision == 0) {
            for (auto& [key, o] : st.objects) {
              if ((w->kind != "*" && std::get<0>(key) != w->kind) || (!w->ns.empty() && std::get<1>(key) != w->ns)) continue;
              ++o->references;
              st.own.emplace_back([&st, w, o = o] {
                if (!w->ended) {
                  pintle_event ev{sizeof(pintle_event), PINTLE_EVENT_ADDED, o, nullptr, o->revision, 0};
                  w->fn(w->ctx, &ev);
                }
                State::release(o);
                st.sweep();
              });
            }
            st.own.emplace_back([&st, w, at = st.revision] {
              if (!w->ended) {
                pintle_event ev{sizeof(pintle_event), PINTLE_EVENT_SYNCED, nullptr, nullptr, at, 0};
                w->fn(w->ctx, &ev);
              }
              st.sweep();
            });
          }
          return PINTLE_OK;
        },
        [](const pintle_host* h, pintle_watch* w) {
          w->ended = true;
          State::of(h).own.emplace_back([&st = State::of(h)] { st.sweep(); });
        },
        [](const pintle_host* h, const pintle_op* ops, size_t n, const pintle_fence*, size_t, uint32_t, pintle_commit_fn done, void* ctx) {
          State& st = State::of(h);
          struct Outcome {
            pintle_code code = PINTLE_OK;
            pintle_object* object = nullptr;
            std::string text;
          };
          auto results = std::make_shared<std::vector<Outcome>>(n);
          for (size_t i = 0; i < n; ++i) {
            const pintle_op& op = ops[i];
            Outcome& r = (*results)[i];
            const std::string kind(view(op.key.kind)), ns(view(op.key.ns)), name(view(op.key.name));
            const auto it = st.objects.find({kind, ns, name});
            pintle_object* now = it == st.objects.end() ? nullptr : it->second;
            if (op.verb == PINTLE_CREATE) {
              if (now) {
                r.code = PINTLE_ALREADY_EXISTS;
                r.text.append(kind).append(" \"").append(name).append("\" already exists");
                continue;
              }
              json::Value v = json::parse_or_null(view(op.body));
              if (!ns.empty()) v.make("metadata.namespace") = ns;
              if (v.at("metadata.name").as_string().empty())
                v.make("metadata.name") = std::string(v.at("metadata.generateName").as_string()) + std::to_string(st.revision);
              r.object = st.store(kind, std::move(v));
            } else if (!now) {
              r.code = PINTLE_NOT_FOUND;
              r.text.append(kind).append(" \"").append(name).append("\" not found");
              continue;
            } else if ((op.if_revision && op.if_revision != now->revision) ||
                       (op.if_uid.len && view(op.if_uid) != now->value.at("metadata.uid").as_string())) {
              r.code = PINTLE_CONFLICT;
              r.text = "the object has been modified";
              continue;
            } else if (op.verb == PINTLE_DELETE) {
              ++now->references;
              st.erase(kind, ns, name);
              r.object = now;
              continue;  // holds its own reference
            } else if (op.verb == PINTLE_UPDATE) {
              r.object = st.store(kind, json::parse_or_null(view(op.body)));
            } else if (op.verb == PINTLE_MERGE_PATCH) {
              json::Value v = now->value;
              std::function<void(json::Value&, const json::Value&)> merge = [&](json::Value& to, const json::Value& p) {
                if (!p.is_object()) {
                  to = p;
                  return;
                }
                to.make_object();
                for (const auto& m : p.members())
                  if (m.value.is_null()) to.erase(m.key);
                  else merge(to.set(m.key), m.value);
              };
              merge(v, json::parse_or_null(view(op.body)));
              r.object = st.store(kind, std::move(v));
            } else {
              r.code = PINTLE_UNSUPPORTED;
              r.text = "the testing store knows create, update, merge patch and delete";
              continue;
            }
            ++r.object->references;
          }
          st.own.emplace_back([results, done, ctx] {
            std::vector<pintle_result> c;
            for (auto& r : *results) c.push_back({sizeof(pintle_result), r.code, r.object, bytes(r.text), {"", 0}});
            done(ctx, PINTLE_OK, c.data(), c.size());
            for (auto& r : *results)
              if (r.object) State::release(r.object);
          });
        }};
    static constexpr pintle_exec_api exec{
        sizeof(pintle_exec_api),
        [](const pintle_host* h, pintle_task_fn fn, void* ctx) { State::of(h).tasks.emplace_back(fn, ctx); },
        [](const pintle_host* h, pintle_task_fn fn, void* ctx) { State::of(h).tasks.emplace_back(fn, ctx); },
        [](const pintle_host* h, uint64_t delay, pintle_task_fn fn, void* ctx) {
          State& st = State::of(h);
          auto* t = new pintle_timer{st.now + delay, st.order++, fn, ctx, false};
          st.timers.push_back(t);
          return t;
        },
        [](const pintle_host* h, pintle_timer* t, bool) {
          const bool pending = !t->fired;
          auto& timers = State::of(h).timers;
          timers.erase(std::find(timers.begin(), timers.end(), t));
          delete t;
          return pending;
        }};
    static constexpr pintle_clock_api clock{sizeof(pintle_clock_api), [](const pintle_host* h) { return State::of(h).now; },
                                            [](const pintle_host* h) { return static_cast<int64_t>(1700000000000000000 + State::of(h).now); }};
    static constexpr pintle_random_api random{sizeof(pintle_random_api), [](const pintle_host* h, void* out, size_t n) {
      for (size_t i = 0; i < n; ++i) static_cast<unsigned char*>(out)[i] = static_cast<unsigned char>(State::of(h).random());
    }};
    static constexpr pintle_health_api health{sizeof(pintle_health_api), [](const pintle_host* h, int state, pintle_bytes message) {
                                                State::of(h).health = state;
                                                State::of(h).health_message = std::string(view(message));
                                              }};
    static constexpr pintle_metrics_api metrics{
        sizeof(pintle_metrics_api),
        [](const pintle_host* h, int, pintle_bytes name, pintle_bytes, pintle_bytes labels) {
          return &State::of(h).metrics[std::string(view(name)) + std::string(view(labels))];
        },
        [](pintle_metric* m, double v) { m->value += v; }, [](pintle_metric* m, double v) { m->value = v; }};
    static constexpr pintle_peer_api peer{
        sizeof(pintle_peer_api),
        [](const pintle_host* h, pintle_bytes slot, const char* id2, uint32_t method, pintle_bytes request, const int* fds, size_t n,
           uint64_t deadline, pintle_part_fn part, pintle_done_fn done, void* ctx) -> pintle_invocation* {
          State& st = State::of(h);
          if (const auto at = st.peers.find(std::string(view(slot))); at != st.peers.end()) {
            (void)deadline;  // virtual time jumps: a deadline would only hide what a test should see
            auto* c = new pintle_call;
            c->harness = reinterpret_cast<const HostBox*>(h)->harness;
            c->open = &st.calls;
            c->part = part;
            c->done = done;
            c->ctx = ctx;
            c->fds.assign(fds, fds + n);
            ++st.calls;
            const void* table = at->second.plugin->get(at->second.plugin->self, id2);
            pintle_method fn = nullptr;
            if (table) std::memcpy(&fn, static_cast<const char*>(table) + sizeof(void*) * (1 + method), sizeof fn);
            st.own.emplace_back([c, fn, self = at->second.plugin->self, text = std::string(view(request))] {
              if (fn) return fn(self, bytes(text), c);
              c->answer.reply = Error(PINTLE_UNSUPPORTED, "the peer does not provide this interface");
              c->answered = true;
              --*c->open;
              State::tell_caller(c);
            });
            return reinterpret_cast<pintle_invocation*>(c);
          }
          for (size_t i = 0; i < n; ++i) close(fds[i]);
          Result<json::Value> r = st.options.peer ? st.options.peer(std::string(view(slot)), id2, method, json::parse_or_null(view(request)))
                                                  : Error(PINTLE_UNAVAILABLE, "nobody holds slot \"" + std::string(view(slot)) + "\"");
          auto shared = std::make_shared<Result<json::Value>>(std::move(r));
          st.own.emplace_back([shared, done, ctx] {
            if (shared->ok()) {
              const std::string text = (*shared)->dump();
              done(ctx, PINTLE_OK, nullptr, bytes(text), nullptr, 0);
            } else {
              pintle_error e{};
              e.size = sizeof e;
              shared->error().to_c(&e);
              done(ctx, shared->error().code, &e, {"", 0}, nullptr, 0);
            }
          });
          return nullptr;
        },
        [](const pintle_host*, pintle_invocation* i) {
          auto* c = reinterpret_cast<pintle_call*>(i);
          if (!c) return;
          c->paused = false;
          for (auto [fn, x] : std::exchange(c->on_ready, {})) State::of(&c->harness->state_->box.host).tasks.emplace_back(fn, x);
        },
        [](const pintle_host*, pintle_invocation* i) {
          auto* c = reinterpret_cast<pintle_call*>(i);
          if (!c || c->cancelled || c->answered) return;
          c->cancelled = true;
          for (auto [fn, x] : std::exchange(c->on_cancel, {})) State::of(&c->harness->state_->box.host).tasks.emplace_back(fn, x);
        },
        [](const pintle_host* h, pintle_bytes slot) { return State::of(h).epochs[std::string(view(slot))]; }};
    static constexpr auto open_socket = [](pintle_bytes address, bool listening, pintle_error* e) {
      const std::string a(view(address));
      const auto colon = a.find(':');
      const std::string scheme = a.substr(0, colon), rest = a.substr(colon + 1);
      sockaddr_storage storage{};
      socklen_t len = 0;
      int type = SOCK_STREAM;
      if (scheme == "unix") {
        auto* u = reinterpret_cast<sockaddr_un*>(&storage);
        u->sun_family = AF_UNIX;
        rest.copy(u->sun_path, sizeof u->sun_path - 1);
        len = sizeof *u;
      } else {
        auto* in = reinterpret_cast<sockaddr_in*>(&storage);
        in->sin_family = AF_INET;
        const auto c2 = rest.rfind(':');
        if (inet_pton(AF_INET, rest.substr(0, c2).c_str(), &in->sin_addr) != 1) {
          fail(e, PINTLE_INVALID, "not an address: " + a);
          return -1;
        }
        in->sin_port = htons(static_cast<uint16_t>(std::stoi(rest.substr(c2 + 1))));
        len = sizeof *in;
        if (scheme == "udp") type = SOCK_DGRAM;
      }
      const int fd = socket(storage.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      const auto* sa = reinterpret_cast<sockaddr*>(&storage);
      const int rc = listening ? bind(fd, sa, len) || (type == SOCK_STREAM && listen(fd, 64)) : connect(fd, sa, len);
      if (rc != 0 && errno != EINPROGRESS) {
        fail(e, PINTLE_UNAVAILABLE, a + ": " + std::generic_category().message(errno));
        close(fd);
        return -1;
      }
      return fd;
    };
    static constexpr pintle_net_api net{
        sizeof(pintle_net_api), [](const pintle_host*, pintle_bytes a, pintle_error* e) { return open_socket(a, false, e); },
        [](const pintle_host*, pintle_bytes a, pintle_error* e) { return open_socket(a, true, e); },
        [](const pintle_host* h, int fd, pintle_fd_fn fn, void* ctx) {
          auto* w = new pintle_fdwatch{fd, 0, fn, ctx, false};
          State::of(h).fdwatches.push_back(w);
          return w;
        },
        [](pintle_fdwatch* w, uint32_t ev) { w->events = ev; },
        [](pintle_fdwatch* w) { w->ended = true; }};
    const std::pair<const char*, const void*> all[] = {
        {PINTLE_CALL, &call}, {PINTLE_LOG, &log}, {PINTLE_OBJECT, &object}, {PINTLE_STORE, &store}, {PINTLE_EXEC, &exec}, {PINTLE_CLOCK, &clock},
        {PINTLE_RANDOM, &random}, {PINTLE_METRICS, &metrics}, {PINTLE_HEALTH, &health}, {PINTLE_PEER, &peer}, {PINTLE_NET, &net}};
    for (const auto& [name, table] : all)
      if (std::strcmp(name, id) == 0) return table;
    return nullptr;
  }};

  s.library = dlopen(s.options.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!s.library) {
    s.ok = Error(PINTLE_NOT_FOUND, dlerror());  // NOLINT(concurrency-mt-unsafe): glibc keeps the text per thread
    return;
  }
  s.entry = static_cast<const pintle_entry*>(dlsym(s.library, "pintle_plugin_entry"));
  if (!s.entry) {
    s.ok = Error(PINTLE_INVALID, s.options.library + " exports no pintle_plugin_entry");
    return;
  }
  s.manifest = json::parse_or_null(s.entry->manifest);
  pintle_error e{};
  e.size = sizeof e;
  const pintle_bytes config = bytes(s.options.config);
  pintle_code c = s.entry->validate ? s.entry->validate(config, &e) : PINTLE_OK;
  if (c == PINTLE_OK) c = s.entry->create(&s.box.host, config, &s.plugin, &e);
  if (c != PINTLE_OK) {
    s.ok = Error::from_c(c, &e);
    return;
  }
  for (const auto& p : s.options.peers) {
    State::PeerPlugin peer_plugin;
    peer_plugin.library = dlopen(p.library.c_str(), RTLD_NOW | RTLD_LOCAL);
    const auto* entry = peer_plugin.library ? static_cast<const pintle_entry*>(dlsym(peer_plugin.library, "pintle_plugin_entry")) : nullptr;
    pintle_code made = entry ? entry->create(&s.box.host, bytes(p.config), &peer_plugin.plugin, &e) : PINTLE_NOT_FOUND;
    if (made == PINTLE_OK) made = peer_plugin.plugin->start(peer_plugin.plugin->self, &e);
    if (made == PINTLE_OK) made = peer_plugin.plugin->activate(peer_plugin.plugin->self, bytes(p.slot), 1, &e);
    if (made != PINTLE_OK) {
      s.ok = entry ? Error::from_c(made, &e) : Error(PINTLE_NOT_FOUND, p.library + " is no plugin");
      return;
    }
    s.epochs[p.slot] = 1;
    s.peers[p.slot] = peer_plugin;
  }
}

Harness::~Harness() {
  State& s = *state_;
  if (s.plugin) {
    if (s.started && !s.stopped) {
      (void)drain();
      stop();
    }
    s.plugin->destroy(s.plugin->self);
  }
  for (auto& [slot, p] : s.peers) {
    p.plugin->stop(p.plugin->self);
    p.plugin->destroy(p.plugin->self);
  }
  while (!s.own.empty() || !s.tasks.empty())
    if (!s.step(s.now)) break;
  for (auto* w : s.watches) delete w;
  for (auto* w : s.fdwatches) delete w;
  for (auto* t : s.timers) delete t;
  for (auto& [key, o] : s.objects) State::release(o);
  for (auto& [slot, p] : s.peers) dlclose(p.library);
  if (s.library) dlclose(s.library);
}

const Result<void>& Harness::ok() const { return state_->ok; }
const json::Value& Harness::manifest() const { return state_->manifest; }
bool Harness::provides(const std::string& id) const { return state_->plugin && state_->plugin->get(state_->plugin->self, id.c_str()); }

Result<void> Harness::start() {
  if (!state_->ok) return state_->ok;
  pintle_error e{};
  e.size = sizeof e;
  const pintle_code c = state_->plugin->start(state_->plugin->self, &e);
  if (c != PINTLE_OK) return Error::from_c(c, &e);
  state_->started = true;
  return {};
}
Result<void> Harness::activate(const std::string& slot, uint64_t epoch) {
  state_->epochs[slot] = epoch;
  pintle_error e{};
  e.size = sizeof e;
  const pintle_code c = state_->plugin->activate(state_->plugin->self, bytes(slot), epoch, &e);
  if (c != PINTLE_OK) return Error::from_c(c, &e);
  return {};
}
Result<void> Harness::drain() {
  pintle_call call;
  call.harness = this;
  call.open = &state_->calls;
  ++state_->calls;
  state_->plugin->drain(state_->plugin->self, &call);
  if (!run_until([&] { return call.answered; })) return Error(PINTLE_TIMEOUT, "drain was not answered");
  if (!call.answer.reply) return call.answer.reply.error();
  return {};
}
void Harness::stop() {
  if (std::exchange(state_->stopped, true)) return;
  state_->plugin->stop(state_->plugin->self);
  while (state_->step(state_->now)) {
  }
}

Result<void> Harness::replace() {
  State& s = *state_;
  stop();
  s.plugin->destroy(std::exchange(s.plugin, nullptr)->self);
  while (s.step(s.now)) {
  }
  s.started = s.stopped = false;
  pintle_error e{};
  e.size = sizeof e;
  const pintle_code c = s.entry->create(&s.box.host, bytes(s.options.config), &s.plugin, &e);
  if (c != PINTLE_OK) return Error::from_c(c, &e);
  return {};
}

Harness::Answer Harness::call(const char* id, uint32_t method, const json::Value& request, std::vector<int> fds,
                              size_t cancel_after_parts, uint64_t limit_ns) {
  const void* table = state_->plugin ? state_->plugin->get(state_->plugin->self, id) : nullptr;
  Answer none;
  if (!table) {
    none.reply = Error(PINTLE_UNSUPPORTED, std::string("the plugin does not provide ") + id);
    return none;
  }
  uint32_t size = 0;
  std::memcpy(&size, table, sizeof size);
  const size_t offset = sizeof(void*) * (1 + method);
  if (size < offset + sizeof(void*)) {
    none.reply = Error(PINTLE_UNSUPPORTED, "the interface has no such method");
    return none;
  }
  pintle_method fn = nullptr;
  std::memcpy(&fn, static_cast<const char*>(table) + offset, sizeof fn);
  auto* c = new pintle_call;
  c->harness = this;
  c->open = &state_->calls;
  c->cancel_after = cancel_after_parts;
  c->fds = std::move(fds);
  ++state_->calls;
  const std::string text = request.dump();
  fn(state_->plugin->self, bytes(text), c);
  if (!run_until([&] { return c->answered; }, limit_ns)) {
    none.reply = Error(PINTLE_TIMEOUT, "not answered");
    none.parts = c->answer.parts;
    return none;  // the call stays: the plugin still owes it
  }
  Answer out = std::move(c->answer);
  for (int fd : c->fds)
    if (fd >= 0) close(fd);
  delete c;
  return out;
}

bool Harness::run_until(const std::function<bool()>& done, uint64_t limit_ns) {
  const uint64_t end = state_->now + limit_ns;
  while (!done()) {
    if (!state_->step(end)) return done();
  }
  return true;
}
void Harness::run_for(uint64_t ns) {
  (void)run_until([] { return false; }, ns);
}
uint64_t Harness::now() const { return state_->now; }
const pintle_host* Harness::host() const { return &state_->box.host; }

void Harness::put(const std::string& kind, json::Value object) { state_->store(kind, std::move(object)); }
json::Value Harness::get(const std::string& kind, const std::string& ns, const std::string& name) const {
  const auto it = state_->objects.find({kind, ns, name});
  return it == state_->objects.end() ? json::Value() : it->second->value;
}
std::vector<json::Value> Harness::list(const std::string& kind) const {
  std::vector<json::Value> out;
  for (const auto& [key, o] : state_->objects)
    if (std::get<0>(key) == kind) out.push_back(o->value);
  return out;
}
void Harness::remove(const std::string& kind, const std::string& ns, const std::string& name) { state_->erase(kind, ns, name); }

json::Value Harness::left() const {
  const State& s = *state_;
  size_t watches = 0, fds = 0;
  for (auto* w : s.watches) watches += !w->ended;
  for (auto* w : s.fdwatches) fds += !w->ended;
  return json::Value::object({{"tasks", s.tasks.size()}, {"timers", s.timers.size()}, {"watches", watches}, {"fdwatches", fds}, {"calls", s.calls}});
}
std::vector<std::string> Harness::log() const { return state_->log; }
json::Value Harness::health() const { return json::Value::object({{"state", state_->health}, {"message", state_->health_message}}); }

}  // namespace pintle::testing
