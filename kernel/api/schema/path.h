// Where in an object a walk stands: a chain of frames on the stack, written out only when somebody needs the text.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace pintle::kernel {

struct PathFrame {
  const PathFrame* up = nullptr;
  std::string_view name;                       // member; unused when this is an item
  size_t index = static_cast<size_t>(-1);      // item of a list
  bool map_key = false;                        // name is a key of a map: written as [key] by bracketed()

  bool is_item() const { return index != static_cast<size_t>(-1); }

  // "spec.containers[0].image"; map keys as members.
  // All three are cut at kLongest bytes: keys come from clients, and one long key may lie above very many fields.
  static constexpr size_t kLongest = 1024;
  std::string dotted() const { return cut(write(false, true)); }
  // The same without indexes, as Go's JSON errors name fields.
  std::string members() const { return cut(write(false, false)); }
  // "metadata.labels[app]": as field errors name map entries.
  std::string bracketed() const { return cut(write(true, true)); }

 private:
  static std::string cut(std::string s) {
    if (s.size() <= kLongest) return s;
    size_t n = kLongest;
    while ((s[n] & 0xC0) == 0x80) --n;  // not within a character
    return s.substr(0, n) + "...";
  }
  std::string write(bool brackets, bool indexes) const {
    std::string s = up ? up->write(brackets, indexes) : std::string();
    if (is_item()) {
      if (indexes) s += "[" + std::to_string(index) + "]";
    } else if (map_key && brackets) {
      s += "[" + std::string(name) + "]";
    } else if (!name.empty()) {
      if (!s.empty()) s += '.';
      s += name;
    }
    return s;
  }
};

}  // namespace pintle::kernel
