// pintle: starts, stops and looks after a cluster.
#include <cstdio>

#include "kernel/cli/commands.h"

namespace {
constexpr int kFailed = 1, kUsage = 2;
}

int main(int argc, char** argv) {
  using namespace pintle::cli;  // NOLINT: the program's own main file
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || (words[0] == "help" && words.size() == 1)) {
    std::fputs(help_of(commands()).c_str(), words.empty() ? stderr : stdout);
    return words.empty() ? kUsage : 0;
  }
  std::vector<std::string> line = words;
  if (line[0] == "--version") line[0] = "version";
  const bool asks_help = line[0] == "help";
  if (asks_help) line.erase(line.begin());
  size_t used = 0;
  const Command* command = find_command(commands(), line, used);
  if (!command) {
    std::fprintf(stderr, "pintle: %s\n", unknown_command(commands(), line).c_str());
    return kUsage;
  }
  line.erase(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(used));
  for (const auto& word : line) {
    if (word == "--") break;
    if (word != "--help" && word != "-h" && !asks_help) continue;
    std::fputs(help_of(*command).c_str(), stdout);
    return 0;
  }
  if (asks_help) {
    std::fputs(help_of(*command).c_str(), stdout);
    return 0;
  }
  auto arguments = parse_arguments(*command, line);
  if (!arguments) {
    std::fprintf(stderr, "pintle: %s\n", arguments.error().text.c_str());
    return kUsage;
  }
  auto code = command->run(*arguments);
  if (code) return *code;
  std::fprintf(stderr, "pintle: %s\n", code.error().text.c_str());
  return code.error().code == PINTLE_INVALID ? kUsage : kFailed;
}
