// Keeps the certificates of a running server good: looks once a day, renews what is due, tells what changed.
//
// Threads: any. Files are read and written on the executor's blocking pool. After the destructor nothing more is begun; a look that is
// under way ends without telling anybody.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "kernel/api/certs/certs.h"
#include "kernel/run/executor.h"

namespace pintle::kernel {

class CertificateRenewal {
 public:
  // `renewed` gets the result of each look that wrote files or failed. The front end sees new files by itself.
  using Tell = std::function<void(const Result<Certificates>&)>;
  CertificateRenewal(Executor& executor, std::string dir, CertificateOptions options, Tell renewed);
  ~CertificateRenewal();
  CertificateRenewal(const CertificateRenewal&) = delete;

 private:
  struct State;
  static void look_later(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace pintle::kernel
