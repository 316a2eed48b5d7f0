#include "kernel/store/table.h"

#include <algorithm>

namespace pintle::kernel {
namespace {
// Keys looked at in one scan() call: bounds how long a reader holds the lock.
constexpr size_t kScanBudget = 2048;

std::string_view field_of(const StoredObject& object, size_t field) {
  const std::vector<std::string>& fields = object.facets().fields;
  return field < fields.size() ? std::string_view(fields[field]) : std::string_view();
}
}  // namespace

void Table::set_traits(std::shared_ptr<const KindTraits> traits,
                       std::unordered_map<const StoredObject*, ObjectRef>& replaced) {
  traits_ = std::move(traits);
  indexes_.clear();
  for (size_t i = 0; i < traits_->indexed.size(); ++i) indexes_.push_back(std::make_unique<Index>());
  const auto renew = [&](const NsName& key, RowVersion& version) {
    const StoredObject& old = *version.object;
    Facets facets = traits_->facets ? traits_->facets(old.json()) : Facets();
    auto object = std::make_shared<StoredObject>(old.key(), old.revision(), old.json(), std::move(facets));
    replaced.emplace(version.object.get(), object);
    version.object = std::move(object);
    index(key, *version.object);
  };
  for (auto& [key, chain] : chains_) {
    for (RowVersion& version : chain.older) renew(key, version);
    renew(key, chain.newest);
  }
}

const RowVersion* Table::newest(const std::string& ns, const std::string& name) const {
  const auto at = chains_.find(NsNameView(ns, name));
  return at == chains_.end() ? nullptr : &at->second.newest;
}

void Table::add(RowVersion version) {
  const Key& key = version.object->key();
  auto at = chains_.lower_bound(NsNameView(key.ns, key.name));
  const bool fresh = at == chains_.end() || at->first.first != key.ns || at->first.second != key.name;
  if (fresh) at = chains_.emplace_hint(at, NsName(key.ns, key.name), Chain());
  Chain& chain = at->second;
  const bool was_live = !fresh && !chain.newest.deleted;
  if (was_live) bytes_ -= chain.newest.object->json().size();
  if (!version.deleted) bytes_ += version.object->json().size();
  if (was_live != !version.deleted) {
    size_t& in_ns = live_by_ns_[key.ns];
    if (was_live) {
      --live_;
      if (--in_ns == 0) live_by_ns_.erase(key.ns);
    } else {
      ++live_;
      ++in_ns;
    }
  }
  index(at->first, *version.object);
  if (!fresh) chain.older.push_back(std::move(chain.newest));
  chain.newest = std::move(version);
}

void Table::forget(const Key& key, Revision revision, std::vector<ObjectRef>& dropped) {
  const auto at = chains_.find(NsNameView(key.ns, key.name));
  if (at == chains_.end()) return;
  Chain& chain = at->second;
  // A version is invisible from the moment its successor exists.
  size_t gone = 0;
  while (gone < chain.older.size()) {
    const RowVersion& next = gone + 1 < chain.older.size() ? chain.older[gone + 1] : chain.newest;
    if (next.object->revision() > revision) break;
    ++gone;
  }
  for (size_t i = 0; i < gone; ++i) {
    unindex(at->first, *chain.older[i].object);
    dropped.push_back(std::move(chain.older[i].object));
  }
  chain.older.erase(chain.older.begin(), chain.older.begin() + static_cast<ptrdiff_t>(gone));
  if (chain.older.empty()) chain.older.shrink_to_fit();
  if (chain.older.empty() && chain.newest.deleted && chain.newest.object->revision() <= revision) {
    unindex(at->first, *chain.newest.object);
    dropped.push_back(std::move(chain.newest.object));
    chains_.erase(at);
  }
}

const RowVersion* Table::visible(const Chain& chain, Revision at) {
  if (chain.newest.object->revision() <= at) return chain.newest.deleted ? nullptr : &chain.newest;
  for (auto older = chain.older.rbegin(); older != chain.older.rend(); ++older) {
    if (older->object->revision() <= at) return older->deleted ? nullptr : &*older;
  }
  return nullptr;
}

bool Table::scan(Scan& scan, size_t max, std::vector<ObjectRef>& out) const {
  size_t budget = kScanBudget;
  const NsName* last = nullptr;
  const auto take = [&](const NsName& key, const Chain& chain) {
    last = &key;
    --budget;
    const RowVersion* version = visible(chain, scan.at);
    if (!version) return;
    if (scan.field && field_of(*version->object, scan.field->first) != scan.field->second) return;
    out.push_back(version->object);
    --max;
  };
  // A namespace is one stretch of the order; it starts at (ns, "").
  NsName from = scan.after;
  bool behind = scan.started;
  if (!scan.ns.empty() && (!behind || from.first < scan.ns)) {
    from = NsName(scan.ns, "");
    behind = false;
  }
  const auto pause = [&] {
    if (last) {
      scan.after = *last;
      scan.started = true;
    }
    return true;
  };
  const auto outside = [&](const NsName& key) { return !scan.ns.empty() && key.first != scan.ns; };

  const Index* index = scan.field ? index_of(scan.field->first) : nullptr;
  if (index) {
    const auto value = index->find(scan.field->second);
    if (value == index->end()) return false;
    const auto& keys = value->second;
    auto at = behind ? keys.upper_bound(&from) : keys.lower_bound(&from);
    for (; at != keys.end() && !outside(*at->first); ++at) {
      if (max == 0 || budget == 0) return pause();
      take(*at->first, chains_.find(*at->first)->second);
    }
    return false;
  }
  auto at = behind ? chains_.upper_bound(from) : chains_.lower_bound(from);
  for (; at != chains_.end() && !outside(at->first); ++at) {
    if (max == 0 || budget == 0) return pause();
    take(at->first, at->second);
  }
  return false;
}

size_t Table::count(const std::string& ns) const {
  if (ns.empty()) return live_;
  const auto at = live_by_ns_.find(ns);
  return at == live_by_ns_.end() ? 0 : at->second;
}

Table::Index* Table::index_of(size_t field) const {
  if (!traits_) return nullptr;
  const auto at = std::find(traits_->indexed.begin(), traits_->indexed.end(), field);
  return at == traits_->indexed.end() ? nullptr : indexes_[static_cast<size_t>(at - traits_->indexed.begin())].get();
}

void Table::index(const NsName& key, const StoredObject& object) {
  for (size_t i = 0; i < indexes_.size(); ++i) {
    ++(*indexes_[i])[std::string(field_of(object, traits_->indexed[i]))][&key];
  }
}

void Table::unindex(const NsName& key, const StoredObject& object) {
  for (size_t i = 0; i < indexes_.size(); ++i) {
    Index& index = *indexes_[i];
    const auto value = index.find(std::string(field_of(object, traits_->indexed[i])));
    if (value == index.end()) continue;
    const auto at = value->second.find(&key);
    if (at == value->second.end() || --at->second > 0) continue;
    value->second.erase(at);
    if (value->second.empty()) index.erase(value);
  }
}

}  // namespace pintle::kernel
