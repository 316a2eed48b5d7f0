#include "kernel/cli/completion.h"

#include <map>

namespace pintle::cli {
namespace {

std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string options_of(const Command& c) {
  std::string out = "--help";
  for (const Option& o : c.options) out += std::string(" ") + o.name;
  return out;
}

// First words with their second ones.
std::map<std::string, std::string> words_of(const std::vector<Command>& commands) {
  std::map<std::string, std::string> out;
  for (const Command& c : commands) {
    const std::string name = c.name;
    const size_t space = name.find(' ');
    std::string& second = out[name.substr(0, space)];
    if (space != std::string::npos) second += (second.empty() ? "" : " ") + name.substr(space + 1);
  }
  return out;
}

// bash, and zsh through its bashcompinit: commands, options, file names elsewhere.
std::string for_bash(const std::vector<Command>& commands) {
  std::string first, seconds, options;
  for (const auto& [word, second] : words_of(commands)) {
    first += (first.empty() ? "" : " ") + word;
    if (!second.empty()) seconds += "    " + word + ") second=" + shell_word(second) + " ;;\n";
  }
  for (const Command& c : commands) options += "    " + shell_word(c.name) + ") options=" + shell_word(options_of(c)) + " ;;\n";
  return "_pintle() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} second= options=\n"
         "  COMPREPLY=()\n"
         "  if [[ $COMP_CWORD -eq 1 ]]; then COMPREPLY=($(compgen -W " + shell_word(first) + " -- \"$cur\")); return; fi\n"
         "  case $command in\n" + seconds + "  esac\n"
         "  if [[ -n $second ]]; then\n"
         "    if [[ $COMP_CWORD -eq 2 ]]; then COMPREPLY=($(compgen -W \"$second\" -- \"$cur\")); return; fi\n"
         "    command=\"$command ${COMP_WORDS[2]}\"\n"
         "  fi\n"
         "  case $command in\n" + options + "  esac\n"
         "  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")); else COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
         "}\n"
         "complete -o filenames -F _pintle pintle\n";
}

std::string for_fish(const std::vector<Command>& commands) {
  std::string out = "complete -c pintle -f\n";
  std::map<std::string, bool> named;
  for (const Command& c : commands) {
    const std::string name = c.name;
    const size_t space = name.find(' ');
    const std::string first = name.substr(0, space), second = space == std::string::npos ? "" : name.substr(space + 1);
    std::string when = "__fish_seen_subcommand_from " + first;
    if (second.empty()) {
      out += "complete -c pintle -n __fish_use_subcommand -a " + first + " -d " + shell_word(c.summary) + "\n";
    } else {
      if (!named[first]) out += "complete -c pintle -n __fish_use_subcommand -a " + first + "\n";
      out += "complete -c pintle -n " + shell_word(when) + " -a " + second + " -d " + shell_word(c.summary) + "\n";
      when += "; and __fish_seen_subcommand_from " + second;
    }
    named[first] = true;
    for (const Option& o : c.options)
      out += "complete -c pintle -n " + shell_word(when) + " -l " + std::string(o.name + 2) + (*o.value ? " -r -F" : "") + " -d " + shell_word(o.help) + "\n";
  }
  return out;
}

}  // namespace

Result<std::string> completion_script(const std::vector<Command>& commands, const std::string& shell) {
  if (shell == "bash") return "# bash completion for pintle\n" + for_bash(commands);
  if (shell == "zsh") return "#compdef pintle\nautoload -U +X bashcompinit && bashcompinit\n" + for_bash(commands);
  if (shell == "fish") return "# fish completion for pintle\n" + for_fish(commands);
  return Error(PINTLE_INVALID, "\"" + shell + "\" is not a shell with completion: bash, zsh or fish");
}

}  // namespace pintle::cli
