// Ends namespaces: pods first, then everything else, then the `kubernetes` finalizer in the namespace's spec.
//
//   Terminating -> contents deleted -> (finalizers of contents, hidden kinds: wait, named in conditions) -> /finalize -> gone
//
// Threads: any.
#pragma once
#include <functional>
#include <string>

#include "plugins/namespace/contents.h"

namespace pintle::ns {

class Terminator {
 public:
  using Answered = std::function<void(json::Value result)>;  // {"result":...} of pintle.controller/1 without the key
  explicit Terminator(Host host) : host_(host), contents_(host) {}
  void start() { contents_.start(); }
  void stop() { contents_.stop(); }
  void reconcile(const std::string& ns, Answered answered);

 private:
  struct Left {
    std::map<std::string, size_t> objects;              // by kind: still there
    std::map<std::string, size_t> finalizers;           // by finalizer: objects that wait for it
    std::map<std::string, size_t> hidden;               // by kind: cannot be deleted, its plugin is disabled
    std::string failure;                                // the first list or delete that failed
    std::vector<Op> deletes;
  };
  Left look(const std::string& ns) const;
  void report(const Object& stored, json::Value ns, const Left& left, Answered answered) const;
  void finalize(const Object& stored, json::Value ns, Answered answered) const;

  const Host host_;
  Contents contents_;
};

}  // namespace pintle::ns
