#include "kernel/cli/explanation.h"

#include <algorithm>

#include "kernel/cli/terminal.h"

namespace pintle::cli {

std::string explanation_text(const std::string& pod, const json::Value& answer) {
  if (answer["nodes"].empty()) return std::string(answer["text"].as_string("pod " + pod + ": no answer\n"));
  std::string out = "pod " + pod;
  if (const auto message = answer["message"].as_string(); !message.empty()) out += ": " + std::string(message);
  out += "\n\n";
  std::vector<const json::Value*> nodes;
  for (const auto& n : answer["nodes"].items()) nodes.push_back(&n);
  const auto possible = [](const json::Value* n) { return !n->contains("filter"); };
  std::stable_sort(nodes.begin(), nodes.end(), [&](const auto* a, const auto* b) {
    if (possible(a) != possible(b)) return possible(a);
    return possible(a) && (*a)["total"].as_int() > (*b)["total"].as_int();
  });
  std::vector<std::vector<std::string>> rows = {{"NODE", "POSSIBLE", "SCORE", "WHY"}};
  for (const auto* n : nodes) {
    const std::string name((*n)["name"].as_string());
    if (!possible(n)) {
      rows.push_back({name, "no", "-", std::string((*n)["filter"].as_string()) + ": " + std::string((*n)["reason"].as_string())});
      continue;
    }
    std::string parts;
    for (const auto& s : (*n)["scores"].members()) parts += (parts.empty() ? "" : ", ") + s.key + " " + std::to_string(s.value.as_int());
    rows.push_back({name, "yes", std::to_string((*n)["total"].as_int()), parts});
  }
  return out + table(rows);
}

}  // namespace pintle::cli
