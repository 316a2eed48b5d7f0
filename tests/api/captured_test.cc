// Protobuf bodies of the built-in kinds: bodies that real clients sent (tests/clients/capture wrote them into captured/), and one made
// here for every kind, with every field set.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "kernel/api/schema/wire_test.h"
#include "tests/api/api_world.h"

namespace pintle::kernel {
namespace {

using testing::Message;

std::string text_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The kinds of the plugins in the tree, from their files.
class BuiltIn : public ::testing::Test {
 protected:
  BuiltIn() {
    for (const char* plugin : {"core", "replicaset", "deployment", "scheduling", "service"}) {
      const std::filesystem::path root = std::filesystem::path(PINTLE_SOURCE_DIR) / "plugins" / plugin;
      json::Value manifest = json::Value::object();
      json::Value& types = manifest.set("types", json::Value::object());
      for (const auto& file : files(root / "types", ".yaml")) {
        const json::Value document = read_yaml(file);
        for (const json::Member& m : document["types"].members()) types.set(m.key, m.value);
      }
      json::Value kinds = json::Value::array();
      for (const auto& file : files(root / "kinds", ".yaml")) kinds.push(read_yaml(file));
      manifest.set("kinds", std::move(kinds));
      const Result<void> added = registry_.add(plugin, manifest);
      EXPECT_TRUE(added.ok()) << plugin << ": " << added.error().text;
    }
    snapshot_ = registry_.snapshot();
  }
  static std::vector<std::filesystem::path> files(const std::filesystem::path& directory, const std::string& extension) {
    std::vector<std::filesystem::path> out;
    if (!std::filesystem::exists(directory)) return out;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      if (entry.path().extension() == extension) out.push_back(entry.path());
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  // Decoded and in canonical form, without what says nothing.
  json::Value understood(const std::string& body, const std::string& type) {
    Result<Decoded> d = decode_body(body, type, *snapshot_);
    if (!d) {
      ADD_FAILURE() << d.error().text;
      return {};
    }
    for (const std::string& p : d->problems) ADD_FAILURE() << p;
    const std::string api(d->value["apiVersion"].as_string());
    const size_t slash = api.find('/');
    const TypeId id = snapshot_->body_type(slash == std::string::npos ? "" : api.substr(0, slash), slash == std::string::npos ? api : api.substr(slash + 1),
                                           d->value["kind"].as_string());
    std::vector<std::string> problems;
    const Result<void> n = normalise(d->value, id, snapshot_->types, &problems);
    EXPECT_TRUE(n.ok()) << n.error().text;
    for (const std::string& p : problems) ADD_FAILURE() << p;
    if (d->value["status"].empty() || d->value["status"].dump() == R"({"loadBalancer":{}})") d->value.erase("status");
    return std::move(d->value);
  }
  Registry registry_;
  std::shared_ptr<const RegistrySnapshot> snapshot_;
};

// Beside NAME.pb lies what the client says that it sent (its --dry-run=client), as JSON.
TEST_F(BuiltIn, BodiesOfRealClientsMeanTheSameAsTheirJson) {
  const auto bodies = files(PINTLE_SOURCE_DIR "/tests/api/captured", ".pb");
  EXPECT_GE(bodies.size(), 15u);
  for (const auto& path : bodies) {
    SCOPED_TRACE(path.filename().string());
    const json::Value got = understood(text_of_file(path), "application/vnd.kubernetes.protobuf");
    std::filesystem::path said = path;
    said.replace_extension(".json");
    const json::Value wanted = understood(text_of_file(said), "application/json");
    EXPECT_EQ(differs(wanted, got), "") << got.dump(true);
    EXPECT_EQ(differs(got, wanted), "") << "more than was said: " << got.dump(true);
  }
}

// A message of a type with every field set once, and the same as JSON.
class Full {
 public:
  explicit Full(const TypeTable& types) : types_(types) {}
  Message message(TypeId id, json::Value& out, int depth) {
    Message m;
    for (const FieldType& f : types_.get(id).fields) {
      if (f.proto == 0) continue;
      if (f.proto_inline) {
        m.message(f.proto, message(f.type.object, out, depth + 1));
        continue;
      }
      const TypeRef& inner = f.type.item ? *f.type.item : f.type;
      if (inner.shape == Shape::kObject && depth > 12) continue;  // types that contain themselves end here
      ++fields;
      json::Value v;
      if (f.type.shape == Shape::kMap) {
        Message value;
        put(value, 2, *f.type.item, f, v, depth);
        m.entry(f.proto, "key", value);
        out.set(f.name, json::Value::object()).set("key", std::move(v));
      } else if (f.type.shape == Shape::kArray) {
        put(m, f.proto, *f.type.item, f, v, depth);
        out.set(f.name, json::Value::array()).push(std::move(v));
      } else {
        put(m, f.proto, f.type, f, v, depth);
        out.set(f.name, std::move(v));
      }
    }
    return m;
  }
  int fields = 0;

 private:
  void put(Message& m, uint32_t number, const TypeRef& ref, const FieldType& f, json::Value& v, int depth) {
    const int64_t n = f.minimum && *f.minimum > 1 ? static_cast<int64_t>(*f.minimum) : 1;
    std::string word = "word";
    for (const std::string& e : f.enumeration) {
      if (!e.empty()) word = e;
    }
    switch (ref.shape) {
      case Shape::kString: m.bytes(number, word), v = word; break;
      case Shape::kBool: m.number(number, 1), v = true; break;
      case Shape::kInt32:
      case Shape::kInt64: m.number(number, static_cast<uint64_t>(n)), v = n; break;
      case Shape::kDouble: m.fixed64(number, 0x3FF8000000000000), v = 1.5; break;
      case Shape::kBytes: m.bytes(number, "\x01\x02"), v = "AQI="; break;
      case Shape::kQuantity: m.message(number, Message().bytes(1, "1500m")), v = "1500m"; break;
      case Shape::kIntOrString: m.message(number, Message().number(1, 1).bytes(3, "25%")), v = "25%"; break;
      case Shape::kTime: m.message(number, Message().number(1, 86400)), v = "1970-01-02T00:00:00Z"; break;
      case Shape::kMicroTime: m.message(number, Message().number(1, 86400).number(2, 5000)), v = "1970-01-02T00:00:00.000005Z"; break;
      case Shape::kDuration: m.message(number, Message().number(1, 1000000000)), v = "1s"; break;
      case Shape::kAny: m.message(number, Message().bytes(1, R"({"a":1})")), v = json::parse_or_null(R"({"a":1})"); break;
      case Shape::kObject: {
        v = json::Value::object();
        m.message(number, message(ref.object, v, depth + 1));
        break;
      }
      case Shape::kArray: {
        json::Value item;
        Message list;
        put(list, 1, *ref.item, f, item, depth);
        v = json::Value::array();
        v.push(std::move(item));
        m.message(number, list);
        break;
      }
      case Shape::kMap: FAIL() << f.name << ": a map in a map";
    }
  }
  const TypeTable& types_;
};

TEST_F(BuiltIn, EveryFieldOfEveryKindArrivesFromProtobuf) {
  int kinds = 0;
  for (const auto& kind : snapshot_->kinds) {
    // Ours and IPAddresses are written by plugins alone, in JSON.
    if (kind->group == "pintle.dev" || kind->group == "networking.k8s.io") continue;
    for (const Version& version : kind->versions) {
      const std::string api = kind->group.empty() ? version.name : kind->group + "/" + version.name;
      SCOPED_TRACE(api + " " + kind->kind);
      Full full(snapshot_->types);
      json::Value wanted = json::Value::object();
      const Message m = full.message(version.type, wanted, 0);
      ASSERT_GT(full.fields, 1) << "no field has a protobuf number";
      Result<Decoded> d = decode_body(testing::envelope(api, kind->kind, m), "application/vnd.kubernetes.protobuf", *snapshot_);
      ASSERT_TRUE(d.ok()) << d.error().text;
      for (const std::string& p : d->problems) ADD_FAILURE() << p;
      EXPECT_EQ(differs(wanted, d->value), "");
      std::vector<std::string> problems;
      const Result<void> n = normalise(d->value, version.type, snapshot_->types, &problems);
      EXPECT_TRUE(n.ok()) << n.error().text;
      for (const std::string& p : problems) ADD_FAILURE() << p;
      EXPECT_EQ(differs(wanted, d->value), "");
      ++kinds;
    }
  }
  EXPECT_GE(kinds, 14);
  for (const auto& [api, kind] : std::vector<std::pair<std::string, std::string>>{
           {"v1", "DeleteOptions"}, {"policy/v1", "Eviction"}, {"v1", "Binding"}, {"autoscaling/v1", "Scale"}}) {
    SCOPED_TRACE(kind);
    const Result<Decoded> d = decode_body(testing::envelope(api, kind, Message()), "application/vnd.kubernetes.protobuf", *snapshot_);
    EXPECT_TRUE(d.ok()) << d.error().text;
  }
}

}  // namespace
}  // namespace pintle::kernel
