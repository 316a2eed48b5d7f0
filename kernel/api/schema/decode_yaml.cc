// YAML by events: no tree of the YAML library is ever built, so the budgets below hold for everything that is.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <istream>
#include <map>
#include <streambuf>
#include <unordered_map>

#include "kernel/api/schema/decode.h"
#include "kernel/api/schema/yaml_scalar.h"

namespace pintle::kernel {
namespace {

constexpr size_t kMaxNodes = 100000;
constexpr size_t kMaxExpansion = 10;  // aliases may make a document this many times larger

struct TooMuch {
  std::string text;
};

struct Weight {
  size_t nodes = 0, bytes = 0;
};

void weigh(const json::Value& v, Weight& w) {
  ++w.nodes;
  w.bytes += v.as_string().size();
  for (const json::Value& i : v.items()) weigh(i, w);
  for (const json::Member& m : v.members()) {
    w.bytes += m.key.size();
    weigh(m.value, w);
  }
}

class Builder : public YAML::EventHandler {
 public:
  Builder(size_t body_bytes, std::vector<std::string>& problems)
      : byte_budget_(body_bytes * kMaxExpansion + 4096), problems_(problems) {}

  json::Value take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, anchor, json::Value(), true); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    json::Value v;
    const std::string wrong = resolve_yaml_scalar(tag, text, v);
    if (!wrong.empty()) fail(mark, wrong);
    add(mark, anchor, std::move(v), tag == "?" || tag.empty(), text);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) fail(mark, "an anchor contains itself");
    Weight w;
    weigh(it->second, w);
    expanded_.nodes += w.nodes;
    expanded_.bytes += w.bytes;
    if (expanded_.nodes > kMaxExpansion * written_ + 1000 || expanded_.bytes > byte_budget_)
      fail(mark, "document contains excessive aliasing");
    count(mark, w.nodes);
    if (static_cast<int>(open_.size()) + depth_of(it->second, kMaxDepth + 1) > kMaxDepth) too_deep(mark);
    json::Value copy = it->second;
    const std::string text(copy.as_string());
    place(mark, std::move(copy), false, text);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    start(mark, tag, anchor, false);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    start(mark, tag, anchor, true);
  }
  void OnMapEnd() override { end(); }

 private:
  struct Level {
    json::Value value;
    bool map = false, has_key = false, merging = false;
    std::string key;
    std::unordered_map<std::string, size_t> index;  // of large maps
    std::vector<json::Value> merges;                // maps under "<<"
    YAML::anchor_t anchor = YAML::NullAnchor;
    YAML::Mark mark;
  };

  [[noreturn]] static void fail(const YAML::Mark& mark, const std::string& what) {
    throw TooMuch{"error converting YAML to JSON: yaml: line " + std::to_string(mark.line + 1) + ": " + what};
  }
  [[noreturn]] static void too_deep(const YAML::Mark& mark) {
    fail(mark, "nested deeper than " + std::to_string(kMaxDepth) + " levels");
  }

  void count(const YAML::Mark& mark, size_t n) {
    nodes_ += n;
    if (nodes_ > kMaxNodes) fail(mark, "more than " + std::to_string(kMaxNodes) + " nodes");
  }

  void start(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, bool map) {
    if (open_.size() >= static_cast<size_t>(kMaxDepth) - 1) too_deep(mark);
    const bool known = tag.empty() || tag == "?" || tag == "!" || tag == (map ? "tag:yaml.org,2002:map" : "tag:yaml.org,2002:seq");
    if (!known) fail(mark, "unknown tag \"" + tag + "\"");
    if (!open_.empty() && open_.back().map && !open_.back().has_key) fail(mark, "a key is neither string nor number");
    ++written_;
    count(mark, 1);
    Level& level = open_.emplace_back();
    level.map = map;
    level.anchor = anchor;
    level.mark = mark;
    if (map) level.value.make_object();
    else level.value.make_array();
  }

  void end() {
    Level level = std::move(open_.back());
    open_.pop_back();
    for (const json::Value& from : level.merges)
      for (const json::Member& m : from.members())
        if (find(level, m.key) == npos) append(level, m.key, m.value);
    remember(level.anchor, level.value, level.mark);
    place(level.mark, std::move(level.value), false, "");
  }

  void add(const YAML::Mark& mark, YAML::anchor_t anchor, json::Value v, bool plain, const std::string& text = {}) {
    ++written_;
    count(mark, 1);
    remember(anchor, v, mark);
    place(mark, std::move(v), plain, text);
  }

  // Copies for aliases to come count as much as those that come.
  void remember(YAML::anchor_t anchor, const json::Value& v, const YAML::Mark& mark) {
    if (anchor == YAML::NullAnchor) return;
    Weight w;
    weigh(v, w);
    kept_.nodes += w.nodes;
    kept_.bytes += w.bytes;
    if (kept_.nodes > kMaxNodes || kept_.bytes > byte_budget_) fail(mark, "document contains excessive aliasing");
    anchors_[anchor] = v;
  }

  static constexpr size_t npos = static_cast<size_t>(-1);

  static size_t find(Level& level, const std::string& key) {
    const json::Object& members = level.value.members();
    if (members.size() < 32) {
      for (size_t i = 0; i < members.size(); ++i)
        if (members[i].key == key) return i;
      return npos;
    }
    for (size_t i = level.index.size(); i < members.size(); ++i) level.index.emplace(members[i].key, i);
    const auto it = level.index.find(key);
    return it == level.index.end() ? npos : it->second;
  }

  static void append(Level& level, std::string key, json::Value v) {
    level.value.make_object().push_back({std::move(key), std::move(v)});
  }

  std::string path_to(const std::string& key) const {
    std::string path;
    for (size_t i = 0; i < open_.size(); ++i) {
      const bool last = i + 1 == open_.size();
      if (open_[i].map) path += (path.empty() ? "" : ".") + (last ? key : open_[i].key);
      else if (!last) path += "[" + std::to_string(open_[i].value.size()) + "]";
    }
    return path;
  }

  // A finished value goes into the innermost open collection: as key, as value or as item.
  void place(const YAML::Mark& mark, json::Value v, bool plain, const std::string& text) {
    if (open_.empty()) {
      root_ = std::move(v);
      return;
    }
    Level& level = open_.back();
    if (!level.map) {
      level.value.push(std::move(v));
      return;
    }
    if (!level.has_key) {
      if (v.is_null() || v.is_array() || v.is_object()) fail(mark, "a key is neither string nor number");
      level.has_key = true;
      level.merging = plain && text == "<<";
      level.key = v.is_string() ? std::string(v.as_string()) : v.dump();
      return;
    }
    level.has_key = false;
    if (level.merging) {
      merge(mark, level, std::move(v));
      return;
    }
    const size_t at = find(level, level.key);
    if (at == npos) {
      append(level, level.key, std::move(v));
      return;
    }
    if (problems_.size() < kMaxProblems) problems_.push_back("duplicate field \"" + path_to(level.key) + "\"");
    level.value.make_object()[at].value = std::move(v);
  }

  static void merge(const YAML::Mark& mark, Level& level, json::Value v) {
    if (v.is_object()) {
      level.merges.push_back(std::move(v));
      return;
    }
    if (!v.is_array()) fail(mark, "map merge requires map or sequence of maps as the value");
    for (json::Value& item : v.make_array()) {
      if (!item.is_object()) fail(mark, "map merge requires map or sequence of maps as the value");
      level.merges.push_back(std::move(item));
    }
  }

  json::Value root_;
  std::vector<Level> open_;
  std::map<YAML::anchor_t, json::Value> anchors_;
  size_t nodes_ = 0, written_ = 0;
  Weight expanded_, kept_;
  size_t byte_budget_;
  std::vector<std::string>& problems_;
};

class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view s) {
    char* p = const_cast<char*>(s.data());
    setg(p, p, p + s.size());
  }
};

// The parser stores every line of open flow collections and may look far ahead; nothing sensible nests so deep.
bool flow_too_deep(std::string_view s) {
  int depth = 0;
  for (const char c : s) {
    if (c == '[' || c == '{') ++depth;
    else if (c == ']' || c == '}') depth -= depth > 0;
    if (depth > 8 * kMaxDepth) return true;
  }
  return false;
}

}  // namespace

Result<Decoded> decode_yaml(std::string_view body) {
  const auto bad = [](const std::string& text) { return Error(PINTLE_BAD_REQUEST, text); };
  if (!valid_utf8(body)) return bad("error converting YAML to JSON: yaml: invalid UTF-8");
  // JSON is YAML, and many clients send just that: the quick way.
  const size_t first = body.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && body[first] == '{')
    if (Result<Decoded> json = decode_json(body); json) return json;
  if (flow_too_deep(body)) return bad("error converting YAML to JSON: yaml: nested deeper than 256 levels");
  ViewBuffer buffer(body);
  std::istream in(&buffer);
  Decoded out;
  try {
    Builder builder(body.size(), out.problems);
    YAML::Parser parser(in);
    parser.HandleNextDocument(builder);
    out.value = builder.take();
    // Empty documents may follow ("---" at the end), nothing else.
    for (int more = 0;; ++more) {
      std::vector<std::string> ignored;
      Builder rest(body.size(), ignored);
      if (!parser.HandleNextDocument(rest)) break;
      if (more == 8 || !rest.take().is_null()) return bad("error converting YAML to JSON: yaml: the body holds more than one document");
    }
  } catch (const TooMuch& e) {
    return bad(e.text);
  } catch (const YAML::Exception& e) {
    return bad("error converting YAML to JSON: yaml: line " + std::to_string(e.mark.line + 1) + ": " + e.msg);
  }
  return out;
}

}  // namespace pintle::kernel
