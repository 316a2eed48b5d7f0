#include "streams.h"

#include <unistd.h>

#include "pintle/timestamp.h"

namespace pintle::runtime_sim {

using json::Value;

Ends::Ends(const Value& fds, Call& call) {
  const auto take = [&](const char* name) {
    const Value* v = fds.find(name);
    if (!v || !v->is_int()) return -1;
    any = true;
    return call.take_fd(static_cast<uint32_t>(v->as_int()));
  };
  in = take("stdin");
  out = take("stdout");
  err = take("stderr");
  resize = take("resize");
}
Ends::Ends(Ends&& o) noexcept
    : in(std::exchange(o.in, -1)), out(std::exchange(o.out, -1)), err(std::exchange(o.err, -1)), resize(std::exchange(o.resize, -1)), any(o.any) {}
Ends::~Ends() {
  for (int fd : {in, out, err, resize})
    if (fd >= 0) ::close(fd);
}

Streams::Session::~Session() {
  if (resize >= 0) ::close(resize);
}

std::shared_ptr<Streams::Session> Streams::session(std::shared_ptr<Call> call) {
  auto s = std::make_shared<Session>();
  s->call = std::move(call);
  sessions_[s.get()] = s;
  s->call->on_cancel(strand_.wrap([this, weak = std::weak_ptr(s)] {
    const auto gone = weak.lock();
    if (!gone || !sessions_.erase(gone.get())) return;
    gone->pipes.clear();
    gone->call->fail(PINTLE_CANCELLED, "the caller went away");
  }));
  return s;
}

void Streams::add_pipe(const std::shared_ptr<Session>& s, int from, int to, std::string first) {
  ++s->open;
  s->pipes.push_back(std::make_unique<Pipe>(host_, strand_, from, to, std::move(first), [this, weak = std::weak_ptr(s)] {
    if (const auto it = weak.lock()) {
      --it->open;
      // Later: the pipe that tells this is still at work.
      strand_.post([this, weak] {
        if (const auto later = weak.lock()) maybe_done(later);
      });
    }
  }));
}

void Streams::maybe_done(const std::shared_ptr<Session>& s) {
  if (s->open > 0 || s->timer || !sessions_.count(s.get())) return;
  sessions_.erase(s.get());
  s->pipes.clear();
  s->call->reply(s->reply);
}

void Streams::exec(const Value& rq, Ends ends, std::shared_ptr<Call> call) {
  const Container* c = machine_.container(std::string(rq["id"].as_string()));
  if (!c) return call->fail(PINTLE_NOT_FOUND, "container \"" + std::string(rq["id"].as_string()) + "\" not found");
  if (c->state != Container::State::kRunning) return call->fail(PINTLE_CONFLICT, "container \"" + c->name + "\" is not running");
  std::vector<std::string> command;
  for (const auto& w : rq["command"].items()) command.emplace_back(w.as_string());
  if (command.empty()) return call->fail(PINTLE_BAD_REQUEST, "command is missing");

  Builtin b;
  if (!machine_.ready(*c)) {
    b.exit_code = 1;
    b.error = c->name + " is not ready\n";
  } else if (command[0] == "pintle-probe") {
    b.output = "ok\n";
  } else if (auto known = builtin(command)) {
    b = std::move(*known);
  } else {
    b.exit_code = 127;
    b.error = command[0] + ": not found (a simulated container knows echo, cat, true, false, exit, sleep, sh -c)\n";
  }
  const auto s = session(std::move(call));
  const uint64_t limit = static_cast<uint64_t>(rq["timeoutSeconds"].as_int(0)) * 1'000'000'000;
  if (limit && b.run_ns > limit) {
    s->timer = host_.after(limit, strand_.wrap([this, weak = std::weak_ptr(s), limit] {
      const auto late = weak.lock();
      if (!late || !sessions_.erase(late.get())) return;
      late->pipes.clear();
      late->call->fail(PINTLE_TIMEOUT, "the command took longer than " + std::to_string(limit / 1'000'000'000) + " s");
    }));
    return;
  }
  s->reply = Value::object({{"exitCode", b.exit_code}});
  if (ends.any) {
    s->resize = std::exchange(ends.resize, -1);
    const bool tty = rq["tty"].as_bool();
    const int in = b.copies_stdin ? std::exchange(ends.in, -1) : -1;
    if (ends.out >= 0 || in >= 0) add_pipe(s, in, std::exchange(ends.out, -1), tty ? b.output + b.error : b.output);
    if (ends.err >= 0) add_pipe(s, -1, std::exchange(ends.err, -1), tty ? std::string() : b.error);
    // Pipes are started after all were added: the first may end at once.
    for (size_t i = 0; i < s->pipes.size(); ++i) s->pipes[i]->start();
  } else {
    s->reply.set("stdout", b.output.substr(0, 16384));
    s->reply.set("stderr", b.error.substr(0, 16384));
  }
  if (b.run_ns)
    s->timer = host_.after(b.run_ns, strand_.wrap([this, weak = std::weak_ptr(s)] {
      if (const auto later = weak.lock()) maybe_done(later);
    }));
  maybe_done(s);
}

void Streams::attach(const Value& rq, Ends ends, std::shared_ptr<Call> call) {
  const Container* c = machine_.container(std::string(rq["id"].as_string()));
  if (!c) return call->fail(PINTLE_NOT_FOUND, "container \"" + std::string(rq["id"].as_string()) + "\" not found");
  if (c->state != Container::State::kRunning) return call->fail(PINTLE_CONFLICT, "container \"" + c->name + "\" is not running");
  std::string seen;
  for (const LogLine& l : c->log) seen += l.text + "\n";
  const auto s = session(std::move(call));
  s->reply = Value::object({{"exitCode", 0}});
  s->resize = std::exchange(ends.resize, -1);
  add_pipe(s, std::exchange(ends.in, -1), std::exchange(ends.out, -1), std::move(seen));
  s->pipes.back()->start();
}

void Streams::port_forward(const Value& rq, int fd, std::shared_ptr<Call> call) {
  if (fd < 0) return call->fail(PINTLE_BAD_REQUEST, "descriptor 0 is missing");
  if (!machine_.pod(std::string(rq["podId"].as_string()))) {
    ::close(fd);
    return call->fail(PINTLE_NOT_FOUND, "pod \"" + std::string(rq["podId"].as_string()) + "\" not found");
  }
  const auto s = session(std::move(call));
  s->reply = Value::object();
  // Nothing listens in a simulated pod: what comes in goes back, which shows that both directions work.
  add_pipe(s, fd, dup(fd), "");
  s->pipes.back()->start();
}

void Streams::logs(const Value& rq, std::shared_ptr<Call> call) {
  const std::string id(rq["id"].as_string());
  const Container* c = machine_.container(id);
  if (!c) return call->fail(PINTLE_NOT_FOUND, "container \"" + id + "\" not found");
  auto f = std::make_shared<Follower>();
  f->call = std::move(call);
  f->container = id;
  f->follow = rq["follow"].as_bool();
  f->timestamps = rq["timestamps"].as_bool();
  f->left = rq["limitBytes"].is_int() ? rq["limitBytes"].as_int() : -1;
  size_t first = 0;
  if (rq["sinceTime"].is_int())
    while (first < c->log.size() && c->log[first].wall_ns < rq["sinceTime"].as_int()) ++first;
  if (rq["tailLines"].is_int()) {
    const auto tail = static_cast<size_t>(std::max<int64_t>(0, rq["tailLines"].as_int()));
    if (c->log.size() - first > tail) first = c->log.size() - tail;
  }
  f->next = c->log_dropped + first;
  followers_.push_back(f);
  f->call->on_cancel(strand_.wrap([this, weak = std::weak_ptr(f)] {
    const auto gone = weak.lock();
    if (!gone) return;
    followers_.remove(gone);
    if (*gone->call) gone->call->fail(PINTLE_CANCELLED, "the caller went away");
  }));
  pump(f);
}

void Streams::pump(const std::shared_ptr<Follower>& f) {
  if (f->waiting || !*f->call) return;
  for (;;) {
    const Container* c = machine_.container(f->container);
    if (f->part.empty() && c && f->left != 0) {
      f->next = std::max(f->next, c->log_dropped);
      while (f->next < c->log_dropped + c->log.size() && f->part.size() < 16384) {
        const LogLine& l = c->log[f->next++ - c->log_dropped];
        if (f->timestamps) f->part += format_micro_time(l.wall_ns) + " ";
        f->part += l.text + "\n";
      }
      if (f->left > 0) {
        if (static_cast<int64_t>(f->part.size()) > f->left) f->part.resize(static_cast<size_t>(f->left));
        f->left -= static_cast<int64_t>(f->part.size());
      }
    }
    if (f->part.empty()) {
      if (f->follow && f->left != 0 && c && c->state != Container::State::kExited) return;  // more will come
      followers_.remove(f);
      return f->call->reply();
    }
    if (f->call->emit(f->part)) {
      f->part.clear();
      continue;
    }
    f->waiting = true;
    f->call->on_ready(strand_.wrap([this, weak = std::weak_ptr(f)] {
      if (const auto later = weak.lock()) {
        later->waiting = false;
        pump(later);
      }
    }));
    return;
  }
}

void Streams::on_line(const Container& c) {
  const auto copy = followers_;
  for (const auto& f : copy)
    if (f->container == c.id) pump(f);
}

void Streams::end_all() {
  for (auto& f : std::exchange(followers_, {}))
    if (*f->call) f->call->fail(PINTLE_UNAVAILABLE, "the runtime is being stopped");
  for (auto& [raw, s] : std::exchange(sessions_, {})) {
    s->pipes.clear();
    s->timer.reset();
    s->call->fail(PINTLE_UNAVAILABLE, "the runtime is being stopped");
  }
}

}  // namespace pintle::runtime_sim
