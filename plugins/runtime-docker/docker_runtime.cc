// The plugin `runtime-docker`: pintle.runtime/1 over the Docker Engine API. A sandbox container holds the pod's network and IPC
// namespaces; everything is found again by labels, nothing is kept that the engine does not know.
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>

#include "engine.h"
#include "messages.h"
#include "pause_image.h"
#include "pintle/sdk.h"
#include "stream_session.h"
#include "pintle/timestamp.h"

namespace pintle::runtime_docker {
namespace {

using json::Value;
using SharedCall = std::shared_ptr<Call>;

constexpr int kCannotExec = 126;
constexpr int kEndChecks = 3;  // 200 ms apart
constexpr char kPauseTag[] = "pintle/pause:1";

// Without CAP_SYS_RESOURCE (a container, some virtual machines) nobody may go below what he has: runc then fails to start anything.
int64_t lowest_oom_score_adj() {
  std::ifstream status("/proc/self/status"), own("/proc/self/oom_score_adj");
  std::string word;
  int64_t mine = 0;
  own >> mine;
  while (status >> word)
    if (word == "CapEff:" && status >> word) return std::stoull(word, nullptr, 16) >> 24 & 1 ? -1000 : mine;
  return mine;
}

SharedCall share(Call call) { return std::make_shared<Call>(std::move(call)); }

class DockerRuntime final : public Plugin, public RuntimeProvider {
 public:
  DockerRuntime(Host h, const Value& config)
      : Plugin(h),
        config_{str(config["cluster"]), str(config["sandboxImage"]), str(config["logMaxSize"]), lowest_oom_score_adj()},
        engine_(h, config["socket"].as_string("/var/run/docker.sock").empty() ? "/var/run/docker.sock" : std::string(config["socket"].as_string("/var/run/docker.sock"))),
        strand_(h) {
    if (config_.cluster.empty()) config_.cluster = "default";
    if (config_.sandbox_image.empty()) config_.sandbox_image = kPauseTag;
    if (config_.log_max_size.empty()) config_.log_max_size = "10m";
  }

  void start() override {
    if (config_.lowest_oom_score_adj > -998)
      host.warn("this machine has no CAP_SYS_RESOURCE: containers cannot be protected from the out-of-memory killer, their oom_score_adj is at least " +
                std::to_string(config_.lowest_oom_score_adj));
    strand_.post([this] { follow_events(); });
  }

  void drain(Call done) override {
    auto shared = share(std::move(done));
    strand_.post([this, shared] {
      draining_ = true;
      for (auto& [id, listener] : listeners_) listener->fail(PINTLE_UNAVAILABLE, "the driver is being stopped");
      listeners_.clear();
      for (auto& weak : std::exchange(sessions_, {}))
        if (auto s = weak.lock()) s->cancel();
      shared->reply();
    });
  }

  void stop() override {
    strand_.close();
    engine_.close();
    reconnect_.reset();
    endings_.clear();
  }

  // ---- the engine ----------------------------------------------------------------------------------------------------

  void info(Value, Call call) override {
    auto shared = share(std::move(call));
    engine_.get("/info", [this, shared](Result<Value> r) {
      if (!r)
        return shared->reply(Value::object({{"name", "docker"}, {"version", ""}, {"ready", false}, {"message", r.error().text}}));
      shared->reply(Value::object({{"name", "docker"},
                                   {"version", (*r)["ServerVersion"]},
                                   {"ready", true},
                                   {"message", ""},
                                   {"kernelVersion", (*r)["KernelVersion"]},
                                   {"osImage", (*r)["OperatingSystem"]},
                                   {"cgroupDriver", (*r)["CgroupDriver"]},
                                   {"capabilities", Value::array({"exec", "attach", "port_forward", "stats", "update", "network:host", "network:pod", "seccomp", "apparmor"})}}));
    });
  }

  void status(Value, Call call) override {
    auto shared = share(std::move(call));
    engine_.get("/_ping", [shared](Result<Value> r) {
      const bool ok = r.ok() || r.error().code != PINTLE_UNAVAILABLE;
      shared->reply(Value::object({{"ready", ok}, {"networkReady", ok}, {"message", ok ? std::string() : r.error().text}}));
    });
  }

  void recover(Value, Call call) override {
    auto shared = share(std::move(call));
    with_sandbox_image([shared](Result<void> r) {
      if (!r) return shared->fail(r.error());
      shared->reply();
    });
  }

  void events(Value, Call call) override {
    auto shared = share(std::move(call));
    strand_.post([this, shared] {
      if (draining_) return shared->fail(PINTLE_UNAVAILABLE, "the driver is being stopped");
      const uint64_t id = ++last_listener_;
      listeners_[id] = shared;
      shared->on_cancel(strand_.wrap([this, id, shared] {
        if (listeners_.erase(id)) shared->fail(PINTLE_CANCELLED, "cancelled");
      }));
      if (connected_) tell(*shared, Value::object({{"type", "sync"}}));
    });
  }

  void fs_info(Value, Call call) override {
    auto shared = share(std::move(call));
    engine_.get("/info", [shared](Result<Value> r) {
      if (!r) return shared->fail(r.error());
      const std::string root = str((*r)["DockerRootDir"]);
      struct statvfs v {};
      if (statvfs(root.c_str(), &v) != 0) return shared->fail(PINTLE_UNAVAILABLE, "cannot look at " + root);
      shared->reply(Value::object({{"filesystems", Value::array({Value::object({{"mountpoint", root},
                                                                                {"usedBytes", (v.f_blocks - v.f_bfree) * v.f_frsize},
                                                                                {"capacityBytes", v.f_blocks * v.f_frsize},
                                                                                {"inodesUsed", v.f_files - v.f_ffree}})})}}));
    });
  }

  // ---- images --------------------------------------------------------------------------------------------------------

  void image_list(Value, Call call) override {
    auto shared = share(std::move(call));
    engine_.get("/images/json", [this, shared](Result<Value> r) {
      if (!r) return shared->fail(r.error());
      strand_.post([this, shared, list = std::make_shared<Value>(std::move(*r))] {
        // The user an image runs as is known by inspection only; images do not change, so each is looked at once.
        auto missing = std::make_shared<std::vector<std::string>>();
        for (const Value& i : list->items())
          if (!image_user_.count(str(i["Id"]))) missing->push_back(str(i["Id"]));
        inspect_images(missing, [this, shared, list] {
          Value images = Value::array();
          for (const Value& i : list->items())
            images.push(Value::object({{"id", i["Id"]},
                                       {"names", i["RepoTags"].is_array() ? i["RepoTags"] : Value::array()},
                                       {"digests", i["RepoDigests"].is_array() ? i["RepoDigests"] : Value::array()},
                                       {"size", i["Size"]},
                                       {"user", image_user_[str(i["Id"])]}}));
          shared->reply(Value::object({{"images", std::move(images)}}));
        });
      });
    });
  }

  void pull(Value request, Call call) override {
    auto shared = share(std::move(call));
    const std::string image = str(request["image"]);
    // "host:5000/name:tag", "name@sha256:...": the tag is what follows the last colon behind the last slash.
    const size_t slash = image.rfind('/'), at = image.find('@'), colon = image.rfind(':');
    std::string path = "/images/create?fromImage=";
    if (at == std::string::npos && colon != std::string::npos && (slash == std::string::npos || colon > slash))
      path += query_escape(image.substr(0, colon)) + "&tag=" + query_escape(image.substr(colon + 1));
    else if (at != std::string::npos)
      path += query_escape(image);
    else
      path += query_escape(image) + "&tag=latest";
    HttpRequest rq;
    rq.method = "POST";
    rq.path = path;
    rq.head_timeout_ns = 300 * kSecond;
    if (request["auth"].is_object())
      rq.headers.emplace_back("X-Registry-Auth", base64url(Value::object({{"username", request.at("auth.username")},
                                                                          {"password", request.at("auth.password")},
                                                                          {"serveraddress", request.at("auth.server")}}).dump()));
    struct State {
      std::string line, error;
      int status = 0;
    };
    auto state = std::make_shared<State>();
    HttpHandlers h;
    h.head = [state](const HttpResponse& r) { state->status = r.status; };
    h.data = [state, shared](std::string_view bytes) {
      for (char c : bytes) {
        if (c != '\n') {
          if (state->line.size() < 65536) state->line += c;
          continue;
        }
        const Value v = json::parse_or_null(state->line);
        state->line.clear();
        if (!v["error"].is_null()) state->error = str(v["error"]);
        else if (!v["status"].is_null()) tell(*shared, Value::object({{"text", v["status"]}}));
      }
      return true;
    };
    h.ended = [this, state, shared, image](Result<void> r) {
      if (!r) return shared->fail(engine_.unavailable(r.error()));
      if (state->status != 200) {
        const Value v = json::parse_or_null(state->line);
        return shared->fail(state->status == 404 ? PINTLE_NOT_FOUND : PINTLE_UNAVAILABLE, v["message"].as_string("the pull failed"));
      }
      if (!state->error.empty()) return shared->fail(PINTLE_UNAVAILABLE, state->error);
      engine_.get("/images/" + image_path(image) + "/json", [shared](Result<Value> i) {
        if (!i) return shared->fail(i.error());
        shared->reply(Value::object({{"id", (*i)["Id"]}, {"size", (*i)["Size"]}}));
      });
    };
    auto exchange = std::make_shared<HttpExchange>(engine_.stream(std::move(rq), std::move(h)));
    shared->on_cancel([exchange, shared] {
      exchange->cancel();
      if (*shared) shared->fail(PINTLE_CANCELLED, "cancelled");
    });
  }

  void image_remove(Value request, Call call) override { simple("DELETE", "/images/" + image_path(str(request["image"])), std::move(call), PINTLE_NOT_FOUND); }

  // ---- pods ----------------------------------------------------------------------------------------------------------

  void create_pod(Value request, Call call) override {
    auto shared = share(std::move(call));
    auto body = sandbox_body(config_, request);
    if (!body) return shared->fail(body.error());
    const std::string name = sandbox_name(config_, request);
    auto b = std::make_shared<Value>(std::move(*body));
    with_sandbox_image([this, shared, name, b](Result<void> r) {
      if (!r) return shared->fail(r.error());
      create_named(name, *b, [this, shared](Result<std::string> id) {
        if (!id) {
          if (id.error().code == PINTLE_NOT_FOUND) image_ready_ = false;  // somebody removed it: made anew at the next try
          return shared->fail(id.error());
        }
        start_and_report(*id, shared);
      });
    });
  }

  void start_pod(Value request, Call call) override { start_and_report(str(request["id"]), share(std::move(call))); }

  void remove_pod(Value request, Call call) override {
    auto shared = share(std::move(call));
    const std::string id = str(request["id"]);
    engine_.get("/containers/json?all=1&filters=" + query_escape(Value::object({{"label", Value::array({"io.pintle.sandbox.id=" + id})}}).dump()),
                [this, shared, id](Result<Value> r) {
                  if (!r) return shared->fail(r.error());
                  auto ids = std::make_shared<std::vector<std::string>>();
                  ids->push_back(id);
                  for (const Value& c : r->items()) ids->push_back(str(c["Id"]));
                  remove_all(ids, shared);
                });
  }

  // ---- containers ----------------------------------------------------------------------------------------------------

  void create(Value request, Call call) override {
    auto shared = share(std::move(call));
    auto body = container_body(config_, request);
    if (!body) return shared->fail(body.error());
    create_named(container_name(config_, request), *body, [shared](Result<std::string> id) {
      if (!id) return shared->fail(id.error());
      shared->reply(Value::object({{"id", *id}}));
    });
  }

  void start_container(Value request, Call call) override {
    auto shared = share(std::move(call));
    const std::string id = str(request["id"]);
    engine_.call("POST", "/containers/" + id + "/start", nullptr, strand_.wrap([this, shared, id](Result<Value> r) {
      changed(id);  // the engine sends no event for a start that fails
      if (!r) return shared->fail(r.error());
      shared->reply();
    }));
  }

  void stop_container(Value request, Call call) override {
    auto shared = share(std::move(call));
    const std::string id = str(request["id"]);
    const int64_t seconds = std::max<int64_t>(0, request["timeoutSeconds"].as_int(30));
    engine_.call("POST", "/containers/" + id + "/stop?t=" + std::to_string(seconds), nullptr, [shared](Result<Value> r) {
      if (!r && r.error().code != PINTLE_NOT_FOUND) return shared->fail(r.error());
      shared->reply();
    }, (static_cast<uint64_t>(seconds) + 60) * kSecond);
  }

  void kill(Value request, Call call) override {
    simple("POST", "/containers/" + str(request["id"]) + "/kill?signal=" + query_escape(request["signal"].as_string("KILL")), std::move(call), PINTLE_CONFLICT);
  }

  void remove(Value request, Call call) override {
    auto ids = std::make_shared<std::vector<std::string>>();
    ids->push_back(str(request["id"]));
    remove_all(ids, share(std::move(call)));
  }

  void update(Value request, Call call) override {
    auto shared = share(std::move(call));
    engine_.post("/containers/" + str(request["id"]) + "/update", resources_body(request["resources"]), [shared](Result<Value> r) {
      if (!r) return shared->fail(r.error());
      shared->reply();
    });
  }

  void list(Value request, Call call) override {
    auto shared = share(std::move(call));
    Value labels = Value::array({std::string(kClusterLabel) + "=" + config_.cluster});
    const bool one = !request["podUid"].as_string().empty();
    if (one) labels.push("io.pintle.pod.uid=" + str(request["podUid"]));
    engine_.get("/containers/json?all=1&filters=" + query_escape(Value::object({{"label", std::move(labels)}}).dump()), [this, shared, one](Result<Value> r) {
      if (!r) return shared->fail(r.error());
      strand_.post([this, shared, one, list = std::make_shared<Value>(std::move(*r))] {
        // Times and exit codes are in the inspection only. One that was made in the same state (the summary changes with it) is reused.
        auto missing = std::make_shared<std::vector<std::string>>();
        std::set<std::string> alive;
        for (const Value& c : list->items()) {
          const std::string id = str(c["Id"]);
          alive.insert(id);
          const auto it = inspected_.find(id);
          if (it == inspected_.end() || it->second.stale || it->second.value.at("State.Status") != c["State"]) missing->push_back(id);
        }
        if (!one) std::erase_if(inspected_, [&](const auto& e) { return !alive.count(e.first); });
        inspect_containers(missing, [this, shared, list] {
          Value out = Value::object({{"pods", Value::array()}, {"containers", Value::array()}});
          for (const Value& c : list->items()) {
            const auto it = inspected_.find(str(c["Id"]));
            if (it == inspected_.end() || it->second.value.is_null()) continue;  // removed in between
            const Value& i = it->second.value;
            if (i.at("Config.Labels")[kKindLabel].as_string() == "sandbox") out.set("pods").push(pod_entry(i));
            else out.set("containers").push(container_entry(i));
          }
          shared->reply(out);
        });
      });
    });
  }

  void stats(Value, Call call) override {
    auto shared = share(std::move(call));
    const std::string filter =
        Value::object({{"label", Value::array({std::string(kClusterLabel) + "=" + config_.cluster, std::string(kKindLabel) + "=container"})}}).dump();
    engine_.get("/containers/json?filters=" + query_escape(filter), [this, shared](Result<Value> r) {
      if (!r) return shared->fail(r.error());
      auto left = std::make_shared<size_t>(r->size());
      auto out = std::make_shared<Value>(Value::array());
      if (*left == 0) return shared->reply(Value::object({{"containers", *out}}));
      for (const Value& c : r->items()) {
        const Value labels = c["Labels"];
        const std::string id = str(c["Id"]);
        engine_.get("/containers/" + id + "/stats?stream=false&one-shot=true", strand_.wrap([this, shared, left, out, labels, id](Result<Value> s) {
          if (s) {
            const int64_t cache = std::max(s->at("memory_stats.stats.total_inactive_file").as_int(), s->at("memory_stats.stats.inactive_file").as_int());
            out->push(Value::object({{"id", id},
                                     {"podUid", labels["io.pintle.pod.uid"]},
                                     {"name", labels["io.pintle.container.name"]},
                                     {"cpuNs", s->at("cpu_stats.cpu_usage.total_usage")},
                                     {"memoryWorkingSet", std::max<int64_t>(0, s->at("memory_stats.usage").as_int() - cache)},
                                     {"at", host.wall()}}));
          }
          if (--*left == 0) shared->reply(Value::object({{"containers", *out}}));
        }));
      }
    });
  }

  // ---- streams -------------------------------------------------------------------------------------------------------

  void exec(Value request, Call call) override {
    auto shared = share(std::move(call));
    const Value& fds = request["fds"];
    const bool tty = request["tty"].as_bool(), streams = fds.is_object();
    const bool in = streams && fds.contains("stdin");
    const Value body = Value::object({{"AttachStdin", in}, {"AttachStdout", true}, {"AttachStderr", !tty}, {"Tty", tty}, {"Cmd", request["command"]}});
    auto ends = std::make_shared<StreamSession::Ends>(take_ends(*shared, fds));
    ends->multiplexed = !tty;
    if (!streams) ends->capture = 16 * 1024;
    const int resize = streams && fds.contains("resize") ? shared->take_fd(static_cast<uint32_t>(fds["resize"].as_int())) : -1;
    const int64_t timeout = request["timeoutSeconds"].as_int();
    engine_.post("/containers/" + str(request["id"]) + "/exec", body, [this, shared, ends, tty, resize, timeout](Result<Value> r) {
      if (!r) {
        close_ends(*ends, resize);
        return shared->fail(r.error());
      }
      const std::string exec_id = str((*r)["Id"]);
      engine_.hijack("/exec/" + exec_id + "/start", Value::object({{"Detach", false}, {"Tty", tty}}),
                     [this, shared, ends, exec_id, resize, timeout](Result<void> h, int fd, std::string rest) {
                       if (!h) {
                         close_ends(*ends, resize);
                         return shared->fail(h.error());
                       }
                       ends->engine = fd;
                       ends->rest = std::move(rest);
                       run_session(shared, std::move(*ends), "/exec/" + exec_id + "/resize", resize, timeout, [this, exec_id](SharedCall answer, Value output) {
                         engine_.get("/exec/" + exec_id + "/json", [this, answer, output](Result<Value> e) {
                           if (!e) return answer->fail(e.error());
                           Value reply = output;
                           reply.set("exitCode", (*e)["ExitCode"]);
                           if ((*e)["ExitCode"].as_int() == kCannotExec) return tell_whether_ended(answer, reply, str((*e)["ContainerID"]), kEndChecks);
                           answer->reply(reply);
                         });
                       });
                     });
    });
  }

  // The engine answers 126 both for a command that cannot be run and for a container that ended while its namespaces were being entered.
  // It learns of the end a moment later than the kernel.
  void tell_whether_ended(SharedCall answer, Value reply, const std::string& id, int checks) {
    engine_.get("/containers/" + id + "/json", strand_.wrap([this, answer, reply, id, checks](Result<Value> c) {
      if (c ? !c->at("State.Running").as_bool() : c.error().code == PINTLE_NOT_FOUND)
        return answer->fail(PINTLE_CONFLICT, "the container ended before the command could start: it may be restarting, try again");
      if (checks == 0) return answer->reply(reply);
      endings_.push_back(host.after(kSecond / 5, [this, answer, reply, id, checks] { tell_whether_ended(answer, reply, id, checks - 1); }));
    }));
  }

  void attach(Value request, Call call) override {
    auto shared = share(std::move(call));
    const Value& fds = request["fds"];
    const std::string id = str(request["id"]);
    auto ends = std::make_shared<StreamSession::Ends>(take_ends(*shared, fds));
    ends->multiplexed = !request["tty"].as_bool();
    const int resize = fds.contains("resize") ? shared->take_fd(static_cast<uint32_t>(fds["resize"].as_int())) : -1;
    const std::string path = "/containers/" + id + "/attach?stream=1&stdout=1&stderr=1" + (ends->in >= 0 ? "&stdin=1" : "");
    engine_.hijack(path, Value::object(), [this, shared, ends, id, resize](Result<void> h, int fd, std::string rest) {
      if (!h) {
        close_ends(*ends, resize);
        return shared->fail(h.error());
      }
      ends->engine = fd;
      ends->rest = std::move(rest);
      auto ended = std::make_shared<std::atomic<bool>>(false);
      auto session = run_session(shared, std::move(*ends), "/containers/" + id + "/resize", resize, 0, [this, id, ended](SharedCall answer, Value) {
        // kubectl shows the log instead when it gets an error.
        if (ended->load()) return answer->fail(PINTLE_BAD_REQUEST, "cannot attach: the container has ended");
        engine_.get("/containers/" + id + "/json", [answer](Result<Value> i) {
          answer->reply(Value::object({{"exitCode", i && !i->at("State.Running").as_bool() ? i->at("State.ExitCode") : Value(0)}}));
        });
      });
      end_when_not_running(id, session, ended);
    });
  }

  void port_forward(Value request, Call call) override {
    auto shared = share(std::move(call));
    const int64_t port = request["port"].as_int();
    const int client = shared->take_fd(0);
    if (client < 0) return shared->fail(PINTLE_BAD_REQUEST, "port_forward needs descriptor 0");
    engine_.get("/containers/" + str(request["podId"]) + "/json", [this, shared, port, client](Result<Value> r) {
      const int64_t pid = r ? r->at("State.Pid").as_int() : 0;
      if (pid <= 0) {
        close(client);
        return shared->fail(r ? Error(PINTLE_UNAVAILABLE, "the pod's sandbox is not running") : r.error());
      }
      host.post_blocking([this, shared, port, client, pid] {
        const int fd = connect_in_namespace(pid, static_cast<uint16_t>(port));
        const int error = errno;
        strand_.post([this, shared, port, client, fd, error] {
          if (fd < 0) {
            close(client);
            return shared->fail(PINTLE_UNAVAILABLE, "cannot connect to port " + std::to_string(port) + " in the pod: " + std::generic_category().message(error));
          }
          StreamSession::Ends ends;
          ends.engine = fd;
          ends.in = ends.out = client;
          keep(shared, StreamSession::start(host, std::move(ends), [shared] {
                 if (*shared) shared->reply();
               }));
        });
      });
    });
  }

  void logs(Value request, Call call) override {
    auto shared = share(std::move(call));
    std::string path = "/containers/" + str(request["id"]) + "/logs?";
    const std::string_view stream = request["stream"].as_string();
    path += stream == "Stderr" || stream == "stderr" ? "stdout=0&stderr=1" : stream == "Stdout" || stream == "stdout" ? "stdout=1&stderr=0" : "stdout=1&stderr=1";
    if (request["follow"].as_bool()) path += "&follow=1";
    if (request["timestamps"].as_bool()) path += "&timestamps=1";
    if (!request["tailLines"].is_null()) path += "&tail=" + std::to_string(request["tailLines"].as_int());
    if (!request["sinceTime"].is_null()) {
      const int64_t since = request["sinceTime"].as_int();
      char text[40];
      std::snprintf(text, sizeof text, "&since=%lld.%09lld", static_cast<long long>(since / 1000000000), static_cast<long long>(since % 1000000000));
      path += text;
    }
    engine_.get("/containers/" + str(request["id"]) + "/json", [this, shared, path, limit = request["limitBytes"]](Result<Value> i) {
      if (!i) return shared->fail(i.error());
      follow_log(shared, path, i->at("Config.Tty").as_bool(), limit.is_null() ? INT64_MAX : limit.as_int());
    });
  }

  void reopen_log(Value, Call call) override { call.reply(); }  // the engine rotates by itself

 private:
  struct Inspected {
    Value value;
    bool stale = true;      // something happened to the container since
    uint64_t changes = 0;   // how often: an inspection that was under way meanwhile is stale when it comes
  };

  static std::string image_path(const std::string& image) { return image; }  // slashes and colons are part of the engine's path

  static void tell(Call& call, const Value& v) {
    std::string part = v.dump();
    call.emit(part);
  }

  void simple(const char* method, std::string path, Call call, pintle_code also_fine = PINTLE_OK) {
    auto shared = share(std::move(call));
    engine_.call(method, std::move(path), nullptr, [shared, also_fine](Result<Value> r) {
      if (!r && r.error().code != also_fine) return shared->fail(r.error());
      shared->reply();
    });
  }

  // Makes the sandbox image once: from our own program when it is the default, else it has to be on the engine.
  void with_sandbox_image(std::function<void(Result<void>)> then) {
    if (image_ready_.load()) return then({});
    engine_.get("/images/" + image_path(config_.sandbox_image) + "/json", [this, then = std::move(then)](Result<Value> r) {
      if (r) {
        image_ready_ = true;
        return then({});
      }
      if (r.error().code != PINTLE_NOT_FOUND) return then(r.error());
      if (config_.sandbox_image != kPauseTag)
        return then(Error(PINTLE_NOT_FOUND, "the sandbox image \"" + config_.sandbox_image + "\" is not on the engine: pull it or leave the plugin's `sandboxImage` unset"));
      const std::string path = "/images/create?fromSrc=-&repo=pintle%2Fpause&tag=1&changes=" + query_escape("ENTRYPOINT [\"/pause\"]");
      engine_.upload(path, "application/x-tar", tar_with_program("pause", pause_program()), [this, then](Result<Value> made) {
        if (!made) return then(made.error());
        image_ready_ = true;
        then({});
      });
    });
  }

  // POST create under a fixed name; a name that is taken is what an earlier call made.
  void create_named(const std::string& name, const Value& body, std::function<void(Result<std::string>)> done) {
    engine_.post("/containers/create?name=" + name, body, [this, name, done = std::move(done)](Result<Value> r) {
      if (r) return done(str((*r)["Id"]));
      if (r.error().code != PINTLE_CONFLICT) return done(r.error());
      engine_.get("/containers/" + name + "/json", [this, name, done](Result<Value> i) {
        if (!i) return done(i.error());
        if (i->at("Config.Labels")[kClusterLabel].as_string() != config_.cluster)
          return done(Error(PINTLE_CONFLICT, "the container name \"" + name + "\" is taken by one that is not ours"));
        done(str((*i)["Id"]));
      });
    });
  }

  void start_and_report(const std::string& id, SharedCall shared) {
    engine_.call("POST", "/containers/" + id + "/start", nullptr, [this, id, shared](Result<Value> r) {
      if (!r) {
        // A sandbox that cannot start (a host port in use) would stay behind half made.
        return shared->fail(r.error());
      }
      engine_.get("/containers/" + id + "/json", [shared, id](Result<Value> i) {
        if (!i) return shared->fail(i.error());
        Value ips = Value::array();
        if (!i->at("NetworkSettings.IPAddress").as_string().empty()) ips.push(i->at("NetworkSettings.IPAddress"));
        shared->reply(Value::object({{"id", id}, {"ips", std::move(ips)}}));
      });
    });
  }

  void remove_all(std::shared_ptr<std::vector<std::string>> ids, SharedCall shared) {
    if (ids->empty()) return shared->reply();
    const std::string id = ids->back();
    ids->pop_back();
    engine_.call("DELETE", "/containers/" + id + "?force=1&v=1", nullptr, [this, ids, shared](Result<Value> r) {
      // Gone, or somebody else is removing it: both lead to what was asked for.
      if (!r && r.error().code != PINTLE_NOT_FOUND && r.error().code != PINTLE_CONFLICT) return shared->fail(r.error());
      remove_all(ids, shared);
    });
  }

  // Both: on the strand when `done` runs.
  void inspect_containers(std::shared_ptr<std::vector<std::string>> ids, std::function<void()> done) {
    if (ids->empty()) return done();
    auto left = std::make_shared<size_t>(ids->size());
    for (const auto& id : *ids)
      engine_.get("/containers/" + id + "/json", strand_.wrap([this, id, left, done, seen = inspected_[id].changes](Result<Value> r) {
        const auto it = inspected_.find(id);
        if (!r) {
          if (it != inspected_.end()) inspected_.erase(it);
        } else {
          Inspected& known = it != inspected_.end() ? it->second : inspected_[id];
          known.value = std::move(*r);
          known.stale = known.changes != seen;
        }
        if (--*left == 0) done();
      }));
  }
  // On the strand.
  void changed(const std::string& id) {
    const auto it = inspected_.find(id);
    if (it == inspected_.end()) return;
    it->second.stale = true;
    ++it->second.changes;
  }
  void inspect_images(std::shared_ptr<std::vector<std::string>> ids, std::function<void()> done) {
    if (ids->empty()) return done();
    auto left = std::make_shared<size_t>(ids->size());
    for (const auto& id : *ids)
      engine_.get("/images/" + id + "/json", strand_.wrap([this, id, left, done](Result<Value> r) {
        if (r) image_user_[id] = str(r->at("Config.User"));
        if (--*left == 0) done();
      }));
  }

  // ---- the engine's event stream: on the strand ----------------------------------------------------------------------

  void follow_events() {
    if (draining_) return;
    HttpRequest rq;
    rq.path = "/events?filters=" + query_escape(Value::object({{"type", Value::array({"container"})},
                                                               {"label", Value::array({std::string(kClusterLabel) + "=" + config_.cluster})}}).dump());
    auto line = std::make_shared<std::string>();
    HttpHandlers h;
    h.head = strand_.wrap([this](HttpResponse r) {
      if (r.status != 200) return;
      connected_ = true;
      host.report(PINTLE_HEALTH_READY);
      for (const auto& [id, e] : inspected_) changed(id);  // what happened while we were not listening is not known
      for (auto& [id, listener] : listeners_) tell(*listener, Value::object({{"type", "sync"}}));
    });
    h.data = [this, line](std::string_view bytes) {
      for (char c : bytes) {
        if (c != '\n') {
          if (line->size() < 262144) *line += c;
          continue;
        }
        strand_.post([this, v = json::parse_or_null(*line)] { on_event(v); });
        line->clear();
      }
      return true;
    };
    h.ended = strand_.wrap([this](Result<void> r) {
      if (draining_) return;
      if (connected_) {
        host.warn("the Docker Engine's event stream ended, connecting again", Value::object({{"error", r.ok() ? std::string("closed") : r.error().text}}));
      } else if (!r) {
        // It is not just the stream: whoever listens has to know that nothing is seen any more.
        const Error why = engine_.unavailable(r.error());
        host.report(PINTLE_HEALTH_DEGRADED, why.text);
        for (auto& [id, listener] : std::exchange(listeners_, {})) listener->fail(why);
      }
      connected_ = false;
      reconnect_ = host.after(kSecond / 2, strand_.wrap([this] { follow_events(); }));
    });
    events_ = engine_.stream(std::move(rq), std::move(h));
  }

  void on_event(const Value& v) {
    const std::string action = str(v["Action"]);
    static constexpr std::string_view kOfInterest[] = {"create", "start", "die", "oom", "destroy", "pause", "unpause"};
    if (std::find(std::begin(kOfInterest), std::end(kOfInterest), action) == std::end(kOfInterest)) return;
    const std::string id = str(v.at("Actor.ID"));
    const Value& attributes = v.at("Actor.Attributes");
    changed(id);
    if (action == "destroy") inspected_.erase(id);
    const bool sandbox = attributes[kKindLabel].as_string() == "sandbox";
    Value event = Value::object({{"type", "changed"},
                                 {"podUid", attributes["io.pintle.pod.uid"]},
                                 {"sandboxId", sandbox ? Value(id) : attributes["io.pintle.sandbox.id"]},
                                 {"state", action == "start" ? "running" : action == "die" || action == "oom" ? "exited" : action == "destroy" ? "removed" : action}});
    if (!sandbox) event.set("containerId", id);
    for (auto& [listener_id, listener] : listeners_) tell(*listener, event);
  }

  // ---- streams -------------------------------------------------------------------------------------------------------

  static StreamSession::Ends take_ends(Call& call, const Value& fds) {
    StreamSession::Ends ends;
    if (fds.contains("stdin")) ends.in = call.take_fd(static_cast<uint32_t>(fds["stdin"].as_int()));
    if (fds.contains("stdout")) ends.out = call.take_fd(static_cast<uint32_t>(fds["stdout"].as_int()));
    if (fds.contains("stderr")) ends.err = call.take_fd(static_cast<uint32_t>(fds["stderr"].as_int()));
    return ends;
  }
  static void close_ends(const StreamSession::Ends& ends, int resize) {
    for (int fd : {ends.in, ends.out, ends.err, resize})
      if (fd >= 0) close(fd);
  }

  void keep(const SharedCall& call, std::shared_ptr<StreamSession> session) {
    call->on_cancel([weak = std::weak_ptr(session)] {
      if (auto s = weak.lock()) s->cancel();
    });
    strand_.post([this, session] {
      std::erase_if(sessions_, [](const auto& w) { return w.expired(); });
      sessions_.push_back(session);
    });
  }

  // `finished(call, {"stdout":..,"stderr":..})` when the engine's side has ended.
  // The engine never ends an attachment to a container that has ended before: look once the stream stands.
  void end_when_not_running(const std::string& id, std::shared_ptr<StreamSession> session, std::shared_ptr<std::atomic<bool>> ended) {
    engine_.get("/containers/" + id + "/json", [this, ended, weak = std::weak_ptr(session)](Result<Value> r) {
      if (r && r->at("State.Running").as_bool()) return;
      // What it had written is on its way: a moment for that.
      strand_.post([this, weak, ended] {
        endings_.push_back(host.after(kSecond / 2, [weak, ended] {
          auto s = weak.lock();
          if (!s) return;
          ended->store(true);
          s->cancel();
        }));
        std::erase_if(endings_, [](const Timer& t) { return !t; });
      });
    });
  }

  std::shared_ptr<StreamSession> run_session(SharedCall shared, StreamSession::Ends ends, std::string resize_path, int resize, int64_t timeout_seconds,
                   std::function<void(SharedCall, Value)> finished) {
    struct Running {
      std::shared_ptr<StreamSession> session;
      FdWatch resize_watch;
      Timer timer;
      std::string line;
      int resize = -1;
      bool timed_out = false;
      ~Running() {
        resize_watch.reset();
        if (resize >= 0) close(resize);
      }
    };
    auto running = std::make_shared<Running>();
    running->resize = resize;
    running->session = StreamSession::start(host, std::move(ends), [this, shared, running, finished = std::move(finished)] {
      strand_.post([shared, running, finished] {
        running->timer.reset();
        running->resize_watch.reset();
        Value output = Value::object();
        if (running->session) output = Value::object({{"stdout", running->session->captured(1)}, {"stderr", running->session->captured(2)}});
        running->session.reset();
        if (!*shared) return;
        if (running->timed_out) return shared->fail(PINTLE_TIMEOUT, "the command did not end in time");
        if (shared->cancelled()) return shared->fail(PINTLE_CANCELLED, "cancelled");
        finished(shared, output);
      });
    });
    auto session = running->session;
    keep(shared, session);
    strand_.post([this, running, resize_path, timeout_seconds] {
      if (!running->session) return;
      if (timeout_seconds > 0)
        running->timer = host.after(static_cast<uint64_t>(timeout_seconds) * kSecond, [weak = std::weak_ptr(running)] {
          if (auto r = weak.lock()) {
            r->timed_out = true;
            if (r->session) r->session->cancel();
          }
        });
      if (running->resize < 0) return;
      // Lines {"Width":80,"Height":24}.
      running->resize_watch = host.watch_fd(running->resize, [this, weak = std::weak_ptr(running), resize_path](uint32_t) {
        auto r = weak.lock();
        if (!r) return;
        char buffer[1024];
        const ssize_t n = read(r->resize, buffer, sizeof buffer);
        if (n <= 0) return;
        for (char c : std::string_view(buffer, static_cast<size_t>(n))) {
          if (c != '\n') {
            if (r->line.size() < 1024) r->line += c;
            continue;
          }
          const Value size = json::parse_or_null(r->line);
          r->line.clear();
          engine_.call("POST", resize_path + "?h=" + std::to_string(size["Height"].as_int()) + "&w=" + std::to_string(size["Width"].as_int()), nullptr, [](Result<Value>) {});
        }
        strand_.post([weak] {
          if (auto again = weak.lock(); again && again->resize_watch) again->resize_watch.arm(PINTLE_READABLE);
        });
      });
      running->resize_watch.arm(PINTLE_READABLE);
    });
    return session;
  }

  void follow_log(SharedCall shared, const std::string& path, bool tty, int64_t limit) {
    struct State {
      Demultiplexer demultiplexer;
      std::string waiting;  // not taken by the caller yet
      HttpExchange exchange;
      int64_t left;
      int status = 0;
      bool ended = false;
      std::mutex mutex;
    };
    auto state = std::make_shared<State>();
    state->left = limit;
    // Sends what waits; true when all is out.
    auto push = [shared, state] {
      std::lock_guard lock(state->mutex);
      return state->waiting.empty() || !*shared || shared->emit(state->waiting);
    };
    HttpHandlers h;
    h.head = [state](const HttpResponse& r) { state->status = r.status; };
    h.data = [state, shared, tty, push](std::string_view bytes) {
      if (state->status != 200) return true;  // the engine's refusal is no log
      {
        std::lock_guard lock(state->mutex);
        const auto add = [&](int, std::string_view piece) {
          piece = piece.substr(0, static_cast<size_t>(std::min<int64_t>(state->left, static_cast<int64_t>(piece.size()))));
          state->left -= static_cast<int64_t>(piece.size());
          state->waiting.append(piece);
        };
        if (tty) add(1, bytes);
        else state->demultiplexer.feed(bytes, add);
      }
      if (push()) {
        if (state->left <= 0) {
          state->exchange.cancel();
          if (*shared) shared->reply();
        }
        return true;
      }
      shared->on_ready([state, push, shared] {
        if (!push()) return;
        if (state->ended && *shared) return shared->reply();
        state->exchange.resume();
      });
      return false;
    };
    h.ended = [this, state, shared, push](Result<void> r) {
      if (!*shared) return;
      if (!r && state->status != 200) return shared->fail(engine_.unavailable(r.error()));
      if (state->status != 200) return shared->fail(PINTLE_UNAVAILABLE, "the engine has no log of this container");
      state->ended = true;
      if (push()) shared->reply();
    };
    HttpRequest rq;
    rq.path = path;
    rq.head_timeout_ns = 0;  // a followed log of a silent container has no first byte
    state->exchange = engine_.stream(std::move(rq), std::move(h));
    shared->on_cancel([state, shared] {
      state->exchange.cancel();
      if (*shared) shared->fail(PINTLE_CANCELLED, "cancelled");
    });
  }

  DriverConfig config_;
  Engine engine_;
  std::atomic<bool> image_ready_{false};
  // Everything below belongs to the strand.
  std::map<std::string, Inspected> inspected_;
  std::map<std::string, std::string> image_user_;
  std::map<uint64_t, SharedCall> listeners_;
  std::vector<std::weak_ptr<StreamSession>> sessions_;
  std::vector<Timer> endings_;
  HttpExchange events_;
  Timer reconnect_;
  uint64_t last_listener_ = 0;
  bool connected_ = false, draining_ = false;
  Strand strand_;
};

}  // namespace
}  // namespace pintle::runtime_docker

PINTLE_PLUGIN(pintle::runtime_docker::DockerRuntime)
