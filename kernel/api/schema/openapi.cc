// OpenAPI v3 of one group and version, or of all of them in pieces, written as text: a tree of it would take tens of megabytes for a moment.
#include <set>

#include "kernel/api/schema/codec.h"
#include "kernel/api/schema/openapi.h"

namespace pintle::kernel {
namespace {

constexpr const char* kQuantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
constexpr const char* kIntOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
constexpr const char* kTime = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
constexpr const char* kMicroTime = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
constexpr const char* kDuration = "io.k8s.apimachinery.pkg.apis.meta.v1.Duration";
constexpr const char* kListMeta = "apimachinery.pkg.apis.meta.v1.ListMeta";
constexpr const char* kDeleteOptions = "apimachinery.pkg.apis.meta.v1.DeleteOptions";
constexpr const char* kStatus = "apimachinery.pkg.apis.meta.v1.Status";

// Kubernetes' own types are published below io.k8s.
std::string component(const std::string& type) {
  for (const char* own : {"api.", "apimachinery.", "apiextensions_apiserver.", "kube_aggregator."}) {
    if (!type.starts_with(own)) continue;
    std::string name = "io.k8s." + type;
    for (char& c : name)
      if (c == '_') c = '-';
    return name;
  }
  return type;
}

struct GroupVersionKind {
  std::string group, version, kind;
};

class Writer {
 public:
  explicit Writer(const RegistrySnapshot& registry) : registry_(registry), types_(registry.types) {}

  std::string document(std::string_view group, std::string_view version) {
    for (const auto& k : registry_.kinds) {
      const Version* v = k->hidden || k->group != group ? nullptr : k->version(version);
      if (v && v->served) kinds_.push_back({k.get(), v, v->type});
    }
    if (kinds_.empty()) return "";
    reach_all();
    out_ = R"({"openapi":"3.0.0","info":{"title":"Pintle","version":"v1.35.0"},"paths":{)";
    for (const Served& s : kinds_) paths(s);
    out_ += R"(},"components":{"schemas":{)";
    first_ = true;
    for (TypeId id = 0; id < types_.size(); ++id)
      if (id < reached_.size() && reached_[id]) object_schema(types_.get(id), id);
    for (const Served& s : kinds_) list_schema(s);
    for (const std::string& s : scalars_) scalar_schema(s);
    out_ += "}}}";
    return std::move(out_);
  }

  void pieces(const std::function<void(OpenApiPiece, std::string_view)>& take) {
    for (const auto& k : registry_.kinds) {
      for (const Version& v : k->versions)
        if (!k->hidden && v.served) kinds_.push_back({k.get(), &v, v.type});
    }
    reach_all();
    for (const Served& s : kinds_) piece(take, OpenApiPiece::kPaths, [&] { paths(s); });
    for (TypeId id = 0; id < types_.size(); ++id)
      if (id < reached_.size() && reached_[id]) piece(take, OpenApiPiece::kSchema, [&] { object_schema(types_.get(id), id); });
    for (const Served& s : kinds_) piece(take, OpenApiPiece::kSchema, [&] { list_schema(s); });
    for (const std::string& s : scalars_) piece(take, OpenApiPiece::kSchema, [&] { scalar_schema(s); });
  }

 private:
  struct Served {
    const Kind* kind;
    const Version* version;
    TypeId type;
  };

  template <typename Write>
  void piece(const std::function<void(OpenApiPiece, std::string_view)>& take, OpenApiPiece what, Write write) {
    out_ = "{";
    first_ = true;
    write();
    out_ += '}';
    if (out_.size() > 2) take(what, out_);
  }

  void reach_all() {
    for (const Served& s : kinds_) {
      reach(s.type);
      for (const Subresource& sub : s.kind->subresources) reach(body_type(s, sub));
    }
    for (const char* name : {kListMeta, kDeleteOptions, kStatus}) reach(types_.find(name));
  }

  void text(std::string_view s) { json::quote(s, out_); }
  void key(std::string_view s) {
    text(s);
    out_ += ':';
  }

  // Everything that a document refers to must be in it.
  void reach(TypeId id) {
    if (id == kNoType) return;
    if (reached_.size() < types_.size()) reached_.resize(types_.size());
    if (reached_[id]) return;
    reached_[id] = true;
    for (const FieldType& f : types_.get(id).fields) {
      if (f.proto_inline) continue;
      const TypeRef* r = &f.type;
      while (r->item) r = r->item.get();
      switch (r->shape) {
        case Shape::kObject: reach(r->object); break;
        case Shape::kQuantity: scalars_.insert(kQuantity); break;
        case Shape::kIntOrString: scalars_.insert(kIntOrString); break;
        case Shape::kTime: scalars_.insert(kTime); break;
        case Shape::kMicroTime: scalars_.insert(kMicroTime); break;
        case Shape::kDuration: scalars_.insert(kDuration); break;
        default: break;
      }
    }
  }

  TypeId body_type(const Served& s, const Subresource& sub) const { return registry_.body_type(*s.kind, *s.version, sub); }

  // -- schemas

  void ref(const std::string& name) {
    out_ += R"("$ref":"#/components/schemas/)" + name + '"';
  }

  // The members of a schema, without the braces. A reference stands in allOf, so that a description may stand beside it.
  void schema(const TypeRef& r) {
    switch (r.shape) {
      case Shape::kString: out_ += R"("type":"string")"; break;
      case Shape::kBytes: out_ += R"("type":"string","format":"byte")"; break;
      case Shape::kBool: out_ += R"("type":"boolean")"; break;
      case Shape::kInt32: out_ += R"("type":"integer","format":"int32")"; break;
      case Shape::kInt64: out_ += R"("type":"integer","format":"int64")"; break;
      case Shape::kDouble: out_ += R"("type":"number","format":"double")"; break;
      case Shape::kAny: out_ += R"("type":"object","x-kubernetes-preserve-unknown-fields":true)"; break;
      case Shape::kQuantity: all_of(kQuantity); break;
      case Shape::kIntOrString: all_of(kIntOrString); break;
      case Shape::kTime: all_of(kTime); break;
      case Shape::kMicroTime: all_of(kMicroTime); break;
      case Shape::kDuration: all_of(kDuration); break;
      case Shape::kObject: all_of(component(types_.get(r.object).name)); break;
      case Shape::kArray:
        out_ += R"("type":"array","items":{)";
        schema(*r.item);
        out_ += '}';
        break;
      case Shape::kMap:
        out_ += R"("type":"object","additionalProperties":{)";
        schema(*r.item);
        out_ += '}';
        break;
    }
  }

  void all_of(const std::string& name) {
    out_ += R"("allOf":[{)";
    ref(name);
    out_ += "}]";
  }

  void strings(const std::vector<std::string>& list) {
    out_ += '[';
    for (size_t i = 0; i < list.size(); ++i) {
      if (i) out_ += ',';
      text(list[i]);
    }
    out_ += ']';
  }

  void member(std::string_view name, const std::string& value) {
    if (value.empty()) return;
    out_ += ',';
    key(name);
    text(value);
  }

  void number(std::string_view name, std::optional<double> value) {
    if (!value) return;
    out_ += ',';
    key(name);
    json::append_number(*value, out_);
  }

  void count(std::string_view name, std::optional<uint32_t> value) {
    if (!value) return;
    out_ += ',';
    key(name);
    out_ += std::to_string(*value);
  }

  void field(const FieldType& f) {
    key(f.name);
    out_ += '{';
    schema(f.type);
    member("description", f.doc);
    if (f.default_value) {
      out_ += R"(,"default":)";
      f.default_value->dump_to(out_);
    }
    if (!f.enumeration.empty()) {
      out_ += R"(,"enum":)";
      strings(f.enumeration);
    }
    number("minimum", f.minimum);
    number("maximum", f.maximum);
    count(f.type.shape == Shape::kMap ? "minProperties" : "minItems", f.min_items);
    count(f.type.shape == Shape::kMap ? "maxProperties" : "maxItems", f.max_items);
    count("minLength", f.min_length);
    count("maxLength", f.max_length);
    member("x-kubernetes-list-type", f.list_type);
    if (!f.list_map_keys.empty()) {
      out_ += R"(,"x-kubernetes-list-map-keys":)";
      strings(f.list_map_keys);
    }
    member("x-kubernetes-map-type", f.map_type);
    member("x-kubernetes-patch-strategy", f.patch_strategy);
    member("x-kubernetes-patch-merge-key", f.patch_merge_key);
    out_ += '}';
  }

  void next() {
    if (!first_) out_ += ',';
    first_ = false;
  }

  void gvk_list(const std::vector<GroupVersionKind>& list) {
    if (list.empty()) return;
    out_ += R"(,"x-kubernetes-group-version-kind":[)";
    for (size_t i = 0; i < list.size(); ++i) {
      if (i) out_ += ',';
      gvk(list[i]);
    }
    out_ += ']';
  }

  void gvk(const GroupVersionKind& g) {
    out_ += R"({"group":)";
    text(g.group);
    out_ += R"(,"version":)";
    text(g.version);
    out_ += R"(,"kind":)";
    text(g.kind);
    out_ += '}';
  }

  static void add_once(std::vector<GroupVersionKind>& list, GroupVersionKind g) {
    for (const GroupVersionKind& o : list)
      if (o.group == g.group && o.version == g.version && o.kind == g.kind) return;
    list.push_back(std::move(g));
  }

  // Kinds that this type is the body of.
  std::vector<GroupVersionKind> kinds_of(TypeId id) const {
    std::vector<GroupVersionKind> out;
    for (const Served& s : kinds_) {
      if (s.type == id) out.push_back({s.kind->group, s.version->name, s.kind->kind});
      for (const Subresource& sub : s.kind->subresources) {
        if (sub.kind_name.empty() || sub.kind_name == s.kind->kind || body_type(s, sub) != id) continue;
        const bool own = sub.kind_version.empty();
        add_once(out, {own ? s.kind->group : sub.kind_group, own ? s.version->name : sub.kind_version, sub.kind_name});
      }
      if (types_.get(id).name == kDeleteOptions) add_once(out, {s.kind->group, s.version->name, "DeleteOptions"});
    }
    if (types_.get(id).name == kStatus) out.push_back({"", "v1", "Status"});
    return out;
  }

  void object_schema(const ObjectType& t, TypeId id) {
    next();
    key(component(t.name));
    out_ += R"({"type":"object")";
    member("description", t.doc);
    bool required = false, properties = false;
    for (const FieldType& f : t.fields) {
      if (!f.required || f.proto_inline) continue;
      out_ += required ? "," : R"(,"required":[)";
      required = true;
      text(f.name);
    }
    if (required) out_ += ']';
    for (const FieldType& f : t.fields) {
      if (f.proto_inline) continue;
      out_ += properties ? "," : R"(,"properties":{)";
      properties = true;
      field(f);
    }
    if (properties) out_ += '}';
    gvk_list(kinds_of(id));
    if (!t.union_fields.empty()) {
      out_ += R"(,"x-kubernetes-unions":[{"fields-to-discriminateBy":{)";
      for (size_t i = 0; i < t.union_fields.size(); ++i) {
        if (i) out_ += ',';
        key(t.union_fields[i]);
        std::string upper = t.union_fields[i];
        if (upper[0] >= 'a' && upper[0] <= 'z') upper[0] = static_cast<char>(upper[0] - 'a' + 'A');
        text(upper);
      }
      out_ += "}}]";
    }
    out_ += '}';
  }

  std::string list_name(const Served& s) const { return component(types_.get(s.type).name) + "List"; }

  void list_schema(const Served& s) {
    if (types_.find(types_.get(s.type).name + "List") != kNoType && reached_[types_.find(types_.get(s.type).name + "List")]) return;
    if (!lists_.insert(s.type).second) return;  // two kinds of one type share the list's schema
    next();
    key(list_name(s));
    out_ += R"({"type":"object","description":)";
    text(s.kind->kind + "List is a list of " + s.kind->kind);
    out_ += R"(,"required":["items"],"properties":{"apiVersion":{"type":"string"},"kind":{"type":"string"},"metadata":{)";
    if (types_.find(kListMeta) != kNoType) all_of(component(kListMeta));
    else out_ += R"("type":"object")";
    out_ += R"(},"items":{"type":"array","items":{)";
    all_of(component(types_.get(s.type).name));
    out_ += "}}}";
    std::vector<GroupVersionKind> list;
    for (const Served& o : kinds_)
      if (o.type == s.type) list.push_back({o.kind->group, o.version->name, o.kind->kind + "List"});
    gvk_list(list);
    out_ += '}';
  }

  void scalar_schema(const std::string& name) {
    next();
    key(name);
    if (name == kQuantity) out_ += R"({"description":"An amount such as 500m, 2 or 1Gi","oneOf":[{"type":"string"},{"type":"number"}]})";
    else if (name == kIntOrString) out_ += R"({"description":"A number or a text","format":"int-or-string","oneOf":[{"type":"integer"},{"type":"string"}]})";
    else if (name == kDuration) out_ += R"({"description":"A length of time such as 1m30s","type":"string"})";
    else out_ += R"({"description":"An instant in RFC 3339 form","type":"string","format":"date-time"})";
  }

  // -- paths

  void paths(const Served& s) {
    const Kind& k = *s.kind;
    const std::string root = k.group.empty() ? "/api/" + s.version->name : "/apis/" + k.group + "/" + s.version->name;
    const std::string base = root + (k.namespaced ? "/namespaces/{namespace}/" : "/") + k.plural;
    const bool list = serves(k, "list");
    path(base, k.namespaced, false);
    if (list) operation("get", "list", s, list_name(s), Body::kNone);
    if (serves(k, "create")) operation("post", "post", s, component(types_.get(s.type).name), Body::kObject);
    if (serves(k, "deletecollection")) operation("delete", "deletecollection", s, component(kStatus), Body::kOptions);
    out_ += '}';
    path(base + "/{name}", k.namespaced, true);
    if (serves(k, "get")) operation("get", "get", s, component(types_.get(s.type).name), Body::kNone);
    if (serves(k, "update")) operation("put", "put", s, component(types_.get(s.type).name), Body::kObject);
    if (serves(k, "patch")) operation("patch", "patch", s, component(types_.get(s.type).name), Body::kPatch);
    if (serves(k, "delete")) operation("delete", "delete", s, component(kStatus), Body::kOptions);
    out_ += '}';
    for (const Subresource& sub : k.subresources) subresource_path(base + "/{name}/" + sub.name, s, sub);
    if (k.namespaced && list) {
      path(root + "/" + k.plural, false, false);
      operation("get", "list", s, list_name(s), Body::kNone);
      out_ += '}';
    }
  }

  void subresource_path(const std::string& at, const Served& s, const Subresource& sub) {
    const TypeId body = body_type(s, sub);
    const std::string name = body == kNoType ? "" : component(types_.get(body).name);
    const bool stream = sub.mode == Subresource::Mode::kConnect;
    GroupVersionKind own{s.kind->group, s.version->name, s.kind->kind};
    if (!sub.kind_name.empty()) own.kind = sub.kind_name;
    if (!sub.kind_version.empty()) own.group = sub.kind_group, own.version = sub.kind_version;
    path(at, s.kind->namespaced, true);
    for (const std::string& verb : sub.verbs) {
      if (verb == "get") operation("get", stream ? "connect" : "get", own, name, Body::kNone, s);
      else if (verb == "create") operation("post", stream ? "connect" : "post", own, name, stream ? Body::kNone : Body::kObject, s);
      else if (verb == "update") operation("put", "put", own, name, Body::kObject, s);
      else if (verb == "patch") operation("patch", "patch", own, name, Body::kPatch, s);
      else if (verb == "delete") operation("delete", "delete", own, name, Body::kOptions, s);
    }
    out_ += '}';
  }

  static bool serves(const Kind& k, std::string_view verb) {
    if (k.verbs.empty()) return true;
    for (const std::string& v : k.verbs)
      if (v == verb) return true;
    return false;
  }

  void path(const std::string& at, bool ns, bool name) {
    if (out_.back() != '{') out_ += ',';
    key(at);
    out_ += R"({"parameters":[)";
    if (name) out_ += R"({"name":"name","in":"path","required":true,"schema":{"type":"string","uniqueItems":true}})";
    if (name && ns) out_ += ',';
    if (ns) out_ += R"({"name":"namespace","in":"path","required":true,"schema":{"type":"string","uniqueItems":true}})";
    out_ += ']';
  }

  enum class Body { kNone, kObject, kPatch, kOptions };

  void operation(const char* method, const char* action, const Served& s, const std::string& answer, Body body) {
    operation(method, action, {s.kind->group, s.version->name, s.kind->kind}, answer, body, s);
  }

  void operation(const char* method, const char* action, const GroupVersionKind& g, const std::string& answer, Body body, const Served& s) {
    out_ += ',';
    key(method);
    out_ += R"({"tags":[)";
    text((s.kind->group.empty() ? "core" : s.kind->group) + "_" + s.version->name);
    out_ += R"(],"parameters":[)";
    parameters(action, body);
    out_ += ']';
    request(body, s, answer);
    out_ += R"(,"responses":{"200":{"description":"OK")";
    if (!answer.empty()) {
      out_ += R"(,"content":{"application/json":{"schema":{)";
      answer_schema(answer);
      out_ += "}}}";
    }
    out_ += R"(}},"x-kubernetes-action":)";
    text(action);
    out_ += R"(,"x-kubernetes-group-version-kind":)";
    gvk(g);
    out_ += '}';
  }

  void answer_schema(const std::string& name) {
    if (name == component(kStatus) && types_.find(kStatus) == kNoType) out_ += R"("type":"object")";
    else ref(name);
  }

  void parameter(const char* name, const char* type) {
    if (out_.back() == '}') out_ += ',';
    out_ += R"({"name":")";
    out_ += name;
    out_ += R"(","in":"query","schema":{"type":")";
    out_ += type;
    out_ += R"(","uniqueItems":true}})";
  }

  void parameters(std::string_view action, Body body) {
    const bool lists = action == "list" || action == "deletecollection";
    parameter("pretty", "string");
    if (lists) {
      for (const char* p : {"continue", "fieldSelector", "labelSelector", "resourceVersion", "resourceVersionMatch"}) parameter(p, "string");
      parameter("limit", "integer");
      parameter("timeoutSeconds", "integer");
    }
    if (action == "list") {
      parameter("allowWatchBookmarks", "boolean");
      parameter("sendInitialEvents", "boolean");
      parameter("watch", "boolean");
    }
    if (body == Body::kNone) return;
    parameter("dryRun", "string");
    if (body == Body::kOptions) {
      parameter("gracePeriodSeconds", "integer");
      parameter("propagationPolicy", "string");
      return;
    }
    parameter("fieldManager", "string");
    parameter("fieldValidation", "string");
  }

  void request(Body body, const Served& s, const std::string& type) {
    if (body == Body::kNone) return;
    out_ += R"(,"requestBody":{)";
    if (body != Body::kOptions) out_ += R"("required":true,)";
    out_ += R"("content":{)";
    if (body == Body::kPatch) {
      constexpr const char* kAnyPatch = R"(:{"schema":{"type":"object","description":"A patch"}})";
      out_ += R"("application/json-patch+json")";
      out_ += kAnyPatch;
      out_ += R"(,"application/merge-patch+json")";
      out_ += kAnyPatch;
      out_ += R"(,"application/strategic-merge-patch+json")";
      out_ += kAnyPatch;
    } else {
      std::string name = body == Body::kOptions ? component(kDeleteOptions) : type.empty() ? component(types_.get(s.type).name) : type;
      out_ += R"("application/json":{"schema":{)";
      if (body == Body::kOptions && types_.find(kDeleteOptions) == kNoType) out_ += R"("type":"object")";
      else ref(name);
      out_ += "}}";
    }
    out_ += "}}";
  }

  const RegistrySnapshot& registry_;
  const TypeTable& types_;
  std::vector<Served> kinds_;
  std::vector<bool> reached_;
  std::set<std::string> scalars_;
  std::set<TypeId> lists_;
  std::string out_;
  bool first_ = true;
};

}  // namespace

std::string openapi_v3_text(const RegistrySnapshot& registry, std::string_view group, std::string_view version) {
  return Writer(registry).document(group, version);
}

void openapi_v3_pieces(const RegistrySnapshot& registry, const std::function<void(OpenApiPiece, std::string_view)>& take) {
  Writer(registry).pieces(take);
}

json::Value openapi_v3(const RegistrySnapshot& registry, std::string_view group, std::string_view version) {
  const std::string text = openapi_v3_text(registry, group, version);
  return text.empty() ? json::Value() : json::parse_or_null(text);
}

}  // namespace pintle::kernel
