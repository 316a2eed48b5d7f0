// Sockets for pintle.net/1 by address text.
#pragma once
#include <string_view>

#include "pintle/result.h"

namespace pintle::kernel {

// "unix:/path", "tcp:1.2.3.4:80", "udp:1.2.3.4:53", "tcp:[::1]:80". Non-blocking, close-on-exec. INVALID: not such an address
// (names are not resolved); UNAVAILABLE with the system's words.
Result<int> open_socket(std::string_view address, bool listen);

}  // namespace pintle::kernel
