// Who may do what: masters everything, plugins what their manifests say, others what the authz slot's holder says.
#include <algorithm>

#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"
#include "pintle/if/admission.h"

namespace pintle::kernel {
namespace {
constexpr uint64_t kAuthzTimeout = 1000000000;
}

void ApiPipeline::set_permissions(PermissionSource source) {
  const std::lock_guard lock(mutex_);
  permissions_ = std::move(source);
}

Wait<Result<std::string>> ApiPipeline::call(std::string target, const char* interface_id, uint32_t method, std::string request,
                                            uint64_t timeout_ns) {
  const uint64_t deadline = executor_.now() + timeout_ns;
  return Wait<Result<std::string>>([this, target = std::move(target), interface_id, method, request = std::move(request),
                                    deadline](std::function<void(Result<std::string>)> done) mutable {
    hooks_.call(target, interface_id, method, std::move(request), deadline, std::move(done));
  });
}

void ApiPipeline::authorize(const ApiRequest& request, std::function<void(Result<void>)> done) {
  auto self = shared_from_this();
  spawn<Result<void>>(authorized(request), [self, done = std::move(done)](Result<void> r) { done(std::move(r)); });
}

Async<Result<void>> ApiPipeline::authorized(ApiRequest request) {
  const Identity& who = request.identity;
  if (std::find(who.groups.begin(), who.groups.end(), "system:masters") != who.groups.end()) co_return Result<void>();
  if (!who.plugin.empty()) {
    PermissionSource source;
    {
      const std::lock_guard lock(mutex_);
      source = permissions_;
    }
    const std::string kind = request.group.empty() ? request.resource : request.resource + "." + request.group;
    if (source && source(who.plugin, kind, request.subresource, verb_name(request.verb))) co_return Result<void>();
    co_return denied(request, "the manifest of plugin \"" + who.plugin + "\" does not permit it");
  }
  if (!hooks_.slot_held("authz")) co_return denied(request, "");
  json::Value ask = json::Value::object();
  json::Value& user = ask.set("user", json::Value::object());
  user.set("username", who.user);
  user.set("uid", who.uid);
  json::Value& groups = user.set("groups", json::Value::array());
  for (const std::string& g : who.groups) groups.push(g);
  ask.set("verb", asked_verb(request));
  ask.set("group", request.group);
  ask.set("version", request.version);
  ask.set("resource", request.resource);
  ask.set("subresource", request.subresource);
  ask.set("namespace", request.ns);
  ask.set("name", request.name);
  ask.set("path", request.path_rest);
  Result<std::string> reply = co_await call("authz", PINTLE_AUTHZ, 0, ask.dump(), kAuthzTimeout);
  if (!reply) co_return denied(request, "the authorizer did not answer: " + reply.error().text);
  const json::Value verdict = json::parse_or_null(*reply);
  if (verdict["allowed"].as_bool() && !verdict["denied"].as_bool()) co_return Result<void>();
  co_return denied(request, std::string(verdict["reason"].as_string()));
}

}  // namespace pintle::kernel
