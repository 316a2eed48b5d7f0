// Tells systemd how far the service is, by its own protocol; without NOTIFY_SOCKET nothing happens.
#pragma once
#include <string>

namespace pintle::kernel {

void notify_service_manager(const std::string& state);  // "READY=1", "STOPPING=1"

}  // namespace pintle::kernel
