#include "kernel/cli/record.h"

#include <algorithm>

#include "kernel/base/file.h"
#include "kernel/plugin/config.h"
#include "pintle/json.h"

namespace pintle::cli {
namespace {

using json::Value;

constexpr const char* kUsualRoot = "/var/lib/pintle/node";  // of a node agent whose configuration has none

Value texts(const std::vector<std::string>& list) {
  Value v = Value::array();
  for (const auto& s : list) v.push(s);
  return v;
}

std::vector<std::string> texts(const Value& list) {
  std::vector<std::string> out;
  for (const Value& v : list.items()) out.emplace_back(v.as_string());
  return out;
}

}  // namespace

Result<Record> record_of(const std::string& config, const std::vector<std::string>& without, const std::string& data) {
  Record out;
  out.config = config;
  if (config.empty()) return out;
  std::vector<std::string> roots;
  auto loaded = kernel::load_config(config);
  if (!loaded) return loaded.error();
  for (const auto& entry : loaded->plugins) {
    if (std::find(without.begin(), without.end(), entry.name) != without.end()) continue;
    if (!entry.spec["enabled"].as_bool(true)) continue;
    const std::string_view named = entry.spec["plugin"].as_string();
    const std::string plugin(named.empty() ? std::string_view(entry.name) : named);
    Value c = entry.spec["config"];
    fill_in_data(c, data);
    if (plugin == "runtime-docker") {
      out.own_containers = true;
      out.container_cluster = c["cluster"].as_string("default");
    }
    if (plugin == "service-proxy") out.packet_filter_table = c["table"].as_string("pintle");
    if (plugin != "node-agent") continue;
    out.has_nodes = true;
    roots.emplace_back(c["root"].as_string(kUsualRoot));
  }
  // Simulated nodes have no files.
  for (const auto& root : roots)
    if (out.own_containers && root.rfind(data + "/", 0) != 0) out.roots.push_back(root);
  return out;
}

void fill_in_data(Value& value, const std::string& data) {
  if (value.is_string()) {
    std::string text(value.as_string());
    static constexpr std::string_view kPlace = "{data}";
    for (size_t at = text.find(kPlace); at != std::string::npos; at = text.find(kPlace, at + data.size())) text.replace(at, kPlace.size(), data);
    value = Value(std::move(text));
  } else if (value.is_array()) {
    for (auto& item : value.make_array()) fill_in_data(item, data);
  } else if (value.is_object()) {
    for (auto& member : value.make_object()) fill_in_data(member.value, data);
  }
}

Result<void> write_record(const std::string& data, const Record& r) {
  const Value v = Value::object({{"config", r.config},
                                 {"arguments", texts(r.arguments)},
                                 {"ownContainers", r.own_containers},
                                 {"containerCluster", r.container_cluster},
                                 {"packetFilterTable", r.packet_filter_table},
                                 {"roots", texts(r.roots)}});
  return kernel::write_file(data + "/up.json", v.dump(true));
}

Result<Record> read_record(const std::string& data) {
  auto text = kernel::read_file(data + "/up.json");
  if (!text) return text.error();
  const Value v = json::parse_or_null(*text);
  Record out;
  out.config = v["config"].as_string();
  out.arguments = texts(v["arguments"]);
  out.own_containers = v["ownContainers"].as_bool();
  out.container_cluster = v["containerCluster"].as_string();
  out.packet_filter_table = v["packetFilterTable"].as_string();
  out.roots = texts(v["roots"]);
  return out;
}

}  // namespace pintle::cli
