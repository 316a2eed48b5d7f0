// The commands of `pintle` as data, and their command lines.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "pintle/result.h"

namespace pintle::cli {

struct Option {
  const char* name;   // "--data"
  const char* value;  // what its value is called in the help, "" = it has none
  const char* help;
};

class Arguments {
 public:
  bool has(const std::string& option) const;
  // The last one given.
  std::string value(const std::string& option, const std::string& otherwise = {}) const;
  std::vector<std::string> values(const std::string& option) const;
  const std::vector<std::string>& operands() const { return operands_; }

  void add(std::string option, std::string value) { options_.emplace_back(std::move(option), std::move(value)); }
  void add_operand(std::string operand) { operands_.push_back(std::move(operand)); }

 private:
  std::vector<std::pair<std::string, std::string>> options_;
  std::vector<std::string> operands_;
};

struct Command {
  const char* name;      // "plugin new"
  const char* operands;  // "NAME", "[NAME]" or "": as in the usage line; bracketed ones may be left out
  const char* summary;
  std::vector<Option> options;
  const char* more;      // what the help says after the options: behaviour and examples
  // The exit code, or what went wrong in one line.
  Result<int> (*run)(const Arguments&);
};

// INVALID: a sentence that names what is wrong and where help is.
Result<Arguments> parse_arguments(const Command& command, const std::vector<std::string>& words);
std::string help_of(const Command& command);
std::string help_of(const std::vector<Command>& commands);
// The command that the words begin with and how many words name it; null when there is none.
const Command* find_command(const std::vector<Command>& commands, const std::vector<std::string>& words, size_t& used);
// "unknown command "join"; there are: up, down, ...; or, after a word that begins some commands, those.
std::string unknown_command(const std::vector<Command>& commands, const std::vector<std::string>& words);

}  // namespace pintle::cli
