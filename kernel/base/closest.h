// What a user may have meant by a word that is not known.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace pintle::kernel {

// The candidate with the fewest typing errors (a letter too many, missing, wrong, or two in the wrong order), when they are two at most and fewer
// than half of the word's letters; "" = none is near.
std::string closest(std::string_view word, const std::vector<std::string>& candidates);
// "; did you mean \"--detach\"?", or "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace pintle::kernel
