// The status of a pod from what its spec wants, what the runtime has and what the worker remembers.
//
// Threads: pure functions.
#pragma once
#include <map>
#include <optional>
#include <string>

#include "pintle/json.h"
#include "pod_spec.h"
#include "runtime_view.h"

namespace pintle::node_agent {

// What the worker knows of a container beyond the runtime's view.
struct ContainerNote {
  std::string waiting_reason, waiting_message;  // why it does not run
  bool started = false, ready = false;
  std::map<std::string, std::string> last_words;  // termination messages, by container id
};

struct StatusInputs {
  const json::Value* pod;   // as the store has it, with the status so far
  const PodView* view;
  const std::map<std::string, ContainerNote, std::less<>>* notes;
  std::string node_name, host_ip, runtime_name;  // runtime_name: prefix of container ids ("docker")
  int64_t now = 0;          // wall ns
  // The worker's verdict: the pod ends as Failed ("DeadlineExceeded", "OutOfcpu", ...).
  std::string failed_reason, failed_message;
  bool containers_ready_to_start = false;  // sandbox and network stand
};

// The new status: everything of the old one that others own is kept. Equal to the old one when nothing changed.
json::Value pod_status(const StatusInputs& in);

// May the pod's containers still be started or restarted? Everything that happened to init and main containers, under the restart policy.
struct Progress {
  bool init_done = false, init_failed = false;
  bool all_done = false;   // every main container ended and none will be restarted
  bool any_failed = false;
};
Progress progress_of(const json::Value& pod, const PodView& view);

// Whether somebody may wait for the change from one status to the next: the phase, readiness, a container that began, ended or is held up. The rest (an address,
// an id, the conditions on the way up) may wait for company: while a pod starts, four writes become one or two.
bool is_pressing(const json::Value& from, const json::Value& to);

// Of a status; null when it has none of this type.
const json::Value& status_condition(const json::Value& status, std::string_view type);

// A merge patch that turns `from` into `to`; null when they are equal.
json::Value merge_patch(const json::Value& from, const json::Value& to);

}  // namespace pintle::node_agent
