#include "builtin.h"

#include <algorithm>

namespace pintle::runtime_sim {

namespace {

std::optional<int> integer(std::string_view s) {
  if (s.empty() || s.size() > 9) return std::nullopt;
  int n = 0;
  for (char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + (c - '0');
  }
  return n;
}

// Words of a shell line, with '...' and "..." but without expansions.
std::vector<std::string> words(std::string_view s) {
  std::vector<std::string> out;
  std::string word;
  bool any = false;
  char quote = 0;
  for (char c : s) {
    if (quote) {
      if (c == quote) quote = 0;
      else word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      any = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (any || !word.empty()) out.push_back(std::move(word));
      word.clear();
      any = false;
    } else {
      word += c;
    }
  }
  if (any || !word.empty()) out.push_back(std::move(word));
  return out;
}

std::optional<Builtin> shell(std::string_view script) {
  Builtin out;
  while (!script.empty()) {
    const size_t both = script.find("&&"), semicolon = script.find(';'), line = script.find('\n');
    const size_t end = std::min({both, semicolon, line, script.size()});
    const bool stop_on_failure = end == both && both != std::string_view::npos;
    std::vector<std::string> command = words(script.substr(0, end));
    script.remove_prefix(std::min(script.size(), end + (stop_on_failure ? 2 : 1)));
    if (!command.empty() && command[0] == "exec") command.erase(command.begin());
    if (command.empty()) continue;
    const auto step = builtin(command);
    if (!step) return std::nullopt;
    out.output += step->output;
    out.error += step->error;
    out.run_ns += step->run_ns;
    out.copies_stdin |= step->copies_stdin;
    out.exit_code = step->exit_code;
    if (command[0] == "exit" || (stop_on_failure && out.exit_code != 0)) break;
  }
  return out;
}

}  // namespace

std::optional<uint64_t> duration_ns(std::string_view text) {
  uint64_t total = 0;
  bool any = false;
  while (!text.empty()) {
    size_t n = 0;
    while (n < text.size() && text[n] >= '0' && text[n] <= '9') ++n;
    const auto amount = integer(text.substr(0, n));
    if (!amount) return std::nullopt;
    text.remove_prefix(n);
    uint64_t unit = 1'000'000'000;
    if (text.starts_with("ms")) {
      unit = 1'000'000;
      text.remove_prefix(2);
    } else if (text.starts_with("s")) {
      text.remove_prefix(1);
    } else if (text.starts_with("m")) {
      unit *= 60;
      text.remove_prefix(1);
    } else if (text.starts_with("h")) {
      unit *= 3600;
      text.remove_prefix(1);
    } else if (!text.empty()) {
      return std::nullopt;
    }
    total += static_cast<uint64_t>(*amount) * unit;
    any = true;
  }
  if (!any) return std::nullopt;
  return total;
}

std::optional<Builtin> builtin(const std::vector<std::string>& command) {
  if (command.empty()) return std::nullopt;
  std::string_view name = command[0];
  if (const size_t slash = name.rfind('/'); slash != std::string_view::npos) name.remove_prefix(slash + 1);
  Builtin out;
  if (name == "true" || name == ":") return out;
  if (name == "false") {
    out.exit_code = 1;
    return out;
  }
  if (name == "exit") {
    const auto code = command.size() > 1 ? integer(command[1]) : std::optional<int>(0);
    out.exit_code = code ? *code & 255 : 2;
    return out;
  }
  if (name == "echo") {
    size_t i = 1;
    const bool newline = !(command.size() > 1 && command[1] == "-n");
    if (!newline) ++i;
    for (bool first = true; i < command.size(); ++i, first = false) {
      if (!first) out.output += ' ';
      out.output += command[i];
    }
    if (newline) out.output += '\n';
    return out;
  }
  if (name == "cat") {
    out.copies_stdin = command.size() == 1 || (command.size() == 2 && command[1] == "-");
    if (!out.copies_stdin) {
      out.error = "cat: " + command[1] + ": No such file or directory\n";
      out.exit_code = 1;
    }
    return out;
  }
  if (name == "sleep") {
    const auto ns = command.size() > 1 ? duration_ns(command[1]) : std::nullopt;
    if (command.size() > 1 && (command[1] == "infinity" || command[1] == "inf")) return std::nullopt;  // runs until it is stopped
    if (!ns) {
      out.exit_code = 1;
      out.error = "sleep: invalid time interval\n";
      return out;
    }
    out.run_ns = *ns;
    return out;
  }
  if ((name == "sh" || name == "bash") && command.size() >= 3 && command[1] == "-c") return shell(command[2]);
  return std::nullopt;
}

}  // namespace pintle::runtime_sim
