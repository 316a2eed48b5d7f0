// Where things lie: the data directory, the programs and files that belong to this one, the home of who asked.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "kernel/cli/arguments.h"
#include "pintle/result.h"

namespace pintle::cli {

// $PINTLE_DATA, else /var/lib/pintle, as an ordinary user $XDG_DATA_HOME/pintle.
std::string default_data();
// --data or the default; absolute.
std::string data_of(const Arguments& arguments);
// $XDG_DATA_HOME/pintle or ~/.local/share/pintle, also for root.
std::string user_data();
// "" when there is none in the usual place.
std::string usual_config();

std::string own_directory();
// Beside this program, else in ../bin or ../sbin. NOT_FOUND says where it was looked for.
Result<std::string> find_program(const std::string& name);
// sdk/template of the tree this program was built in, else <prefix>/share/pintle/template.
Result<std::string> find_templates();
// Directories where plugins of this build or installation lie; only those that exist.
std::vector<std::string> plugin_directories();

// Who typed the command: under sudo the user behind it.
struct Invoker {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
};
Result<Invoker> invoker();

}  // namespace pintle::cli
