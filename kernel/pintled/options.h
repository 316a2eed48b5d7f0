// The command line of pintled, and the configuration that comes out of it and of the file.
#pragma once
#include <string>

#include "kernel/plugin/config.h"

namespace pintle::kernel {

struct Options {
  Config config;          // file and command line together; directories and data filled in
  int ready_fd = -1;      // a line "ready https://...\n" is written there, then it is closed
  bool help = false, version = false;
};

// INVALID: the text is for the user as it is.
Result<Options> parse_options(int argc, char** argv);
const char* usage();

}  // namespace pintle::kernel
