#include "tests/api/widget_hooks.h"

#include <unistd.h>

#include "pintle/if/admission.h"
#include "pintle/if/http.h"
#include "pintle/if/resource.h"
#include "pintle/if/stream.h"

namespace pintle::kernel {
namespace {
json::Value parse(const char* text) { return json::parse_or_null(text); }
}  // namespace

std::vector<std::string> WidgetHooks::slots(const std::string& prefix) const {
  std::vector<std::string> out;
  for (const std::string& s : held) {
    if (s == prefix || s.starts_with(prefix + ".")) out.push_back(s);
  }
  return out;
}

std::vector<std::string> WidgetHooks::providers(const std::string& interface_id) const {
  return routes && interface_id == PINTLE_HTTP ? std::vector<std::string>{"widget"} : std::vector<std::string>{};
}

void WidgetHooks::call(const std::string& target, const char* interface_id, uint32_t method, std::string request, uint64_t deadline_ns,
                       std::function<void(Result<std::string>)> done) {
  if (admission_hangs && std::string(interface_id) == PINTLE_ADMISSION) {
    executor_.after(deadline_ns - executor_.now(), [done = std::move(done)] { done(Error(PINTLE_TIMEOUT, "no answer in time")); });
    return;
  }
  executor_.post([this, target, id = std::string(interface_id), method, request = std::move(request), done = std::move(done)] {
    Result<json::Value> r = answer(target, id, method, json::parse_or_null(request));
    if (r) {
      done(r->dump());
    } else {
      done(r.error());
    }
  });
}

Result<json::Value> WidgetHooks::answer(const std::string&, const std::string& id, uint32_t method, const json::Value& request) {
  const std::lock_guard lock(mutex_);
  if (down) return Error(PINTLE_UNAVAILABLE, "the widget plugin is restarting");
  if (id == PINTLE_RESOURCE) return resource(method, request);
  if (id == PINTLE_HTTP) {
    ++calls[method == 0 ? "routes" : "handle"];
    if (method == 0) return parse(R"({"routes":[{"prefix":"/shop/","methods":["GET","POST"]},{"prefix":"/shop/broken"},{"prefix":"/api/"},{"prefix":"/"}]})");
    if (request["path"].as_string() == "/shop/broken") return parse(R"({"code":"odd"})");
    if (request["path"].as_string() == "/shop/garbled") return Error(PINTLE_TOO_MANY_REQUESTS, "the shop is full \xff\xfe");
    if (request["path"].as_string() == "/shop/closed") return Error(PINTLE_TOO_MANY_REQUESTS, "the shop is full");
    json::Value v = parse(R"({"code":202,"headers":{"Content-Type":"application/json","X-Shop":"open","Connection":"close","Audit-Id":"forged"}})");
    v.set("body", request.dump());
    return v;
  }
  if (id == PINTLE_AUTHN) {
    if (request["authorization"].as_string() != "Bearer plugin-token") return parse(R"({"authenticated":false})");
    return parse(R"({"authenticated":true,"user":{"username":"paul","uid":"9","groups":["system:masters"]}})");
  }
  if (id == PINTLE_AUTHZ) {
    json::Value v = json::Value::object();
    v.set("allowed", allowed_users.contains(std::string(request["user"]["username"].as_string())));
    return v;
  }
  if (id == PINTLE_ADMISSION) {
    ++calls[method == 0 ? "describe" : method == 1 ? "mutate" : "admit"];
    if (method == 0) return parse(R"({"rules":[{"kinds":["widgets.test.example.com"],"operations":["CREATE"],"phase":"validate"}],"failurePolicy":"Fail"})");
    json::Value v = json::Value::object();
    v.set("allowed", admit);
    if (!admit) v.set("status", parse(R"({"message":"no widgets today","code":403})"));
    return v;
  }
  return Error(PINTLE_UNSUPPORTED, "nothing here for " + id);
}

Result<json::Value> WidgetHooks::resource(uint32_t method, const json::Value& q) {
  static constexpr const char* kNames[] = {"default", "validate", "convert", "prepare", "delete", "table", "connect", "subresource"};
  ++calls[kNames[method]];
  json::Value out = json::Value::object();
  const json::Value& object = q["object"];
  switch (method) {
    case 0: {  // a part weighs ten
      json::Value part = object;
      if (!part.contains("weight")) part.set("weight", 10);
      out.set("object", std::move(part));
      return out;
    }
    case 1:
      if (object["color"].as_string() == "blue" && object["size"].as_int() > 50) {
        return parse(R"({"causes":[{"reason":"FieldValueInvalid","field":"size","message":"Invalid value: blue widgets are at most 50"}],
                         "warnings":["blue is out of fashion"]})");
      }
      return out;
    case 3: {  // a number from 1, kept by a ticket
      json::Value next = object;
      const int64_t wanted = object["spec"]["number"].as_int();
      if (wanted && q["attempt"].as_int() > 0) return Error(PINTLE_INVALID, "number " + std::to_string(wanted) + " is taken");
      const int64_t number = wanted ? wanted : q["attempt"].as_int() + 1;
      next.make("spec.number") = number;
      out.set("object", std::move(next));
      json::Value put = json::Value::object();
      put.set("kind", "tickets.test.example.com");
      put.make("object.metadata.name") = "number-" + std::to_string(number);
      put.make("object.holder") = object["metadata"]["name"];
      out.set("puts", json::Value::array()).push(std::move(put));
      return out;
    }
    case 4: {
      if (q["phase"].as_string() == "final") {
        json::Value gone = json::Value::object();
        gone.set("kind", "tickets.test.example.com");
        gone.set("namespace", "");
        gone.set("name", "number-" + std::to_string(object["spec"]["number"].as_int()));
        out.set("deletes", json::Value::array()).push(std::move(gone));
        return out;
      }
      if (object["metadata"]["labels"]["protected"].as_string() == "yes") {
        out.set("action", "deny");
        out.set("message", "protected widgets stay");
        return out;
      }
      const int64_t grace = q["options"]["gracePeriodSeconds"].as_int(object["status"]["phase"].as_string() == "Running" ? 30 : 0);
      out.set("action", grace ? "grace" : "immediate");
      out.set("gracePeriodSeconds", grace);
      return out;
    }
    case 5: {
      json::Value& rows = out.set("rows", json::Value::array());
      for (const json::Value& o : q["objects"].items()) {
        json::Value row = json::Value::object();
        row.set("cells", json::Value::object()).set("Mood", o["spec"]["size"].as_int() > 10 ? "great" : "fine");
        rows.push(std::move(row));
      }
      return out;
    }
    case 6: {
      if (q["query"]["part"].as_string() == "none") return Error(PINTLE_BAD_REQUEST, "a part must be named");
      out.set("slot", "widget-far-end");
      out.set("request", json::Value::object()).set("query", q["query"]);
      return out;
    }
    case 7: {  // retirement: allowed while the guard has room; takes one from it in the same transaction
      json::Value guard = json::Value::object();
      const int64_t allowed = q["body"]["allowed"].as_int(-1);
      if (allowed == 0) {
        Error e(PINTLE_TOO_MANY_REQUESTS, "Cannot retire widget as it would violate its guard.");
        e.status = parse(R"({"details":{"causes":[{"reason":"WidgetGuard","message":"needs one more"}]}})");
        return e;
      }
      json::Value& ops = out.set("ops", json::Value::array());
      if (allowed > 0) {
        json::Value op = parse(R"({"verb":"merge","kind":"guards.test.example.com","name":"guard"})");
        op.set("namespace", q["namespace"]);
        op.set("body", json::Value::object()).set("allowed", allowed - 1);
        ops.push(std::move(op));
      }
      json::Value op = parse(R"({"verb":"delete","kind":"widgets.test.example.com","body":{"gracePeriodSeconds":0}})");
      op.set("namespace", q["namespace"]);
      op.set("name", q["name"]);
      op.set("uid", object["metadata"]["uid"]);
      ops.push(std::move(op));
      out.set("reply", parse(R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201})"));
      out.set("retry", true);
      return out;
    }
    default: return Error(PINTLE_UNSUPPORTED, "no such hook");
  }
}

std::function<void()> WidgetHooks::open(const std::string&, const char*, uint32_t, std::string, std::vector<int> fds,
                                        std::function<bool(std::string_view)> part, std::function<void(Result<std::string>)> done,
                                        std::function<void(std::function<void()>)>* resume) {
  for (const int fd : fds) close(fd);
  struct Flow {
    std::function<bool(std::string_view)> part;
    std::function<void(Result<std::string>)> done;
    size_t left;
    bool over = false;
  };
  auto flow = std::make_shared<Flow>(Flow{std::move(part), std::move(done), log_repeat});
  auto go = [this, flow] {
    while (!flow->over && flow->left > 0) {
      if (!flow->part(log_text)) return;
      --flow->left;
    }
    if (!flow->over && !log_follows) {
      flow->over = true;
      flow->done(std::string("{}"));
    }
  };
  if (resume && *resume) (*resume)(go);
  executor_.post(go);
  return [this, flow] {
    if (flow->over) return;
    flow->over = true;
    ++log_cancelled;
    flow->done(Error(PINTLE_CANCELLED, "cancelled"));
  };
}

}  // namespace pintle::kernel
