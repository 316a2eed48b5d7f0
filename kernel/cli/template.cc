#include "kernel/cli/template.h"

#include <algorithm>
#include <filesystem>

#include "kernel/base/file.h"

namespace pintle::cli {
namespace fs = std::filesystem;
namespace {

constexpr size_t kLongestName = 50;

std::string short_of(const std::string& name) {
  for (const std::string word : {"runtime", "scheduler", "controller"}) {
    if (name.rfind(word + "-", 0) == 0) return name.substr(word.size() + 1);
    const size_t n = word.size() + 1;
    if (name.size() > n && name.compare(name.size() - n, n, "-" + word) == 0) return name.substr(0, name.size() - n);
  }
  return name;
}

}  // namespace

Result<std::map<std::string, std::string>> template_words(const std::string& name, const std::string& version) {
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  const bool shape = !name.empty() && name.size() <= kLongestName && letter(name.front()) && name.back() != '-' && name.find("--") == std::string::npos &&
                     std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; });
  if (!shape) return Error(PINTLE_INVALID, "\"" + name + "\" cannot be a plugin's name: small letters, digits and single dashes, a letter first, 50 at most; for example my-runtime");
  std::string type, file;
  bool capital = true;
  for (const char c : name) {
    if (c == '-') {
      capital = true;
      file += '_';
      continue;
    }
    type += static_cast<char>(capital && letter(c) ? c - 32 : c);
    file += c;
    capital = false;
  }
  return std::map<std::string, std::string>{{"name", name}, {"Class", type}, {"file", file}, {"short", short_of(name)}, {"version", version}};
}

std::string fill_template(std::string text, const std::map<std::string, std::string>& words) {
  std::string out;
  size_t at = 0;
  for (;;) {
    const size_t open = text.find('@', at);
    if (open == std::string::npos) return out + text.substr(at);
    const size_t close = text.find('@', open + 1);
    const auto word = close == std::string::npos ? words.end() : words.find(text.substr(open + 1, close - open - 1));
    if (word == words.end()) {
      out += text.substr(at, open + 1 - at);
      at = open + 1;
    } else {
      out += text.substr(at, open - at) + word->second;
      at = close + 1;
    }
  }
}

Result<std::vector<std::string>> instantiate_template(const std::string& from, const std::string& to, const std::map<std::string, std::string>& words) {
  std::error_code code;
  if (fs::exists(to, code)) return Error(PINTLE_ALREADY_EXISTS, to + " is there already; choose another name or --dir");
  std::vector<std::string> made;
  for (const auto& entry : fs::recursive_directory_iterator(from, code)) {
    if (!entry.is_regular_file()) continue;
    const std::string target = to + "/" + fill_template(fs::relative(entry.path(), from).string(), words);
    auto text = kernel::read_file(entry.path().string());
    if (!text) return text.error();
    fs::create_directories(fs::path(target).parent_path(), code);
    if (code) return Error(PINTLE_FORBIDDEN, "cannot make " + fs::path(target).parent_path().string() + ": " + code.message());
    if (auto r = kernel::write_file(target, fill_template(std::move(*text), words), 0644); !r) return r.error();
    made.push_back(target);
  }
  if (made.empty()) return Error(PINTLE_NOT_FOUND, "the template " + from + " is empty or missing");
  std::sort(made.begin(), made.end());
  return made;
}

}  // namespace pintle::cli
