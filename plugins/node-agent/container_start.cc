#include "image_name.h"
#include "pod_worker.h"
#include "pintle/timestamp.h"

namespace pintle::node_agent {

using json::Value;

namespace {

constexpr uint64_t kAgain = 10 * kSecond;
constexpr uint64_t kPullTimeout = 3600 * kSecond;

}  // namespace

// One container on its way up. It carries copies: the pod may change meanwhile.
struct PodWorker::Start {
  std::string name, sandbox_id, image, image_id, image_user, id;
  int64_t attempt = 0;
  Value container;
  ContainerType type = ContainerType::kMain;
};

void PodWorker::start_container(const ContainerSpec& c, int64_t attempt, const SandboxView& sandbox) {
  Memory& m = memory(c.name());
  m.busy = true;
  m.note.started = m.note.ready = false;
  auto s = std::make_shared<Start>();
  s->name = std::string(c.name());
  s->sandbox_id = sandbox.id;
  s->attempt = attempt;
  s->container = *c.spec;
  s->type = c.type;
  s->image = str((*c.spec)["image"]);
  find_image(std::move(s));
}

void PodWorker::resume_container(const ContainerSpec& c, const ContainerView& v) {
  memory(c.name()).busy = true;
  auto s = std::make_shared<Start>();
  s->name = std::string(c.name());
  s->sandbox_id = v.pod_id;
  s->attempt = v.attempt;
  s->container = *c.spec;
  s->type = c.type;
  s->image = v.image;
  s->id = v.id;
  launch(std::move(s));
}

void PodWorker::not_started(const std::shared_ptr<Start>& s, const char* reason, const std::string& message, uint64_t again_ns) {
  Memory& m = memory(s->name);
  m.note.waiting_reason = reason;
  m.note.waiting_message = message;
  if (again_ns) m.retry_at = context_.host.now() + again_ns;
  finish(s->name);
}

void PodWorker::find_image(std::shared_ptr<Start> s) {
  if (const std::string wrong = image_name_error(s->image); !wrong.empty()) {
    const std::string text = "Failed to apply default image tag \"" + s->image + "\": couldn't parse image name \"" + s->image + "\": " + wrong;
    event("Warning", "InspectFailed", text);
    event("Warning", "Failed", "Error: InvalidImageName");
    return not_started(s, "InvalidImageName", text, kAgain);
  }
  link_->call(PINTLE_METHOD(pintle_runtime, image_list), Value::object({{"node", site_.facts().name}, {"image", s->image}}),
              site_.strand().wrap([weak = weak_from_this(), s](Result<Value> r) {
                const auto self = weak.lock();
                if (!self) return;
                if (!r && r.error().code != PINTLE_UNSUPPORTED)
                  return self->not_started(s, "ImageInspectError", "Failed to inspect image \"" + s->image + "\": " + r.error().text, kAgain);
                const std::string wanted = full_image_name(s->image);
                bool present = false;
                std::string id;
                if (r)
                  for (const auto& i : (*r)["images"].items()) {
                    bool match = i["id"].as_string() == s->image;
                    for (const auto& n : i["names"].items()) match |= full_image_name(n.as_string()) == wanted;
                    for (const auto& n : i["digests"].items()) match |= full_image_name(n.as_string()) == wanted;
                    if (!match) continue;
                    present = true;
                    id = str(i["id"]);
                    s->image_user = str(i["user"]);
                  }
                const std::string policy = pull_policy(s->container);
                if (policy == "Never" && !present) {
                  const std::string text = "Container image \"" + s->image + "\" is not present with pull policy of Never";
                  self->event("Warning", "ErrImageNeverPull", text);
                  return self->not_started(s, "ErrImageNeverPull", text, kAgain);
                }
                if (present && policy != "Always") {
                  self->event("Normal", "Pulled", "Container image \"" + s->image + "\" already present on machine");
                  s->image_id = id;
                  return self->create_container(s);
                }
                self->pull_image(s, present);
              }));
}

Value PodWorker::pull_secret(const Value& pod, const std::string& image) const {
  for (const auto& ref : pod["spec"]["imagePullSecrets"].items()) {
    const auto o = context_.host.get_object("secrets", pod["metadata"]["namespace"].as_string(), ref["name"].as_string());
    if (!o) continue;
    const Value secret = o->json();
    for (const char* key : {".dockerconfigjson", ".dockercfg"}) {
      const Value* data = secret["data"].find(key);
      const auto text = data ? from_base64(data->as_string()) : std::nullopt;
      if (!text) continue;
      Value config = json::parse_or_null(*text);
      if (std::string_view(key) == ".dockercfg") config = Value::object({{"auths", config}});
      if (Value found = credentials_for(config, image); !found.is_null()) return found;
    }
  }
  return Value();
}

void PodWorker::pull_image(std::shared_ptr<Start> s, bool present) {
  event("Normal", "Pulling", "Pulling image \"" + s->image + "\"");
  Value rq = Value::object({{"node", site_.facts().name}, {"image", s->image}});
  if (Value auth = pull_secret(object_.json(), s->image); !auth.is_null()) rq.set("auth", std::move(auth));
  const uint64_t begun = context_.host.now();
  link_->call_long(
      PINTLE_METHOD(pintle_runtime, pull), rq, site_.strand().wrap([weak = weak_from_this(), s, begun, present](Result<Value> r) {
        const auto self = weak.lock();
        if (!self) return;
        Memory& m = self->memory(s->name);
        const uint64_t now = self->context_.host.now();
        if (r) {
          m.pull_failed_at = 0;
          m.pull_backoff.reset();
          s->image_id = str((*r)["id"]);
          char took[32];
          std::snprintf(took, sizeof took, "%.3gs", static_cast<double>(now - begun) / 1e9);
          std::string text = "Successfully pulled image \"" + s->image + "\" in " + took;
          if ((*r)["size"].is_int()) text += ". Image size: " + std::to_string((*r)["size"].as_int()) + " bytes.";
          self->event("Normal", "Pulled", text);
          return self->create_container(s);
        }
        m.pull_failed_at = now;
        m.pull_backoff.tried(now);
        m.pull_error = r.error().text;
        std::string text = "Failed to pull image \"" + s->image + "\": " + r.error().text;
        if (present)
          text += ". The image is on node \"" + self->site_.facts().name + "\" already, but imagePullPolicy is Always: set imagePullPolicy: IfNotPresent on container \"" + s->name + "\" to use it";
        self->event("Warning", "Failed", text);
        self->event("Warning", "Failed", "Error: ErrImagePull");
        self->not_started(s, "ErrImagePull", present ? text : r.error().text, 0);
      }),
      kPullTimeout);
}

void PodWorker::create_container(std::shared_ptr<Start> s) {
  const Value pod = object_.json();
  if (context_.draining || gone_ || pod["metadata"].contains("deletionTimestamp")) return finish(s->name);
  const auto refused = [&](const Error& e) {
    event("Warning", "Failed", "Error: " + e.text);
    not_started(s, "CreateContainerConfigError", e.text, kAgain);
  };
  const Sources from = sources(pod);
  auto env = container_env(pod, s->container, from);
  if (!env) return refused(env.error());
  ContainerInputs in;
  in.sandbox_id = s->sandbox_id;
  in.attempt = s->attempt;
  in.image_id = s->image_id;
  in.image_user = s->image_user;
  in.env = std::move(*env);
  if (!link_->can("volumes:none")) {
    auto mounts = container_mounts(s->container, plan_, in.env);
    if (!mounts) return refused(mounts.error());
    in.mounts = std::move(*mounts);
    auto last_words = termination_file(context_.config.root, uid_, s->name, s->attempt);
    if (!last_words) return refused(last_words.error());
    std::string path = str(s->container["terminationMessagePath"]);
    if (path.empty()) path = "/dev/termination-log";
    in.mounts.push_back(Value::object({{"hostPath", *last_words}, {"containerPath", path}, {"readOnly", false}, {"propagation", "private"}}));
  }
  auto request = container_request(pod, ContainerSpec{&s->container, s->type}, in, site_.facts());
  if (!request) return refused(request.error());
  link_->call(PINTLE_METHOD(pintle_runtime, create), *request, site_.strand().wrap([weak = weak_from_this(), s](Result<Value> r) {
                const auto self = weak.lock();
                if (!self) return;
                if (!r) {
                  self->event("Warning", "Failed", "Error: " + r.error().text);
                  return self->not_started(s, "CreateContainerError", r.error().text, kAgain);
                }
                s->id = str((*r)["id"]);
                self->event("Normal", "Created", "Created container: " + s->name);
                self->launch(s);
              }),
              120 * kSecond);
}

void PodWorker::launch(std::shared_ptr<Start> s) {
  if (context_.draining || gone_ || object_.json()["metadata"].contains("deletionTimestamp")) return finish(s->name);
  link_->call(PINTLE_METHOD(pintle_runtime, start), Value::object({{"node", site_.facts().name}, {"id", s->id}}),
              site_.strand().wrap([weak = weak_from_this(), s](Result<Value> r) {
                const auto self = weak.lock();
                if (!self) return;
                if (!r) {
                  self->event("Warning", "Failed", "Error: " + r.error().text);
                  return self->not_started(s, "RunContainerError", r.error().text, kAgain);
                }
                Memory& m = self->memory(s->name);
                m.started_id = s->id;
                m.retry_at = 0;
                m.note.waiting_reason.clear();
                m.note.waiting_message.clear();
                self->event("Normal", "Started", "Started container " + s->name);
                self->launched(s);
              }),
              120 * kSecond);
}

// The postStart hook, when there is one; nothing else happens to the container until it is over.
void PodWorker::launched(std::shared_ptr<Start> s) {
  const Value& hook = s->container["lifecycle"]["postStart"];
  if (hook.empty()) return finish(s->name);
  const Value pod = object_.json();
  ActionTarget target{link_, site_.facts().name, s->id, "", s->container["ports"]};
  if (pod["spec"]["hostNetwork"].as_bool()) target.pod_ip = site_.host_ip();
  else if (const SandboxView* v = view_.ready_sandbox(); v && !v->ips.empty()) target.pod_ip = v->ips[0];
  run_action(context_, site_.strand(), hook, target, 120 * kSecond, [weak = weak_from_this(), s](ActionResult r) {
    const auto self = weak.lock();
    if (!self) return;
    if (r.outcome != ActionResult::Outcome::kSuccess) {
      self->event("Warning", "FailedPostStartHook", "PostStartHook failed: " + r.text);
      self->event("Normal", "Killing", "Container " + s->name + " failed its postStart hook, will be restarted");
      self->memory(s->name).restart_id = s->id;
    }
    self->finish(s->name);
  });
}

}  // namespace pintle::node_agent
