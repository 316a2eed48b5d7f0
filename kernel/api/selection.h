// What a list or a watch selects: labels, fields, one name.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "kernel/api/schema/codec.h"
#include "kernel/store/store.h"

namespace pintle::kernel {

// Threads: immutable after make().
class Selection {
 public:
  // `only_name`: from the URL (single-object watch). BAD_REQUEST for bad syntax and fields that are not selectable.
  static Result<Selection> make(const Kind& kind, const Kind& storage, const std::string& version, const std::string& labels,
                                const std::string& fields, const std::string& only_name);
  bool all() const;  // selects everything
  bool matches(const StoredObject& object) const;
  const std::string& name() const { return name_; }  // "" unless exactly one name can match
  const std::optional<std::pair<size_t, std::string>>& index() const { return index_; }

 private:
  struct Field {
    size_t position;
    std::string value;
    bool equal;
  };
  LabelSelector labels_;
  std::vector<Field> fields_;
  std::string name_, ns_;
  std::vector<std::pair<bool, std::string>> not_;  // (name or namespace, value)
  bool nothing_ = false;
  std::optional<std::pair<size_t, std::string>> index_;
};

}  // namespace pintle::kernel
