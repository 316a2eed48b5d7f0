// pintle-manifest: turns plugin.yaml (with the types and kinds it names) into the manifest that is embedded in a plugin,
// and prints the manifest of a built one.
#include <glob.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <yaml-cpp/yaml.h>

#include "pintle/abi.h"
#include "pintle/json.h"

namespace fs = std::filesystem;
using pintle::json::Value;

namespace {

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "pintle-manifest: %s\n", text.c_str());
  std::exit(1);
}

// Plain scalars become what JSON would make of them; quoted ones stay strings.
Value scalar(const YAML::Node& n) {
  const std::string& s = n.Scalar();
  if (n.Tag() == "!") return Value(s);
  if (s == "null" || s == "~" || s.empty()) return Value();
  const auto r = pintle::json::parse(s);
  if (r && (r.value.is_number() || r.value.is_bool())) return r.value;
  return Value(s);
}

Value convert(const YAML::Node& n, const std::string& file) {
  switch (n.Type()) {
    case YAML::NodeType::Scalar: return scalar(n);
    case YAML::NodeType::Sequence: {
      Value v = Value::array();
      for (const auto& item : n) v.push(convert(item, file));
      return v;
    }
    case YAML::NodeType::Map: {
      Value v = Value::object();
      for (const auto& kv : n) {
        const std::string key = kv.first.Scalar();
        if (v.contains(key))
          die(file + ":" + std::to_string(kv.first.Mark().line + 1) + ": duplicate key \"" + key + "\"");
        v.set(key, convert(kv.second, file));
      }
      return v;
    }
    default: return Value();
  }
}

Value load(const fs::path& file) {
  try {
    return convert(YAML::LoadFile(file.string()), file.string());
  } catch (const YAML::Exception& e) {
    die(file.string() + ":" + std::to_string(e.mark.line + 1) + ":" + std::to_string(e.mark.column + 1) + ": " + e.msg);
  }
}

std::vector<fs::path> matches(const fs::path& dir, const Value& patterns) {
  std::vector<fs::path> out;
  for (const auto& p : patterns.items()) {
    glob_t g{};
    const std::string pattern = (dir / std::string(p.as_string())).string();
    if (glob(pattern.c_str(), 0, nullptr, &g) != 0) die(pattern + ": no such file");
    for (size_t i = 0; i < g.gl_pathc; ++i) out.emplace_back(g.gl_pathv[i]);
    globfree(&g);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Value compose(const fs::path& file) {
  Value m = load(file);
  if (m["name"].as_string().empty()) die(file.string() + ": name is missing");
  if (m["version"].as_string().empty()) die(file.string() + ": version is missing");
  m.set("abi", std::to_string(PINTLE_ABI_MAJOR) + "." + std::to_string(PINTLE_ABI_MINOR));
  m.set("draft", PINTLE_DRAFT);
  Value types = Value::object(), kinds = Value::array();
  for (const auto& f : matches(file.parent_path(), m["types"])) {
    const Value t = load(f);
    for (const auto& member : t["types"].members()) {
      if (types.contains(member.key)) die(f.string() + ": type " + member.key + " is there twice");
      types.set(member.key, member.value);
    }
  }
  for (const auto& f : matches(file.parent_path(), m["kinds"])) kinds.push(load(f));
  m.set("types", std::move(types));
  m.set("kinds", std::move(kinds));
  return m;
}

void embed(const fs::path& yaml, const fs::path& out) {
  const std::string json = compose(yaml).dump();
  std::ofstream o(out);
  // A string literal would exceed compilers' limits for large manifests: numbers in an array instead.
  o << "/* Made by pintle-manifest from plugin.yaml. */\n#include <stdint.h>\n";
  const auto bytes = [&](const char* begin, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      o << static_cast<int>(static_cast<signed char>(begin[i])) << ',';
      if (i % 32 == 31) o << '\n';
    }
  };
  o << "extern const char pintle_manifest_json[];\nconst char pintle_manifest_json[] = {\n";
  bytes(json.data(), json.size());
  o << "0};\n";
  const size_t padded = (json.size() + 3) / 4 * 4;
  o << "__attribute__((section(\".note.pintle\"), aligned(4), used)) static const struct { uint32_t n, d, t; char name[8]; char desc["
    << padded << "]; } pintle_note = {7, " << json.size() << ", " << PINTLE_NOTE_TYPE << ", \"" << PINTLE_NOTE_NAME << "\", {\n";
  bytes(json.data(), json.size());
  for (size_t i = json.size(); i < padded; ++i) o << "0,";
  o << "}};\n";
  if (!o.flush()) die("cannot write " + out.string());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "embed" && argc == 4) {
    embed(argv[2], argv[3]);
  } else if (verb == "show" && argc == 3) {
    std::cout << compose(argv[2]).dump(true);
  } else {
    std::cerr << "usage: pintle-manifest embed plugin.yaml out.c   write the C source that carries the manifest\n"
                 "       pintle-manifest show plugin.yaml          print the manifest as JSON\n";
    return 2;
  }
}
