#include "plugins/core/connect.h"

#include <charconv>
#include <optional>

#include "pintle/result.h"
#include "pintle/timestamp.h"
#include "plugins/core/causes.h"

namespace pintle::core {
namespace {

// Query members come as a text or as a list of texts.
std::string first(const json::Value& query, std::string_view name) {
  const json::Value& v = query[name];
  if (v.is_array()) return std::string(v[0].as_string());
  return v.is_string() ? std::string(v.as_string()) : v.is_null() ? std::string() : v.dump();
}
bool flag(const json::Value& query, std::string_view name) {
  if (!query.contains(name)) return false;
  const std::string v = first(query, name);
  return !(v.empty() || v == "false" || v == "0");
}
json::Value texts(const json::Value& v) {
  if (v.is_array()) return v;
  return v.is_null() ? json::Value::array() : json::Value::array({v});
}

std::string names(const json::Value& containers) {
  std::string out;
  for (const auto& c : containers.items()) out += (out.empty() ? "" : " ") + std::string(c["name"].as_string());
  return out;
}

bool has_container(const json::Value& pod, std::string_view name) {
  for (const char* list : {"containers", "initContainers", "ephemeralContainers"})
    for (const auto& c : pod["spec"][list].items())
      if (c["name"].as_string() == name) return true;
  return false;
}

// The container that is meant: named, or the only one, or the one that the annotation names.
std::string choose(const json::Value& pod, const std::string& asked) {
  const std::string pod_name(pod["metadata"]["name"].as_string());
  const json::Value& spec = pod["spec"];
  if (!asked.empty()) {
    if (!has_container(pod, asked)) throw Error(PINTLE_BAD_REQUEST, "container " + asked + " is not valid for pod " + pod_name);
    return asked;
  }
  if (spec["containers"].size() == 1) return std::string(spec["containers"][0]["name"].as_string());
  const auto annotated = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_string();
  if (!annotated.empty() && has_container(pod, annotated)) return std::string(annotated);
  std::string text = "a container name must be specified for pod " + pod_name + ", choose one of: [" + names(spec["containers"]) + "]";
  if (!spec["initContainers"].empty()) text += " or one of the init containers: [" + names(spec["initContainers"]) + "]";
  throw Error(PINTLE_BAD_REQUEST, text);
}

void number(const json::Value& query, const char* name, int64_t least, json::Value& options, Causes& causes) {
  if (!query.contains(name)) return;
  const std::string text = first(query, name);
  int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(PINTLE_BAD_REQUEST, std::string("unable to decode query parameter ") + name + ": \"" + text + "\" is not a number");
  if (n < least) causes.invalid(name, n, "must be greater than " + std::string(least ? "0" : "or equal to 0"));
  options.set(name, n);
}

json::Value log_options(const json::Value& query) {
  json::Value o = json::Value::object();
  Causes causes;
  for (const char* name : {"follow", "previous", "timestamps"}) o.set(name, flag(query, name));
  number(query, "sinceSeconds", 1, o, causes);
  number(query, "tailLines", 0, o, causes);
  number(query, "limitBytes", 1, o, causes);
  if (const std::string since = first(query, "sinceTime"); !since.empty()) {
    if (!parse_time(since)) throw Error(PINTLE_BAD_REQUEST, "sinceTime \"" + since + "\" is not an RFC 3339 time");
    if (query.contains("sinceSeconds")) causes.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified");
    o.set("sinceTime", since);
  }
  if (const std::string stream = first(query, "stream"); !stream.empty()) {
    if (stream != "All" && stream != "Stdout" && stream != "Stderr")
      causes.unsupported("stream", stream, {"All", "Stdout", "Stderr"});
    o.set("stream", stream);
  }
  if (!causes.empty()) {
    const json::Value& c = causes.list()[0];
    const std::string field(c["field"].as_string());
    const std::string text = (field.empty() ? "" : field + ": ") + std::string(c["message"].as_string());
    throw Error(PINTLE_INVALID, "PodLogOptions \"\" is invalid: " + text,
                json::Value::object({{"details", json::Value::object({{"kind", "PodLogOptions"}, {"causes", causes.list()}})}}));
  }
  return o;
}

}  // namespace

json::Value connect_pod(const json::Value& request) {
  const json::Value &pod = request["object"], &query = request["query"];
  const auto sub = request["subresource"].as_string();
  const std::string name(pod["metadata"]["name"].as_string()), node(pod["spec"]["nodeName"].as_string());
  const auto phase = pod["status"]["phase"].as_string();
  json::Value out = json::Value::object({{"namespace", pod["metadata"]["namespace"]},
                                         {"name", name},
                                         {"uid", pod["metadata"]["uid"]}});
  json::Value options = json::Value::object();
  if (sub == "log") {
    options = log_options(query);
    out.set("mode", "text");
    out.set("container", choose(pod, first(query, "container")));
  } else if (sub == "exec" || sub == "attach") {
    if (phase == "Succeeded" || phase == "Failed")
      throw Error(PINTLE_BAD_REQUEST,
                  std::string(sub == "exec" ? "cannot exec into a container in a completed pod" : "cannot attach a container in a completed pod") +
                      "; current phase is " + std::string(phase));
    for (const char* stream : {"stdin", "stdout", "stderr", "tty"}) options.set(stream, flag(query, stream));
    if (sub == "exec") {
      options.set("command", texts(query["command"]));
      if (options["command"].empty()) throw Error(PINTLE_BAD_REQUEST, "you must specify at least one command for the container");
    }
    if (!options["stdin"].as_bool() && !options["stdout"].as_bool() && !options["stderr"].as_bool())
      throw Error(PINTLE_BAD_REQUEST, "you must specify at least one of stdin, stdout, stderr");
    out.set("mode", std::string(sub));
    out.set("container", choose(pod, first(query, "container")));
  } else if (sub == "portforward") {
    out.set("mode", "portforward");
    options.set("ports", texts(query["ports"]));
  } else {
    throw Error(PINTLE_NOT_FOUND, "pods have no subresource \"" + std::string(sub) + "\"");
  }
  if (node.empty()) throw Error(PINTLE_BAD_REQUEST, "pod " + name + " does not have a host assigned");
  out.set("options", std::move(options));
  return json::Value::object({{"slot", "node-agent." + node}, {"request", std::move(out)}});
}

}  // namespace pintle::core
