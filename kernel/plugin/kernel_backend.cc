#include "kernel/plugin/kernel_backend.h"

#include "kernel/base/log.h"
#include "kernel/plugin/feed.h"

namespace pintle::kernel {
namespace {

// An instance with more slots than this is fenced by its implicit slot alone: its epoch rises with every replacement too.
constexpr size_t kMaxFences = 16;

}  // namespace

KernelBackend::KernelBackend(KernelServices& services, std::string name, std::shared_ptr<const Manifest> manifest,
                             std::shared_ptr<std::atomic<int>> log_level, OnReport on_report)
    : services_(services), name_(std::move(name)), manifest_(std::move(manifest)), log_level_(std::move(log_level)), on_report_(std::move(on_report)) {}

void KernelBackend::log(int level, std::string_view text, std::string_view fields) {
  if (level >= *log_level_) log::write(level, name_, text, fields);
}

Identity KernelBackend::identity() const {
  Identity who;
  who.user = "system:plugin:" + manifest_->name;
  who.groups = {"system:plugins", "system:authenticated"};
  who.plugin = manifest_->name;
  std::lock_guard lock(mutex_);
  if (held_.size() <= kMaxFences) {
    who.fences = held_;
  } else {
    for (const auto& f : held_)
      if (is_plugin_slot(f.slot)) who.fences.push_back(f);
  }
  return who;
}

void KernelBackend::hold(const std::string& slot, uint64_t epoch) {
  std::lock_guard lock(mutex_);
  for (auto& f : held_)
    if (f.slot == slot) {
      f.epoch = epoch;
      return;
    }
  held_.push_back({slot, epoch});
}

Result<std::shared_ptr<const Kind>> KernelBackend::kind_for(const std::string& kind, const char* verb) const {
  if (!manifest_->permits(kind, "", verb))
    return Error(PINTLE_FORBIDDEN, "the manifest of plugin \"" + manifest_->name + "\" does not permit to " + verb + " " + kind);
  auto found = services_.pipeline.registry().snapshot()->by_name(kind);
  if (!found || found->hidden) return Error(PINTLE_NOT_FOUND, "kind \"" + kind + "\" is not served");
  return found;
}

Result<ObjectRef> KernelBackend::get(const Key& key) {
  auto kind = kind_for(key.kind, "get");
  if (!kind) return kind.error();
  Key stored = key;
  if (!(*kind)->same_storage_as.empty()) stored.kind = (*kind)->same_storage_as;
  ObjectRef object = services_.store.get(stored);
  if (!object) return Error(PINTLE_NOT_FOUND, key.kind + " \"" + (key.ns.empty() ? "" : key.ns + "/") + key.name + "\" not found");
  return object;
}

Result<Listed> KernelBackend::list(const StoreQuery& query) {
  auto kind = kind_for(query.kind, "list");
  if (!kind) return kind.error();
  ApiRequest request;
  request.verb = Verb::kList;
  request.group = (*kind)->group;
  request.version = (*kind)->storage().name;
  request.resource = (*kind)->plural;
  request.ns = query.ns;
  request.identity = identity();
  const auto put = [&](const char* name, const std::string& value) {
    if (!value.empty()) request.query.emplace_back(name, value);
  };
  put("labelSelector", query.label_selector);
  put("fieldSelector", query.field_selector);
  put("continue", query.continue_token);
  if (query.limit) request.query.emplace_back("limit", std::to_string(query.limit));
  auto answer = services_.pipeline.list(request);
  if (!answer) return answer.error();
  return Listed{std::move(answer->objects), answer->revision, std::move(answer->continue_token)};
}

Result<std::unique_ptr<WatchFeed>> KernelBackend::watch(const StoreQuery& query, std::function<void()> wake) {
  if (query.kind == "*") {
    if (!manifest_->permits("*", "", "watch"))
      return Error(PINTLE_FORBIDDEN, "the manifest of plugin \"" + manifest_->name + "\" does not permit to watch all kinds");
    return open_feed(services_.store, services_.bus, nullptr, query, std::move(wake));
  }
  auto kind = kind_for(query.kind, "watch");
  if (!kind) return kind.error();
  return open_feed(services_.store, services_.bus, *kind, query, std::move(wake));
}

void KernelBackend::commit(std::vector<StoreOp> ops, std::vector<FenceCheck> fences, uint32_t flags,
                           std::function<void(pintle_code, std::vector<StoreOpResult>)> done) {
  const auto snapshot = services_.pipeline.registry().snapshot();
  const Identity who = identity();
  std::vector<ApiRequest> requests;
  requests.reserve(ops.size());
  for (auto& op : ops) {
    auto kind = snapshot->by_name(op.key.kind);
    if (!kind || kind->hidden) {
      // An unknown kind fails its own op, or the whole transaction when that is atomic: the pipeline says so with a 404.
      ApiRequest unknown;
      unknown.resource = op.key.kind;
      if (const size_t dot = op.key.kind.find('.'); dot != std::string::npos) {
        unknown.resource = op.key.kind.substr(0, dot);
        unknown.group = op.key.kind.substr(dot + 1);
      }
      unknown.version = "unknown";
      unknown.verb = Verb::kUpdate;
      unknown.name = op.key.name;
      unknown.identity = who;
      requests.push_back(std::move(unknown));
      continue;
    }
    ApiRequest r;
    r.group = kind->group;
    r.version = kind->storage().name;
    r.resource = kind->plural;
    r.subresource = std::move(op.subresource);
    r.ns = std::move(op.key.ns);
    r.name = std::move(op.key.name);
    r.body = std::move(op.body);
    r.identity = who;
    r.if_revision = op.if_revision;
    r.if_uid = std::move(op.if_uid);
    r.content_type = "application/json";
    switch (op.verb) {
      case PINTLE_CREATE:
        r.verb = Verb::kCreate;
        if (r.subresource.empty()) r.name.clear();  // as POST on the collection; metadata.name is in the body
        break;
      case PINTLE_UPDATE: r.verb = Verb::kUpdate; break;
      case PINTLE_MERGE_PATCH: r.verb = Verb::kPatch; r.content_type = "application/merge-patch+json"; break;
      case PINTLE_JSON_PATCH: r.verb = Verb::kPatch; r.content_type = "application/json-patch+json"; break;
      case PINTLE_STRATEGIC_PATCH: r.verb = Verb::kPatch; r.content_type = "application/strategic-merge-patch+json"; break;
      case PINTLE_DELETE: r.verb = Verb::kDelete; break;
    }
    requests.push_back(std::move(r));
  }
  const bool atomic = !(flags & PINTLE_COMMIT_INDEPENDENT);
  services_.pipeline.execute_batch(std::move(requests), atomic, flags & PINTLE_COMMIT_DRY_RUN, std::move(fences),
                                   [done = std::move(done)](Result<void> r, std::vector<ApiAnswer> answers) {
                                     std::vector<StoreOpResult> results;
                                     results.reserve(answers.size());
                                     for (auto& a : answers) {
                                       StoreOpResult one;
                                       one.error = std::move(a.error);
                                       one.object = std::move(a.object);
                                       results.push_back(std::move(one));
                                     }
                                     done(r ? PINTLE_OK : r.error().code, std::move(results));
                                   });
}

std::shared_ptr<OpenCall> KernelBackend::invoke(const std::string& slot, Invoke call) {
  return services_.slots->invoke(slot, std::move(call), identity().fences);
}

}  // namespace pintle::kernel
