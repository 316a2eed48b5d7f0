// What the tests of store and bus share: small objects, commits that wait, folders that vanish.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>

#include "kernel/run/simulated_executor.h"
#include "kernel/run/thread_executor.h"
#include "kernel/store/backend.h"
#include "kernel/store/store.h"

namespace pintle::kernel::testing_store {

inline Put make_put(const Key& key, const std::string& value, const std::string& label = "") {
  const std::string head = "{\"apiVersion\":\"v1\",\"kind\":\"W\",\"metadata\":{\"name\":\"" + key.name + "\",\"resourceVersion\":\"";
  return {key, head + "\"},\"label\":\"" + label + "\",\"value\":\"" + value + "\"}", head.size()};
}
inline std::string value_of(const ObjectRef& object) {
  return object ? std::string(json::parse_or_null(object->json())["value"].as_string()) : "<none>";
}
inline Revision inner_revision(const StoredObject& object) {
  const json::Value value = json::parse_or_null(object.json());
  return std::stoull(std::string(value["metadata"]["resourceVersion"].as_string("0")));
}
inline Transaction put_txn(const Key& key, const std::string& value, const std::string& label = "") {
  Transaction txn;
  txn.puts.push_back(make_put(key, value, label));
  return txn;
}
inline Transaction delete_txn(const Key& key) {
  Transaction txn;
  txn.deletes.push_back(key);
  return txn;
}
inline KindTraits label_traits() {
  KindTraits traits;
  traits.fields = {"label"};
  traits.indexed = {0};
  traits.facets = [](std::string_view text) {
    Facets facets;
    facets.fields.emplace_back(json::parse_or_null(text)["label"].as_string());
    return facets;
  };
  return traits;
}

// Holds one answer; wait() blocks for it (threads), peek() looks (simulation).
class Answer {
 public:
  CommitDone done() {
    return [state = state_](Result<Committed> result) {
      const std::lock_guard lock(state->mu);
      EXPECT_FALSE(state->result) << "answered twice";
      state->result = std::move(result);
      state->changed.notify_all();
    };
  }
  Result<Committed> wait() {
    std::unique_lock lock(state_->mu);
    if (!state_->changed.wait_for(lock, std::chrono::seconds(60), [&] { return state_->result.has_value(); })) {
      return Error(PINTLE_TIMEOUT, "no answer in 60 s");
    }
    return *state_->result;
  }
  const std::optional<Result<Committed>>& peek() const { return state_->result; }

 private:
  struct State {
    std::mutex mu;
    std::condition_variable changed;
    std::optional<Result<Committed>> result;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

inline Result<Committed> commit_wait(Store& store, Transaction txn) {
  Answer answer;
  store.commit(std::move(txn), answer.done());
  return answer.wait();
}
inline Result<Committed> commit_run(SimulatedExecutor& executor, Store& store, Transaction txn) {
  Answer answer;
  store.commit(std::move(txn), answer.done());
  executor.run_until_idle();
  if (!answer.peek()) return Error(PINTLE_TIMEOUT, "no answer");
  return *answer.peek();
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "pintle-store-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A memory backend that fails on demand and can hold a group back.
class FaultyBackend final : public Backend {
 public:
  struct Control {
    std::optional<Error> fail;   // the next append
    bool keep_failing = false;
    uint64_t appended = 0;       // groups
    std::vector<size_t> rows;    // per group
  };
  explicit FaultyBackend(std::shared_ptr<Control> control) : control_(std::move(control)) {}
  bool blocking() const override { return false; }
  Result<LoadedState> load(const std::function<void(StoredRow)>&) override { return LoadedState(); }
  Result<void> append(const Group& group) override {
    if (control_->fail) {
      const Error error = *control_->fail;
      if (!control_->keep_failing) control_->fail.reset();
      return error;
    }
    ++control_->appended;
    control_->rows.push_back(group.writes.size());
    return {};
  }
  void close() override {}
  json::Value metrics() const override { return json::Value::object(); }

 private:
  std::shared_ptr<Control> control_;
};

}  // namespace pintle::kernel::testing_store
