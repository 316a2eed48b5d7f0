#include "plugins/core/causes.h"

namespace pintle::core {

std::string child(std::string_view path, std::string_view name) {
  std::string out(path);
  if (!out.empty() && !name.empty()) out += '.';
  out += name;
  return out;
}
std::string index(std::string_view path, size_t i) { return std::string(path) + "[" + std::to_string(i) + "]"; }
std::string key(std::string_view path, std::string_view name) { return std::string(path) + "[" + std::string(name) + "]"; }

void Causes::add(std::string_view reason, std::string path, std::string message) {
  causes_.push(json::Value::object({{"reason", reason}, {"field", std::move(path)}, {"message", std::move(message)}}));
}

void Causes::required(std::string path, std::string_view detail) {
  add("FieldValueRequired", std::move(path),
      detail.empty() ? "Required value" : "Required value: " + std::string(detail));
}
void Causes::invalid(std::string path, const json::Value& value, std::string_view detail) {
  add("FieldValueInvalid", std::move(path), "Invalid value: " + value.dump() + ": " + std::string(detail));
}
void Causes::check(Format format, std::string path, std::string_view value) {
  if (const std::string wrong = check_format(format, value); !wrong.empty()) invalid(std::move(path), value, wrong);
}
void Causes::check_labels(const std::string& path, const json::Value& labels) {
  for (const auto& m : labels.members()) {
    check(Format::kLabelKey, path, m.key);
    check(Format::kLabelValue, path, m.value.as_string());
  }
}
void Causes::unsupported(std::string path, const json::Value& value, const std::vector<std::string>& supported) {
  std::string text = "Unsupported value: " + value.dump();
  for (size_t i = 0; i < supported.size(); ++i) text += (i ? ", \"" : ": supported values: \"") + supported[i] + "\"";
  add("FieldValueNotSupported", std::move(path), std::move(text));
}
void Causes::duplicate(std::string path, const json::Value& value) {
  add("FieldValueDuplicate", std::move(path), "Duplicate value: " + value.dump());
}
void Causes::not_found(std::string path, const json::Value& value) {
  add("FieldValueNotFound", std::move(path), "Not found: " + value.dump());
}
void Causes::forbidden(std::string path, std::string_view detail) {
  add("FieldValueForbidden", std::move(path), "Forbidden: " + std::string(detail));
}
void Causes::too_long(std::string path, int64_t limit_bytes) {
  add("FieldValueTooLong", std::move(path), "Too long: may not be more than " + std::to_string(limit_bytes) + " bytes");
}

json::Value Causes::reply() const {
  json::Value out = json::Value::object({{"causes", causes_}});
  if (!warnings_.empty()) out.set("warnings", warnings_);
  return out;
}

}  // namespace pintle::core
