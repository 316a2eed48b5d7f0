#include "kernel/api/certs/renewal.h"

#include <mutex>

namespace pintle::kernel {
namespace {
constexpr uint64_t kDayNs = 24ull * 3600 * 1000000000;
}

struct CertificateRenewal::State {
  Executor& executor;
  const std::string dir;
  const CertificateOptions options;
  const Tell tell;
  std::mutex mutex;  // held while telling, so that the destructor waits for it
  bool over = false;
  TimerId timer = 0;
};

CertificateRenewal::CertificateRenewal(Executor& executor, std::string dir, CertificateOptions options, Tell renewed)
    : state_(std::shared_ptr<State>(new State{executor, std::move(dir), std::move(options), std::move(renewed), {}, false, 0})) {
  look_later(state_);
}

CertificateRenewal::~CertificateRenewal() {
  const std::lock_guard lock(state_->mutex);
  state_->over = true;
  if (state_->timer) state_->executor.cancel(state_->timer);
}

void CertificateRenewal::look_later(const std::shared_ptr<State>& state) {
  const std::lock_guard lock(state->mutex);
  if (state->over) return;
  state->timer = state->executor.after(kDayNs, [state] {
    state->executor.post_blocking([state] {
      const Result<Certificates> r = ensure_certificates(state->dir, state->options, state->executor.wall());
      {
        const std::lock_guard inner(state->mutex);
        if (!state->over && (!r || !r->renewed.empty())) state->tell(r);
      }
      look_later(state);
    });
  });
}

}  // namespace pintle::kernel
