// Removes what a cluster has made on this machine. Every step may be repeated and tells what it removed.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "kernel/cli/http.h"
#include "pintle/result.h"

namespace pintle::cli {

using Say = std::function<void(const std::string&)>;

// Containers and networks labelled io.pintle.cluster=NAME. No engine there: nothing to do.
Result<void> purge_containers(const Engine& engine, const std::string& cluster, const Say& say);
// The table of nftables, and our rule in DOCKER-USER unless another cluster's table (they are named pintle-...) still needs it.
Result<void> purge_packet_filter(const std::string& table, const Say& say);
// The group "pintle" in every hierarchy, from the inside out.
Result<void> purge_cgroups(const Say& say);
// Unmounts what is mounted beneath and deletes the directory. INVALID: the directory is not ours.
Result<void> purge_data(const std::string& data, const Say& say);
// The same for a directory of a node agent beside the data directory.
Result<void> purge_root(const std::string& root, const Say& say);

// Mount points at or beneath `directory`, innermost first. `mountinfo`: the text of /proc/self/mountinfo.
std::vector<std::string> mounts_beneath(const std::string& mountinfo, const std::string& directory);

// The iptables command that deletes a rule with the comment "pintle services", made from its line in `iptables -S`; empty for another rule.
std::vector<std::string> deletion_of(const std::string& rule);

}  // namespace pintle::cli
