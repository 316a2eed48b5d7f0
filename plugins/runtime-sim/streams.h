// exec, attach, port-forward and logs of simulated containers.
//
// Threads: everything on the owner's strand, except that reading a request's descriptors happens before.
#pragma once
#include <list>
#include <map>
#include <memory>

#include "machine.h"
#include "pintle/host.h"
#include "pipe.h"

namespace pintle::runtime_sim {

// The descriptors of an exec or attach; -1 = not asked for. Closes what nobody took over.
struct Ends {
  int in = -1, out = -1, err = -1, resize = -1;
  bool any = false;
  Ends() = default;
  Ends(const json::Value& fds, Call& call);
  Ends(Ends&& o) noexcept;
  ~Ends();
};

class Streams {
 public:
  Streams(const Host& host, const Strand& strand, Machine& machine) : host_(host), strand_(strand), machine_(machine) {}
  void exec(const json::Value& request, Ends ends, std::shared_ptr<Call> call);
  void attach(const json::Value& request, Ends ends, std::shared_ptr<Call> call);
  void port_forward(const json::Value& request, int fd, std::shared_ptr<Call> call);
  void logs(const json::Value& request, std::shared_ptr<Call> call);
  void on_line(const Container& c);  // new log lines, or it ended
  void end_all();                    // refuses what is open; nothing is left

 private:
  struct Follower {
    std::shared_ptr<Call> call;
    std::string container;
    size_t next = 0;  // absolute line number
    bool timestamps = false, follow = false, waiting = false;
    int64_t left = -1;  // bytes, -1 = no limit
    std::string part;
  };
  struct Session {
    std::shared_ptr<Call> call;
    std::vector<std::unique_ptr<Pipe>> pipes;
    size_t open = 0;
    Timer timer;
    json::Value reply;
    int resize = -1;
    ~Session();
  };
  void pump(const std::shared_ptr<Follower>& f);
  std::shared_ptr<Session> session(std::shared_ptr<Call> call);
  void add_pipe(const std::shared_ptr<Session>& s, int from, int to, std::string first);
  void maybe_done(const std::shared_ptr<Session>& s);

  const Host host_;
  const Strand& strand_;
  Machine& machine_;
  std::list<std::shared_ptr<Follower>> followers_;
  std::map<Session*, std::shared_ptr<Session>> sessions_;
};

}  // namespace pintle::runtime_sim
