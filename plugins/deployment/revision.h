// Versions of a Deployment: equal templates, names of their ReplicaSets, revision numbers in annotations.
//
// Pure; threads: any.
#pragma once
#include <string>
#include <vector>

#include "rollout.h"

namespace pintle::deployment {

inline constexpr const char* kHashLabel = "pod-template-hash";
inline constexpr const char* kRevision = "deployment.kubernetes.io/revision";
inline constexpr const char* kRevisionHistory = "deployment.kubernetes.io/revision-history";
inline constexpr const char* kDesired = "deployment.kubernetes.io/desired-replicas";
inline constexpr const char* kMost = "deployment.kubernetes.io/max-replicas";

// A stable name for a template ("7d9c5b8f6"), different for another collision count.
std::string template_hash(const json::Value& pod_template, int64_t collisions);

// The template as the user wrote it: without the label that tells versions apart.
json::Value without_hash(const json::Value& pod_template);

// Position of the set that runs the Deployment's template (the oldest of several), -1 = none.
int find_newest(const json::Value& deployment, const std::vector<SetState>& sets);

int64_t largest_revision(const std::vector<SetState>& sets, int except);

// The ReplicaSet for the Deployment's template.
json::Value new_set(const json::Value& deployment, const Wish& wish, int64_t replicas, int64_t revision, int64_t collisions);

// Annotations that the newest set should carry but does not: {} = it carries all. Copies those of the Deployment (change-cause ...),
// raises the revision, notes an earlier one in the history.
json::Value annotations_to_set(const json::Value& deployment, const SetState& set, int64_t revision);

// {desired-replicas, max-replicas}
json::Value size_notes(const Wish& wish);

// Positions of old sets to delete beyond revisionHistoryLimit, oldest revision first.
std::vector<size_t> beyond_history(const json::Value& deployment, const std::vector<SetState>& sets, int newest);

}  // namespace pintle::deployment
