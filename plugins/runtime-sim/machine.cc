#include "machine.h"

namespace pintle::runtime_sim {

using json::Value;

namespace {

constexpr size_t kMaxLogLines = 1000;

const char* state_name(Container::State s) {
  return s == Container::State::kCreated ? "created" : s == Container::State::kRunning ? "running" : "exited";
}

}  // namespace

Machine::Machine(const Host& host, const Strand& strand, Settings settings, Addresses addresses)
    : host_(host), strand_(strand), settings_(settings), addresses_(std::move(addresses)) {}

Result<Value> Machine::create_pod(const Value& rq) {
  const std::string uid = str(rq["uid"]), node = str(rq["node"]);
  if (uid.empty()) return Error(PINTLE_BAD_REQUEST, "uid is missing");
  const std::string id = "sim-" + uid + "-" + std::to_string(rq["attempt"].as_int());
  Pod& p = pods_[id];
  if (p.id.empty()) {
    if (rq["network"].as_string() != "host") {
      p.ip = addresses_.take();
      if (p.ip.empty()) {
        pods_.erase(id);
        return Error(PINTLE_NO_SPACE, "podCIDR has no free address");
      }
    }
    p.id = id;
    p.uid = uid;
    p.node = node;
    p.ns = str(rq["namespace"]);
    p.name = str(rq["name"]);
    p.attempt = rq["attempt"].as_int();
    p.created_ns = host_.wall();
    p.labels = rq["labels"];
    p.annotations = rq["annotations"];
    by_node_[node].insert(id);
  by_uid_[uid].insert(id);
    changed(node, uid, id, "", "ready");
  }
  Value ips = Value::array();
  if (!p.ip.empty()) ips.push(p.ip);
  return Value::object({{"id", id}, {"ips", std::move(ips)}});
}

Result<Value> Machine::create(const Value& rq) {
  Pod* p = pod(str(rq["podId"]));
  if (!p) return Error(PINTLE_NOT_FOUND, "pod \"" + str(rq["podId"]) + "\" not found");
  const std::string id = p->id + "-" + str(rq["name"]) + "-" + std::to_string(rq["attempt"].as_int());
  Container& c = containers_[id];
  if (c.id.empty()) {
    c.id = id;
    c.pod_id = p->id;
    c.pod_uid = p->uid;
    c.node = p->node;
    c.name = str(rq["name"]);
    c.attempt = rq["attempt"].as_int();
    c.image = str(rq["image"]);
    c.labels = rq["labels"];
    c.type = str(rq.at("labels[io.pintle.container.type]"));
    c.created_ns = host_.wall();
    for (const auto& w : rq["command"].items()) c.command.emplace_back(w.as_string());
    for (const auto& w : rq["args"].items()) c.command.emplace_back(w.as_string());
    p->containers.insert(id);
    changed(c.node, c.pod_uid, c.pod_id, id, "created");
  }
  return Value::object({{"id", id}});
}

void Machine::start(const std::string& id, std::function<void(Result<void>)> done) {
  Container* c = container(id);
  if (!c) return done(Error(PINTLE_NOT_FOUND, "container \"" + id + "\" not found"));
  if (c->state != Container::State::kCreated) return done({});
  if (settings_.start_ns == 0) {
    begin(*c);
    return done({});
  }
  c->life = host_.after(settings_.start_ns, strand_.wrap([this, id, done = std::move(done)] {
    Container* later = container(id);
    if (!later) return done(Error(PINTLE_NOT_FOUND, "container \"" + id + "\" was removed while it started"));
    if (later->state == Container::State::kCreated) begin(*later);
    done({});
  }));
}

void Machine::begin(Container& c) {
  c.state = Container::State::kRunning;
  c.started_ns = host_.wall();
  c.started_at = host_.now();
  log_line(c, c.name + " started, attempt " + std::to_string(c.attempt));
  changed(c.node, c.pod_uid, c.pod_id, c.id, "running");

  int code = 0;
  std::optional<uint64_t> run;
  if (const auto b = builtin(c.command); b && !b->copies_stdin) {
    code = b->exit_code;
    run = b->run_ns;
    std::string_view rest = b->output;
    while (!rest.empty()) {
      const size_t eol = rest.find('\n');
      log_line(c, std::string(rest.substr(0, eol)));
      rest.remove_prefix(eol == std::string_view::npos ? rest.size() : eol + 1);
    }
  } else if (c.type == "init") {
    run = 0;
  } else if (settings_.run_ns) {
    run = settings_.run_ns;
  }
  if (const auto w = wish(c, "exit-after"))
    if (const auto ns = duration_ns(*w)) run = *ns;
  if (const auto w = wish(c, "exit-code")) {
    code = std::atoi(w->c_str()) & 255;
    if (!run) run = 0;
  }
  if (settings_.failure_probability > 0) {
    const double draw = static_cast<double>(host_.random() >> 11) / static_cast<double>(uint64_t{1} << 53);
    if (draw < settings_.failure_probability) {
      run = 0;
      code = 1;
    }
  }
  if (const auto w = wish(c, "log-every"))
    if (const auto ns = duration_ns(*w); ns && *ns) chatter(c, *ns);
  if (run)
    c.life = host_.after(*run, strand_.wrap([this, id = c.id, code] {
      if (Container* later = container(id)) exit(*later, code, code ? "Error" : "Completed");
    }));
}

void Machine::chatter(Container& c, uint64_t every) {
  c.chatter = host_.after(every, strand_.wrap([this, id = c.id, every] {
    Container* later = container(id);
    if (!later || later->state != Container::State::kRunning) return;
    log_line(*later, later->name + " is alive");
    chatter(*later, every);
  }));
}

void Machine::exit(Container& c, int code, std::string reason) {
  if (c.state != Container::State::kRunning) return;
  log_line(c, c.name + " ended with code " + std::to_string(code));
  c.state = Container::State::kExited;
  c.finished_ns = host_.wall();
  c.exit_code = code;
  c.reason = std::move(reason);
  c.life.reset();
  c.chatter.reset();
  changed(c.node, c.pod_uid, c.pod_id, c.id, "exited");
  line(c);
  if (auto it = stopping_.find(c.id); it != stopping_.end()) {
    auto waiting = std::move(it->second);
    stopping_.erase(it);
    for (auto& fn : waiting) fn();
  }
}

void Machine::stop(const std::string& id, std::function<void()> done) {
  Container* c = container(id);
  if (!c || c->state == Container::State::kExited) return done();
  if (c->state == Container::State::kCreated) {  // never ran
    c->state = Container::State::kExited;
    c->finished_ns = host_.wall();
    c->exit_code = 137;
    c->reason = "Error";
    c->life.reset();
    changed(c->node, c->pod_uid, c->pod_id, c->id, "exited");
    return done();
  }
  uint64_t takes = settings_.stop_ns;
  if (const auto w = wish(*c, "stop-after"))
    if (const auto ns = duration_ns(*w)) takes = *ns;
  if (takes == 0) {
    exit(*c, 143, "Error");
    return done();
  }
  auto& waiting = stopping_[id];
  waiting.push_back(std::move(done));
  if (waiting.size() == 1)
    c->life = host_.after(takes, strand_.wrap([this, id] {
      if (Container* later = container(id)) exit(*later, 143, "Error");
    }));
}

void Machine::kill(const std::string& id, std::string_view signal) {
  Container* c = container(id);
  if (!c) return;
  if (signal == "TERM" || signal == "SIGTERM" || signal == "15") stop(id, [] {});
  else if (c->state == Container::State::kCreated) stop(id, [] {});
  else exit(*c, 137, "Error");
}

void Machine::remove(const std::string& id) {
  Container* c = container(id);
  if (!c) return;
  if (c->state == Container::State::kRunning) exit(*c, 137, "Error");
  if (Pod* p = pod(c->pod_id)) p->containers.erase(id);
  const std::string node = c->node, uid = c->pod_uid, sandbox = c->pod_id;
  containers_.erase(id);
  changed(node, uid, sandbox, id, "removed");
}

void Machine::remove_pod(const std::string& id) {
  Pod* p = pod(id);
  if (!p) return;
  for (const std::string& c : std::set<std::string>(p->containers)) remove(c);
  addresses_.release(p->ip);
  const std::string node = p->node, uid = p->uid;
  auto it = by_node_.find(node);
  it->second.erase(id);
  if (it->second.empty()) by_node_.erase(it);
  const auto same = by_uid_.find(uid);
  same->second.erase(id);
  if (same->second.empty()) by_uid_.erase(same);
  pods_.erase(id);
  changed(node, uid, id, "", "removed");
}

Value Machine::list(std::string_view node, const std::string& pod_uid) const {
  Value pods = Value::array(), containers = Value::array();
  const auto add = [&](const Pod& p) {
    Value ips = Value::array();
    if (!p.ip.empty()) ips.push(p.ip);
    pods.push(Value::object({{"id", p.id}, {"uid", p.uid}, {"namespace", p.ns}, {"name", p.name}, {"attempt", p.attempt},
                             {"state", p.ready ? "ready" : "notready"}, {"createdAt", p.created_ns}, {"ips", std::move(ips)},
                             {"labels", p.labels}, {"annotations", p.annotations}, {"node", p.node}}));
    for (const std::string& cid : p.containers) {
      const Container& c = containers_.at(cid);
      containers.push(Value::object({{"id", c.id}, {"podId", c.pod_id}, {"podUid", c.pod_uid}, {"name", c.name}, {"attempt", c.attempt},
                                     {"image", c.image}, {"imageId", "sim:" + c.image}, {"state", state_name(c.state)},
                                     {"createdAt", c.created_ns}, {"startedAt", c.started_ns}, {"finishedAt", c.finished_ns},
                                     {"exitCode", c.exit_code}, {"reason", c.reason}, {"labels", c.labels}}));
    }
  };
  if (!pod_uid.empty()) {
    if (const auto of = by_uid_.find(pod_uid); of != by_uid_.end())
      for (const std::string& id : of->second)
        if (const Pod& p = pods_.at(id); node.empty() || p.node == node) add(p);
  } else {
    for (const auto& [name, ids] : by_node_)
      if (node.empty() || name == node)
        for (const std::string& id : ids) add(pods_.at(id));
  }
  return Value::object({{"pods", std::move(pods)}, {"containers", std::move(containers)}});
}

Value Machine::stats(std::string_view node) const {
  Value out = Value::array();
  const int64_t at = host_.wall();
  for (const auto& [name, ids] : by_node_) {
    if (!node.empty() && name != node) continue;
    for (const std::string& id : ids)
      for (const std::string& cid : pods_.at(id).containers) {
        const Container& c = containers_.at(cid);
        if (c.state != Container::State::kRunning) continue;
        // A hundredth of a core and 16 MiB, unless the pod wishes something else.
        int64_t milli = 10, memory = int64_t{16} << 20;
        if (const auto w = wish(c, "cpu-milli")) milli = std::atoll(w->c_str());
        if (const auto w = wish(c, "memory-bytes")) memory = std::atoll(w->c_str());
        out.push(Value::object({{"id", cid}, {"podUid", c.pod_uid}, {"name", c.name}, {"cpuNs", (at - c.started_ns) / 1000 * milli},
                                {"memoryWorkingSet", memory}, {"at", at}}));
      }
  }
  return Value::object({{"containers", std::move(out)}, {"pods", Value::array()}});
}

Container* Machine::container(const std::string& id) {
  const auto it = containers_.find(id);
  return it == containers_.end() ? nullptr : &it->second;
}
Pod* Machine::pod(const std::string& id) {
  const auto it = pods_.find(id);
  return it == pods_.end() ? nullptr : &it->second;
}

std::optional<std::string> Machine::wish(const Container& c, std::string_view key) const {
  const auto it = pods_.find(c.pod_id);
  if (it == pods_.end()) return std::nullopt;
  const std::string full = "sim.pintle.dev/" + std::string(key);
  const Value* v = it->second.annotations.find(full + "." + c.name);
  // Init containers have no wish but their own: exit-after speaks of what the pod is there for.
  if (!v && c.type != "init") v = it->second.annotations.find(full);
  if (!v || !v->is_string()) return std::nullopt;
  return std::string(v->as_string());
}

bool Machine::ready(const Container& c) const {
  if (c.state != Container::State::kRunning) return false;
  const auto w = wish(c, "ready-after");
  const auto ns = w ? duration_ns(*w) : std::nullopt;
  return !ns || host_.now() >= c.started_at + *ns;
}

void Machine::log_line(Container& c, std::string text) {
  if (c.log.size() >= kMaxLogLines) {
    c.log.erase(c.log.begin(), c.log.begin() + kMaxLogLines / 2);
    c.log_dropped += kMaxLogLines / 2;
  }
  c.log.push_back({host_.wall(), std::move(text)});
  line(c);
}

void Machine::clear() {
  stopping_.clear();
  containers_.clear();
  pods_.clear();
  by_node_.clear();
  by_uid_.clear();
}

}  // namespace pintle::runtime_sim
