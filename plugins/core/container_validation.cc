#include <set>

#include "pintle/quantity.h"
#include "plugins/core/pod_validation.h"

namespace pintle::core {
namespace {

constexpr const char* kFieldPaths[] = {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
                                       "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
                                       "status.podIPs"};
constexpr const char* kOneSource = "may not have more than one field specified at a time";

// How many of the members are there; `last` becomes the last of them.
int count_set(const json::Value& object, std::initializer_list<const char*> members, const char** last = nullptr) {
  int n = 0;
  for (const char* m : members) {
    if (!object.contains(m)) continue;
    ++n;
    if (last) *last = m;
  }
  return n;
}

bool field_path_known(std::string_view path) {
  for (const char* known : kFieldPaths)
    if (path == known) return true;
  for (const std::string_view with_key : {"metadata.labels['", "metadata.annotations['"})
    if (path.size() > with_key.size() + 2 && path.substr(0, with_key.size()) == with_key && path.substr(path.size() - 2) == "']")
      return true;
  return false;
}

void check_env(const json::Value& container, const std::string& path, Causes& causes) {
  size_t i = 0;
  for (const auto& env : container["env"].items()) {
    const std::string at = index(path + ".env", i++);
    for (const char c : env["name"].as_string())
      if (c < ' ' || c == '=' || c > '~') {
        causes.invalid(at + ".name", env["name"],
                       "a valid environment variable name must consist only of printable ASCII characters other than '='");
        break;
      }
    const json::Value* from = env.find("valueFrom");
    if (!from) continue;
    const std::string source = at + ".valueFrom";
    const int n = count_set(*from, {"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"});
    if (n == 0)
      causes.invalid(source, "", "must specify one of: `configMapKeyRef`, `fieldRef`, `fileKeyRef`, `resourceFieldRef` or `secretKeyRef`");
    else if (!env["value"].as_string().empty()) causes.invalid(source, "", "may not be specified when `value` is not empty");
    else if (n > 1) causes.invalid(source, "", kOneSource);
    if (const json::Value* f = from->find("fieldRef"); f && !field_path_known((*f)["fieldPath"].as_string()))
      causes.unsupported(source + ".fieldRef.fieldPath", (*f)["fieldPath"],
                         {std::begin(kFieldPaths), std::end(kFieldPaths)});
    for (const char* ref : {"configMapKeyRef", "secretKeyRef"})
      if (from->contains(ref) && (*from)[ref]["name"].as_string().empty()) causes.required(source + "." + ref + ".name");
  }
  i = 0;
  for (const auto& from : container["envFrom"].items()) {
    const std::string at = index(path + ".envFrom", i++);
    const int n = count_set(from, {"configMapRef", "secretRef"});
    if (n == 0) causes.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`");
    if (n > 1) causes.invalid(at, "", kOneSource);
    for (const char* ref : {"configMapRef", "secretRef"})
      if (from.contains(ref) && from[ref]["name"].as_string().empty()) causes.required(at + "." + ref + ".name");
  }
}

void check_port(const json::Value& port, const std::string& path, Causes& causes) {
  if (port.is_int() && (port.as_int() < 1 || port.as_int() > 65535))
    causes.invalid(path, port, "must be between 1 and 65535, inclusive");
  else if (port.is_string()) causes.check(Format::kPortName, path, port.as_string());
}

// Of a probe or of a lifecycle hook. `kinds`: the handlers that it may have.
void check_handler(const json::Value& handler, const std::string& path, std::initializer_list<const char*> kinds, int64_t grace,
                   Causes& causes) {
  const char* last = nullptr;
  const int n = count_set(handler, kinds, &last);
  if (n == 0) causes.required(path, "must specify a handler type");
  if (n > 1) causes.forbidden(path + "." + last, "may not specify more than 1 handler type");
  if (const json::Value* e = handler.find("exec"); e && (*e)["command"].empty()) causes.required(path + ".exec.command");
  for (const char* with_port : {"httpGet", "tcpSocket", "grpc"})
    if (handler.contains(with_port)) check_port(handler[with_port]["port"], path + "." + with_port + ".port", causes);
  for (const auto& header : handler["httpGet"]["httpHeaders"].items()) {
    causes.check(Format::kHttpHeaderName, path + ".httpGet.httpHeaders", header["name"].as_string());
    for (const char c : header["value"].as_string())
      if ((static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f) {
        causes.invalid(path + ".httpGet.httpHeaders", header["value"], "must not contain control characters");
        break;
      }
  }
  if (const json::Value* s = handler.find("sleep")) {
    const int64_t seconds = (*s)["seconds"].as_int();
    if (seconds < 0 || seconds > grace)
      causes.invalid(path + ".sleep", (*s)["seconds"],
                     "must be non-negative and less than terminationGracePeriodSeconds (" + std::to_string(grace) + ")");
  }
}

void check_probes(const json::Value& container, bool runs_on, int64_t grace, const std::string& path, Causes& causes) {
  for (const char* name : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    const json::Value* probe = container.find(name);
    if (!probe) continue;
    const std::string at = path + "." + name;
    const bool readiness = std::string_view(name) == "readinessProbe";
    if (!runs_on) {
      causes.forbidden(at, "may not be set for init containers without restartPolicy=Always");
      continue;
    }
    check_handler(*probe, at, {"exec", "httpGet", "tcpSocket", "grpc"}, grace, causes);
    if (!readiness && (*probe)["successThreshold"].as_int(1) != 1)
      causes.invalid(at + ".successThreshold", (*probe)["successThreshold"], "must be 1");
    if (readiness && probe->contains("terminationGracePeriodSeconds"))
      causes.invalid(at + ".terminationGracePeriodSeconds", (*probe)["terminationGracePeriodSeconds"],
                     "must not be set for readinessProbes");
  }
  const json::Value& lifecycle = container["lifecycle"];
  if (lifecycle.is_object() && !runs_on)
    causes.forbidden(path + ".lifecycle", "may not be set for init containers without restartPolicy=Always");
  for (const char* name : {"postStart", "preStop"})
    if (lifecycle.contains(name))
      check_handler(lifecycle[name], path + ".lifecycle." + name, {"exec", "httpGet", "tcpSocket", "sleep"}, grace, causes);
}

bool huge_pages(std::string_view name) { return name.starts_with("hugepages-"); }
// Of a device plugin: counted in whole pieces.
bool extended(std::string_view name) {
  return name.find('/') != std::string_view::npos && name.find("kubernetes.io/") == std::string_view::npos && !name.starts_with("requests.");
}
bool container_resource(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || huge_pages(name) || name.find('/') != std::string_view::npos;
}

void check_resources(const json::Value& resources, const std::string& path, Causes& causes) {
  bool huge = false, compute = false;
  for (const char* list : {"limits", "requests"}) {
    for (const auto& m : resources[list].members()) {
      const std::string at = path + "." + list;
      huge = huge || huge_pages(m.key);
      compute = compute || m.key == "cpu" || m.key == "memory";
      if (!container_resource(m.key)) causes.invalid(at + "[" + m.key + "]", m.key, "must be a standard resource for containers");
      const auto amount = Quantity::parse(m.value.as_string());
      if (amount && amount->compare(Quantity()) < 0)
        causes.invalid(at + "[" + m.key + "]", m.value, "must be greater than or equal to 0");
      if (amount && extended(m.key) && amount->milli() % 1000 != 0) causes.invalid(at + "[" + m.key + "]", m.value, "must be an integer");
    }
  }
  for (const auto& m : resources["requests"].members()) {
    const bool whole = huge_pages(m.key) || extended(m.key);  // cannot be promised twice
    const json::Value* limit = resources["limits"].find(m.key);
    if (!limit && whole) causes.required(path + ".limits", "Limit must be set for non overcommitable resources");
    if (!limit) continue;
    const auto request = Quantity::parse(m.value.as_string()), most = Quantity::parse(limit->as_string());
    if (request && most && whole && request->compare(*most) != 0)
      causes.invalid(path + ".requests", m.value, "must be equal to " + m.key + " limit of " + std::string(limit->as_string()));
    else if (request && most && request->compare(*most) > 0)
      causes.invalid(path + ".requests", m.value,
                     "must be less than or equal to " + m.key + " limit of " + std::string(limit->as_string()));
  }
  if (huge && !compute) causes.forbidden(path, "HugePages require cpu or memory");
}

void check_mounts(const json::Value& container, const json::Value& spec, const std::string& path, Causes& causes) {
  std::set<std::string> points;
  size_t i = 0;
  for (const auto& mount : container["volumeMounts"].items()) {
    const std::string at = index(path + ".volumeMounts", i++);
    const auto name = mount["name"].as_string();
    bool found = name.empty();  // a missing name is the schema's matter
    for (const auto& v : spec["volumes"].items()) found = found || v["name"].as_string() == name;
    if (!found) causes.not_found(at + ".name", name);
    const auto point = mount["mountPath"].as_string();
    if (!point.empty() && !points.emplace(point).second) causes.invalid(at + ".mountPath", point, "must be unique");
    if (point.find(':') != point.npos) causes.invalid(at + ".mountPath", point, "must not contain ':'");
    for (const char* sub : {"subPath", "subPathExpr"}) {
      const auto p = mount[sub].as_string();
      if (p.empty()) continue;
      if (p.front() == '/') causes.invalid(at + "." + sub, p, "must be a relative path");
      if (("/" + std::string(p) + "/").find("/../") != std::string::npos) causes.invalid(at + "." + sub, p, "must not contain '..'");
    }
    if (!mount["subPath"].as_string().empty() && !mount["subPathExpr"].as_string().empty())
      causes.invalid(at + ".subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive");
  }
}

}  // namespace

void check_seccomp(const json::Value& profile, const std::string& path, Causes& causes) {
  if (!profile.is_object()) return;
  const std::string at = path + ".localhostProfile";
  const bool local = profile["type"].as_string() == "Localhost";
  const json::Value& file = profile["localhostProfile"];
  if (local && file.as_string().empty()) causes.required(at, "must be set when seccomp type is Localhost");
  else if (local) causes.check(Format::kRelativePath, at, file.as_string());
  else if (!file.is_null()) causes.invalid(at, file, "can only be set when seccomp type is Localhost");
}

void validate_container(const json::Value& c, const json::Value& spec, bool init, const std::string& path, Causes& causes) {
  const auto image = c["image"].as_string();
  if (image.empty()) causes.required(path + ".image");
  else if (image.front() == ' ' || image.back() == ' ')
    causes.invalid(path + ".image", image, "must not have leading or trailing whitespace");
  std::set<std::string> names;
  size_t i = 0;
  for (const auto& port : c["ports"].items()) {
    const std::string at = index(path + ".ports", i++);
    const auto name = port["name"].as_string();
    if (!name.empty() && !names.emplace(name).second) causes.duplicate(at + ".name", name);
    const json::Value& number = port["containerPort"];
    if (number.is_int() && number.as_int() == 0) causes.required(at + ".containerPort");
    else if (number.is_int()) check_port(number, at + ".containerPort", causes);
  }
  const auto restart = c["restartPolicy"].as_string();
  if (!restart.empty() && !init) causes.forbidden(path + ".restartPolicy", "may not be set for non-init containers");
  else if (!restart.empty() && restart != "Always") causes.unsupported(path + ".restartPolicy", restart, {"Always"});
  check_env(c, path, causes);
  check_mounts(c, spec, path, causes);
  check_probes(c, !init || restart == "Always", spec["terminationGracePeriodSeconds"].as_int(30), path, causes);
  check_resources(c["resources"], path + ".resources", causes);
  const json::Value& security = c["securityContext"];
  check_seccomp(security["seccompProfile"], path + ".securityContext.seccompProfile", causes);
  if (security["privileged"].as_bool() && !security["allowPrivilegeEscalation"].as_bool(true))
    causes.invalid(path + ".securityContext", security,
                   "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
}

}  // namespace pintle::core
