// One request through the API: authentication is done; authorization, decoding, admission, hooks, store, answer.
//
// REST and pintle.store both come through here, so that an object made by a plugin equals one made by kubectl.
// Threads: any. Nothing blocks: hooks, admission and commits are continuations.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/api/schema/codec.h"
#include "kernel/store/store.h"

namespace pintle::kernel {

struct Identity {
  std::string user, uid;
  std::vector<std::string> groups;   // "system:masters" may do everything
  std::string plugin;                // set for system:plugin:<name>
  std::vector<FenceCheck> fences;    // added to every transaction (the calling instance's slots)
};

enum class Verb { kGet, kList, kWatch, kCreate, kUpdate, kPatch, kDelete, kDeleteCollection, kConnect };

struct ApiRequest {
  Verb verb = Verb::kGet;
  std::string group, version, resource, subresource, ns, name, path_rest;  // resource = plural
  std::vector<std::pair<std::string, std::string>> query;
  std::string content_type, body;
  Identity identity;
  Revision if_revision = 0;
  std::string if_uid;
  bool want_object = true;  // false: the caller does not look at the answer's object
};

// An answer: either an object/list as JSON chunks, or a Status error.
struct ApiAnswer {
  int code = 200;
  Error error{PINTLE_OK, ""};          // code != OK: a Status
  ObjectRef object;                    // single stored object in storage version, when that is the answer
  json::Value document;                // otherwise (converted objects, Scale, Status Success); lists go through list()
  std::vector<std::string> warnings;
  bool ok() const { return error.code == PINTLE_OK; }
};
using AnswerFn = std::function<void(ApiAnswer)>;

// How the kernel reaches plugin hooks; implemented by kernel/plugin, by a table in tests.
class HookCaller {
 public:
  virtual ~HookCaller() = default;
  // Method of pintle.resource/1 (or admission, authz ... by interface id) of `plugin` or of the holder of `slot`.
  // `method` counts the members of the interface's struct behind `size` (resource: default_ = 0 ... subresource = 7).
  // `deadline_ns` is an instant of Executor::now(), 0 = the host's default. `done` runs exactly once, on any thread,
  // possibly before call() returns.
  virtual void call(const std::string& plugin_or_slot, const char* interface_id, uint32_t method, std::string request,
                    uint64_t deadline_ns, std::function<void(Result<std::string>)> done) = 0;
  // With descriptors and partial answers (streams). Returns a function that cancels (`done` still runs, CANCELLED).
  // `fds` are taken over. `part` is called one at a time; false = not taken: the provider has to wait. Before the first part the
  // callee calls *resume (when given) once, inline, with the function that the caller calls when it can take more.
  virtual std::function<void()> open(const std::string& slot, const char* interface_id, uint32_t method, std::string request,
                                     std::vector<int> fds, std::function<bool(std::string_view)> part,
                                     std::function<void(Result<std::string>)> done, std::function<void(std::function<void()>)>* resume) = 0;
  virtual bool slot_held(const std::string& slot) const = 0;
  // Held slots whose name is `prefix` or starts with `prefix` + "." ("admission": all admission plugins), sorted.
  virtual std::vector<std::string> slots(const std::string& prefix) const {
    return slot_held(prefix) ? std::vector<std::string>{prefix} : std::vector<std::string>{};
  }
  // Enabled plugins that provide the interface, running or not, by name, sorted.
  virtual std::vector<std::string> providers(const std::string& interface_id) const {
    (void)interface_id;
    return {};
  }
};

class Pipeline {
 public:
  virtual ~Pipeline() = default;
  // get, create, update, patch, delete, deletecollection and subresources that are not streams.
  virtual void execute(ApiRequest request, AnswerFn done) = 0;
  // Several writes as one transaction (atomic) or as a group of independent ones, each through validation, hooks and admission.
  virtual void execute_batch(std::vector<ApiRequest> requests, bool atomic, bool dry_run, std::vector<FenceCheck> fences,
                             std::function<void(Result<void>, std::vector<ApiAnswer>)> done) = 0;

  struct ListAnswer {
    std::vector<ObjectRef> objects;
    Revision revision = 0;
    std::string continue_token;
    int64_t remaining = -1;
    std::shared_ptr<const Kind> kind;
  };
  // Snapshot list after authorization; selectors, limit, continue, resourceVersion(Match) from the query. Inline.
  virtual Result<ListAnswer> list(const ApiRequest& request) = 0;

  // May the identity do this? Inline for masters and plugins; through the authz slot otherwise.
  virtual void authorize(const ApiRequest& request, std::function<void(Result<void>)> done) = 0;

  virtual Registry& registry() = 0;
  virtual Store& store() = 0;

  // What plugin identities may do: their manifests' permissions. `kind` is the storage name ("pods", "deployments.apps"), `verb`
  // Kubernetes' ("get", "deletecollection"). Until it is set, plugin identities are denied everything.
  using PermissionSource =
      std::function<bool(const std::string& plugin, const std::string& kind, const std::string& subresource, const char* verb)>;
  virtual void set_permissions(PermissionSource source) = 0;

  // Stored objects of `kind` (or of the kind whose storage it shares) as the served version `version`: renames and the convert hook.
  virtual void convert(std::shared_ptr<const Kind> kind, std::string version, std::vector<ObjectRef> objects,
                       std::function<void(Result<std::vector<json::Value>>)> done) = 0;
};
std::unique_ptr<Pipeline> make_pipeline(Executor& executor, Store& store, Registry& registry, HookCaller& hooks);

const char* verb_name(Verb verb);  // "get", "deletecollection"
// What the request is authorized as: the verb, or, for a path that is no resource, the HTTP method in small letters.
const char* asked_verb(const ApiRequest& request);

// The Status object of an error ("kind":"Status", code, reason, details): what clients see.
json::Value status_object(const Error& error);
int http_code(pintle_code code);
const char* status_reason(pintle_code code);

}  // namespace pintle::kernel
