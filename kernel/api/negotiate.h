// What form the client wants: Accept's clauses, Tables, metadata only, pretty, gzip.
#pragma once
#include <string>
#include <string_view>

#include "kernel/api/front/http.h"

namespace pintle::kernel {

struct Representation {
  enum class Shape { kObject, kTable, kPartial } shape = Shape::kObject;
  bool yaml = false;
  std::string meta_version = "v1";  // of Table and PartialObjectMetadata
  std::string include = "Metadata"; // Tables: Metadata, Object, None
  bool pretty = false;
  bool gzip = false;  // the client understands it
};

// NOT_ACCEPTABLE, or BAD_REQUEST for a wrong includeObject.
Result<Representation> negotiate(const HttpRequest& request);

// The clause of Accept for aggregated discovery: "v2", "v2beta1" or "" (plain).
std::string aggregated_discovery_version(std::string_view accept);

// The first of `offered` media types that Accept wants most ("type/*" and "*/*" match too); "" when it wants none of them.
std::string_view wanted_media_type(std::string_view accept, std::initializer_list<std::string_view> offered);

std::string to_yaml(const json::Value& value);

// gzip, fastest level; streams are fed piece by piece.
class Gzip {
 public:
  Gzip();
  ~Gzip();
  Gzip(const Gzip&) = delete;
  std::string add(std::string_view data, bool last);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pintle::kernel
