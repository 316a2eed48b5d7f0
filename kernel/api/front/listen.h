// Listening sockets: addresses as text, binding, and who has a port that is in use.
#pragma once
#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::kernel {

struct Listener {
  int fd = -1;            // owned by the caller
  std::string address;    // with the real port
  std::string unix_path;  // to be removed at the end; "" = TCP
};

// "127.0.0.1:6443", "[::1]:0" or "unix:/path". Errors: BAD_REQUEST (not understood), CONFLICT (in use; the text names the process
// when it can be found), INTERNAL. A socket file that nobody serves any more is replaced.
Result<Listener> listen_on(const std::string& address);

// "process 123 (name)" of the listener on a TCP port; "" when it cannot be found (another user's process, a network namespace).
std::string who_listens(int port);

}  // namespace pintle::kernel
