#include "kernel/api/status.h"

namespace pintle::kernel {
namespace {

json::Value details(const Kind& kind, const std::string& name) {
  json::Value d = json::Value::object();
  if (!name.empty()) d.set("name", name);
  if (!kind.group.empty()) d.set("group", kind.group);
  d.set("kind", kind.plural);
  json::Value status = json::Value::object();
  status.set("details", std::move(d));
  return status;
}

std::string quoted(const Kind& kind, const std::string& name) { return kind.name() + " \"" + name + "\""; }

json::Value causes_value(const std::vector<FieldCause>& causes) {
  json::Value out = json::Value::array();
  for (const FieldCause& c : causes) {
    json::Value v = json::Value::object();
    v.set("reason", c.reason);
    v.set("message", c.message);
    v.set("field", c.field);
    out.push(std::move(v));
  }
  return out;
}

std::string sentence(const std::vector<FieldCause>& causes) {
  std::string text;
  for (const FieldCause& c : causes) {
    if (!text.empty()) text += ", ";
    text += c.field.empty() ? c.message : c.field + ": " + c.message;
  }
  return causes.size() > 1 ? "[" + text + "]" : text;
}

}  // namespace

int http_code(pintle_code code) {
  switch (code) {
    case PINTLE_OK: return 200;
    case PINTLE_BAD_REQUEST: return 400;
    case PINTLE_UNAUTHORIZED: return 401;
    case PINTLE_FORBIDDEN: return 403;
    case PINTLE_NOT_FOUND: return 404;
    case PINTLE_METHOD_NOT_ALLOWED: return 405;
    case PINTLE_NOT_ACCEPTABLE: return 406;
    case PINTLE_ALREADY_EXISTS:
    case PINTLE_CONFLICT:
    case PINTLE_DEPOSED: return 409;
    case PINTLE_EXPIRED: return 410;
    case PINTLE_TOO_LARGE: return 413;
    case PINTLE_UNSUPPORTED_MEDIA: return 415;
    case PINTLE_INVALID: return 422;
    case PINTLE_TOO_MANY_REQUESTS: return 429;
    case PINTLE_UNSUPPORTED: return 501;
    case PINTLE_UNAVAILABLE: return 503;
    case PINTLE_TIMEOUT:
    case PINTLE_CANCELLED: return 504;
    case PINTLE_NO_SPACE: return 507;
    case PINTLE_INTERNAL: break;
  }
  return 500;
}

const char* status_reason(pintle_code code) {
  switch (code) {
    case PINTLE_OK: return "";
    case PINTLE_BAD_REQUEST: return "BadRequest";
    case PINTLE_UNAUTHORIZED: return "Unauthorized";
    case PINTLE_FORBIDDEN: return "Forbidden";
    case PINTLE_NOT_FOUND: return "NotFound";
    case PINTLE_METHOD_NOT_ALLOWED: return "MethodNotAllowed";
    case PINTLE_NOT_ACCEPTABLE: return "NotAcceptable";
    case PINTLE_ALREADY_EXISTS: return "AlreadyExists";
    case PINTLE_CONFLICT:
    case PINTLE_DEPOSED: return "Conflict";
    case PINTLE_EXPIRED: return "Expired";
    case PINTLE_TOO_LARGE: return "RequestEntityTooLarge";
    case PINTLE_UNSUPPORTED_MEDIA: return "UnsupportedMediaType";
    case PINTLE_INVALID: return "Invalid";
    case PINTLE_TOO_MANY_REQUESTS: return "TooManyRequests";
    case PINTLE_UNSUPPORTED: return "NotImplemented";
    case PINTLE_UNAVAILABLE: return "ServiceUnavailable";
    case PINTLE_TIMEOUT:
    case PINTLE_CANCELLED: return "Timeout";
    case PINTLE_NO_SPACE: return "InsufficientStorage";
    case PINTLE_INTERNAL: break;
  }
  return "InternalError";
}

const char* verb_name(Verb verb) {
  switch (verb) {
    case Verb::kGet: return "get";
    case Verb::kList: return "list";
    case Verb::kWatch: return "watch";
    case Verb::kCreate: return "create";
    case Verb::kUpdate: return "update";
    case Verb::kPatch: return "patch";
    case Verb::kDelete: return "delete";
    case Verb::kDeleteCollection: return "deletecollection";
    case Verb::kConnect: break;
  }
  return "create";
}

const char* asked_verb(const ApiRequest& request) {
  if (request.resource.empty() && request.verb == Verb::kCreate) return "post";
  if (request.resource.empty() && request.verb == Verb::kUpdate) return "put";
  return verb_name(request.verb);
}

json::Value status_object(const Error& error) {
  const json::Value& given = error.status;
  json::Value out = json::Value::object();
  out.set("kind", "Status");
  out.set("apiVersion", "v1");
  out.set("metadata", given["metadata"].is_object() ? given["metadata"] : json::Value::object());
  out.set("status", "Failure");
  out.set("message", given["message"].is_string() ? given["message"] : json::Value(error.text));
  if (given["reason"].is_string()) {
    out.set("reason", given["reason"]);
  } else if (*status_reason(error.code)) {
    out.set("reason", status_reason(error.code));
  }
  json::Value d = given["details"].is_object() ? given["details"] : json::Value::object();
  if (given["causes"].is_array()) d.set("causes", given["causes"]);
  if (error.retry_after_ms && !d.contains("retryAfterSeconds")) {
    d.set("retryAfterSeconds", static_cast<int64_t>((error.retry_after_ms + 999) / 1000));
  }
  if (!d.empty() || error.code == PINTLE_NOT_FOUND) out.set("details", std::move(d));
  out.set("code", given["code"].is_int() ? given["code"] : json::Value(http_code(error.code)));
  return out;
}

Error bad_request(std::string text) { return {PINTLE_BAD_REQUEST, std::move(text)}; }

Error unknown_path() { return {PINTLE_NOT_FOUND, "the server could not find the requested resource"}; }

Error not_found(const Kind& kind, const std::string& name) {
  return {PINTLE_NOT_FOUND, quoted(kind, name) + " not found", details(kind, name)};
}

Error already_exists(const Kind& kind, const std::string& name, bool deleting) {
  return {PINTLE_ALREADY_EXISTS, (deleting ? "object is being deleted: " : "") + quoted(kind, name) + " already exists",
          details(kind, name)};
}

Error conflict(const Kind& kind, const std::string& name, const std::string& why) {
  return {PINTLE_CONFLICT, "Operation cannot be fulfilled on " + quoted(kind, name) + ": " + why, details(kind, name)};
}

Error modified(const Kind& kind, const std::string& name) {
  return conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again");
}

Error forbidden(const Kind& kind, const std::string& name, const std::string& why) {
  return {PINTLE_FORBIDDEN, (name.empty() ? kind.name() : quoted(kind, name)) + " is forbidden: " + why, details(kind, name)};
}

Error invalid(const Kind& kind, const std::string& name, const std::vector<FieldCause>& causes) {
  json::Value status = details(kind, name);
  json::Value& d = *status.find("details");
  d.set("kind", kind.kind);
  d.set("causes", causes_value(causes));
  const std::string who = kind.group.empty() ? kind.kind : kind.kind + "." + kind.group;
  return {PINTLE_INVALID, who + " \"" + name + "\" is invalid: " + sentence(causes), std::move(status)};
}

Error invalid_options(const std::string& options, std::vector<FieldCause> causes) {
  json::Value status = json::Value::object();
  json::Value& d = status.set("details");
  d.set("group", "meta.k8s.io");
  d.set("kind", options);
  d.set("causes", causes_value(causes));
  return {PINTLE_INVALID, options + ".meta.k8s.io \"\" is invalid: " + sentence(causes), std::move(status)};
}

Error method_not_allowed(const Kind& kind, const std::string& verb) {
  return {PINTLE_METHOD_NOT_ALLOWED, verb + " is not supported on resources of kind \"" + kind.name() + "\"", details(kind, "")};
}

Error internal(const std::string& what) { return {PINTLE_INTERNAL, "Internal error occurred: " + what}; }

Error denied(const ApiRequest& r, const std::string& reason) {
  const std::string why = reason.empty() ? "" : ": " + reason;
  if (r.resource.empty()) {
    return {PINTLE_FORBIDDEN,
            "forbidden: User \"" + r.identity.user + "\" cannot " + asked_verb(r) + " path \"" + r.path_rest + "\"" + why};
  }
  const std::string resource = r.subresource.empty() ? r.resource : r.resource + "/" + r.subresource;
  const std::string full = r.group.empty() ? r.resource : r.resource + "." + r.group;
  std::string text = (r.name.empty() ? full : full + " \"" + r.name + "\"") + " is forbidden: User \"" + r.identity.user +
                     "\" cannot " + verb_name(r.verb) + " resource \"" + resource + "\" in API group \"" + r.group + "\"";
  text += r.ns.empty() ? " at the cluster scope" : " in the namespace \"" + r.ns + "\"";
  Kind kind;
  kind.group = r.group;
  kind.plural = r.resource;
  return {PINTLE_FORBIDDEN, text + why, details(kind, r.name)};
}

json::Value success_status(const Kind& kind, const std::string& name, const std::string& uid) {
  json::Value out = json::Value::object();
  out.set("kind", "Status");
  out.set("apiVersion", "v1");
  out.set("metadata", json::Value::object());
  out.set("status", "Success");
  json::Value status = details(kind, name);
  json::Value& d = *status.find("details");
  if (!uid.empty()) d.set("uid", uid);
  out.set("details", std::move(d));
  return out;
}

std::vector<FieldCause> causes_from(const json::Value& causes, const std::string& path) {
  std::vector<FieldCause> out;
  for (const json::Value& c : causes.items()) {
    const std::string field(c["field"].as_string());
    std::string full = path;
    if (!field.empty()) full += (path.empty() || field[0] == '[' ? "" : ".") + field;
    out.push_back({std::string(c["reason"].as_string("FieldValueInvalid")), full, std::string(c["message"].as_string())});
  }
  return out;
}

}  // namespace pintle::kernel
