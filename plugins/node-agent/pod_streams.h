// log, exec, attach and port-forward: from the API's connection to the runtime, with the client's descriptors and its pace.
//
// Threads: any.
#pragma once
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent_node.h"
#include "context.h"

namespace pintle::node_agent {

class PodStreams {
 public:
  explicit PodStreams(Context& context) : context_(context) {}
  // `request` as the connect hook of pods answers it: {mode, namespace, name, uid, container, options, fds, port}.
  void open(AgentNode& node, const json::Value& request, Call call);
  void close();  // ends every stream; later ones are refused

 private:
  struct Session;
  void begin(const std::shared_ptr<Session>& s, AgentNode::Target target);
  void begin_log(const std::shared_ptr<Session>& s, const AgentNode::Target& target);
  void finish(const std::shared_ptr<Session>& s, Result<json::Value> r);

  Context& context_;
  std::mutex mutex_;
  bool closed_ = false;
  std::map<Session*, std::shared_ptr<Session>> open_;
};

}  // namespace pintle::node_agent
