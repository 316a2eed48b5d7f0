// Subresources that are not streams: scale as data, the others through their provider's hook.
#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

constexpr uint32_t kSubresourceHook = 7;
constexpr int64_t kMaxReplicas = 2147483647;

// metav1.LabelSelector (or a plain map) as the string that Scale.status.selector wants.
std::string selector_text(const json::Value& selector) {
  if (selector.is_string()) return std::string(selector.as_string());
  std::string out;
  auto add = [&](const std::string& part) { out += (out.empty() ? "" : ",") + part; };
  const bool structured = selector.contains("matchLabels") || selector.contains("matchExpressions");
  for (const json::Member& m : (structured ? selector["matchLabels"] : selector).members()) {
    add(m.key + "=" + std::string(m.value.as_string()));
  }
  for (const json::Value& e : selector["matchExpressions"].items()) {
    const std::string key(e["key"].as_string());
    const std::string_view op = e["operator"].as_string();
    std::string values;
    for (const json::Value& v : e["values"].items()) values += (values.empty() ? "" : ",") + std::string(v.as_string());
    if (op == "Exists") add(key);
    if (op == "DoesNotExist") add("!" + key);
    if (op == "In") add(key + " in (" + values + ")");
    if (op == "NotIn") add(key + " notin (" + values + ")");
  }
  return out;
}

}  // namespace

json::Value ApiPipeline::scale_of(const Subresource& sub, const json::Value& object, Revision revision) const {
  json::Value out = json::Value::object();
  out.set("kind", "Scale");
  out.set("apiVersion", "autoscaling/v1");
  json::Value& metadata = out.set("metadata", json::Value::object());
  for (const char* f : {"name", "namespace", "uid"}) {
    if (object["metadata"].contains(f)) metadata.set(f, object["metadata"][f]);
  }
  if (revision) metadata.set("resourceVersion", std::to_string(revision));
  if (object["metadata"].contains("creationTimestamp")) metadata.set("creationTimestamp", object["metadata"]["creationTimestamp"]);
  out.set("spec", json::Value::object()).set("replicas", object.at(sub.spec_replicas).as_int());
  json::Value& status = out.set("status", json::Value::object());
  status.set("replicas", object.at(sub.status_replicas).as_int());
  if (!sub.selector.empty()) status.set("selector", selector_text(object.at(sub.selector)));
  return out;
}

Async<Result<Outcome>> ApiPipeline::plan_scale(OpRef op, Draft& draft, size_t index) {
  const Kind& kind = *op->target.kind;
  const Subresource& sub = *op->target.sub;
  if (op->request.verb != Verb::kUpdate && op->request.verb != Verb::kPatch) {
    co_return method_not_allowed(kind, verb_name(op->request.verb));
  }
  Present old = present(draft, op->target.key);
  if (!old.value) co_return not_found(kind, op->target.key.name);
  json::Value scale;
  if (op->request.verb == Verb::kPatch) {
    scale = scale_of(sub, *old.value, old.revision());
    Result<void> done = patch_value(*op, scale, kNoType);
    if (!done) co_return done.error();
  } else {
    Result<Decoded> decoded = decode_body(op->request.body, op->request.content_type, *op->target.snap);
    if (!decoded) co_return decoded.error();
    scale = std::move(decoded->value);
  }
  if (!scale.is_object() || scale["kind"].as_string("Scale") != "Scale") co_return bad_request("the body of the request must be a Scale");
  const json::Value& replicas = scale["spec"]["replicas"];
  if (!replicas.is_null() && !replicas.is_int()) co_return bad_request("Scale: spec.replicas: " + replicas.dump() + " is not a whole number");
  const int64_t wanted = replicas.as_int();
  if (wanted < 0 || wanted > kMaxReplicas) {
    Kind face;
    face.group = "autoscaling";
    face.kind = "Scale";
    co_return invalid(face, op->target.key.name,
                      {{"FieldValueInvalid", "spec.replicas",
                        "Invalid value: " + std::to_string(wanted) + ": must be greater than or equal to 0"}});
  }
  json::Value parent = *old.value;
  Result<json::Value> served = co_await from_storage(op, std::move(parent));
  if (!served) co_return served.error();
  json::Value incoming = std::move(*served);
  incoming.make(sub.spec_replicas) = wanted;
  json::Value& metadata = incoming.set("metadata");
  const std::string revision(scale["metadata"]["resourceVersion"].as_string());
  metadata.set("resourceVersion", revision);
  if (const json::Value& uid = scale["metadata"]["uid"]; uid.is_string()) metadata.set("uid", uid);
  Result<Outcome> out = co_await replace(op, draft, index, std::move(old), std::move(incoming));
  if (out) out->shape = Outcome::Shape::kScale;
  co_return out;
}

// The provider answers with operations of the same transaction; they run with the provider's own permissions.
Async<Result<Outcome>> ApiPipeline::plan_hook(OpRef op, Draft& draft, size_t index) {
  const Kind& kind = *op->target.kind;
  const Subresource& sub = *op->target.sub;
  const std::string provider = sub.provider.empty() ? kind.owner : sub.provider;
  const Present parent = present(draft, op->target.key);
  json::Value current;
  if (parent.value) {
    json::Value copy = *parent.value;
    if (parent.stored) copy.set("metadata").set("resourceVersion", std::to_string(parent.revision()));
    Result<json::Value> served = co_await from_storage(op, std::move(copy));
    if (!served) co_return served.error();
    current = std::move(*served);
  } else {
    co_return not_found(kind, op->target.key.name);
  }
  json::Value body;
  const char* operation = "get";
  if (op->request.verb == Verb::kCreate) operation = "create";
  if (op->request.verb == Verb::kUpdate || op->request.verb == Verb::kPatch) operation = "update";
  if (op->request.verb == Verb::kPatch) {
    Result<json::Value> p = co_await patched(op, current);
    if (!p) co_return p.error();
    body = std::move(*p);
  } else if (op->request.verb != Verb::kGet && !op->request.body.empty()) {
    Result<Decoded> decoded = decode_body(op->request.body, op->request.content_type, *op->target.snap);
    if (!decoded) co_return decoded.error();
    body = std::move(decoded->value);
    const std::string expected = sub.kind_name.empty() ? kind.kind : sub.kind_name;
    if (!body.is_object() || body["kind"].as_string(expected) != expected) {
      co_return bad_request("the body of the request must be a " + expected);
    }
    const std::string name(body["metadata"]["name"].as_string(op->target.key.name));
    if (!name.empty() && name != op->target.key.name) {
      co_return bad_request("the name of the object (" + name + ") does not match the name on the URL (" + op->target.key.name + ")");
    }
  }
  json::Value ask = json::Value::object();
  ask.set("kind", kind.name());
  ask.set("namespace", op->target.key.ns);
  ask.set("name", op->target.key.name);
  ask.set("subresource", sub.name);
  ask.set("operation", operation);
  ask.set("object", std::move(current));
  ask.set("body", std::move(body));
  ask.set("user", op->request.identity.user);
  ask.set("dryRun", op->dry_run);
  Result<json::Value> reply = co_await hook(op->target.kind, provider, kSubresourceHook, std::move(ask));
  if (!reply) co_return reply.error();
  const json::Value answer = std::move(*reply);
  op->retry = answer["retry"].as_bool(false);
  for (const json::Value& w : answer["warnings"].items()) op->warnings.emplace_back(w.as_string());
  for (const json::Value& f : answer["fences"].items()) {
    draft.fences.push_back({std::string(f["slot"].as_string()), static_cast<uint64_t>(f["epoch"].as_int())});
  }
  Outcome out;
  Outcome last;
  bool any = false;
  for (const json::Value& o : answer["ops"].items()) {
    ApiRequest r;
    const std::string name(o["kind"].as_string());
    const size_t dot = name.find('.');
    r.resource = name.substr(0, dot);
    if (dot != std::string::npos) r.group = name.substr(dot + 1);
    r.ns = o["namespace"].as_string();
    r.name = o["name"].as_string();
    r.subresource = o["subresource"].as_string();
    r.if_revision = static_cast<Revision>(o["revision"].as_int());
    r.if_uid = o["uid"].as_string();
    r.identity.user = "system:plugin:" + provider;
    r.identity.plugin = provider;
    r.content_type = "application/json";
    const std::string verb(o["verb"].as_string());
    if (verb == "create") {
      r.verb = Verb::kCreate;
    } else if (verb == "update") {
      r.verb = Verb::kUpdate;
    } else if (verb == "delete") {
      r.verb = Verb::kDelete;
    } else if (verb == "merge") {
      r.verb = Verb::kPatch;
      r.content_type = "application/merge-patch+json";
    } else {
      co_return internal("subresource " + sub.name + " of " + kind.name() + " asked for the unknown verb \"" + verb + "\"");
    }
    if (!o["body"].is_null()) r.body = o["body"].dump();
    Result<void> may = co_await authorized(r);
    if (!may) co_return may.error();
    Result<OpRef> part = make_op(std::move(r));
    if (!part) co_return part.error();
    (*part)->dry_run = op->dry_run;
    if ((*part)->target.sub && (*part)->target.sub->mode == Subresource::Mode::kHook) {
      co_return internal("an operation of a subresource hook cannot name another hook's subresource");
    }
    Result<Outcome> planned = co_await plan(*part, draft, index);
    if (!planned) co_return planned.error();
    last = std::move(*planned);
    any = true;
  }
  out.code = static_cast<int>(answer["code"].as_int(op->request.verb == Verb::kCreate ? 201 : 200));
  if (!answer["reply"].is_null()) {
    out.shape = Outcome::Shape::kFixed;
    out.fixed = answer["reply"];
    co_return out;
  }
  if (any) {
    last.code = out.code;
    co_return last;
  }
  out.shape = Outcome::Shape::kFixed;
  out.fixed = json::Value::object();
  out.fixed.set("kind", "Status");
  out.fixed.set("apiVersion", "v1");
  out.fixed.set("metadata", json::Value::object());
  out.fixed.set("status", "Success");
  out.fixed.set("code", out.code);
  co_return out;
}

}  // namespace pintle::kernel
