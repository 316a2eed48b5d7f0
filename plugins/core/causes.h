// Field errors in Kubernetes' wording, collected while an object is checked.
//
// Threads: one at a time.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "pintle/format.h"
#include "pintle/json.h"

namespace pintle::core {

// Paths are as clients see them: "spec.containers[0].name".
std::string child(std::string_view path, std::string_view name);
std::string index(std::string_view path, size_t i);
std::string key(std::string_view path, std::string_view name);  // data[tls.crt]

class Causes {
 public:
  void required(std::string path, std::string_view detail = {});
  void invalid(std::string path, const json::Value& value, std::string_view detail);
  void unsupported(std::string path, const json::Value& value, const std::vector<std::string>& supported);
  void check(Format format, std::string path, std::string_view value);  // invalid when it is not so
  void check_labels(const std::string& path, const json::Value& labels);
  void duplicate(std::string path, const json::Value& value);
  void not_found(std::string path, const json::Value& value);
  void forbidden(std::string path, std::string_view detail);
  void too_long(std::string path, int64_t limit_bytes);
  void warn(std::string text) { warnings_.push(json::Value(std::move(text))); }

  bool empty() const { return causes_.empty(); }
  const json::Value& list() const { return causes_; }
  // {"causes":[{reason,field,message}...],"warnings":[...]}: the answer of the validate hook.
  json::Value reply() const;

 private:
  void add(std::string_view reason, std::string path, std::string message);
  json::Value causes_ = json::Value::array();
  json::Value warnings_ = json::Value::array();
};

}  // namespace pintle::core
