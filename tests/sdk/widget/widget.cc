// A kind with everything that a kind can have, from outside the tree: the kernel has no line for it.
#include <unistd.h>

#include <string>

#include "pintle/plugin.h"

namespace widget {
using pintle::Call;
using pintle::Error;
namespace json = pintle::json;

json::Value object(std::initializer_list<std::pair<std::string_view, json::Value>> members) { return json::Value::object(members); }

class Widget final : public pintle::Plugin, public pintle::ResourceProvider, public pintle::StreamProvider, public pintle::HttpProvider {
 public:
  Widget(pintle::Host h, const json::Value&) : Plugin(h) {}

  void validate_object(json::Value request, Call call) override {
    const json::Value& spec = request["object"];
    json::Value out = object({{"causes", json::Value::array()}, {"warnings", json::Value::array()}});
    if (spec["color"].as_string() == "blue") {
      out.find("warnings")->push("blue is out of fashion");
      if (spec["size"].as_int() > 50)
        out.find("causes")->push(object({{"reason", "FieldValueInvalid"}, {"field", "size"}, {"message", "Invalid value: blue widgets are at most 50"}}));
    }
    call.reply(out);
  }

  // The lowest free number: its ticket is created in the same transaction, a collision asks again.
  void prepare(json::Value request, Call call) override {
    json::Value next = request["object"];
    const int64_t number = request["attempt"].as_int() + 1;
    next.make("spec.number") = number;
    json::Value ticket = object({{"kind", "tickets.example.org"}});
    ticket.make("object.metadata.name") = "number-" + std::to_string(number);
    ticket.make("object.holder") = next["metadata"]["name"];
    json::Value puts = json::Value::array();
    puts.push(std::move(ticket));
    call.reply(object({{"object", std::move(next)}, {"puts", std::move(puts)}}));
  }

  void delete_(json::Value request, Call call) override {
    const json::Value& old = request["object"];
    if (request["phase"].as_string() == "final") {
      json::Value deletes = json::Value::array();
      deletes.push(object({{"kind", "tickets.example.org"}, {"namespace", ""}, {"name", "number-" + std::to_string(old["spec"]["number"].as_int())}}));
      return call.reply(object({{"deletes", std::move(deletes)}}));
    }
    if (old["metadata"]["labels"]["protected"].as_string() == "yes") return call.reply(object({{"action", "deny"}, {"message", "protected widgets stay"}}));
    const int64_t grace = request["options"]["gracePeriodSeconds"].as_int(old["status"]["phase"].as_string() == "Running" ? 30 : 0);
    call.reply(object({{"action", grace ? "grace" : "immediate"}, {"gracePeriodSeconds", grace}}));
  }

  void table(json::Value request, Call call) override {
    json::Value rows = json::Value::array();
    for (const json::Value& o : request["objects"].items())
      rows.push(object({{"cells", object({{"Mood", o["spec"]["size"].as_int() > 10 ? "great" : "fine"}})}}));
    call.reply(object({{"rows", std::move(rows)}}));
  }

  void connect(json::Value request, Call call) override {
    call.reply(object({{"slot", "plugin.widget"}, {"request", object({{"name", request["name"]}, {"query", request["query"]}})}}));
  }

  // retirement: allowed while the guard has room, which loses one in the same transaction.
  void subresource(json::Value request, Call call) override {
    const int64_t allowed = request["body"]["allowed"].as_int();
    if (allowed <= 0) return call.fail(Error(PINTLE_TOO_MANY_REQUESTS, "Cannot retire widget as it would violate its guard."));
    json::Value ops = json::Value::array();
    ops.push(object({{"verb", "merge"}, {"kind", "guards.example.org"}, {"namespace", request["namespace"]}, {"name", "guard"}, {"body", object({{"allowed", allowed - 1}})}}));
    ops.push(object({{"verb", "delete"}, {"kind", "widgets.example.org"}, {"namespace", request["namespace"]}, {"name", request["name"]},
                     {"uid", request["object"]["metadata"]["uid"]}, {"body", object({{"gracePeriodSeconds", 0}})}}));
    call.reply(object({{"ops", std::move(ops)}, {"reply", json::parse_or_null(R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201})")}, {"retry", true}}));
  }

  // log: two lines. exec: says its command and ends with the exit code that it was given.
  void open(json::Value request, Call call) override {
    if (request["mode"].as_string() == "text") {
      for (const char* line : {"first line of ", "second line of "}) {
        std::string part = line + std::string(request["name"].as_string()) + "\n";
        call.emit(part);
      }
      return call.reply();
    }
    const json::Value& command = request["query"]["command"];
    if (const json::Value& out = request["fds"]["stdout"]; out.is_int()) {
      std::string said = "widget:";
      for (const json::Value& word : command.items()) said += " " + std::string(word.as_string());
      said += "\n";
      const int fd = call.take_fd(static_cast<uint32_t>(out.as_int()));
      if (write(fd, said.data(), said.size()) < 0) host.warn("nobody reads", json::Value::object());
      close(fd);
    }
    const bool ends_well = command[0].as_string() != "fail";
    call.reply(object({{"exitCode", ends_well ? 0 : 7}}));
  }

  void describe_routes(json::Value, Call call) override { call.reply(std::string(R"({"routes":[{"prefix":"/widget-shop/","methods":["GET"]}]})")); }
  void handle(json::Value request, Call call) override {
    call.reply(object({{"code", 200}, {"headers", object({{"Content-Type", "text/plain"}})},
                       {"body", "hello " + std::string(request["user"]["username"].as_string()) + ", this is " + std::string(request["path"].as_string()) + "\n"}}));
  }
};

}  // namespace widget

PINTLE_PLUGIN(widget::Widget)
