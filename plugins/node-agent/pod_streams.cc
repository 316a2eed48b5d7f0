#include "pod_streams.h"

#include <unistd.h>

#include "pintle/timestamp.h"

namespace pintle::node_agent {

using json::Value;

struct PodStreams::Session {
  std::mutex mutex;
  Call call;
  Value request;
  std::vector<int> fds;
  Invocation invocation;
  bool over = false, cancelled = false;
  ~Session() {
    for (int fd : fds)
      if (fd >= 0) ::close(fd);
  }
};

void PodStreams::open(AgentNode& node, const Value& request, Call call) {
  auto s = std::make_shared<Session>();
  s->request = request;
  s->call = std::move(call);
  // Descriptors keep their numbers; those of names that were not asked for are not there.
  size_t count = request["mode"].as_string() == "portforward" ? 1 : 0;
  for (const auto& m : request["fds"].members()) count = std::max(count, static_cast<size_t>(m.value.as_int() + 1));
  for (size_t i = 0; i < count; ++i) s->fds.push_back(s->call.take_fd(static_cast<uint32_t>(i)));
  {
    std::lock_guard lock(mutex_);
    if (closed_) return s->call.fail(PINTLE_UNAVAILABLE, "the node agent is being stopped");
    open_[s.get()] = s;
  }
  s->call.on_cancel([weak = std::weak_ptr(s)] {
    const auto it = weak.lock();
    if (!it) return;
    Invocation running;
    {
      std::lock_guard lock(it->mutex);
      it->cancelled = true;
      running = it->invocation;
    }
    running.cancel();
  });
  const Value& o = request["options"];
  node.find(std::string(request["namespace"].as_string()), std::string(request["name"].as_string()), std::string(request["uid"].as_string()),
            std::string(request["container"].as_string()), o["previous"].as_bool(), [this, s](AgentNode::Target t) { begin(s, std::move(t)); });
}

void PodStreams::begin(const std::shared_ptr<Session>& s, AgentNode::Target t) {
  const std::string_view mode = s->request["mode"].as_string();
  if (!t.trouble.empty()) return finish(s, Error(PINTLE_BAD_REQUEST, t.trouble));
  if (mode == "text") return begin_log(s, t);
  const Value& o = s->request["options"];
  Value rq = Value::object({{"node", t.node}});
  uint32_t method;
  if (mode == "exec" || mode == "attach") {
    rq.set("id", t.container_id);
    rq.set("tty", o["tty"].as_bool());
    rq.set("fds", s->request["fds"]);
    if (mode == "exec") rq.set("command", o["command"]);
    method = mode == "exec" ? PINTLE_METHOD(pintle_runtime, exec) : PINTLE_METHOD(pintle_runtime, attach);
  } else if (mode == "portforward") {
    if (t.sandbox_id.empty()) return finish(s, Error(PINTLE_BAD_REQUEST, "the pod is not running"));
    rq.set("podId", t.sandbox_id);
    rq.set("port", s->request["port"]);
    method = PINTLE_METHOD(pintle_runtime, port_forward);
  } else {
    return finish(s, Error(PINTLE_UNSUPPORTED, "stream mode \"" + std::string(mode) + "\" is not known"));
  }
  std::vector<int> fds = std::exchange(s->fds, {});
  for (int fd : fds)
    if (fd < 0) {  // the host takes whole lists only
      for (int other : fds)
        if (other >= 0) ::close(other);
      return finish(s, Error(PINTLE_BAD_REQUEST, "a descriptor of the stream is missing"));
    }
  Invocation made = t.link->stream(method, rq, {}, [this, s](Result<Value> r) { finish(s, std::move(r)); }, 0, std::move(fds));
  bool cancel;
  {
    std::lock_guard lock(s->mutex);
    s->invocation = made;
    cancel = s->cancelled;
  }
  if (cancel) made.cancel();
}

void PodStreams::begin_log(const std::shared_ptr<Session>& s, const AgentNode::Target& t) {
  const Value& o = s->request["options"];
  Value rq = Value::object({{"node", t.node}, {"id", t.container_id}, {"follow", o["follow"].as_bool()}, {"timestamps", o["timestamps"].as_bool()}});
  for (const char* key : {"tailLines", "limitBytes"})
    if (o[key].is_int()) rq.set(key, o[key]);
  if (const auto stream = o["stream"].as_string(); !stream.empty() && stream != "All") rq.set("stream", stream == "Stdout" ? "stdout" : "stderr");
  if (o["sinceSeconds"].is_int()) rq.set("sinceTime", context_.host.wall() - o["sinceSeconds"].as_int() * 1'000'000'000);
  else if (const auto since = parse_time(o["sinceTime"].as_string())) rq.set("sinceTime", *since);
  const auto weak = std::weak_ptr(s);
  // A part that finds no room is refused: the runtime's side offers it again after resume().
  const auto part = [weak](std::string_view bytes_) {
    const auto it = weak.lock();
    if (!it) return true;
    std::lock_guard lock(it->mutex);
    if (it->over) return true;
    std::string text(bytes_);
    if (it->call.emit(text)) return true;
    it->call.on_ready([weak] {
      const auto later = weak.lock();
      if (!later) return;
      Invocation running;
      {
        std::lock_guard again(later->mutex);
        running = later->invocation;
      }
      running.resume();
    });
    return false;
  };
  Invocation made = t.link->stream(PINTLE_METHOD(pintle_runtime, logs), rq, part, [this, s](Result<Value> r) { finish(s, std::move(r)); });
  bool cancel;
  {
    std::lock_guard lock(s->mutex);
    s->invocation = made;
    cancel = s->cancelled;
  }
  if (cancel) made.cancel();
}

void PodStreams::finish(const std::shared_ptr<Session>& s, Result<Value> r) {
  {
    std::lock_guard lock(mutex_);
    open_.erase(s.get());
  }
  Call call;
  {
    std::lock_guard lock(s->mutex);
    if (std::exchange(s->over, true)) return;
    call = std::move(s->call);
  }
  if (!call) return;
  if (r) call.reply(*r);
  else call.fail(r.error());
}

void PodStreams::close() {
  std::map<Session*, std::shared_ptr<Session>> all;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    all = open_;
  }
  for (auto& [raw, s] : all) {
    Invocation running;
    {
      std::lock_guard lock(s->mutex);
      s->cancelled = true;
      running = s->invocation;
    }
    running.cancel();
    finish(s, Error(PINTLE_UNAVAILABLE, "the node agent is being stopped"));
  }
}

}  // namespace pintle::node_agent
