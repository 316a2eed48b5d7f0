// RFC 6902 with RFC 6901 pointers.
#include <algorithm>
#include <charconv>

#include "kernel/api/schema/decode.h"

namespace pintle::kernel {
namespace {

constexpr size_t kMaxOperations = 10000;
constexpr size_t kMaxCopied = 3 * 1024 * 1024;

using Tokens = std::vector<std::string>;

// "/a~1b/0" -> {"a/b", "0"}
bool parse_pointer(std::string_view s, Tokens& out) {
  if (s.empty()) return true;
  if (s.front() != '/') return false;
  std::string token;
  for (size_t i = 1; i <= s.size(); ++i) {
    if (i == s.size() || s[i] == '/') {
      out.push_back(std::move(token));
      token.clear();
    } else if (s[i] == '~') {
      if (++i == s.size() || (s[i] != '0' && s[i] != '1')) return false;
      token += s[i] == '0' ? '~' : '/';
    } else {
      token += s[i];
    }
  }
  return true;
}

bool parse_index(const std::string& token, size_t& out) {
  if (token.empty() || (token.size() > 1 && token[0] == '0')) return false;
  const auto r = std::from_chars(token.data(), token.data() + token.size(), out);
  return r.ec == std::errc() && r.ptr == token.data() + token.size();
}

Error bad(const std::string& text) { return Error(PINTLE_BAD_REQUEST, "error decoding patch: " + text); }
Error fails(const std::string& text) { return Error(PINTLE_INVALID, text); }

class Patcher {
 public:
  explicit Patcher(json::Value& target) : root_(target) {}

  Result<void> apply(const json::Value& op) {
    const std::string name(op["op"].as_string());
    const std::string path(op["path"].as_string()), from_path(op["from"].as_string());
    Tokens to, from;
    if (!op.is_object() || !op["op"].is_string()) return bad("every operation needs a member \"op\"");
    if (!op["path"].is_string() || !parse_pointer(path, to)) return bad(name + " operation: invalid path \"" + path + "\"");
    const bool two_paths = name == "move" || name == "copy";
    if (two_paths && (!op["from"].is_string() || !parse_pointer(from_path, from)))
      return bad(name + " operation: invalid from \"" + from_path + "\"");
    const bool with_value = name == "add" || name == "replace" || name == "test";
    const json::Value* value = op.find("value");
    if (with_value && !value && name != "test") return bad(name + " operation: no value");
    static const json::Value kNull;
    if (!value) value = &kNull;

    if (name == "add") return add(to, path, *value, "add");
    if (name == "remove") return remove(to, path, "remove");
    if (name == "replace") {
      json::Value* at = find(to);
      if (!at) return missing("replace", path);
      if (auto r = fits(to, *value); !r) return r;
      *at = *value;
      return {};
    }
    if (name == "test") {
      const json::Value* at = find(to);
      if (at ? *at == *value : value->is_null()) return {};
      return fails("testing value " + path + " failed: test failed");
    }
    if (!two_paths) return bad("unexpected operation \"" + name + "\"");
    json::Value* source = find(from);
    if (!source) return missing(name.c_str(), from_path);
    if (name == "copy") {
      copied_ += source->dump().size();
      if (copied_ > kMaxCopied)
        return Error(PINTLE_TOO_LARGE, "Unable to complete the copy, the accumulated size increase of copy is " + std::to_string(copied_) +
                                           ", exceeding the limit " + std::to_string(kMaxCopied));
      const json::Value v = *source;
      return add(to, path, v, "copy");
    }
    if (from.size() <= to.size() && std::equal(from.begin(), from.end(), to.begin())) {
      if (from.size() == to.size()) return {};
      return fails("move operation does not apply: \"" + path + "\" lies in \"" + from_path + "\"");
    }
    const json::Value v = std::move(*source);
    *source = json::Value();
    if (auto r = remove(from, from_path, "move"); !r) return r;
    return add(to, path, v, "move");
  }

 private:
  static Error missing(const char* name, const std::string& path) {
    return fails(std::string(name) + " operation does not apply: doc is missing path: \"" + path + "\": missing value");
  }

  json::Value* find(const Tokens& tokens) { return find(tokens, tokens.size()); }

  json::Value* find(const Tokens& tokens, size_t n) {
    json::Value* at = &root_;
    for (size_t i = 0; i < n; ++i) {
      if (at->is_object()) {
        at = at->find(tokens[i]);
      } else if (size_t index = 0; at->is_array() && parse_index(tokens[i], index) && index < at->size()) {
        at = &at->make_array()[index];
      } else {
        return nullptr;
      }
      if (!at) return nullptr;
    }
    return at;
  }

  static Result<void> fits(const Tokens& to, const json::Value& v) {
    const int depth = static_cast<int>(std::min<size_t>(to.size(), kMaxDepth));
    if (depth + depth_of(v, kMaxDepth + 1) > kMaxDepth) return bad("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    return {};
  }

  Result<void> add(const Tokens& to, const std::string& path, const json::Value& v, const char* name) {
    if (auto r = fits(to, v); !r) return r;
    if (to.empty()) {
      root_ = v;
      return {};
    }
    json::Value* parent = find(to, to.size() - 1);
    if (!parent || (!parent->is_object() && !parent->is_array())) return missing(name, path);
    if (parent->is_object()) {
      parent->set(to.back(), v);
      return {};
    }
    json::Array& items = parent->make_array();
    size_t index = items.size();
    if (to.back() != "-" && !parse_index(to.back(), index))
      return fails(std::string(name) + " operation does not apply: \"" + to.back() + "\" is no index of a list");
    if (index > items.size())
      return fails(std::string(name) + " operation does not apply: doc is missing path: \"" + path + "\": Unable to access invalid index: " + to.back() +
                   ": invalid index referenced");
    items.insert(items.begin() + static_cast<ptrdiff_t>(index), v);
    return {};
  }

  Result<void> remove(const Tokens& at, const std::string& path, const char* name) {
    if (at.empty()) return fails(std::string(name) + " operation does not apply: the whole document cannot be removed");
    json::Value* parent = find(at, at.size() - 1);
    if (!parent || !find(at)) return missing(name, path);
    if (parent->is_object()) {
      parent->erase(at.back());
      return {};
    }
    size_t index = 0;
    parse_index(at.back(), index);
    json::Array& items = parent->make_array();
    items.erase(items.begin() + static_cast<ptrdiff_t>(index));
    return {};
  }

  json::Value& root_;
  size_t copied_ = 0;
};

}  // namespace

Result<void> json_patch(json::Value& target, const json::Value& patch) {
  if (!patch.is_array()) return bad("a JSON patch must be a list of operations");
  if (patch.size() > kMaxOperations)
    return Error(PINTLE_TOO_LARGE, "The allowed maximum operations in a JSON patch is " + std::to_string(kMaxOperations) + ", got " +
                                       std::to_string(patch.size()));
  json::Value result = target;  // a failing operation leaves nothing behind
  Patcher patcher(result);
  for (const json::Value& op : patch.items())
    if (auto r = patcher.apply(op); !r) return r;
  target = std::move(result);
  return {};
}

}  // namespace pintle::kernel
