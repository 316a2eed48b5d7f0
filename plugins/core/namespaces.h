// Keeps the namespaces that every cluster has, and in each namespace the `default` ServiceAccount and the ConfigMap
// kube-root-ca.crt.
//
// Threads: any.
#pragma once
#include <functional>
#include <mutex>
#include <string>

#include "pintle/host.h"

namespace pintle::core {

using Answered = std::function<void(json::Value result)>;  // {"result":"done"|"after"|"retry",...} without the key

class Namespaces {
 public:
  // `ca`: PEM text; "" = no kube-root-ca.crt is written.
  Namespaces(Host host, std::string ca) : host_(host), ca_(std::move(ca)) {}
  // Creates default, kube-system, kube-public and kube-node-lease; tries again until they are there.
  void start();
  void stop();
  void reconcile(const std::string& name, Answered answered);
  // Of a changed ServiceAccount or ConfigMap: the namespace's key when it is one of ours.
  static json::Value map(const json::Value& request);

 private:
  void create_all();
  const Host host_;
  const std::string ca_;
  std::mutex mutex_;
  bool stopped_ = false;  // guarded by mutex_
  Timer retry_;           // guarded by mutex_
};

}  // namespace pintle::core
