#include "kernel/cli/purge.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "kernel/cli/process.h"
#include "kernel/cli/record.h"
#include "kernel/store/ownership.h"

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

std::string counted(size_t n, const std::string& what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

// Octal escapes of the kernel: "\040" is a space.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// A second system's files must not be deleted through a mount that was left behind.
Result<void> unmount_beneath(const std::string& directory) {
  std::ifstream file("/proc/self/mountinfo");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  for (const auto& point : mounts_beneath(text, directory)) {
    if (point == directory) return Error(PINTLE_INVALID, directory + " is a mount point; unmount it, or delete what is in it, yourself");
    if (umount2(point.c_str(), MNT_DETACH) != 0) return Error(PINTLE_FORBIDDEN, "cannot unmount " + point + ": " + std::strerror(errno) + "; nothing was deleted there");
  }
  return {};
}

Result<void> remove_directory(const std::string& directory, const Say& say) {
  std::error_code code;
  if (!fs::exists(fs::symlink_status(directory, code))) return {};
  if (fs::is_symlink(fs::symlink_status(directory, code))) return Error(PINTLE_INVALID, directory + " is a symbolic link; delete it yourself");
  if (auto r = unmount_beneath(directory); !r) return r;
  fs::remove_all(directory, code);
  if (code) return Error(PINTLE_FORBIDDEN, "cannot delete " + directory + ": " + code.message());
  say("removed " + directory);
  return {};
}

}  // namespace

std::vector<std::string> mounts_beneath(const std::string& mountinfo, const std::string& directory) {
  std::vector<std::string> out;
  std::istringstream lines(mountinfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string skip, point;
    words >> skip >> skip >> skip >> skip >> point;
    point = unescape(point);
    if (point == directory || point.rfind(directory + "/", 0) == 0) out.push_back(point);
  }
  std::reverse(out.begin(), out.end());  // later mounts lie over earlier ones
  return out;
}

std::vector<std::string> deletion_of(const std::string& rule) {
  static constexpr std::string_view kComment = "\"pintle services\"";
  const size_t at = rule.find(kComment);
  if (rule.rfind("-A ", 0) != 0 || at == std::string::npos) return {};
  std::vector<std::string> words = {"iptables", "-w", "5", "-D"};
  const auto split = [&](const std::string& part) {
    std::istringstream in(part);
    for (std::string w; in >> w;) words.push_back(w);
  };
  split(rule.substr(3, at - 3));
  words.emplace_back("pintle services");
  split(rule.substr(at + kComment.size()));
  return words;
}

Result<void> purge_containers(const Engine& engine, const std::string& cluster, const Say& say) {
  const std::string filter = percent_encode(json::Value::object({{"label", json::Value::array({"io.pintle.cluster=" + cluster})}}).dump());
  auto list = engine.call("GET", "/containers/json?all=1&filters=" + filter);
  if (!list) {
    if (list.error().code == PINTLE_NOT_FOUND || list.error().code == PINTLE_UNAVAILABLE) {
      say("no Docker engine at " + engine.socket() + ": containers, if there are any, stay");
      return {};
    }
    return list.error();
  }
  size_t removed = 0;
  for (const auto& c : list->items()) {
    auto r = engine.call("DELETE", "/containers/" + std::string(c["Id"].as_string()) + "?force=1&v=1", 60000);
    // Gone or going is as good.
    if (!r && r.error().code != PINTLE_NOT_FOUND && r.error().code != PINTLE_CONFLICT) return r.error();
    ++removed;
  }
  if (removed) say("removed " + counted(removed, "container"));
  auto networks = engine.call("GET", "/networks?filters=" + filter);
  if (!networks) return {};
  for (const auto& n : networks->items()) {
    auto r = engine.call("DELETE", "/networks/" + std::string(n["Id"].as_string()));
    if (!r && r.error().code != PINTLE_NOT_FOUND) return r.error();
    say("removed network " + std::string(n["Name"].as_string()));
  }
  return {};
}

Result<void> purge_packet_filter(const std::string& table, const Say& say) {
  bool others = false;
  const Finished tables = run_program({"nft", "list", "tables"});
  std::istringstream named(tables.output);
  for (std::string word, family, name; named >> word >> family >> name;) {
    if (name != table) {
      others |= name.rfind("pintle", 0) == 0;
      continue;
    }
    const Finished r = run_program({"nft", "delete", "table", family, name});
    if (r.code != 0) return Error(PINTLE_FORBIDDEN, "nft delete table " + family + " " + name + ": " + r.errors.substr(0, r.errors.find('\n')));
    say("removed nftables table " + family + " " + name);
  }
  if (others) return {};
  // The rule as it stands there, so that it is found whatever its details are.
  const Finished rules = run_program({"iptables", "-w", "5", "-S", "DOCKER-USER"});
  std::istringstream lines(rules.output);
  for (std::string line; std::getline(lines, line);) {
    const std::vector<std::string> words = deletion_of(line);
    if (words.empty()) continue;
    const Finished r = run_program(words);
    if (r.code != 0) return Error(PINTLE_FORBIDDEN, "iptables -D DOCKER-USER: " + r.errors.substr(0, r.errors.find('\n')));
    say("removed the DOCKER-USER rule \"pintle services\"");
  }
  return {};
}

Result<void> purge_cgroups(const Say& say) {
  std::vector<fs::path> tops = {"/sys/fs/cgroup/pintle"};
  std::error_code code;
  for (const auto& entry : fs::directory_iterator("/sys/fs/cgroup", code))
    if (entry.is_directory(code)) tops.push_back(entry.path() / "pintle");
  size_t removed = 0;
  const int64_t deadline = monotonic_ms() + 2000;
  for (const auto& top : tops) {
    if (!fs::is_directory(top, code)) continue;
    std::vector<fs::path> all = {top};
    for (const auto& entry : fs::recursive_directory_iterator(top, code))
      if (entry.is_directory(code)) all.push_back(entry.path());
    // A group can go when those in it are gone; longer paths are further inside. Ends of processes take a moment to arrive.
    std::sort(all.begin(), all.end(), [](const fs::path& a, const fs::path& b) { return a.native().size() > b.native().size(); });
    for (const auto& group : all) {
      int rc = rmdir(group.c_str());
      while (rc != 0 && errno == EBUSY && monotonic_ms() < deadline) {
        pause_ms(20);
        rc = rmdir(group.c_str());
      }
      if (rc != 0 && errno == EBUSY) {
        say("cgroup " + group.string() + " stays: processes are in it");
        continue;
      }
      if (rc != 0 && errno != ENOENT) return Error(PINTLE_UNAVAILABLE, "cannot remove the cgroup " + group.string() + ": " + std::strerror(errno));
      ++removed;
    }
  }
  if (removed) say("removed " + counted(removed, "cgroup"));
  return {};
}

Result<void> purge_data(const std::string& data, const Say& say) {
  std::error_code code;
  if (!fs::exists(data, code)) return {};
  if (!kernel::is_data_directory(data)) return Error(PINTLE_INVALID, data + " has no database of Pintle's; it is not deleted");
  return remove_directory(data, say);
}

Result<void> purge_root(const std::string& root, const Say& say) {
  std::error_code code;
  if (!fs::exists(root, code)) return {};
  // What a node agent makes there and nobody else would.
  if (!fs::is_directory(root + "/pods", code)) return Error(PINTLE_INVALID, root + " does not look like a node agent's directory (no pods/ in it); it is not deleted");
  return remove_directory(root, say);
}

}  // namespace pintle::cli
