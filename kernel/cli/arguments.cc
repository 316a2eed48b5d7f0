#include "kernel/cli/arguments.h"

#include <algorithm>

#include "kernel/base/closest.h"

namespace pintle::cli {
namespace {

constexpr size_t kColumn = 24;

void row(std::string& out, const std::string& left, const std::string& right) {
  out += "  " + left;
  if (left.size() + 2 > kColumn) out += "\n" + std::string(kColumn + 2, ' ');
  else out.append(kColumn - left.size(), ' ');
  out += right + "\n";
}

// How many words the usage asks for, and how many it bears.
std::pair<size_t, size_t> operand_count(const std::string& usage) {
  size_t needed = 0, allowed = 0;
  for (size_t at = 0; at < usage.size();) {
    const size_t end = std::min(usage.find(' ', at), usage.size());
    if (end > at) {
      ++allowed;
      if (usage[at] != '[') ++needed;
    }
    at = end + 1;
  }
  return {needed, allowed};
}

std::string first_word(const std::string& name) { return name.substr(0, name.find(' ')); }

}  // namespace

bool Arguments::has(const std::string& option) const {
  return std::any_of(options_.begin(), options_.end(), [&](const auto& o) { return o.first == option; });
}

std::string Arguments::value(const std::string& option, const std::string& otherwise) const {
  std::string out = otherwise;
  for (const auto& [name, value] : options_)
    if (name == option) out = value;
  return out;
}

std::vector<std::string> Arguments::values(const std::string& option) const {
  std::vector<std::string> out;
  for (const auto& [name, value] : options_)
    if (name == option) out.push_back(value);
  return out;
}

Result<Arguments> parse_arguments(const Command& command, const std::vector<std::string>& words) {
  Arguments out;
  const std::string hint = "; see pintle " + std::string(command.name) + " --help";
  bool only_operands = false;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (only_operands || word.size() < 2 || word[0] != '-') {
      out.add_operand(word);
      continue;
    }
    if (word == "--") {
      only_operands = true;
      continue;
    }
    if (word == "-n") word = "--namespace";
    std::string value;
    const size_t equals = word.find('=');
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
      word.resize(equals);
    }
    const auto known = std::find_if(command.options.begin(), command.options.end(), [&](const Option& o) { return word == o.name; });
    if (known == command.options.end()) {
      std::vector<std::string> names;
      for (const Option& o : command.options) names.emplace_back(o.name);
      return Error(PINTLE_INVALID, "unknown option \"" + word + "\"" + kernel::did_you_mean(word, names) + hint);
    }
    if (!*known->value) {
      if (equals != std::string::npos) return Error(PINTLE_INVALID, word + " has no value" + hint);
    } else if (equals == std::string::npos) {
      if (i + 1 >= words.size()) return Error(PINTLE_INVALID, word + " needs a value: " + word + " " + known->value + hint);
      value = words[++i];
    }
    if (*known->value && value.empty()) return Error(PINTLE_INVALID, word + " needs a value that is not empty" + hint);
    out.add(word, value);
  }
  const auto [needed, allowed] = operand_count(command.operands);
  if (out.operands().size() < needed) return Error(PINTLE_INVALID, "usage: pintle " + std::string(command.name) + " " + command.operands + hint);
  if (out.operands().size() > allowed) return Error(PINTLE_INVALID, "unexpected \"" + out.operands()[allowed] + "\"" + hint);
  return out;
}

std::string help_of(const Command& command) {
  std::string out = "usage: pintle " + std::string(command.name);
  if (*command.operands) out += " " + std::string(command.operands);
  if (!command.options.empty()) out += " [options]";
  out += "\n\n" + std::string(command.summary) + ".\n";
  if (!command.options.empty()) out += "\noptions:\n";
  for (const Option& o : command.options) row(out, std::string(o.name) + (*o.value ? " " + std::string(o.value) : ""), o.help);
  if (*command.more) out += "\n" + std::string(command.more);
  return out;
}

std::string help_of(const std::vector<Command>& commands) {
  std::string out = "usage: pintle COMMAND [options]\n\nStarts, stops and looks after a cluster. For everything that is an object of its API use kubectl.\n\ncommands:\n";
  for (const Command& c : commands) row(out, c.name, c.summary);
  out += "\n`pintle COMMAND --help` tells more. PINTLE_DATA stands in for --data.\n";
  return out;
}

const Command* find_command(const std::vector<Command>& commands, const std::vector<std::string>& words, size_t& used) {
  for (const size_t n : {size_t{2}, size_t{1}}) {
    if (words.size() < n) continue;
    const std::string name = n == 2 ? words[0] + " " + words[1] : words[0];
    for (const Command& c : commands) {
      if (name != c.name) continue;
      used = n;
      return &c;
    }
  }
  return nullptr;
}

std::string unknown_command(const std::vector<Command>& commands, const std::vector<std::string>& words) {
  std::string list, below;
  std::vector<std::string> names;
  for (const Command& c : commands) {
    const std::string name = c.name;
    names.push_back(name);
    list += (list.empty() ? "" : ", ") + name;
    if (!words.empty() && first_word(name) == words[0] && name != words[0]) below += (below.empty() ? "" : ", ") + name;
  }
  if (!below.empty()) return (words.size() < 2 ? "\"" + words[0] + "\" needs one more word" : "unknown command \"" + words[0] + " " + words[1] + "\"" + kernel::did_you_mean(words[0] + " " + words[1], names)) + "; there are: " + below;
  const std::string word = words.empty() ? "" : words[0];
  return "unknown command \"" + word + "\"" + kernel::did_you_mean(word, names) + "; there are: " + list;
}

}  // namespace pintle::cli
