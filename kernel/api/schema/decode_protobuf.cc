#include <cstring>
#include <unordered_set>

#include "kernel/api/schema/base64.h"
#include "kernel/api/schema/decode.h"
#include "kernel/api/schema/duration.h"
#include "kernel/api/schema/timestamp.h"

namespace pintle::kernel {
namespace {

enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Wrong {
  std::string text;
};
[[noreturn]] void fail(const std::string& what) { throw Wrong{"proto: " + what}; }

struct Tag {
  uint32_t number = 0, wire = 0;
};

// Reads one message. Every read is checked against the end.
class Input {
 public:
  explicit Input(std::string_view s) : p_(s.data()), end_(s.data() + s.size()) {}
  bool done() const { return p_ == end_; }

  uint64_t varint() {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (p_ == end_) fail("unexpected EOF");
      const auto b = static_cast<unsigned char>(*p_++);
      v |= static_cast<uint64_t>(b & 0x7f) << shift;
      if (b < 0x80) return v;
    }
    fail("integer overflow");
  }
  Tag tag() {
    const uint64_t t = varint();
    if (t >> 3 == 0 || t >> 3 > 0x1fffffff) fail("illegal tag " + std::to_string(t >> 3));
    return {static_cast<uint32_t>(t >> 3), static_cast<uint32_t>(t & 7)};
  }
  std::string_view bytes() {
    const uint64_t n = varint();
    if (n > static_cast<uint64_t>(end_ - p_)) fail("unexpected EOF");
    const std::string_view s(p_, static_cast<size_t>(n));
    p_ += n;
    return s;
  }
  uint64_t fixed(size_t n) {
    if (static_cast<size_t>(end_ - p_) < n) fail("unexpected EOF");
    uint64_t v = 0;
    for (size_t i = 0; i < n; ++i) v |= static_cast<uint64_t>(static_cast<unsigned char>(p_[i])) << (8 * i);
    p_ += n;
    return v;
  }
  // True when what was skipped says anything (a number other than 0, bytes).
  bool skip(Tag t) {
    switch (t.wire) {
      case kVarint: return varint() != 0;
      case kFixed64: return fixed(8) != 0;
      case kBytes: return !bytes().empty();
      case kFixed32: return fixed(4) != 0;
      default: fail("illegal wireType " + std::to_string(t.wire));
    }
  }

 private:
  const char* p_;
  const char* end_;
};

std::string text_of(std::string_view s) {
  if (!valid_utf8(s)) fail("string field contains invalid UTF-8");
  return std::string(s);
}

// Messages that are one bytes or string field (Quantity, RawExtension, FieldsV1): that field.
std::string_view only_field(std::string_view message) {
  Input in(message);
  std::string_view out;
  while (!in.done()) {
    const Tag t = in.tag();
    if (t.number == 1 && t.wire == kBytes) out = in.bytes();
    else in.skip(t);
  }
  return out;
}

json::Value time_of(std::string_view message, bool micro) {
  if (message.empty()) return {};  // the zero time: not set
  Input in(message);
  Instant t;
  while (!in.done()) {
    const Tag tag = in.tag();
    if (tag.number == 1 && tag.wire == kVarint) t.seconds = static_cast<int64_t>(in.varint());
    else if (tag.number == 2 && tag.wire == kVarint) t.nanos = static_cast<int32_t>(in.varint());
    else in.skip(tag);
  }
  if (t.nanos < 0 || t.nanos > 999999999) fail("time with " + std::to_string(t.nanos) + " nanoseconds");
  const std::string s = format_rfc3339(t, micro);
  if (s.empty()) fail("time outside of the years 0 to 9999");
  return json::Value(s);
}

json::Value int_or_string_of(std::string_view message) {
  Input in(message);
  uint64_t type = 0;
  int32_t number = 0;
  std::string_view text;
  while (!in.done()) {
    const Tag tag = in.tag();
    if (tag.number == 1 && tag.wire == kVarint) type = in.varint();
    else if (tag.number == 2 && tag.wire == kVarint) number = static_cast<int32_t>(in.varint());
    else if (tag.number == 3 && tag.wire == kBytes) text = in.bytes();
    else in.skip(tag);
  }
  return type == 1 ? json::Value(text_of(text)) : json::Value(number);
}

json::Value duration_of(std::string_view message) {
  Input in(message);
  int64_t ns = 0;
  while (!in.done()) {
    const Tag tag = in.tag();
    if (tag.number == 1 && tag.wire == kVarint) ns = static_cast<int64_t>(in.varint());
    else in.skip(tag);
  }
  return json::Value(format_duration(ns));
}

constexpr std::string_view kMagic("k8s\0", 4);

class Decoder {
 public:
  Decoder(const RegistrySnapshot& registry, std::vector<std::string>& problems) : registry_(registry), problems_(problems) {}

  json::Value envelope(std::string_view body, int depth) {
    Input in(body.substr(kMagic.size()));
    std::string_view meta, raw, encoding;
    while (!in.done()) {
      const Tag t = in.tag();
      if (t.number == 1 && t.wire == kBytes) meta = in.bytes();
      else if (t.number == 2 && t.wire == kBytes) raw = in.bytes();
      else if (t.number == 3 && t.wire == kBytes) encoding = in.bytes();
      else in.skip(t);
    }
    if (!encoding.empty()) fail("content encoding \"" + text_of(encoding) + "\" is not supported");
    std::string api_version, kind;
    Input m(meta);
    while (!m.done()) {
      const Tag t = m.tag();
      if (t.number == 1 && t.wire == kBytes) api_version = text_of(m.bytes());
      else if (t.number == 2 && t.wire == kBytes) kind = text_of(m.bytes());
      else m.skip(t);
    }
    const TypeId type = find_type(api_version, kind);
    json::Value out = json::Value::object();
    out.set("apiVersion", json::Value(api_version));
    out.set("kind", json::Value(kind));
    message(raw, type, out, depth);
    return out;
  }

  Error error;  // when a type cannot be decoded at all

 private:
  TypeId find_type(const std::string& api_version, const std::string& kind) {
    const size_t slash = api_version.find('/');
    const std::string group = slash == std::string::npos ? "" : api_version.substr(0, slash);
    const std::string version = slash == std::string::npos ? api_version : api_version.substr(slash + 1);
    if (const TypeId id = registry_.body_type(group, version, kind); id != kNoType) return speaks_protobuf(id, kind);
    throw Wrong{"no kind \"" + kind + "\" is registered for version \"" + api_version + "\""};
  }

  TypeId speaks_protobuf(TypeId id, const std::string& kind) {
    for (const FieldType& f : registry_.types.get(id).fields)
      if (f.proto != 0) return id;
    error = unsupported_media("application/json, application/yaml");
    throw Wrong{kind};
  }

  static const FieldType* by_number(const ObjectType& t, uint32_t number, size_t& hint) {
    const size_t n = t.fields.size();
    for (size_t i = 0; i < n; ++i) {
      const size_t at = (hint + i) % n;
      if (t.fields[at].proto != number) continue;
      hint = at;
      return &t.fields[at];
    }
    return nullptr;
  }

  void message(std::string_view bytes, TypeId type, json::Value& out, int depth) {
    if (depth > kMaxDepth) fail("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    const ObjectType& t = registry_.types.get(type);
    Input in(bytes);
    size_t hint = 0;
    bool maps = false;
    while (!in.done()) {
      const Tag tag = in.tag();
      const FieldType* f = by_number(t, tag.number, hint);
      if (!f) {
        if (in.skip(tag) && problems_.size() < kMaxProblems)
          problems_.push_back("unknown field number " + std::to_string(tag.number) + " in " + t.name);
        continue;
      }
      if (f->proto_inline) {
        if (tag.wire != kBytes) wrong_wire(tag, *f);
        message(in.bytes(), f->type.object, out, depth + 1);
        continue;
      }
      maps |= f->type.shape == Shape::kMap;
      field(in, tag, *f, out, depth);
    }
    if (!maps) return;
    for (json::Member& m : out.make_object())
      if (const FieldType* f = t.field(m.key); f && f->type.shape == Shape::kMap) last_entries(m.value);
  }

  [[noreturn]] static void wrong_wire(Tag tag, const FieldType& f) {
    fail("wrong wireType = " + std::to_string(tag.wire) + " for field " + f.name);
  }

  void field(Input& in, Tag tag, const FieldType& f, json::Value& out, int depth) {
    if (f.type.shape == Shape::kMap) {
      if (tag.wire != kBytes) wrong_wire(tag, f);
      json::Value* map = out.find(f.name);
      if (!map) map = &out.set(f.name, json::Value::object());
      entry(in.bytes(), f, *map, depth);
      return;
    }
    if (f.type.shape == Shape::kArray) {
      json::Value* list = out.find(f.name);
      if (!list) list = &out.set(f.name, json::Value::array());
      if (tag.wire == kBytes && packable(f.type.item->shape)) {
        Input packed(in.bytes());
        while (!packed.done()) list->push(value(packed, {tag.number, packed_wire(f.type.item->shape)}, *f.type.item, f, nullptr, depth));
        return;
      }
      list->push(value(in, tag, *f.type.item, f, nullptr, depth));
      return;
    }
    json::Value* before = f.type.shape == Shape::kObject ? out.find(f.name) : nullptr;
    json::Value v = value(in, tag, f.type, f, before, depth);
    if (v.is_null() || means_unset(f, v)) out.erase(f.name);
    else out.set(f.name, std::move(v));
  }

  static bool means_unset(const FieldType& f, const json::Value& v) {
    using Zero = FieldType::ProtoZero;
    if (f.proto_zero == Zero::kKeep || f.required) return false;
    const bool zero = (v.is_string() && v.as_string().empty()) || (v.is_number() && v.as_double() == 0) || (v.is_bool() && !v.as_bool());
    if (!zero) return false;
    if (f.proto_zero == Zero::kDrop || v.is_string()) return true;
    return v.is_number() && f.minimum && *f.minimum > 0;
  }

  static bool packable(Shape s) { return s == Shape::kBool || s == Shape::kInt32 || s == Shape::kInt64 || s == Shape::kDouble; }
  static uint32_t packed_wire(Shape s) { return s == Shape::kDouble ? kFixed64 : kVarint; }

  void entry(std::string_view bytes, const FieldType& f, json::Value& map, int depth) {
    Input in(bytes);
    std::string key;
    json::Value v = empty_value(*f.type.item);
    while (!in.done()) {
      const Tag tag = in.tag();
      if (tag.number == 1) {
        if (tag.wire != kBytes) wrong_wire(tag, f);
        key = text_of(in.bytes());
      } else if (tag.number == 2) {
        v = value(in, tag, *f.type.item, f, nullptr, depth + 1);
      } else {
        in.skip(tag);
      }
    }
    map.make_object().push_back({std::move(key), std::move(v)});
  }

  static json::Value empty_value(const TypeRef& ref) {
    switch (ref.shape) {
      case Shape::kString:
      case Shape::kBytes: return json::Value("");
      case Shape::kQuantity: return json::Value("0");
      case Shape::kBool: return json::Value(false);
      case Shape::kArray: return json::Value::array();
      case Shape::kMap:
      case Shape::kObject: return json::Value::object();
      case Shape::kAny:
      case Shape::kTime:
      case Shape::kMicroTime: return {};
      case Shape::kDuration: return json::Value("0s");
      default: return json::Value(0);
    }
  }

  // Entries are appended as they come; of equal keys the last one counts.
  static void last_entries(json::Value& map) {
    json::Object& members = map.make_object();
    if (members.size() < 2) return;
    std::unordered_set<std::string_view> seen;
    std::vector<bool> drop(members.size());
    bool any = false;
    for (size_t i = members.size(); i-- > 0;)
      if (!seen.insert(members[i].key).second) drop[i] = any = true;
    if (!any) return;
    json::Object kept;
    for (size_t i = 0; i < members.size(); ++i)
      if (!drop[i]) kept.push_back(members[i]);
    members = std::move(kept);
  }

  json::Value value(Input& in, Tag tag, const TypeRef& ref, const FieldType& f, json::Value* before, int depth) {
    const Shape s = ref.shape;
    if (s == Shape::kBool || s == Shape::kInt32 || s == Shape::kInt64) {
      if (tag.wire != kVarint) wrong_wire(tag, f);
      const uint64_t v = in.varint();
      if (s == Shape::kBool) return json::Value(v != 0);
      if (s == Shape::kInt32) return json::Value(static_cast<int32_t>(v));
      return json::Value(static_cast<long long>(v));
    }
    if (s == Shape::kDouble) {
      if (tag.wire != kFixed64) wrong_wire(tag, f);
      const uint64_t bits = in.fixed(8);
      double d = 0;
      std::memcpy(&d, &bits, sizeof d);
      if (d != d || d - d != 0) fail("field " + f.name + " is not a finite number");
      return json::Value(d);
    }
    if (tag.wire != kBytes) wrong_wire(tag, f);
    const std::string_view bytes = in.bytes();
    switch (s) {
      case Shape::kString: return json::Value(text_of(bytes));
      case Shape::kBytes: return json::Value(encode_base64(bytes));
      case Shape::kQuantity: {
        const std::string_view q = only_field(bytes);
        return q.empty() ? json::Value() : json::Value(text_of(q));
      }
      case Shape::kIntOrString: return int_or_string_of(bytes);
      case Shape::kTime: return time_of(bytes, false);
      case Shape::kMicroTime: return time_of(bytes, true);
      case Shape::kDuration: return duration_of(bytes);
      case Shape::kAny: return any(only_field(bytes), depth);
      case Shape::kArray: return wrapped_list(bytes, *ref.item, f, depth + 1);
      case Shape::kObject: {
        json::Value v = before ? std::move(*before) : json::Value::object();
        message(bytes, ref.object, v, depth + 1);
        return v;
      }
      default: fail("field " + f.name + " has a form that protobuf does not know");
    }
  }

  // A list where protobuf has one value (map[string][]string): a message whose field 1 repeats.
  json::Value wrapped_list(std::string_view bytes, const TypeRef& item, const FieldType& f, int depth) {
    if (depth > kMaxDepth) fail("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    json::Value list = json::Value::array();
    Input in(bytes);
    while (!in.done()) {
      const Tag tag = in.tag();
      if (tag.number == 1) list.push(value(in, tag, item, f, nullptr, depth));
      else in.skip(tag);
    }
    return list;
  }

  // Raw JSON, or an object in an envelope of its own.
  json::Value any(std::string_view raw, int depth) {
    if (raw.empty()) return {};
    if (depth > kMaxDepth) fail("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    if (raw.substr(0, kMagic.size()) == kMagic) return envelope(raw, depth + 1);
    json::ParseOptions options;
    options.max_depth = kMaxDepth - depth;
    json::ParseResult r = json::parse(raw, options);
    if (!r) fail("embedded JSON: " + r.error);
    return std::move(r.value);
  }

  const RegistrySnapshot& registry_;
  std::vector<std::string>& problems_;
};

}  // namespace

Result<Decoded> decode_protobuf(std::string_view body, const RegistrySnapshot& registry) {
  if (body.substr(0, kMagic.size()) != kMagic)
    return Error(PINTLE_BAD_REQUEST,
                 "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  Decoded out;
  Decoder decoder(registry, out.problems);
  try {
    out.value = decoder.envelope(body, 1);
  } catch (const Wrong& e) {
    if (decoder.error.code == PINTLE_UNSUPPORTED_MEDIA) return decoder.error;
    return Error(PINTLE_BAD_REQUEST, e.text);
  }
  return out;
}

}  // namespace pintle::kernel
