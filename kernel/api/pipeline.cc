#include "kernel/api/pipeline.h"

#include <algorithm>

#include "kernel/api/pipeline_impl.h"
#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {
constexpr int kPlanAttempts = 24;  // 16 companions, 8 conflicts
}  // namespace

std::string query_value(const ApiRequest& request, std::string_view name) {
  for (const auto& [k, v] : request.query) {
    if (k == name) return v;
  }
  return {};
}

bool query_has(const ApiRequest& request, std::string_view name) {
  return std::any_of(request.query.begin(), request.query.end(), [&](const auto& p) { return p.first == name; });
}

const Draft::Write* Draft::pending(const Key& key) const {
  for (const Write& w : writes) {
    if (w.key == key) return &w;
  }
  return nullptr;
}

void Draft::check(Compare compare, Role role, size_t op) {
  if (pending(compare.key)) return;
  for (const Check& c : checks) {
    if (c.compare.key == compare.key) return;
  }
  checks.push_back({std::move(compare), role, op});
}

void Draft::write(Key key, std::optional<json::Value> value) {
  for (Write& w : writes) {
    if (w.key == key) {
      w.value = std::move(value);
      return;
    }
  }
  writes.push_back({std::move(key), std::move(value)});
}

ApiPipeline::ApiPipeline(Executor& executor, Store& store, Registry& registry, HookCaller& hooks)
    : executor_(executor), store_(store), registry_(registry), hooks_(hooks) {}
ApiPipeline::~ApiPipeline() = default;

namespace {
// Keeps the pipeline alive while requests are under way.
class PipelineHandle final : public Pipeline {
 public:
  explicit PipelineHandle(std::shared_ptr<ApiPipeline> p) : p_(std::move(p)) {}
  void execute(ApiRequest r, AnswerFn done) override { p_->execute(std::move(r), std::move(done)); }
  void execute_batch(std::vector<ApiRequest> r, bool atomic, bool dry_run, std::vector<FenceCheck> fences,
                     std::function<void(Result<void>, std::vector<ApiAnswer>)> done) override {
    p_->execute_batch(std::move(r), atomic, dry_run, std::move(fences), std::move(done));
  }
  Result<ListAnswer> list(const ApiRequest& r) override { return p_->list(r); }
  void authorize(const ApiRequest& r, std::function<void(Result<void>)> done) override { p_->authorize(r, std::move(done)); }
  Registry& registry() override { return p_->registry(); }
  Store& store() override { return p_->store(); }
  void set_permissions(PermissionSource source) override { p_->set_permissions(std::move(source)); }
  void convert(std::shared_ptr<const Kind> kind, std::string version, std::vector<ObjectRef> objects,
               std::function<void(Result<std::vector<json::Value>>)> done) override {
    p_->convert(std::move(kind), std::move(version), std::move(objects), std::move(done));
  }

 private:
  std::shared_ptr<ApiPipeline> p_;
};
}  // namespace

std::unique_ptr<Pipeline> make_pipeline(Executor& executor, Store& store, Registry& registry, HookCaller& hooks) {
  auto pipeline = std::make_shared<ApiPipeline>(executor, store, registry, hooks);
  struct Known {
    std::mutex mutex;
    std::map<std::string, std::string> signatures;
  };
  auto sync = [&store, &registry, known = std::make_shared<Known>()] {
    const auto snap = registry.snapshot();
    const std::lock_guard lock(known->mutex);
    for (const auto& kind : snap->kinds) {
      if (!kind->same_storage_as.empty()) continue;
      KindTraits traits;
      traits.fields = facet_fields(*kind);
      for (const std::string& path : kind->indexed) {
        const auto at = std::find(traits.fields.begin(), traits.fields.end(), path);
        if (at != traits.fields.end()) traits.indexed.push_back(static_cast<size_t>(at - traits.fields.begin()));
      }
      traits.sealed = kind->sealed;
      traits.history = kind->history;
      // Only what changed: set_kind reads all objects of its kind again.
      std::string signature = traits.sealed ? "s" : "";
      if (traits.history) signature += 'h';
      for (const std::string& f : traits.fields) signature += "," + f;
      for (const size_t i : traits.indexed) signature += ":" + std::to_string(i);
      std::string& present = known->signatures[kind->name()];
      if (present == "=" + signature) continue;
      present = "=" + signature;
      traits.facets = [fields = traits.fields](std::string_view json) { return facets_of(json, fields); };
      store.set_kind(kind->name(), std::move(traits));
    }
  };
  sync();
  registry.on_change(sync);
  pipeline->expire_later();
  return std::make_unique<PipelineHandle>(std::move(pipeline));
}

std::vector<std::string> facet_fields(const Kind& storage) {
  std::vector<std::string> fields;
  auto add = [&](const std::string& path) {
    if (std::find(fields.begin(), fields.end(), path) == fields.end()) fields.push_back(path);
  };
  for (const std::string& f : storage.selectable) add(f);
  for (const auto& [name, path] : storage.selectable_alias) add(path);
  for (const std::string& f : storage.indexed) add(f);
  return fields;
}

Result<Target> ApiPipeline::resolve(const ApiRequest& request) const {
  Target t;
  t.snap = registry_.snapshot();
  if (request.version.empty()) {
    t.kind = t.snap->by_name(request.group.empty() ? request.resource : request.resource + "." + request.group);
    if (t.kind && t.kind->hidden) t.kind = nullptr;
  } else {
    t.kind = t.snap->find(request.group, request.version, request.resource);
  }
  if (!t.kind) return unknown_path();
  t.storage = t.kind;
  if (!t.kind->same_storage_as.empty()) {
    t.storage = t.snap->by_name(t.kind->same_storage_as);
    if (!t.storage) return unknown_path();
  }
  t.version = request.version.empty() ? &t.kind->storage() : t.kind->version(request.version);
  if (!t.version) return unknown_path();
  t.as_stored = t.kind == t.storage && t.version->storage;
  if (!request.subresource.empty()) {
    t.sub = t.kind->subresource(request.subresource);
    if (!t.sub) return unknown_path();
  }
  t.key = {t.storage->name(), t.kind->namespaced ? request.ns : "", request.name};
  return t;
}

Result<OpRef> ApiPipeline::make_op(ApiRequest request) const {
  Result<Target> target = resolve(request);
  if (!target) return target.error();
  auto op = std::make_shared<Op>();
  op->target = std::move(*target);
  if (query_has(request, "dryRun")) {
    if (query_value(request, "dryRun") != "All") {
      return invalid_options(request.verb == Verb::kCreate ? "CreateOptions" : "UpdateOptions",
                             {{"FieldValueNotSupported", "dryRun", "Unsupported value: \"" + query_value(request, "dryRun") +
                                                                       "\": supported values: \"All\""}});
    }
    op->dry_run = true;
  }
  const std::string fv = query_value(request, "fieldValidation");
  if (fv == "Strict") {
    op->validation = FieldValidation::kStrict;
  } else if (fv == "Ignore") {
    op->validation = FieldValidation::kIgnore;
  } else if (!fv.empty() && fv != "Warn") {
    return invalid_options("CreateOptions", {{"FieldValueNotSupported", "fieldValidation",
                                              "Unsupported value: \"" + fv + "\": supported values: \"Ignore\", \"Warn\", \"Strict\""}});
  }
  if (query_value(request, "fieldManager").size() > 128) {
    return invalid_options("CreateOptions", {{"FieldValueTooLong", "fieldManager", "Too long: may not be more than 128 bytes"}});
  }
  if (request.verb == Verb::kPatch) {
    if (Result<void> known = known_patch_type(request.content_type); !known) return known.error();
    if (query_has(request, "force")) {
      return invalid_options("PatchOptions", {{"FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch"}});
    }
  }
  op->request = std::move(request);
  return op;
}

Present ApiPipeline::present(const Draft& draft, const Key& key) const {
  Present p;
  if (const Draft::Write* w = draft.pending(key)) {
    p.value = w->value;
    return p;
  }
  p.stored = store_.get(key);
  if (p.stored) p.value = json::parse_or_null(p.stored->json());
  return p;
}

Wait<Result<Committed>> ApiPipeline::commit(Transaction txn) {
  return Wait<Result<Committed>>([this, txn = std::move(txn)](std::function<void(Result<Committed>)> done) mutable {
    store_.commit(std::move(txn), std::move(done));
  });
}

void ApiPipeline::execute(ApiRequest request, AnswerFn done) {
  auto self = shared_from_this();
  spawn<ApiAnswer>(answer(std::move(request)), [self, done = std::move(done)](ApiAnswer a) { done(std::move(a)); });
}

Async<ApiAnswer> ApiPipeline::answer(ApiRequest request) {
  ApiAnswer out;
  Result<void> may = co_await authorized(request);
  if (!may) {
    out.error = may.error();
    out.code = http_code(out.error.code);
    co_return out;
  }
  Result<OpRef> made = make_op(std::move(request));
  if (!made) {
    out.error = made.error();
    out.code = http_code(out.error.code);
    co_return out;
  }
  OpRef op = *made;
  if (op->request.verb == Verb::kGet && (!op->target.sub || op->target.sub->mode != Subresource::Mode::kHook)) {
    out = co_await get(op);
  } else if (op->request.verb == Verb::kDeleteCollection) {
    ApiRequest copy = op->request;
    out = co_await delete_collection(std::move(copy), op);
  } else {
    std::vector<OpRef> ops(1, op);
    Batch batch = co_await run(std::move(ops), op->dry_run, std::vector<FenceCheck>());
    if (!batch.answers.empty()) out = std::move(batch.answers[0]);
    if (!batch.result.ok() && out.ok()) out.error = batch.result.error();
  }
  if (!out.ok()) out.code = http_code(out.error.code);
  out.warnings.insert(out.warnings.begin(), op->warnings.begin(), op->warnings.end());
  co_return out;
}

Async<ApiAnswer> ApiPipeline::get(OpRef op) {
  ApiAnswer out;
  if (Result<Revision> wanted = wanted_revision(op->request, store_); !wanted) {
    out.error = wanted.error();
    co_return out;
  }
  ObjectRef object = store_.get(op->target.key);
  if (!object) {
    out.error = not_found(*op->target.kind, op->request.name);
    co_return out;
  }
  Outcome outcome;
  if (op->target.sub && op->target.sub->mode == Subresource::Mode::kScale) outcome.shape = Outcome::Shape::kScale;
  outcome.stored = object;
  out = co_await render(op, outcome, object, nullptr);
  co_return out;
}

Async<Result<Outcome>> ApiPipeline::plan(OpRef op, Draft& draft, size_t index) {
  const Subresource* sub = op->target.sub;
  if (sub) {
    if (sub->mode == Subresource::Mode::kHook) {
      Result<Outcome> r = co_await plan_hook(op, draft, index);
      co_return r;
    }
    if (sub->mode == Subresource::Mode::kScale) {
      Result<Outcome> r = co_await plan_scale(op, draft, index);
      co_return r;
    }
  }
  switch (op->request.verb) {
    case Verb::kCreate: {
      if (sub) break;
      Result<Outcome> r = co_await plan_create(op, draft, index);
      co_return r;
    }
    case Verb::kUpdate:
    case Verb::kPatch: {
      Result<Outcome> r = co_await plan_update(op, draft, index);
      co_return r;
    }
    case Verb::kDelete: {
      if (sub) break;
      Result<Outcome> r = co_await plan_delete(op, draft, index);
      co_return r;
    }
    default: break;
  }
  co_return method_not_allowed(*op->target.kind, verb_name(op->request.verb));
}

Async<ApiPipeline::Batch> ApiPipeline::run(std::vector<OpRef> ops, bool dry_run, std::vector<FenceCheck> fences) {
  Batch batch;
  batch.answers.resize(ops.size());
  for (int attempt = 0;; ++attempt) {
    Draft draft;
    draft.fences = fences;
    std::vector<Outcome> outcomes;
    for (size_t i = 0; i < ops.size(); ++i) {
      const size_t writes_before = draft.writes.size();
      Result<Outcome> planned = co_await plan(ops[i], draft, i);
      if (!planned) {
        batch.result = planned.error();
        batch.answers[i].error = planned.error();
        co_return batch;
      }
      outcomes.push_back(std::move(*planned));
      // A read-only part of a larger transaction still has to hold when that is committed; alone it needs no commit.
      if (ops.size() > 1 && draft.writes.size() == writes_before && outcomes.back().stored) {
        draft.check({outcomes.back().stored->key(), outcomes.back().stored->revision(), false}, Draft::Role::kSelf, i);
      }
    }
    for (const OpRef& op : ops) dry_run = dry_run || op->dry_run;  // DeleteOptions may say it, too
    Committed committed;
    if (!draft.writes.empty()) {
      Transaction txn;
      txn.dry_run = dry_run;
      for (const Draft::Check& c : draft.checks) txn.compares.push_back(c.compare);
      for (const OpRef& op : ops) {
        txn.fences.insert(txn.fences.end(), op->request.identity.fences.begin(), op->request.identity.fences.end());
      }
      txn.fences.insert(txn.fences.end(), draft.fences.begin(), draft.fences.end());
      for (const Draft::Write& w : draft.writes) {
        if (w.value) {
          txn.puts.push_back(canonical_put(w.key, *w.value));
        } else {
          txn.deletes.push_back(w.key);
        }
      }
      Result<Committed> result = co_await commit(std::move(txn));
      if (!result) {
        const bool compare_failed = result.error().code == PINTLE_CONFLICT && result.error().status.contains("failedCompares");
        bool again = compare_failed && attempt + 1 < kPlanAttempts;
        size_t culprit = 0;
        if (compare_failed) {
          for (const json::Value& failed : result.error().status["failedCompares"].items()) {
            const size_t at = static_cast<size_t>(failed.as_int());
            if (at >= draft.checks.size()) continue;
            const Draft::Check& c = draft.checks[at];
            culprit = c.op;
            Op& op = *ops[c.op];
            if (c.role == Draft::Role::kCompanion) {
              json::Value key = json::Value::object();
              key.set("kind", c.compare.key.kind);
              key.set("namespace", c.compare.key.ns);
              key.set("name", c.compare.key.name);
              op.taken.push(std::move(key));
              if (++op.prepare_attempt >= 16) again = false;
            }
            if (!op.retry) again = false;
          }
        }
        if (again) {
          for (const OpRef& op : ops) op->warnings.clear();
          continue;
        }
        const Op& op = *ops[culprit];
        batch.result = compare_failed ? modified(*op.target.kind, op.target.key.name) : result.error();
        batch.answers[culprit].error = batch.result.error();
        co_return batch;
      }
      committed = std::move(*result);
    }
    size_t put_at = 0;
    std::map<Key, ObjectRef> made;
    if (!dry_run) {
      std::vector<Key> order;
      for (const Draft::Write& w : draft.writes) {
        if (w.value) order.push_back(w.key);
      }
      for (const Draft::Write& w : draft.writes) {
        if (!w.value) order.push_back(w.key);
      }
      for (const Key& key : order) {
        if (put_at < committed.objects.size()) made[key] = committed.objects[put_at++];
      }
    }
    for (size_t i = 0; i < ops.size(); ++i) {
      const Outcome& o = outcomes[i];
      ObjectRef stored = o.stored;
      const json::Value* written = nullptr;
      if (const Draft::Write* w = draft.pending(o.key); w && o.shape != Outcome::Shape::kFixed) {
        const auto at = made.find(o.key);
        stored = at == made.end() ? nullptr : at->second;
        if (!stored && w->value) written = &*w->value;
        if (!stored && !w->value) stored = o.stored;
      }
      batch.answers[i] = co_await render(ops[i], o, stored, written);
      if (ops.size() > 1) batch.answers[i].warnings = ops[i]->warnings;
    }
    co_return batch;
  }
}

Async<ApiAnswer> ApiPipeline::render(OpRef op, const Outcome& outcome, ObjectRef stored, const json::Value* written) {
  ApiAnswer out;
  out.code = outcome.code;
  if (outcome.shape == Outcome::Shape::kFixed) {
    out.document = outcome.fixed;
    co_return out;
  }
  if (outcome.shape == Outcome::Shape::kObject && stored && op->target.as_stored) {
    out.object = std::move(stored);
    co_return out;
  }
  if (!op->request.want_object) {
    out.object = std::move(stored);
    co_return out;
  }
  json::Value value;
  if (stored) {
    value = json::parse_or_null(stored->json());
  } else if (written) {
    value = *written;
  }
  if (outcome.shape == Outcome::Shape::kScale) {
    out.document = scale_of(*op->target.sub, value, stored ? stored->revision() : 0);
    co_return out;
  }
  Result<json::Value> face = co_await from_storage(op, std::move(value));
  if (!face) {
    out.error = face.error();
    co_return out;
  }
  out.document = std::move(*face);
  co_return out;
}

void ApiPipeline::execute_batch(std::vector<ApiRequest> requests, bool atomic, bool dry_run, std::vector<FenceCheck> fences,
                                std::function<void(Result<void>, std::vector<ApiAnswer>)> done) {
  struct State {
    std::mutex mutex;
    size_t left = 0;
    std::vector<ApiAnswer> answers;
    std::function<void(Result<void>, std::vector<ApiAnswer>)> done;
  };
  if (requests.empty()) {
    done({}, {});
    return;
  }
  auto self = shared_from_this();
  if (!atomic) {
    auto state = std::make_shared<State>();
    state->left = requests.size();
    state->answers.resize(requests.size());
    state->done = std::move(done);
    for (size_t i = 0; i < requests.size(); ++i) {
      if (dry_run) requests[i].query.emplace_back("dryRun", "All");
      requests[i].identity.fences.insert(requests[i].identity.fences.end(), fences.begin(), fences.end());
      execute(std::move(requests[i]), [state, i](ApiAnswer a) {
        {
          const std::lock_guard lock(state->mutex);
          state->answers[i] = std::move(a);
          if (--state->left) return;
        }
        state->done({}, std::move(state->answers));
      });
    }
    return;
  }
  auto work = [](ApiPipeline* p, std::vector<ApiRequest> reqs, bool dry, std::vector<FenceCheck> checks) -> Async<Batch> {
    Batch batch;
    batch.answers.resize(reqs.size());
    std::vector<OpRef> ops;
    for (size_t i = 0; i < reqs.size(); ++i) {
      Result<void> may = co_await p->authorized(reqs[i]);
      if (!may) {
        batch.result = may.error();
        batch.answers[i].error = may.error();
        co_return batch;
      }
      Result<OpRef> op = p->make_op(std::move(reqs[i]));
      if (!op) {
        batch.result = op.error();
        batch.answers[i].error = op.error();
        co_return batch;
      }
      (*op)->dry_run = dry;
      ops.push_back(*op);
    }
    batch = co_await p->run(std::move(ops), dry, std::move(checks));
    co_return batch;
  };
  spawn<Batch>(work(this, std::move(requests), dry_run, std::move(fences)), [self, done = std::move(done)](Batch b) {
    for (ApiAnswer& a : b.answers) {
      if (!a.ok()) a.code = http_code(a.error.code);
    }
    done(std::move(b.result), std::move(b.answers));
  });
}

}  // namespace pintle::kernel
