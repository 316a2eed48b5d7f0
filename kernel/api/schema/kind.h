// A kind as its plugin declares it, and the registry of all kinds that are served.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/api/schema/types.h"

namespace pintle::kernel {

struct Column {  // of a Table
  std::string name, type, format, description;
  int priority = 0;
  std::string path;       // dotted JSON path; "" when computed
  bool computed = false;  // by the `table` hook
  std::string as;         // "", "age" (time -> "5m"), "count" (size of a list or map), "keys=value" ...
};

struct Subresource {
  std::string name;         // "status", "scale", "finalize", "exec", "binding", "eviction"
  std::string kind_group, kind_version, kind_name;  // of its body ("policy","v1","Eviction"); same as the parent's when empty
  std::string type;                // type of its body when a plugin says so ("api.policy.v1.Eviction"); may be another plugin's
  std::vector<std::string> verbs;  // "get","update","patch","create"
  enum class Mode { kStatus, kScale, kFinalize, kConnect, kHook } mode = Mode::kHook;
  std::string provider;      // plugin that serves it; "" = the kind's owner
  std::string stream;        // kConnect: "text", "exec", "attach", "portforward"
  // kScale: dotted paths
  std::string spec_replicas, status_replicas, selector;
};

struct Version {
  std::string name;       // "v1"
  TypeId type = kNoType;
  bool served = true, storage = false;
};

struct Kind {
  std::string owner;      // plugin
  std::string group;      // "" = core
  std::string kind, plural, singular;
  std::vector<std::string> short_names, categories;
  bool namespaced = true;
  bool scopes = false;              // an object of this kind is what a namespaced object's `namespace` names: creates require it
  std::vector<Version> versions;   // best first
  std::vector<Subresource> subresources;
  std::vector<Column> columns;
  std::vector<std::string> selectable;     // dotted paths usable in fieldSelector (metadata.name/namespace always are)
  std::vector<std::pair<std::string, std::string>> selectable_alias;  // fieldSelector name -> path
  std::vector<std::string> indexed;
  std::vector<std::string> generation = {"spec"};  // a change below these raises metadata.generation; empty = none
  std::vector<std::string> immutable;      // dotted paths
  struct Hooks {  // which hooks exist, per operation
    bool default_ = false, validate = false, prepare_create = false, prepare_update = false;
    bool delete_request = false, delete_final = false, table = false, convert = false;
  } hooks;
  bool sealed = false, history = true;
  bool status_reset = true;         // main resource ignores status on create/update, /status ignores the rest
  uint64_t expires_after_ns = 0;    // Events
  bool name_is_generated_rfc1123_subdomain = true;
  std::string name_format = "dns1123subdomain";
  std::vector<std::string> verbs;   // of the main resource; empty = all
  std::string same_storage_as;      // "events" for events.events.k8s.io: one storage, another face
  json::Value renames;              // {"v1beta1": {"<served dotted path>": "<storage dotted path>"}}: conversion as data
  bool hidden = false;              // explicitly disabled: not served; crashed or restarting plugins do not hide
  bool available = true;            // false: hooks answer 503 now

  std::string name() const { return group.empty() ? plural : plural + "." + group; }  // the Key::kind
  const Version& storage() const;
  const Version* version(std::string_view v) const;
  const Subresource* subresource(std::string_view name) const;
};

// Immutable; a change of plugins makes a new one.
struct RegistrySnapshot {
  TypeTable types;
  std::vector<std::shared_ptr<const Kind>> kinds;  // groups by priority, then as declared
  uint64_t generation = 0;                         // rises with each change: caches key on it
  std::shared_ptr<const Kind> find(std::string_view group, std::string_view version, std::string_view plural) const;
  std::shared_ptr<const Kind> find_kind(std::string_view group, std::string_view kind) const;
  std::shared_ptr<const Kind> by_name(std::string_view storage_name) const;  // "deployments.apps"; also hidden ones
  // Type of a subresource's body, seen at a version of its kind; the kind's own type when it has no other. kNoType when
  // nobody exports it.
  TypeId body_type(const Kind& kind, const Version& version, const Subresource& subresource) const;
  // Type of a body by what it says of itself: a kind, the body of a subresource, or options ("v1", "DeleteOptions").
  TypeId body_type(std::string_view group, std::string_view version, std::string_view kind) const;
};

// Threads: any. Writers are serialised inside.
class Registry {
 public:
  Registry();
  std::shared_ptr<const RegistrySnapshot> snapshot() const;
  // The `types` and `kinds` of a manifest (sdk/docs/manifest.md). INVALID names file, kind and field.
  Result<void> add(const std::string& plugin, const json::Value& manifest);
  void set_hidden(const std::string& plugin, bool hidden);
  void set_available(const std::string& plugin, bool available);
  void on_change(std::function<void()> fn);  // after each swap
 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace pintle::kernel
