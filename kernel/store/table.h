// The objects of one kind, ordered by (namespace, name), each with its versions of the history window.
//
// Threads: none of its own; readers and writers are kept apart by the store's lock.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernel/store/backend.h"
#include "kernel/store/store.h"

namespace pintle::kernel {

struct RowVersion {
  ObjectRef object;  // deleted: the last state at the revision of the deletion
  RowId row = 0;
  size_t revision_at = 0;
  bool deleted = false;
  bool sealed = false;
};

class Table {
 public:
  using NsName = std::pair<std::string, std::string>;
  using NsNameView = std::pair<std::string_view, std::string_view>;

  // Null until the kind is registered.
  const std::shared_ptr<const KindTraits>& traits() const { return traits_; }
  // Extracts the facets of everything anew and rebuilds the indexes. `replaced` gets (old, new) of every object made.
  void set_traits(std::shared_ptr<const KindTraits> traits, std::unordered_map<const StoredObject*, ObjectRef>& replaced);

  // Newest version, a deletion included; null when nothing is known.
  const RowVersion* newest(const std::string& ns, const std::string& name) const;
  void add(RowVersion version);
  // Drops the versions of the key that nobody can see at `revision` or later. What was dropped goes to `dropped`, to be
  // destroyed outside the lock.
  void forget(const Key& key, Revision revision, std::vector<ObjectRef>& dropped);

  struct Scan {
    Revision at = 0;
    std::string ns;  // "" = all
    const std::pair<size_t, std::string>* field = nullptr;
    NsName after;    // continue behind this key; advanced by scan()
    bool started = false;
  };
  // Appends at most `max` objects that exist at scan.at; false when there are no more. Looks at a bounded number of
  // keys, so it may append fewer (or none) and still return true.
  bool scan(Scan& scan, size_t max, std::vector<ObjectRef>& out) const;

  size_t count(const std::string& ns) const;
  size_t size() const { return live_; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Chain {
    RowVersion newest;
    std::vector<RowVersion> older;  // oldest first
  };
  // Looking up needs no copies of the strings.
  struct ByKey {
    using is_transparent = void;
    static NsNameView view(const NsName& key) { return {key.first, key.second}; }
    static NsNameView view(const NsName* key) { return {key->first, key->second}; }
    static NsNameView view(const NsNameView& key) { return key; }
    bool operator()(const auto& a, const auto& b) const { return view(a) < view(b); }
  };
  using Chains = std::map<NsName, Chain, ByKey>;
  // Which keys have (in any version kept) a value, and in how many versions.
  using Index = std::unordered_map<std::string, std::map<const NsName*, uint32_t, ByKey>>;

  static const RowVersion* visible(const Chain& chain, Revision at);
  void index(const NsName& key, const StoredObject& object);
  void unindex(const NsName& key, const StoredObject& object);
  Index* index_of(size_t field) const;

  std::shared_ptr<const KindTraits> traits_;
  Chains chains_;
  std::vector<std::unique_ptr<Index>> indexes_;  // as KindTraits::indexed
  std::unordered_map<std::string, size_t> live_by_ns_;
  size_t live_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace pintle::kernel
