#include "volumes.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "pintle/quantity.h"

namespace pintle::node_agent {

namespace fs = std::filesystem;
using json::Value;

namespace {

Error io(const std::string& what) { return Error(PINTLE_INTERNAL, what + ": " + std::strerror(errno)); }

Error setup_failed(const Value& volume, const Error& e) {
  return Error(e.code, "MountVolume.SetUp failed for volume \"" + str(volume["name"]) + "\" : " + e.text);
}

uint32_t mode_of(const Value& item, int64_t otherwise) { return static_cast<uint32_t>(item["mode"].as_int(otherwise)) & 0777; }

// Files of a configMap or secret source into `out`.
Result<void> add_object(const Value& source, bool secret, int64_t mode, const Sources& sources, Payload& out) {
  const std::string name = str(source[secret && source.contains("secretName") ? "secretName" : "name"]);
  const bool optional = source["optional"].as_bool();
  const char* what = secret ? "secret" : "configmap";
  auto object = secret ? sources.secret(name) : sources.config_map(name);
  if (!object) {
    if (object.error().code != PINTLE_NOT_FOUND) return object.error();
    if (optional) return {};
    return Error(PINTLE_NOT_FOUND, std::string(what) + " \"" + name + "\" not found");
  }
  const auto content = [&](const std::string& key) -> std::optional<std::string> {
    if (const Value* v = (*object)["data"].find(key)) return secret ? from_base64(v->as_string()) : std::optional<std::string>(str(*v));
    if (const Value* v = (*object)["binaryData"].find(key); v && !secret) return from_base64(v->as_string());
    return std::nullopt;
  };
  if (source["items"].empty()) {
    for (const char* list : {"data", "binaryData"})
      for (const auto& m : (*object)[list].members())
        if (auto text = content(m.key)) out[m.key] = {std::move(*text), static_cast<uint32_t>(mode) & 0777};
    return {};
  }
  for (const auto& item : source["items"].items()) {
    auto text = content(str(item["key"]));
    if (!text) {
      if (optional) continue;
      return Error(PINTLE_NOT_FOUND, std::string(what) + " references non-existent key: " + str(item["key"]));
    }
    const std::string path = str(item["path"]);
    if (auto ok = check_payload_path(path); !ok) return ok;
    out[path] = {std::move(*text), mode_of(item, mode)};
  }
  return {};
}

Result<void> add_downward(const Value& source, const Value& pod, int64_t mode, const Sources& sources, Payload& out) {
  for (const auto& item : source["items"].items()) {
    Result<std::string> text = item.contains("fieldRef") ? field_value(pod, item["fieldRef"]["fieldPath"].as_string(), sources)
                                                         : resource_value(pod, "", item["resourceFieldRef"], sources);
    if (!text) return text.error();
    const std::string path = str(item["path"]);
    if (auto ok = check_payload_path(path); !ok) return ok;
    out[path] = {std::move(*text), mode_of(item, mode)};
  }
  return {};
}

Result<void> make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0) {
    if (errno != EEXIST) return io("create " + path);
    return {};
  }
  if (::chmod(path.c_str(), mode) != 0) return io("chmod " + path);
  return {};
}

Result<void> check_host_path(const VolumePlan& v) {
  struct stat st {};
  const bool there = ::stat(v.path.c_str(), &st) == 0;
  const std::string& t = v.host_path_type;
  std::error_code e;
  if (t.empty() && there) return {};
  if ((t.empty() || t == "DirectoryOrCreate") && !there) {  // without a type a directory appears where nothing is
    fs::create_directories(v.path, e);
    if (e) return Error(PINTLE_INTERNAL, "create " + v.path + ": " + e.message());
    return {};
  }
  if (t == "FileOrCreate" && !there) {
    const int fd = ::open(v.path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) return io("create " + v.path);
    ::close(fd);
    return {};
  }
  const bool ok = there && ((t.starts_with("Directory") && S_ISDIR(st.st_mode)) || (t.starts_with("File") && S_ISREG(st.st_mode)) ||
                            (t == "Socket" && S_ISSOCK(st.st_mode)) || (t == "CharDevice" && S_ISCHR(st.st_mode)) || (t == "BlockDevice" && S_ISBLK(st.st_mode)));
  if (!ok) return Error(PINTLE_INVALID, "hostPath type check failed: " + v.path + " is not a " + t);
  return {};
}

bool mounted(const std::string& path) {
  struct stat self {}, parent {};
  return ::lstat(path.c_str(), &self) == 0 && ::lstat((path + "/..").c_str(), &parent) == 0 && self.st_dev != parent.st_dev;
}

Result<void> put_volume(const VolumePlan& v, const std::string& stamp) {
  if (v.kind == VolumePlan::Kind::kHostPath) return check_host_path(v);
  const bool writable = v.kind != VolumePlan::Kind::kFiles;
  if (auto ok = make_directory(v.path, writable ? 0777 : 0755); !ok) return ok;
  if (v.kind == VolumePlan::Kind::kMemory && !mounted(v.path)) {
    const std::string options = "mode=0777" + (v.size_limit > 0 ? ",size=" + std::to_string(v.size_limit) : std::string());
    if (::mount("tmpfs", v.path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
      return Error(PINTLE_UNSUPPORTED, std::string("emptyDir.medium Memory: this node cannot mount tmpfs: ") + std::strerror(errno));
  }
  if (v.fs_group >= 0 && writable) {
    if (::chown(v.path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(v.fs_group)) != 0) return io("chown " + v.path);
    if (::chmod(v.path.c_str(), 02777) != 0) return io("chmod " + v.path);
  }
  if (v.kind == VolumePlan::Kind::kFiles) return write_payload(v.path, v.payload, stamp, v.fs_group);
  return {};
}

// `sub` beneath `base`, made when it is absent; no link leads out of it.
Result<std::string> sub_path(const std::string& base, const std::string& sub) {
  const std::string refused = "subPath \"" + sub + "\" leaves its volume";
  if (sub.empty() || sub[0] == '/' || sub.find('\0') != std::string::npos) return Error(PINTLE_INVALID, refused);
  for (const auto& part : fs::path(sub))
    if (part == "..") return Error(PINTLE_INVALID, refused);
  const auto open_beneath = [&](int dir, const std::string& path, uint64_t flags) {
    struct open_how how {};
    how.flags = flags | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(::syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how));
  };
  const int root = ::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return io("open " + base);
  int fd = open_beneath(root, sub, O_PATH);
  if (fd < 0 && errno == ENOENT) {  // directory by directory, each one looked at before the next
    std::string so_far;
    for (const auto& part : fs::path(sub)) {
      const int parent = so_far.empty() ? ::dup(root) : open_beneath(root, so_far, O_PATH | O_DIRECTORY);
      if (parent < 0) break;
      if (::mkdirat(parent, part.c_str(), 0750) == 0) ::fchmodat(parent, part.c_str(), 0777, 0);
      ::close(parent);
      so_far += (so_far.empty() ? "" : "/") + part.string();
    }
    fd = open_beneath(root, sub, O_PATH);
  }
  const int error = errno;
  ::close(root);
  if (fd < 0) {
    if (error == EXDEV || error == ELOOP) return Error(PINTLE_INVALID, refused);
    errno = error;
    return io("subPath \"" + sub + "\"");
  }
  // Where it really lies: the engine gets a path without links.
  char real[4096];
  const ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), real, sizeof real - 1);
  ::close(fd);
  if (n <= 0) return io("subPath \"" + sub + "\"");
  return std::string(real, static_cast<size_t>(n));
}

}  // namespace

std::string pod_directory(const std::string& root, const std::string& uid) { return root + "/pods/" + uid; }

std::vector<std::string> volume_sources(const Value& pod) {
  std::vector<std::string> out;
  for (const auto& v : pod["spec"]["volumes"].items()) {
    if (v.contains("configMap")) out.push_back("c/" + str(v["configMap"]["name"]));
    if (v.contains("secret")) out.push_back("s/" + str(v["secret"]["secretName"]));
    for (const auto& s : v["projected"]["sources"].items()) {
      if (s.contains("configMap")) out.push_back("c/" + str(s["configMap"]["name"]));
      if (s.contains("secret")) out.push_back("s/" + str(s["secret"]["name"]));
    }
  }
  return out;
}

Result<std::vector<VolumePlan>> plan_volumes(const Value& pod, const std::string& root, const Sources& sources) {
  std::vector<VolumePlan> out;
  const std::string uid = str(pod["metadata"]["uid"]);
  const int64_t group = pod["spec"]["securityContext"]["fsGroup"].as_int(-1);
  for (const auto& v : pod["spec"]["volumes"].items()) {
    VolumePlan p;
    p.name = str(v["name"]);
    p.path = pod_directory(root, uid) + "/volumes/" + p.name;
    p.fs_group = group;
    Result<void> ok;
    // With a group that reads the files, a secret's own mode gains the group's read bit.
    const auto widen = [&](int64_t mode) { return group >= 0 ? mode | 0440 : mode; };
    if (const Value* h = v.find("hostPath")) {
      p.kind = VolumePlan::Kind::kHostPath;
      p.path = str((*h)["path"]);
      p.host_path_type = str((*h)["type"]);
    } else if (const Value* c = v.find("configMap")) {
      p.kind = VolumePlan::Kind::kFiles;
      ok = add_object(*c, false, widen((*c)["defaultMode"].as_int(0644)), sources, p.payload);
    } else if (const Value* s = v.find("secret")) {
      p.kind = VolumePlan::Kind::kFiles;
      ok = add_object(*s, true, widen((*s)["defaultMode"].as_int(0644)), sources, p.payload);
    } else if (const Value* d = v.find("downwardAPI")) {
      p.kind = VolumePlan::Kind::kFiles;
      ok = add_downward(*d, pod, widen((*d)["defaultMode"].as_int(0644)), sources, p.payload);
    } else if (const Value* j = v.find("projected")) {
      p.kind = VolumePlan::Kind::kFiles;
      const int64_t mode = widen((*j)["defaultMode"].as_int(0644));
      for (const auto& source : (*j)["sources"].items()) {
        if (const Value* c2 = source.find("configMap")) ok = add_object(*c2, false, mode, sources, p.payload);
        else if (const Value* s2 = source.find("secret")) ok = add_object(*s2, true, mode, sources, p.payload);
        else if (const Value* d2 = source.find("downwardAPI")) ok = add_downward(*d2, pod, mode, sources, p.payload);
        if (!ok) break;
      }
    } else if (v["emptyDir"]["medium"].as_string() == "Memory") {
      p.kind = VolumePlan::Kind::kMemory;
      if (const Value& limit = v["emptyDir"]["sizeLimit"]; !limit.is_null())
        if (const auto q = Quantity::parse(limit.is_string() ? str(limit) : limit.dump())) p.size_limit = q->value();
    }
    if (!ok) return setup_failed(v, ok.error());
    out.push_back(std::move(p));
  }
  return out;
}

Result<void> put_volumes(const std::string& root, const std::string& uid, const std::vector<VolumePlan>& plan, const std::string& stamp) {
  std::error_code e;
  fs::create_directories(root + "/pods", e);
  if (e) return Error(PINTLE_INTERNAL, "create " + root + "/pods: " + e.message());
  const std::string dir = pod_directory(root, uid);
  if (auto ok = make_directory(dir, 0700); !ok) return ok;
  if (auto ok = make_directory(dir + "/volumes", 0755); !ok) return ok;
  for (const auto& v : plan)
    if (auto ok = put_volume(v, stamp); !ok) return Error(ok.error().code, "MountVolume.SetUp failed for volume \"" + v.name + "\" : " + ok.error().text);
  return {};
}

void remove_pod_files(const std::string& root, const std::string& uid) {
  if (uid.empty() || uid.find('/') != std::string::npos || uid == "." || uid == "..") return;
  const std::string dir = pod_directory(root, uid);
  std::error_code e;
  for (fs::directory_iterator it(dir + "/volumes", e), end; !e && it != end; it.increment(e))
    if (it->is_directory(e) && !it->is_symlink(e) && mounted(it->path().string()) && ::umount2(it->path().c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) return;
  fs::remove_all(dir, e);
}

Result<std::vector<Value>> container_mounts(const Value& container, const std::vector<VolumePlan>& plan, const Env& env) {
  std::vector<Value> out;
  for (const auto& m : container["volumeMounts"].items()) {
    const VolumePlan* v = nullptr;
    for (const auto& p : plan)
      if (p.name == m["name"].as_string()) v = &p;
    if (!v) return Error(PINTLE_INVALID, "cannot find volume \"" + str(m["name"]) + "\" to mount into container \"" + str(container["name"]) + "\"");
    std::string source = v->path;
    std::string sub = str(m["subPath"]);
    if (sub.empty() && m.contains("subPathExpr")) sub = expand(m["subPathExpr"].as_string(), env);
    if (!sub.empty()) {
      auto path = sub_path(source, sub);
      if (!path) return path.error();
      source = std::move(*path);
    }
    const std::string_view propagation = m["mountPropagation"].as_string();
    out.push_back(Value::object({{"hostPath", source}, {"containerPath", m["mountPath"]},
                                 {"readOnly", m["readOnly"].as_bool() || v->kind == VolumePlan::Kind::kFiles},
                                 {"propagation", propagation == "Bidirectional" ? "shared" : propagation == "HostToContainer" ? "slave" : "private"}}));
  }
  return out;
}

Result<std::string> termination_file(const std::string& root, const std::string& uid, const std::string& container, int64_t attempt) {
  const std::string dir = pod_directory(root, uid) + "/containers/" + container;
  std::error_code e;
  fs::create_directories(dir, e);
  if (e) return Error(PINTLE_INTERNAL, "create " + dir + ": " + e.message());
  const std::string path = dir + "/" + std::to_string(attempt);
  const int fd = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return io("create " + path);
  ::fchmod(fd, 0666);
  ::close(fd);
  return path;
}

std::string as_text(std::string bytes) {
  // A cut goes through a letter at times.
  size_t rest = 0;
  while (rest < bytes.size() && rest < 3 && (static_cast<unsigned char>(bytes[rest]) & 0xC0) == 0x80) ++rest;
  bytes.erase(0, rest);
  std::string quoted;
  json::quote(bytes, quoted);
  if (!json::parse(quoted))
    for (char& c : bytes)
      if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return bytes;
}

std::string read_termination_file(const std::string& root, const std::string& uid, const std::string& container, int64_t attempt) {
  const std::string path = pod_directory(root, uid) + "/containers/" + container + "/" + std::to_string(attempt);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return {};
  char buffer[4096];
  const ssize_t n = ::read(fd, buffer, sizeof buffer);
  ::close(fd);
  if (n <= 0) return {};
  return as_text(std::string(buffer, static_cast<size_t>(n)));
}

}  // namespace pintle::node_agent
