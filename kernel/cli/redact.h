// Strikes out what must not leave a machine.
#pragma once
#include "pintle/json.h"

namespace pintle::cli {

// Values of members whose name speaks of a password, token, secret, credential or private key become "(struck out)", at any depth. A member that
// only names a file ("tokenFile") stays.
void redact(json::Value& value);

}  // namespace pintle::cli
