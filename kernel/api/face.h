// A kind as one API version shows it.
#pragma once
#include "kernel/api/pipeline.h"

namespace pintle::kernel {

struct Face {
  std::shared_ptr<const RegistrySnapshot> snap;
  std::shared_ptr<const Kind> kind;     // as asked for
  std::shared_ptr<const Kind> storage;  // whose storage it has
  std::string version;
  bool as_stored = true;  // stored bytes are the answer's bytes
  std::string api_version() const { return kind->group.empty() ? version : kind->group + "/" + version; }
};
// NOT_FOUND as for any unknown path.
Result<Face> face_of(Registry& registry, const ApiRequest& request);

}  // namespace pintle::kernel
