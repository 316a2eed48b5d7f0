#include "kernel/base/closest.h"

#include <algorithm>

namespace pintle::kernel {
namespace {

constexpr size_t kFarthest = 2, kLongest = 64;

// Edits that make one of the other: the restricted Damerau-Levenshtein distance, with three rows of its table.
size_t typing_errors(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

}  // namespace

std::string closest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  if (word.size() > kLongest) return best;
  const auto letters = static_cast<size_t>(std::count_if(word.begin(), word.end(), [](char c) { return c != '-'; }));
  size_t least = kFarthest + 1;
  for (const auto& c : candidates) {
    const size_t errors = typing_errors(word, c);
    if (errors >= least || errors * 2 >= letters) continue;
    least = errors;
    best = c;
  }
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string near = closest(word, candidates);
  return near.empty() ? "" : "; did you mean \"" + near + "\"?";
}

}  // namespace pintle::kernel
