// Random damage to good bodies: whatever comes in, decoding ends, answers, and touches no memory that is not its own.
#include <random>

#include "kernel/api/schema/widget_test.h"
#include "kernel/api/schema/wire_test.h"

namespace pintle::kernel::testing {
namespace {

class Fuzz : public Widgets {
 protected:
  std::string damage(std::string s) {
    const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); };
    for (size_t n = 1 + below(4); n > 0 && !s.empty(); --n) {
      const size_t at = below(s.size());
      switch (below(5)) {
        case 0: s[at] = static_cast<char>(below(256)); break;
        case 1: s.erase(at, 1 + below(8)); break;
        case 2: s.insert(at, 1, "{}[]:,-&*!?|>'\"\n \t\\<#%"[below(22)]); break;
        case 3: s.insert(at, s.substr(below(s.size()), 1 + below(24))); break;
        default: s.resize(at); break;
      }
    }
    return s;
  }

  void run(const std::vector<std::string>& seeds, const char* type, int rounds) {
    int fine = 0;
    for (int i = 0; i < rounds; ++i) {
      Result<Decoded> r = decode_body(damage(seeds[static_cast<size_t>(i) % seeds.size()]), type, *snapshot);
      if (!r) {
        EXPECT_FALSE(r.error().text.empty());
        continue;
      }
      ++fine;
      use(r->value);
    }
    EXPECT_GT(fine, 0);
  }

  // The rest of the way that a body goes.
  void use(json::Value v) {
    std::vector<std::string> problems;
    if (!normalise(v, widget(), types(), &problems)) return;
    apply_defaults(v, widget(), types());
    const std::string text = v.dump();
    ASSERT_TRUE(json::parse(text).ok) << text;
    std::vector<FieldCause> causes;
    validate(v, &v, widget(), types(), "", causes);
    Kind kind;
    validate_metadata(v["metadata"], kind, causes);
    stored_only_fields(v, nullptr, widget(), types());
    json::Value again = v;
    ASSERT_TRUE(normalise(again, widget(), types(), &problems).ok());
    EXPECT_EQ(again.dump(), text);
  }

  std::mt19937 random_{20240229};
  const std::string json_ = R"({"apiVersion":"widgets.example.io/v1","kind":"Widget","metadata":{"name":"x","labels":{"a":"b"},"finalizers":["a/b"]},
    "spec":{"replicas":2,"color":"red","parts":[{"name":"a","size":"1.5Gi","port":80,"data":"YQ==","ports":[{"number":1}]}],"limits":{"cpu":"0.5"},"interval":"1h","raw":{"a":[null]},
    "volumes":[{"name":"v","empty":{"limit":"1e3"}}],"ratio":0.25,"tags":["x"],"extra":{"k":["v"]}},"status":{"started":"2024-01-01T00:00:00Z"}})";
  const std::string yaml_ = "apiVersion: widgets.example.io/v1\nkind: Widget\nmetadata:\n  name: x\n  labels: &l {a: b, c: \"d\"}\n  annotations: *l\nspec:\n  replicas: 2\n"
                            "  parts:\n  - name: a\n    size: 1.5Gi\n    port: 80\n  - {name: b, mode: 0644, <<: {size: 1}}\n  node: |\n    text\n  raw: !!str >-\n    folded\n    text\n";
};

TEST_F(Fuzz, Json) { run({json_}, "application/json", 20000); }

TEST_F(Fuzz, Yaml) { run({yaml_, json_}, "application/yaml", 8000); }

TEST_F(Fuzz, Protobuf) {
  const Message part = Message().bytes(1, "a").message(2, Message().bytes(1, "1")).message(3, Message().number(1, 1).bytes(3, "p")).bytes(7, "xy").message(5, Message().number(1, 80));
  const Message spec = Message().number(1, 2).bytes(2, "red").message(3, part).message(4, Message().bytes(1, "v").message(2, Message().message(1, Message())))
                           .entry(5, "k", Message().bytes(2, "v")).entry(7, "cpu", Message().message(2, Message().bytes(1, "1"))).message(8, Message().number(1, 1000))
                           .message(9, Message().bytes(1, R"({"a":1})")).fixed64(11, 0x3FD0000000000000).entry(14, "k", Message().message(2, Message().bytes(1, "a")))
                           .bytes(16, Message().raw(1).raw(300).text()).message(18, Message().message(1, Message().number(2, 1)));
  const Message meta = Message().bytes(1, "x").message(8, Message().number(1, 1704067200)).entry(11, "a", Message().bytes(2, "b"));
  run({envelope("widgets.example.io/v1", "Widget", Message().message(1, meta).message(2, spec)), envelope("v1", "DeleteOptions", Message().number(1, 0).bytes(5, "All"))},
      "application/vnd.kubernetes.protobuf", 30000);
}

TEST_F(Fuzz, Patches) {
  const std::string strategic = R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a/b"],"$setElementOrder/finalizers":["a/b"]},"spec":{"$setElementOrder/parts":[{"name":"a"}],
    "parts":[{"name":"a","$patch":"merge","ports":[{"number":1,"$patch":"delete"}]},{"$patch":"replace"}],"volumes":[{"name":"v","$retainKeys":["name"]}],"strategy":{"$patch":"replace"}}})";
  const std::string pointers = R"([{"op":"add","path":"/spec/tags/0","value":{"a":1}},{"op":"move","from":"/spec/raw","path":"/spec/x"},{"op":"copy","from":"/spec","path":"/spec/y"},
    {"op":"remove","path":"/spec/parts/0"},{"op":"test","path":"/kind","value":"Widget"},{"op":"replace","path":"/metadata","value":null}])";
  for (int i = 0; i < 20000; ++i) {
    const bool list = i % 2 == 0;
    const json::ParseResult p = json::parse(damage(list ? pointers : strategic));
    if (!p.ok) continue;
    json::Value v = parse(json_), w = v;
    if (list) static_cast<void>(json_patch(v, p.value).ok());
    else static_cast<void>(strategic_patch(v, p.value, widget(), types()).ok());
    static_cast<void>(merge_patch(w, p.value).ok());
    use(std::move(v));
    use(std::move(w));
  }
}

TEST_F(Fuzz, SelectorsAndQuantities) {
  for (int i = 0; i < 20000; ++i) {
    const auto s = LabelSelector::parse(damage("a in (b,c),!d,e!=f,g>5,h notin (,x)"));
    if (s.ok()) s->matches(pack_labels(parse(R"({"a":"b","g":"7"})")));
    static_cast<void>(parse_field_selector(damage("metadata.name=x,spec.y!=z\\,")).ok());
    json::Value v = json::Value::object();
    v.make("spec").set("limits", json::Value::object({{"x", damage("1234.5678Gi")}}));
    v.make("spec").set("interval", damage("1h30m10.5s"));
    if (i % 2) v.make("spec").erase("interval");
    use(std::move(v));
  }
}

}  // namespace
}  // namespace pintle::kernel::testing
