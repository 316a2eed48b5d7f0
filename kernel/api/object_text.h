// The text of objects: canonical bytes for the store, parts of canonical bytes without parsing, times and uids.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "kernel/api/schema/codec.h"
#include "kernel/store/store.h"

namespace pintle::kernel {

// apiVersion, kind, metadata, then the rest as it stands; metadata in ObjectMeta's order, with the place for the revision.
// metadata.resourceVersion of `object` is ignored.
Put canonical_put(Key key, const json::Value& object);

// Parts of canonical JSON (no white space, known to be valid); "" when absent. The result is a view into `text`.
std::string_view raw_member(std::string_view object, std::string_view key);
std::string_view raw_path(std::string_view object, std::string_view dotted);
// The value of a raw scalar as a field selector compares it: strings unquoted, numbers and booleans as written.
std::string raw_text(std::string_view raw);
json::Value parse_raw(std::string_view raw);

Facets facets_of(std::string_view json, const std::vector<std::string>& fields);

std::string rfc3339(int64_t wall_ns);                        // "2006-01-02T15:04:05Z"
std::optional<int64_t> parse_rfc3339(std::string_view text);  // ns since 1970; fractions and offsets are understood
std::string uuid4(Executor& executor);
std::string generated_name(Executor& executor, std::string_view base);

// Deep copy of a dotted path from one object to another; absent in `from` = erased in `to`.
void copy_path(const json::Value& from, json::Value& to, const std::string& path);
void erase_path(json::Value& object, std::string_view path);

}  // namespace pintle::kernel
