// Bytes from one descriptor to another, or from memory to a descriptor, without blocking.
//
// Threads: one at a time (the owner's strand).
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "pintle/host.h"

namespace pintle::runtime_sim {

// Owns both descriptors (either may be -1) and closes them at the end.
class Pipe {
 public:
  // `strand`: outlives the pipe. Copies `first` and then what comes from `from` to `to`; `done` runs on the strand when `from` ended and
  // everything was written, or `to` went away.
  Pipe(const Host& host, const Strand& strand, int from, int to, std::string first, std::function<void()> done);
  ~Pipe();
  Pipe(const Pipe&) = delete;
  void start();

 private:
  void turn();
  void finish();
  const Host host_;
  const Strand& strand_;
  int from_, to_;
  std::string buffer_;
  std::function<void()> done_;
  FdWatch reading_, writing_;
  bool over_ = false;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace pintle::runtime_sim
