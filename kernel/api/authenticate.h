// Who is it: a certificate of the cluster's CA, a token of the bootstrap file, or what the authn slot's holder says.
#pragma once
#include <functional>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "kernel/api/front/http.h"
#include "kernel/api/pipeline.h"

namespace pintle::kernel {

// Threads: any.
class Authenticator {
 public:
  Authenticator(Executor& executor, HookCaller& hooks, std::string token_file);
  // UNAUTHORIZED when the credentials are missing or wrong.
  void identify(const HttpRequest& request, std::function<void(Result<Identity>)> done);

 private:
  std::optional<Identity> by_token(const std::string& token);
  void reload();  // with mutex_ held; looks at most once a second

  Executor& executor_;
  HookCaller& hooks_;
  const std::string file_;
  std::mutex mutex_;
  std::unordered_map<std::string, Identity> tokens_;
  uint64_t looked_ = 0;
  int64_t changed_ns_ = -1, size_ = -1;
};

}  // namespace pintle::kernel
