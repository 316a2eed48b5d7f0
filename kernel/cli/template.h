// A new plugin from a template of the SDK.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "pintle/result.h"

namespace pintle::cli {

// From "my-runtime": name "my-runtime", Class "MyRuntime", file "my_runtime", short "my", version as given.
// `short` is what a runtime or scheduler is called in its slot: the name without "runtime" or "scheduler".
// INVALID: not a DNS label, or longer than 50 characters.
Result<std::map<std::string, std::string>> template_words(const std::string& name, const std::string& version);
// Replaces @word@ for each of the words; another @...@ stays.
std::string fill_template(std::string text, const std::map<std::string, std::string>& words);
// Copies the files of `from` to the new directory `to`, filled in, names too. ALREADY_EXISTS: `to` is there.
Result<std::vector<std::string>> instantiate_template(const std::string& from, const std::string& to, const std::map<std::string, std::string>& words);

}  // namespace pintle::cli
