#include "kernel/api/schema/codec.h"
#include "pintle/format.h"

namespace pintle::kernel {
namespace {

constexpr size_t kMaxAnnotationBytes = 256 * 1024;

class Checker {
 public:
  explicit Checker(std::vector<FieldCause>& causes) : causes_(causes) {}

  void invalid(const std::string& field, std::string_view value, const std::string& why) {
    if (!why.empty()) causes_.push_back({"FieldValueInvalid", field, "Invalid value: " + json::quote(value) + ": " + why});
  }
  void required(const std::string& field, const std::string& why) {
    causes_.push_back({"FieldValueRequired", field, "Required value" + (why.empty() ? "" : ": " + why)});
  }
  void forbidden(const std::string& field, const std::string& why) {
    causes_.push_back({"FieldValueForbidden", field, "Forbidden: " + why});
  }
  void too_long(const std::string& field, size_t most) {
    causes_.push_back({"FieldValueTooLong", field, "Too long: may not be more than " + std::to_string(most) + " bytes"});
  }
  void other(FieldCause cause) { causes_.push_back(std::move(cause)); }

 private:
  std::vector<FieldCause>& causes_;
};

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

void check_owners(const json::Value& owners, Checker& check) {
  std::string first_controller, second_controller;
  for (size_t i = 0; i < owners.size(); ++i) {
    const json::Value& o = owners[i];
    const std::string at = "metadata.ownerReferences[" + std::to_string(i) + "]";
    if (o["apiVersion"].as_string().empty()) check.invalid(at + ".apiVersion", "", "version must not be empty");
    for (const char* member : {"kind", "name", "uid"})
      if (o[member].as_string().empty()) check.invalid(at + "." + member, "", std::string(member) + " must not be empty");
    if (!o["controller"].as_bool()) continue;
    std::string name = std::string(o["kind"].as_string()) + "/" + std::string(o["name"].as_string());
    if (first_controller.empty()) first_controller = std::move(name);
    else if (second_controller.empty()) second_controller = std::move(name);
  }
  if (!second_controller.empty())
    check.other({"FieldValueInvalid", "metadata.ownerReferences",
                 "Invalid value: " + owners.dump() + ": Only one reference can have Controller set to true. Found \"true\" in references for " +
                     first_controller + " and " + second_controller});
}

}  // namespace

void validate_metadata(const json::Value& metadata, const Kind& kind, std::vector<FieldCause>& causes) {
  Checker check(causes);
  const Format format = format_by_name(kind.name_format);
  const std::string_view name = metadata["name"].as_string(), prefix = metadata["generateName"].as_string();
  if (!prefix.empty()) check.invalid("metadata.generateName", prefix, check_name_prefix(format, prefix));
  if (name.empty()) {
    if (prefix.empty()) check.required("metadata.name", "name or generateName is required");
  } else if (name.size() > 253) {
    check.too_long("metadata.name", 253);
  } else {
    check.invalid("metadata.name", name, check_format(format, name));
  }

  const std::string_view ns = metadata["namespace"].as_string();
  if (kind.namespaced) {
    if (!ns.empty()) check.invalid("metadata.namespace", ns, check_format(Format::kDns1123Label, ns));
  } else if (!ns.empty()) {
    check.forbidden("metadata.namespace", "not allowed on this type");
  }

  for (const json::Member& l : metadata["labels"].members()) {
    check.invalid("metadata.labels", l.key, check_format(Format::kQualifiedName, l.key));
    check.invalid("metadata.labels", l.value.as_string(), check_format(Format::kLabelValue, l.value.as_string()));
  }
  size_t bytes = 0;
  for (const json::Member& a : metadata["annotations"].members()) {
    check.invalid("metadata.annotations", a.key, check_format(Format::kQualifiedName, lower(a.key)));
    bytes += a.key.size() + a.value.as_string().size();
  }
  if (bytes > kMaxAnnotationBytes) check.too_long("metadata.annotations", kMaxAnnotationBytes);
  for (const json::Value& f : metadata["finalizers"].items())
    check.invalid("metadata.finalizers", f.as_string(), check_format(Format::kQualifiedName, f.as_string()));
  check_owners(metadata["ownerReferences"], check);
}

}  // namespace pintle::kernel
