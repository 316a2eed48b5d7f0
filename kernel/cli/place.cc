#include "kernel/cli/place.h"

#include <pwd.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <filesystem>

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string home() {
  const std::string h = environment("HOME");
  return h.empty() ? "/" : h;
}

bool is_folder(const fs::path& p) {
  std::error_code code;
  return fs::is_directory(p, code);
}

}  // namespace

std::string user_data() {
  const std::string xdg = environment("XDG_DATA_HOME");
  return (xdg.empty() ? home() + "/.local/share" : xdg) + "/pintle";
}

std::string default_data() {
  const std::string set = environment("PINTLE_DATA");
  if (!set.empty()) return set;
  return geteuid() == 0 ? "/var/lib/pintle" : user_data();
}

std::string data_of(const Arguments& arguments) {
  std::string data = fs::absolute(arguments.value("--data", default_data())).lexically_normal().string();
  while (data.size() > 1 && data.back() == '/') data.pop_back();
  return data;
}

std::string usual_config() {
  const std::string xdg = environment("XDG_CONFIG_HOME");
  const std::string path = geteuid() == 0 ? "/etc/pintle/pintle.yaml" : (xdg.empty() ? home() + "/.config" : xdg) + "/pintle/pintle.yaml";
  std::error_code code;
  return fs::exists(path, code) ? path : "";
}

std::string own_directory() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  if (n <= 0) return ".";
  return fs::path(std::string(path, static_cast<size_t>(n))).parent_path().string();
}

Result<std::string> find_program(const std::string& name) {
  const fs::path here = own_directory();
  for (const fs::path& p : {here / name, here / ".." / "bin" / name, here / ".." / "sbin" / name})
    if (access(p.c_str(), X_OK) == 0) return p.lexically_normal().string();
  return Error(PINTLE_NOT_FOUND, "cannot find the program " + name + " in " + here.string() + ", ../bin or ../sbin; build or install it there");
}

Result<std::string> find_templates() {
  const fs::path here = own_directory();
  for (const fs::path& p : {here / "../../../sdk/template", here / "../share/pintle/template"})
    if (is_folder(p)) return p.lexically_normal().string();
  return Error(PINTLE_NOT_FOUND, "the templates are not in " + (here / "../share/pintle/template").lexically_normal().string() +
                                     "; install the SDK: apt install pintle-dev, or cmake --install BUILD --component sdk");
}

std::vector<std::string> plugin_directories() {
  const fs::path prefix = fs::path(own_directory()).parent_path();
  std::vector<std::string> out;
  for (const char* below : {"lib/pintle/plugins", "lib64/pintle/plugins", "lib/x86_64-linux-gnu/pintle/plugins", "lib/aarch64-linux-gnu/pintle/plugins"})
    if (is_folder(prefix / below)) out.push_back((prefix / below).string());
  if (is_folder("/etc/pintle/plugins.d")) out.emplace_back("/etc/pintle/plugins.d");
  return out;
}

Result<Invoker> invoker() {
  Invoker who{getuid(), getgid(), ""};
  const std::string sudo_uid = environment("SUDO_UID");
  const bool sudo = geteuid() == 0 && !sudo_uid.empty() && sudo_uid != "0";
  if (sudo) who.uid = static_cast<uid_t>(std::strtoul(sudo_uid.c_str(), nullptr, 10));
  const passwd* entry = getpwuid(who.uid);
  if (sudo) {
    if (!entry) return Error(PINTLE_NOT_FOUND, "SUDO_UID names user " + sudo_uid + ", who does not exist");
    who.gid = entry->pw_gid;
    who.home = entry->pw_dir;
  } else {
    who.home = environment("HOME");
    if (who.home.empty() && entry) who.home = entry->pw_dir;
  }
  if (who.home.empty()) return Error(PINTLE_NOT_FOUND, "there is no home directory: set HOME");
  return who;
}

}  // namespace pintle::cli
