// PluginsController and its objects: seeding from the file, reading, status.
#include <algorithm>
#include <set>

#include "kernel/base/log.h"
#include "kernel/plugin/plugins_controller.h"

namespace pintle::kernel {
namespace {

constexpr const char* kLastApplied = "pintle.dev/last-applied";
constexpr const char* kSource = "pintle.dev/source";
constexpr const char* kRestart = "pintle.dev/restart";
constexpr uint64_t kRetryNs = 1000000000;

json::Value condition(const char* type, bool status, const std::string& reason, const std::string& message, int64_t since) {
  return json::Value::object({{"type", type},
                              {"status", status ? "True" : "False"},
                              {"reason", reason.empty() ? (status ? "Yes" : "No") : reason},
                              {"message", message},
                              {"lastTransitionTime", time_text(since)}});
}

}  // namespace

ApiRequest PluginsController::request(Verb verb, const char* plural, const std::string& name) const {
  ApiRequest r;
  r.verb = verb;
  r.group = "pintle.dev";
  r.version = "v1";
  r.resource = plural;
  r.name = name;
  r.content_type = verb == Verb::kPatch ? "application/merge-patch+json" : "application/json";
  r.identity = kernel_identity();
  return r;
}

// An entry that changed in the file since it was last applied wins; else what was edited at run time stands.
void PluginsController::seed(std::function<void()> done) {
  std::vector<ApiRequest> requests;
  std::map<std::string, std::string> texts;
  for (const auto& entry : config_.plugins) texts[entry.name] = entry.spec.dump();
  ListQuery query;
  query.kind = kPluginKind;
  std::map<std::string, json::Value> have;
  if (auto page = services_.store.list(query); page)
    for (const auto& object : page->objects) have[object->key().name] = json::parse_or_null(object->json());
  for (const auto& entry : config_.plugins) {
    const std::string& text = texts[entry.name];
    const json::Value annotations = json::Value::object({{kLastApplied, text}, {kSource, "file"}});
    const auto at = have.find(entry.name);
    if (at == have.end()) {
      ApiRequest r = request(Verb::kCreate, "plugins", "");
      r.body = json::Value::object({{"apiVersion", "pintle.dev/v1"},
                                    {"kind", "Plugin"},
                                    {"metadata", json::Value::object({{"name", entry.name}, {"annotations", annotations}})},
                                    {"spec", entry.spec}})
                   .dump();
      requests.push_back(std::move(r));
    } else if (at->second["metadata"]["annotations"][kLastApplied].as_string() != text) {
      json::Value next = at->second;
      next.set("spec", entry.spec);
      json::Value& a = next.make("metadata.annotations");
      a.set(kLastApplied, text);
      a.set(kSource, "file");
      ApiRequest r = request(Verb::kUpdate, "plugins", entry.name);
      r.body = next.dump();
      requests.push_back(std::move(r));
    }
  }
  // An entry that left the file takes its object along.
  for (const auto& [name, object] : have) {
    if (texts.count(name) || config_.file.empty() || object["metadata"]["annotations"][kSource].as_string() != "file") continue;
    json::Value patch = json::Value::object();
    ApiRequest mark = request(Verb::kPatch, "plugins", name);
    patch.make("metadata.annotations").set("pintle.dev/force", "true");
    mark.body = patch.dump();
    requests.push_back(std::move(mark));
    requests.push_back(request(Verb::kDelete, "plugins", name));
  }
  if (requests.empty()) return done();
  services_.pipeline.execute_batch(std::move(requests), false, false, {}, [done = std::move(done)](Result<void> r, std::vector<ApiAnswer> answers) {
    if (!r) log::error("plugin", "the configuration file could not be applied: " + r.error().text);
    for (const auto& a : answers)
      if (!a.ok()) log::error("plugin", "the configuration file could not be applied: " + a.error.text);
    done();
  });
}

void PluginsController::read_objects() {
  for (auto& [name, u] : units_) u.exists = false;
  ListQuery query;
  query.kind = kPluginKind;
  if (auto page = services_.store.list(query); page) {
    for (const auto& object : page->objects) {
      const json::Value v = json::parse_or_null(object->json());
      Unit& u = units_[object->key().name];
      const json::Value& spec = v["spec"];
      const json::Value& annotations = v["metadata"]["annotations"];
      u.name = object->key().name;
      u.exists = v["metadata"]["deletionTimestamp"].is_null();
      u.uid = v["metadata"]["uid"].as_string();
      u.generation = v["metadata"]["generation"].as_int();
      u.enabled = spec["enabled"].as_bool(true);
      u.required = spec["required"].as_bool();
      u.path = spec["path"].as_string();
      u.plugin = spec["plugin"].as_string();
      u.isolation = spec["isolation"].as_string();
      u.log_level = spec["logLevel"].as_string();
      u.restart = annotations[kRestart].as_string();
      u.config = spec["config"];
      u.source = annotations[kSource].as_string("api");
      u.drift = false;
      if (const auto applied = annotations[kLastApplied].as_string(); !applied.empty()) {
        // Compared member by member: defaults that the API added are no drift.
        const json::Value wish = json::parse_or_null(applied);
        for (const auto& m : wish.members()) u.drift |= spec[m.key] != m.value;
        for (const auto& m : spec.members()) u.drift |= !wish.contains(m.key) && m.key != "enabled";
      }
      u.without = u.enabled && std::find(config_.without.begin(), config_.without.end(), u.name) != config_.without.end();
      u.enabled = u.enabled && !u.without;
    }
  }
  std::map<std::string, SlotObject> slots;
  query.kind = kSlotKind;
  if (auto page = services_.store.list(query); page) {
    for (const auto& object : page->objects) {
      const json::Value v = json::parse_or_null(object->json());
      const std::string& name = object->key().name;
      SlotObject s;
      if (const auto at = slot_objects_.find(name); at != slot_objects_.end()) s = at->second;
      else {
        s.previous = v.at("status.previous").as_string();
        s.last_swap = v.at("status.lastSwap").as_string();
      }
      s.provider = v.at("spec.provider").as_string();
      s.required = v.at("spec.required").as_bool();
      s.uid = v.at("metadata.uid").as_string();
      slots[name] = std::move(s);
    }
  }
  slot_objects_ = std::move(slots);
}

// Objects for files that nobody has described, also for those that were refused, and for slots that nobody has written down. An object that
// only stood for a file, and that nobody has touched, goes with it. True when something is under way.
bool PluginsController::create_missing() {
  std::vector<ApiRequest> requests;
  std::set<std::string> found;
  for (const auto& [name, file] : inventory_.by_name()) found.insert(name);
  for (const auto& file : inventory_.refused()) {
    const std::string name = object_name(file);
    const bool known = std::any_of(units_.begin(), units_.end(), [&](const auto& u) { return u.second.exists && u.first != name && u.second.file.path == file.path; });
    if (!known && !name.empty()) found.insert(name);
  }
  for (const auto& [name, u] : units_)
    if (u.exists && !u.enabled && u.source == "directory" && u.generation <= 1 && !u.current && u.old.empty() && u.problem.code == PINTLE_NOT_FOUND && !found.count(name))
      requests.push_back(request(Verb::kDelete, "plugins", name));
  for (const auto& name : found) {
    const bool used = std::any_of(units_.begin(), units_.end(), [&](const auto& u) { return u.second.exists && (u.first == name || u.second.plugin == name); });
    if (used) continue;
    ApiRequest r = request(Verb::kCreate, "plugins", "");
    r.body = json::Value::object({{"apiVersion", "pintle.dev/v1"},
                                  {"kind", "Plugin"},
                                  {"metadata", json::Value::object({{"name", name}, {"annotations", json::Value::object({{kSource, "directory"}})}})},
                                  {"spec", json::Value::object({{"enabled", false}})}})
                 .dump();
    requests.push_back(std::move(r));
  }
  for (const auto& [slot, provider] : wanted_) {
    if (slot_objects_.count(slot)) continue;
    ApiRequest r = request(Verb::kCreate, "slots", "");
    r.body = json::Value::object({{"apiVersion", "pintle.dev/v1"},
                                  {"kind", "Slot"},
                                  {"metadata", json::Value::object({{"name", slot}})},
                                  {"spec", config_.slots.count(slot) ? json::Value::object({{"provider", provider}, {"required", true}})
                                                                     : json::Value::object({{"provider", provider}})}})
                 .dump();
    requests.push_back(std::move(r));
  }
  if (requests.empty()) return false;
  busy_ = true;
  services_.pipeline.execute_batch(std::move(requests), false, false, {}, [self = shared_from_this()](Result<void> r, std::vector<ApiAnswer> answers) {
    bool wait = !r;
    std::string why = r ? "" : r.error().text;
    for (const auto& a : answers)
      if (!a.ok() && a.error.code != PINTLE_ALREADY_EXISTS && a.error.code != PINTLE_NOT_FOUND) {
        wait = true;
        why = a.error.text;
      }
    self->strand([self, wait, why] {
      if (wait) {
        log::error("plugin", "objects of plugins and slots could not be created: " + why);
        self->services_.executor.after(kRetryNs, [self] { self->strand([self] { self->finish(); }); });
      } else {
        self->finish();
      }
    });
  });
  return true;
}

json::Value PluginsController::unit_status(const Unit& u, bool counters) const {
  json::Value s = json::Value::object();
  const auto put = [&](const char* key, const std::string& value) {
    if (!value.empty()) s.set(key, value);
  };
  const auto& g = u.current;
  s.set("state", to_string(u.state));
  // An instance that runs and cannot do its work says so itself.
  const bool well = !g || u.state != PluginState::kActive || g->health == PINTLE_HEALTH_READY;
  const std::string reason = well ? u.reason : g->health == PINTLE_HEALTH_STARTING ? "Starting" : "Degraded";
  const std::string message = well ? u.message : g->health_message;
  put("reason", reason);
  put("message", message);
  const std::shared_ptr<const Manifest> m = g ? g->manifest : u.file.manifest;
  if (m) {
    s.set("version", m->version);
    put("description", m->description);
    json::Value provides = json::Value::array();
    for (const auto& p : m->provides) provides.push(p);
    s.set("provides", std::move(provides));
  }
  json::Value held = json::Value::array();
  for (const auto& slot : services_.slots->list())
    if (slot.provider == u.name && !is_plugin_slot(slot.name)) held.push(slot.name);
  s.set("slots", std::move(held));
  const bool own = g ? g->own_process : u.file.manifest ? own_process(u) : u.isolation == "process";
  s.set("isolation", own ? "process" : "in-process");
  put("file", u.file.path);
  put("digest", g ? g->digest : u.file.digest);
  const bool update = g && !u.file.digest.empty() && u.file.digest != g->digest;
  if (update) s.set("updateAvailable", u.file.digest);
  put("source", u.source);
  s.set("drift", u.drift);
  s.set("restarts", u.restarts);
  put("lastError", u.last_error);
  s.set("observedGeneration", u.generation);
  s.set("parked", u.parked);
  json::Value instances = json::Value::array();
  const auto add = [&](const Generation& one) {
    json::Value i = json::Value::object({{"generation", one.number}, {"state", to_string(one.state)}});
    if (!one.message.empty()) i.set("message", one.message);
    i.set("digest", one.digest);
    i.set("isolation", one.own_process ? "process" : "in-process");
    if (counters && one.instance) {
      const InstanceCounters c = one.instance->counters();
      if (c.pid) i.set("pid", c.pid);
      i.set("open", c.open);
      i.set("inside", c.inside);
      i.set("calls", c.calls);
      i.set("failures", c.failures);
      i.set("timeouts", c.timeouts);
    }
    i.set("since", time_text(one.since));
    instances.push(std::move(i));
  };
  if (u.starting) add(*u.starting);
  if (g) add(*g);
  for (const auto& o : u.old) add(*o);
  s.set("instances", std::move(instances));
  const int64_t since = u.changed_at ? u.changed_at : services_.executor.wall();
  json::Value conditions = json::Value::array();
  conditions.push(condition("Ready", g && u.state == PluginState::kActive && well, g && well ? "Running" : reason, message, since));
  if (update) conditions.push(condition("UpdateAvailable", true, "FileChanged", "another file is at its path; pintle plugin upgrade " + u.name + " uses it", since));
  if (u.drift) conditions.push(condition("Drift", true, "EditedAtRunTime", "the spec is not what the configuration file says", since));
  if (u.parked) conditions.push(condition("Parked", true, "NotQuiet", std::to_string(u.parked) + " earlier instances stay in memory", since));
  s.set("conditions", std::move(conditions));
  return s;
}

void PluginsController::publish() {
  for (auto& [name, u] : units_)
    if (u.exists) publish_unit(u);
  for (auto& [name, s] : slot_objects_) publish_slot(name, s);
}

void PluginsController::publish_unit(Unit& u) {
  if (u.writing || !started_) return;
  std::string key = unit_status(u, false).dump();
  if (key == u.written) return;
  u.writing = true;
  ApiRequest r = request(Verb::kPatch, "plugins", u.name);
  r.subresource = "status";
  // A merge patch drops what is no longer there only when it is told so.
  json::Value status = unit_status(u, true);
  for (const char* gone : {"reason", "message", "updateAvailable", "lastError", "file", "digest"})
    if (!status.contains(gone)) status.set(gone, nullptr);
  r.body = json::Value::object({{"status", std::move(status)}}).dump();
  r.want_object = false;
  services_.pipeline.execute(std::move(r), [self = shared_from_this(), name = u.name, key = std::move(key)](ApiAnswer a) {
    self->strand([self, name, key, ok = a.ok() || a.error.code == PINTLE_NOT_FOUND] {
      Unit& unit = self->units_[name];
      unit.writing = false;
      if (ok) {
        unit.written = key;
        if (unit.exists && !self->stopping_) self->publish_unit(unit);
      } else if (!self->stopping_) {
        self->later(kRetryNs);
      }
    });
  });
}

void PluginsController::publish_slot(const std::string& name, SlotObject& s) {
  if (s.writing || !started_) return;
  const SlotInfo info = services_.slots->info(name);
  json::Value status = json::Value::object({{"provider", info.provider}, {"epoch", info.epoch}, {"phase", info.phase}, {"previous", s.previous}, {"message", s.message}});
  json::Value candidates = json::Value::array();
  if (const auto at = candidates_.find(name); at != candidates_.end())
    for (const auto& c : at->second) candidates.push(c);
  status.set("candidates", std::move(candidates));
  if (!s.last_swap.empty()) status.set("lastSwap", s.last_swap);
  std::string key = status.dump();
  if (key == s.written) return;
  s.writing = true;
  ApiRequest r = request(Verb::kPatch, "slots", name);
  r.subresource = "status";
  r.body = json::Value::object({{"status", std::move(status)}}).dump();
  r.want_object = false;
  services_.pipeline.execute(std::move(r), [self = shared_from_this(), name, key = std::move(key)](ApiAnswer a) {
    self->strand([self, name, key, ok = a.ok() || a.error.code == PINTLE_NOT_FOUND] {
      const auto at = self->slot_objects_.find(name);
      if (at == self->slot_objects_.end()) return;
      at->second.writing = false;
      if (ok) {
        at->second.written = key;
        if (!self->stopping_) self->publish_slot(name, at->second);
      } else if (!self->stopping_) {
        self->later(kRetryNs);
      }
    });
  });
}

}  // namespace pintle::kernel
