// Label selectors: parsed once, matched often.
//
// Threads: a Selector is immutable after it was made; concurrent matches are safe.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "pintle/json.h"
#include "pintle/result.h"

namespace pintle {

enum class LabelOp : uint8_t { kIn, kNotIn, kExists, kDoesNotExist, kGt, kLt };

struct LabelRequirement {
  std::string key;
  LabelOp op = LabelOp::kExists;
  std::vector<std::string> values;  // sorted; kGt and kLt: one integer

  // `value`: null pointer = the label is absent. kNotIn and kDoesNotExist match what is absent.
  bool matches(const std::string_view* value) const;
  std::string text() const;  // "a=b", "a in (b,c)", "!a"
};

// All requirements must hold. A default-constructed selector matches everything.
class Selector {
 public:
  Selector() = default;
  explicit Selector(std::vector<LabelRequirement> requirements) : requirements_(std::move(requirements)) {}
  // A metav1.LabelSelector {matchLabels, matchExpressions}. null matches nothing, {} everything.
  static Result<Selector> from_object(const json::Value& label_selector);
  // {"a":"b"}: each must be equal.
  static Selector from_map(const json::Value& labels);
  // "a=b,c!=d,e in (x,y),!f,g" as in a query; "" matches everything.
  static Result<Selector> parse(std::string_view text);
  static Selector nothing();

  // `labels`: the object metadata.labels, or null.
  bool matches(const json::Value& labels) const;
  bool empty() const { return !nothing_ && requirements_.empty(); }
  bool matches_nothing() const { return nothing_; }
  void add(LabelRequirement r) { requirements_.push_back(std::move(r)); }
  const std::vector<LabelRequirement>& requirements() const { return requirements_; }
  std::string text() const;  // parses back to the same selector (unless it matches nothing)

 private:
  std::vector<LabelRequirement> requirements_;
  bool nothing_ = false;
};

// One matchExpressions entry {key, operator, values} of a LabelSelector or of a NodeSelectorTerm (which may use Gt and Lt).
Result<LabelRequirement> label_requirement(const json::Value& expression);

}  // namespace pintle
