// Errors with Kubernetes' wording and details. `resource` is a Kind's name(): "pods", "deployments.apps".
#pragma once
#include <string>
#include <vector>

#include "kernel/api/pipeline.h"

namespace pintle::kernel {

Error bad_request(std::string text);
Error unknown_path();  // 404: the server could not find the requested resource
Error not_found(const Kind& kind, const std::string& name);
Error already_exists(const Kind& kind, const std::string& name, bool deleting);
Error conflict(const Kind& kind, const std::string& name, const std::string& why);
Error modified(const Kind& kind, const std::string& name);  // "the object has been modified; ..."
Error forbidden(const Kind& kind, const std::string& name, const std::string& why);
Error invalid(const Kind& kind, const std::string& name, const std::vector<FieldCause>& causes);
// 422 of query options ("ListOptions", group meta.k8s.io).
Error invalid_options(const std::string& options, std::vector<FieldCause> causes);
Error method_not_allowed(const Kind& kind, const std::string& verb);
Error internal(const std::string& what);
// `cluster`: no namespace in the sentence.
Error denied(const ApiRequest& request, const std::string& reason);

// "Status" of success with details: the answer of DELETE.
json::Value success_status(const Kind& kind, const std::string& name, const std::string& uid);
// {"causes":[...]} of a hook as FieldCauses, `field` put below `path`.
std::vector<FieldCause> causes_from(const json::Value& causes, const std::string& path);

}  // namespace pintle::kernel
