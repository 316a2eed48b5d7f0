// The pipeline's inside. A request becomes an Op; planning an Op adds checks and writes to a Draft; a Draft is one
// transaction. When a check fails at commit, all Ops of the Draft are planned again from the present state: that one
// rule makes patches, generated names, companions and namespaces race-free.
//
//   execute -> authorize -> plan (decode, default, admission, prepare, validate) -> commit -> answer
//                            ^------------------- a check failed ----------'
#pragma once
#include <map>
#include <mutex>
#include <optional>

#include "kernel/api/async.h"
#include "kernel/api/object_text.h"
#include "kernel/api/pipeline.h"

namespace pintle::kernel {

struct Target {
  std::shared_ptr<const RegistrySnapshot> snap;
  std::shared_ptr<const Kind> kind;     // as asked for
  std::shared_ptr<const Kind> storage;  // whose storage it has; mostly the same
  const Version* version = nullptr;     // of `kind`
  const Subresource* sub = nullptr;     // of `kind`
  Key key;
  bool as_stored = true;  // the asked version's bytes are the stored ones
};

struct Op {
  ApiRequest request;
  Target target;
  bool dry_run = false;
  FieldValidation validation = FieldValidation::kWarn;
  std::vector<std::string> warnings;
  std::string body_name;                       // generateName: the name of this attempt
  int prepare_attempt = 0;
  json::Value taken = json::Value::array();    // companions that somebody else has
  bool retry = true;                           // plan again when a check fails
};
using OpRef = std::shared_ptr<Op>;

struct Draft {
  enum class Role { kSelf, kScope, kCompanion };
  struct Check {
    Compare compare;
    Role role;
    size_t op;
  };
  struct Write {
    Key key;
    std::optional<json::Value> value;  // none: delete
  };
  std::vector<Check> checks;
  std::vector<Write> writes;
  std::vector<FenceCheck> fences;

  const Write* pending(const Key& key) const;
  // Only the first check of a key counts, and none after a write: later operations see the Draft's own state.
  void check(Compare compare, Role role, size_t op);
  void write(Key key, std::optional<json::Value> value);
};

// An object as an Op sees it: the store's, or what the Draft made of it.
struct Present {
  std::optional<json::Value> value;
  ObjectRef stored;  // null when absent or made by the Draft
  Revision revision() const { return stored ? stored->revision() : 0; }
};

struct Outcome {
  enum class Shape { kObject, kScale, kFixed };
  Shape shape = Shape::kObject;
  Key key;               // kObject, kScale: what the Draft wrote there, or `stored`
  ObjectRef stored;      // the answer when the Draft wrote nothing there
  json::Value fixed;     // kFixed
  int code = 200;
};

class ApiPipeline final : public Pipeline, public std::enable_shared_from_this<ApiPipeline> {
 public:
  ApiPipeline(Executor& executor, Store& store, Registry& registry, HookCaller& hooks);
  ~ApiPipeline() override;
  void execute(ApiRequest request, AnswerFn done) override;
  void execute_batch(std::vector<ApiRequest> requests, bool atomic, bool dry_run, std::vector<FenceCheck> fences,
                     std::function<void(Result<void>, std::vector<ApiAnswer>)> done) override;
  Result<ListAnswer> list(const ApiRequest& request) override;
  void authorize(const ApiRequest& request, std::function<void(Result<void>)> done) override;
  void expire_later();  // from now on, until the pipeline is gone
  Registry& registry() override { return registry_; }
  Store& store() override { return store_; }
  void set_permissions(PermissionSource source) override;
  void convert(std::shared_ptr<const Kind> kind, std::string version, std::vector<ObjectRef> objects,
               std::function<void(Result<std::vector<json::Value>>)> done) override;

 private:
  struct AdmissionRules {
    json::Value rules;
    bool fail = true;
    uint64_t until = 0;
  };
  struct Breaker {
    int failures = 0;
    uint64_t until = 0;
  };
  struct Batch {
    Result<void> result;
    std::vector<ApiAnswer> answers;
  };

  // pipeline.cc
  Result<Target> resolve(const ApiRequest& request) const;
  Result<OpRef> make_op(ApiRequest request) const;
  Async<ApiAnswer> answer(ApiRequest request);
  Async<ApiAnswer> get(OpRef op);
  Async<Batch> run(std::vector<OpRef> ops, bool dry_run, std::vector<FenceCheck> fences);
  Async<Result<Outcome>> plan(OpRef op, Draft& draft, size_t index);
  Async<ApiAnswer> render(OpRef op, const Outcome& outcome, ObjectRef stored, const json::Value* written);
  Present present(const Draft& draft, const Key& key) const;
  Wait<Result<Committed>> commit(Transaction txn);
  Async<ApiAnswer> delete_collection(ApiRequest request, OpRef op);

  // pipeline_expiry.cc
  Async<bool> expire();

  // pipeline_authorize.cc
  Async<Result<void>> authorized(ApiRequest request);
  Wait<Result<std::string>> call(std::string target, const char* interface_id, uint32_t method, std::string request, uint64_t timeout_ns);

  // pipeline_body.cc
  Async<Result<json::Value>> hook(std::shared_ptr<const Kind> kind, std::string plugin, uint32_t method, json::Value request);
  Result<json::Value> decode(Op& op) const;
  Result<void> fit(Op& op, json::Value& object, std::vector<std::string> problems) const;
  Async<Result<void>> apply_all_defaults(std::shared_ptr<const RegistrySnapshot> snap, std::shared_ptr<const Kind> kind, json::Value& object);
  Async<Result<void>> check_object(OpRef op, const json::Value& object, const json::Value* old, bool with_hooks);
  Async<Result<void>> prepare(OpRef op, Draft& draft, size_t index, const char* operation, json::Value& object, const json::Value* old);
  Result<void> check_scope(Op& op, Draft& draft, size_t index) const;
  Result<void> add_companion(const Op& op, Draft& draft, size_t index, const json::Value& put, bool* taken);

  // pipeline_write.cc
  Async<Result<Outcome>> plan_create(OpRef op, Draft& draft, size_t index);
  Async<Result<Outcome>> plan_update(OpRef op, Draft& draft, size_t index);
  Async<Result<Outcome>> replace(OpRef op, Draft& draft, size_t index, Present old, json::Value incoming);
  Async<Result<json::Value>> patched(OpRef op, const json::Value& current) ;
  Result<void> patch_value(Op& op, json::Value& value, TypeId type) const;

  // pipeline_delete.cc
  Async<Result<Outcome>> plan_delete(OpRef op, Draft& draft, size_t index);
  Async<Result<void>> remove(OpRef op, Draft& draft, size_t index, const json::Value& object, json::Value options);

  // pipeline_subresource.cc
  Async<Result<Outcome>> plan_scale(OpRef op, Draft& draft, size_t index);
  Async<Result<Outcome>> plan_hook(OpRef op, Draft& draft, size_t index);
  json::Value scale_of(const Subresource& sub, const json::Value& object, Revision revision) const;

  // pipeline_admission.cc
  Async<Result<void>> admit(OpRef op, bool mutate, const char* operation, json::Value& object, const json::Value* old);
  Async<AdmissionRules> admission_rules(std::string slot);

  // pipeline_convert.cc
  Async<Result<std::vector<json::Value>>> converted(Target target, bool to_served, std::vector<json::Value> objects);
  Async<Result<json::Value>> to_storage(OpRef op, json::Value object);
  Async<Result<json::Value>> from_storage(OpRef op, json::Value object);

  Executor& executor_;
  Store& store_;
  Registry& registry_;
  HookCaller& hooks_;
  std::vector<std::pair<uint64_t, Revision>> ages_;  // (instant, the store's revision then), oldest first; expire()'s own
  mutable std::mutex mutex_;  // guards what follows
  PermissionSource permissions_;
  std::map<std::string, AdmissionRules> admission_;
  std::map<std::string, Breaker> breakers_;
};

// Positions in Kind's traits, from the same rule everywhere.
std::vector<std::string> facet_fields(const Kind& storage);
// The storage path that the field selector name means in this face of the kind; "" when not selectable.
std::string selectable_path(const Kind& kind, const std::string& version, const std::string& field);

// `resourceVersion` of a get or list, 0 when there is none. INVALID: not a number; TIMEOUT with Kubernetes' cause: not there yet.
Result<Revision> wanted_revision(const ApiRequest& request, const Store& store);

// UNSUPPORTED_MEDIA, also for server-side apply: said before anything is looked up.
Result<void> known_patch_type(const std::string& content_type);

bool has_finalizers(const Kind& kind, const json::Value& object);
std::string query_value(const ApiRequest& request, std::string_view name);
bool query_has(const ApiRequest& request, std::string_view name);

}  // namespace pintle::kernel
