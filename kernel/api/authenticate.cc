#include "kernel/api/authenticate.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "pintle/if/admission.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {
namespace {

// One CSV line; fields may be quoted.
std::vector<std::string> csv(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"') {
      if (quoted && i + 1 < line.size() && line[i + 1] == '"') {
        out.back() += '"';
        ++i;
      } else {
        quoted = !quoted;
      }
    } else if (c == ',' && !quoted) {
      out.emplace_back();
    } else if (c != '\r') {
      out.back() += c;
    }
  }
  return out;
}

void add_authenticated(Identity& who) {
  if (std::find(who.groups.begin(), who.groups.end(), "system:authenticated") == who.groups.end()) {
    who.groups.push_back("system:authenticated");
  }
}

}  // namespace

Authenticator::Authenticator(Executor& executor, HookCaller& hooks, std::string token_file)
    : executor_(executor), hooks_(hooks), file_(std::move(token_file)) {}

void Authenticator::reload() {
  const uint64_t now = executor_.now();
  if (changed_ns_ >= 0 && now - looked_ < kSecond) return;
  looked_ = now;
  struct stat st {};
  if (stat(file_.c_str(), &st) != 0) {
    tokens_.clear();
    changed_ns_ = size_ = -1;
    return;
  }
  const int64_t changed = static_cast<int64_t>(st.st_mtim.tv_sec) * static_cast<int64_t>(kSecond) + st.st_mtim.tv_nsec;
  if (changed == changed_ns_ && st.st_size == size_) return;
  changed_ns_ = changed;
  size_ = st.st_size;
  tokens_.clear();
  std::ifstream in(file_);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string> f = csv(line);
    if (f.size() < 3 || f[0].empty() || f[1].empty()) continue;
    Identity who;
    who.user = f[1];
    who.uid = f[2];
    if (f.size() > 3) who.groups = csv(f[3]);
    std::erase(who.groups, "");
    add_authenticated(who);
    tokens_[f[0]] = std::move(who);
  }
}

std::optional<Identity> Authenticator::by_token(const std::string& token) {
  if (file_.empty()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  reload();
  const auto at = tokens_.find(token);
  if (at == tokens_.end()) return std::nullopt;
  return at->second;
}

void Authenticator::identify(const HttpRequest& request, std::function<void(Result<Identity>)> done) {
  const Error refused(PINTLE_UNAUTHORIZED, "Unauthorized");
  if (request.certificate && !request.certificate->common_name.empty()) {
    Identity who;
    who.user = request.certificate->common_name;
    who.groups = request.certificate->organizations;
    add_authenticated(who);
    done(std::move(who));
    return;
  }
  const std::string authorization(request.header("authorization"));
  if (authorization.starts_with("Bearer ")) {
    if (std::optional<Identity> who = by_token(authorization.substr(7))) {
      done(std::move(*who));
      return;
    }
  }
  if (authorization.empty() || !hooks_.slot_held("authn")) {
    done(refused);
    return;
  }
  json::Value ask = json::Value::object();
  ask.set("authorization", authorization);
  ask.set("remote", request.remote);
  hooks_.call("authn", PINTLE_AUTHN, 0, ask.dump(), executor_.now() + kSecond, [done = std::move(done), refused](Result<std::string> reply) {
    if (!reply) return done(refused);
    const json::Value v = json::parse_or_null(*reply);
    if (!v["authenticated"].as_bool() || v["user"]["username"].as_string().empty()) return done(refused);
    Identity who;
    who.user = v["user"]["username"].as_string();
    who.uid = v["user"]["uid"].as_string();
    for (const json::Value& g : v["user"]["groups"].items()) who.groups.emplace_back(g.as_string());
    add_authenticated(who);
    done(std::move(who));
  });
}

}  // namespace pintle::kernel
