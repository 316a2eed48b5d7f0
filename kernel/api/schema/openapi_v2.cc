// OpenAPI v2 of everything that is served, turned from v3 piece by piece: the two cannot disagree.
#include "kernel/api/schema/codec.h"
#include "kernel/api/schema/openapi.h"

namespace pintle::kernel {
namespace {

constexpr std::string_view kSchemas = "#/components/schemas/";

json::Value v2_reference(std::string_view v3) {
  return "#/definitions/" + std::string(v3.starts_with(kSchemas) ? v3.substr(kSchemas.size()) : v3);
}

json::Value v2_schema(const json::Value& v3) {
  json::Value out = json::Value::object();
  const bool anything = v3["x-kubernetes-preserve-unknown-fields"].as_bool();
  for (const json::Member& m : v3.members()) {
    if (m.key == "$ref") {
      out.set("$ref", v2_reference(m.value.as_string()));
    } else if (m.key == "allOf") {  // v3 puts a reference there, so that a description may stand beside it
      out.set("$ref", v2_reference(m.value[0]["$ref"].as_string()));
    } else if (m.key == "oneOf") {  // a number or a text: v2 says text, its readers take both
      out.set("type", "string");
    } else if (m.key == "items" || m.key == "additionalProperties") {
      out.set(m.key, v2_schema(m.value));
    } else if (m.key == "properties") {
      json::Value& to = out.set(m.key, json::Value::object());
      for (const json::Member& p : m.value.members()) to.set(p.key, v2_schema(p.value));
    } else if (m.key == "type" && anything) {  // v2's readers hold an object to be an object; without a type it is any value
    } else {
      out.set(m.key, m.value);
    }
  }
  return out;
}

json::Value v2_parameters(const json::Value& v3) {
  json::Value out = json::Value::array();
  for (const json::Value& p : v3.items()) {
    json::Value to = json::Value::object();
    for (const json::Member& m : p.members()) {
      if (m.key != "schema") to.set(m.key, m.value);
      for (const json::Member& s : m.value.members()) to.set(s.key, s.value);
    }
    out.push(std::move(to));
  }
  return out;
}

json::Value v2_operation(const json::Value& v3) {
  json::Value out = json::Value::object();
  out.set("tags", v3["tags"]);
  json::Value in = v2_parameters(v3["parameters"]);
  json::Value answers = json::Value::object();
  bool content = false;
  for (const json::Member& r : v3["responses"].members()) {
    json::Value& to = answers.set(r.key, json::Value::object());
    to.set("description", r.value["description"]);
    const json::Value& body = r.value["content"]["application/json"]["schema"];
    if (!body.is_object()) continue;
    content = true;
    to.set("schema", v2_schema(body));
  }
  if (content) out.set("produces", json::Value::array({"application/json", "application/yaml"}));
  if (const json::Value& body = v3["requestBody"]; body.is_object()) {
    json::Value& types = out.set("consumes", json::Value::array());
    json::Value first;
    for (const json::Member& c : body["content"].members()) {
      types.push(c.key);
      if (first.is_null()) first = v2_schema(c.value["schema"]);
      if (c.key == "application/json") types.push("application/yaml"), types.push("application/vnd.kubernetes.protobuf");
    }
    json::Value to = json::Value::object({{"name", "body"}, {"in", "body"}});
    if (body["required"].as_bool()) to.set("required", true);
    to.set("schema", std::move(first));
    in.push(std::move(to));
  }
  if (!in.empty()) out.set("parameters", std::move(in));
  out.set("responses", std::move(answers));
  for (const json::Member& m : v3.members())
    if (m.key.starts_with("x-")) out.set(m.key, m.value);
  return out;
}

json::Value v2_path_item(const json::Value& v3) {
  json::Value out = json::Value::object();
  for (const json::Member& m : v3.members()) {
    if (m.key != "parameters") out.set(m.key, v2_operation(m.value));
    else if (!m.value.empty()) out.set(m.key, v2_parameters(m.value));
  }
  return out;
}

void each_piece(const RegistrySnapshot& registry, const std::function<void(OpenApiPiece, const json::Value&)>& take) {
  openapi_v3_pieces(registry, [&](OpenApiPiece what, std::string_view text) {
    const json::Value v3 = json::parse_or_null(text);
    json::Value v2 = json::Value::object();
    for (const json::Member& m : v3.members()) v2.set(m.key, what == OpenApiPiece::kPaths ? v2_path_item(m.value) : v2_schema(m.value));
    take(what, v2);
  });
}

}  // namespace

std::string openapi_v2_text(const RegistrySnapshot& registry) {
  std::string out = R"({"swagger":"2.0","info":{"title":"Pintle","version":"v1.35.0"},"paths":{)";
  bool paths = true;
  each_piece(registry, [&](OpenApiPiece what, const json::Value& piece) {
    if (paths && what == OpenApiPiece::kSchema) {
      paths = false;
      out += R"(},"definitions":{)";
    }
    for (const json::Member& m : piece.members()) {
      if (out.back() != '{') out += ',';
      json::quote(m.key, out);
      out += ':';
      m.value.dump_to(out);
    }
  });
  if (paths) out += R"(},"definitions":{)";
  out += "}}";
  return out;
}

std::string openapi_v2_protobuf(const RegistrySnapshot& registry) {
  // Document: swagger = 1, info = 2 {title = 1, version = 2}, paths = 8 {path = 2}, definitions = 9 {additional_properties = 1}.
  std::string paths, definitions, info, out;
  each_piece(registry, [&](OpenApiPiece what, const json::Value& piece) {
    if (what == OpenApiPiece::kPaths) paths += openapi_v2_entries(what, piece, 2);
    else definitions += openapi_v2_entries(what, piece, 1);
  });
  append_proto_bytes(1, "Pintle", info);
  append_proto_bytes(2, "v1.35.0", info);
  append_proto_bytes(1, "2.0", out);
  append_proto_bytes(2, info, out);
  out.reserve(out.size() + paths.size() + definitions.size() + 32);
  append_proto_bytes(8, paths, out);
  append_proto_bytes(9, definitions, out);
  return out;
}

}  // namespace pintle::kernel
