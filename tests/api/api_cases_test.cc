// Behaviour as data: each case of cases_*.yaml is a conversation with a fresh server.
//
//   - name: a sentence
//     steps:
//       - do: GET /path?query     what is sent; ${name} is replaced by what a step before saved
//         body: {..} | "text"     an object is sent as JSON
//         type: media type        of the body, default application/json
//         headers: {accept: ..}   further ones
//         as: user-token          "" = no credentials
//         nest: 300               the body is this many nested lists inside spec.anything
//         pad: 4000000            the body gets an annotation of this size
//         code: 404               what must come back
//         expect: {..}            must be part of the answer; null = must be absent; "re:..." = pattern
//         text: "re:..."          the body as text
//         header: {Warning: re:..}
//         save: {rv: metadata.resourceVersion}
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/api/api_world.h"

namespace pintle::kernel {
namespace {

std::string substitute(std::string text, const std::map<std::string, std::string>& saved) {
  for (const auto& [name, value] : saved) {
    const std::string mark = "${" + name + "}";
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + value.size())) text.replace(at, mark.size(), value);
  }
  return text;
}

class ApiCase : public testing::TestWithParam<json::Value> {};

TEST_P(ApiCase, BehavesAsWritten) {
  World world;
  std::map<std::string, std::string> saved;
  for (const json::Value& step : GetParam()["steps"].items()) {
    const std::string what = substitute(std::string(step["do"].as_string()), saved);
    const size_t space = what.find(' ');
    std::string body = step["body"].is_string() ? std::string(step["body"].as_string()) : step["body"].is_null() ? "" : step["body"].dump();
    body = substitute(body, saved);
    if (const int64_t depth = step["nest"].as_int(); depth > 0) {
      body = R"({"metadata":{"name":"deep"},"spec":{"anything":)" + std::string(static_cast<size_t>(depth), '[') +
             std::string(static_cast<size_t>(depth), ']') + "}}";
    }
    if (const int64_t pad = step["pad"].as_int(); pad > 0) {
      body = R"({"metadata":{"name":"large","annotations":{"a":")" + std::string(static_cast<size_t>(pad), 'x') + "\"}}}";
    }
    Headers headers;
    if (!body.empty()) headers.emplace_back("content-type", step["type"].as_string("application/json"));
    for (const json::Member& m : step["headers"].members()) headers.emplace_back(m.key, m.value.as_string());
    if (step["advance"].is_int()) world.executor.run_for(static_cast<uint64_t>(step["advance"].as_int()) * 1000000000);
    const Reply reply = world.call(what.substr(0, space), what.substr(space + 1), body, headers, std::string(step["as"].as_string("admin-token")));
    const std::string where = what.substr(0, 200) + "\n" + reply.body.substr(0, 2000);
    if (step["code"].is_int()) {
      ASSERT_EQ(step["code"].as_int(), reply.code) << where;
    }
    SCOPED_TRACE(what);
    ASSERT_EQ(differs(step["expect"].is_null() ? json::Value::object() : json::parse_or_null(substitute(step["expect"].dump(), saved)), reply.json.is_object() ? reply.json : json::Value::object()), "") << where;
    if (step["text"].is_string()) {
      ASSERT_EQ(differs(step["text"], json::Value(reply.body)), "") << where;
    }
    for (const json::Member& m : step["header"].members()) {
      std::string all;
      for (const auto& [n, v] : reply.headers) {
        if (n == m.key) all += v + "\n";
      }
      ASSERT_EQ(differs(m.value, json::Value(all)), "") << m.key << ": " << where;
    }
    for (const json::Member& m : step["save"].members()) {
      const json::Value& v = reply.json.at(m.value.as_string());
      saved[m.key] = v.is_string() ? std::string(v.as_string()) : v.dump();
    }
  }
}

std::vector<json::Value> all_cases() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(PINTLE_SOURCE_DIR "/tests/api")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("cases_") && name.ends_with(".yaml")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<json::Value> out;
  for (const auto& f : files) {
    const json::Value list = read_yaml(f.string());
    for (const json::Value& c : list["cases"].items()) out.push_back(c);
  }
  return out;
}

std::string case_name(const testing::TestParamInfo<json::Value>& info) {
  std::string out;
  bool up = true;
  for (const char c : std::string(info.param["name"].as_string())) {
    if (!std::isalnum(static_cast<unsigned char>(c))) {
      up = true;
      continue;
    }
    out += up ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    up = false;
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Cases, ApiCase, testing::ValuesIn(all_cases()), case_name);

}  // namespace
}  // namespace pintle::kernel
