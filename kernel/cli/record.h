// How a cluster was started, kept in its data directory as up.json: what `down --purge` has to clean up depends on it.
#pragma once
#include <string>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle::cli {

struct Record {
  std::string config;                 // the file, "" = none
  std::vector<std::string> arguments; // of pintled
  bool own_containers = false;        // a driver for real containers is configured
  std::string container_cluster;      // its label on containers
  std::string packet_filter_table;    // of the configured service-proxy, "" = none
  bool has_nodes = false;             // a node agent is configured; not kept
  std::vector<std::string> roots;     // directories of node agents, beside the data directory
};

// What the configuration file and the left-out plugins amount to. Errors: as the file's check says.
Result<Record> record_of(const std::string& config, const std::vector<std::string>& without, const std::string& data);
// "{data}" in a plugin's configuration stands for the data directory, as pintled reads it.
void fill_in_data(json::Value& value, const std::string& data);
Result<void> write_record(const std::string& data, const Record& record);
// NOT_FOUND: there is none.
Result<Record> read_record(const std::string& data);

}  // namespace pintle::cli
