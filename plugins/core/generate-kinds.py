#!/usr/bin/env python3
"""Writes types/*.yaml of core, replicaset, deployment, service and scheduling.

    plugins/core/generate-kinds.py FACTS_DIRECTORY [--check]

The facts directory holds types.jsonl (every published type: fields, required, list types) and protobuf-fields.tsv (field
numbers). What they do not say (defaults, enums, ranges, formats, docs, what is only stored) is in overlay/*.yaml. Any
field without a protobuf number, any message field without a JSON name and any overlay entry that fits nothing is an
error: a new release of the API cannot slip through half described.
"""
import json
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
PLUGINS = HERE.parent
META = "apimachinery.pkg.apis.meta.v1."
SCALARS = {
    "string": "string", "boolean": "bool", "integer:int32": "int32", "integer:int64": "int64",
    "number:double": "double", "string:byte": "bytes",
    "apimachinery.pkg.api.resource.Quantity": "quantity", "apimachinery.pkg.util.intstr.IntOrString": "intOrString",
    META + "Time": "time", META + "MicroTime": "microTime", META + "Duration": "duration",
    META + "FieldsV1": "any", "apimachinery.pkg.runtime.RawExtension": "any",
}
# What a protobuf scalar may be in JSON; a mismatch means that the two lists disagree about a field.
PROTO_SHAPES = {"string": {"string"}, "bool": {"bool"}, "int32": {"int32", "int64"}, "int64": {"int64", "int32"},
                "bytes": {"bytes"}, "double": {"double"}}
FIELD_KEYS = ["type", "required", "immutable", "stored", "default", "enum", "min", "max", "minItems", "maxItems",
              "minLength", "maxLength", "format", "listType", "listMapKeys", "mapType", "patchStrategy",
              "patchMergeKey", "duplicates", "proto", "protoName", "protoInline", "protoZero", "doc"]


def fail(text):
    sys.exit("generate-kinds: " + text)


def load_facts(directory):
    types, messages = {}, {}
    for line in (directory / "types.jsonl").read_text().splitlines():
        entry = json.loads(line)
        types[entry["definition"]] = entry
    for line in (directory / "protobuf-fields.tsv").read_text().splitlines()[1:]:
        package, message, field, number, label, shape = line.split("\t")
        messages.setdefault(package + "." + message, {})[field] = (int(number), label, shape.replace("<string, .", "<string, "))
    return types, messages


def shape_of(text):
    """"[]map[string]..." of the facts in the manifest's words, and the named type inside (or None)."""
    if text.startswith("[]"):
        inner, ref = shape_of(text[2:])
        return "[]" + inner, ref
    if text.startswith("map["):
        inner, ref = shape_of(text[4:-1])
        return "map[string]" + inner, ref
    if text in SCALARS:
        return SCALARS[text], None
    return text, text


class Generator:
    def __init__(self, types, messages, overlay):
        self.types, self.messages, self.overlay = types, messages, overlay
        self.made = {}
        self.used = set()

    def message_of(self, name, message):
        package = name.rsplit(".", 1)[0]
        return message if "." in message else package + "." + message

    def field(self, owner, name, facts, proto):
        shape, ref = shape_of(facts["type"])
        out = {"type": shape}
        if facts.get("required"):
            out["required"] = True
        for theirs, ours in (("list-type", "listType"), ("list-map-keys", "listMapKeys"), ("map-type", "mapType"),
                             ("patch-strategy", "patchStrategy"), ("patch-merge-key", "patchMergeKey")):
            if theirs in facts:
                out[ours] = facts[theirs]
        if proto:
            number, label, wire = proto[1]
            if label == "repeated" and not shape.startswith("[]"):
                fail(f"{owner}.{name}: repeated in protobuf, {shape} in JSON")
            if label == "map" and not shape.startswith("map["):
                fail(f"{owner}.{name}: a map in protobuf, {shape} in JSON")
            bare = shape[2:] if label == "repeated" else shape
            if label != "map" and wire in PROTO_SHAPES and bare not in PROTO_SHAPES[wire]:
                fail(f"{owner}.{name}: {wire} in protobuf, {shape} in JSON")
            out["proto"] = number
            if proto[0] != name:
                out["protoName"] = proto[0]
        return out, ref

    def make(self, name):
        """The type and everything that it refers to, into self.made."""
        if name in self.made:
            return
        facts = self.types.get(name)
        if facts is None:
            fail(f"no type {name} in types.jsonl")
        fields = dict(facts.get("fields", {}))
        self.build(name, fields, name, "gvk" in facts)
        if fields:
            fail(f"{name}: fields without a protobuf number: {', '.join(fields)}")

    def build(self, name, fields, message, root):
        """Takes out of `fields` those that `message` has, in the message's order; inlined messages take theirs."""
        rows = self.messages.get(message)
        if rows is None:
            fail(f"no message {message} in protobuf-fields.tsv")
        out, refs = {}, []
        self.made[name] = None  # recursion (JSONSchemaProps) ends here
        if root:
            for key in ("apiVersion", "kind"):
                if fields.pop(key, None):
                    out[key] = {"type": "string"}
        folded = {f.lower(): f for f in fields}
        for row, (number, label, wire) in rows.items():
            json_name = row if row in fields else folded.get(row.lower())
            if json_name and json_name in fields:
                out[json_name], ref = self.field(name, json_name, fields.pop(json_name), (row, (number, label, wire)))
                refs += [ref] if ref else []
                continue
            inner = self.message_of(message, wire)
            if label != "optional" or inner not in self.messages:
                fail(f"{name}: protobuf field {row} ({label} {wire}) has no JSON name")
            if inner in self.types and inner not in self.made:
                # A published type of its own: it takes those of our fields that it has.
                self.make(inner)
            if inner in self.types:
                for f in self.types[inner].get("fields", {}):
                    if f not in fields:
                        fail(f"{name}: inlined {inner} has a field {f} that {name} has not")
                    fields.pop(f)
            elif self.made.get(inner):
                for f in self.flat(inner):
                    fields.pop(f, None) or fail(f"{name}: inlined {inner} has a field {f} that {name} has not")
            else:
                self.build(inner, fields, inner, False)
            out[row] = {"type": inner, "proto": number, "protoInline": True}
        self.made[name] = {"fields": out}
        for ref in refs:
            self.make(ref)
        self.lay_over(name)

    def flat(self, name):
        for field, facts in self.made[name]["fields"].items():
            if facts.get("protoInline"):
                yield from self.flat(facts["type"])
            else:
                yield field

    def lay_over(self, name):
        entry = self.overlay.get(name)
        if not entry:
            return
        self.used.add(name)
        target = self.made[name]
        for key, value in entry.items():
            if key == "fields":
                for field, extra in value.items():
                    if field not in target["fields"]:
                        fail(f"overlay: {name} has no field {field}")
                    merged = target["fields"][field]
                    merged.update({"doc": extra} if isinstance(extra, str) else extra)
                    for k in [k for k, v in merged.items() if v is None]:
                        del merged[k]
                    for k in merged:
                        if k not in FIELD_KEYS:
                            fail(f"overlay: {name}.{field}: unknown key {k}")
            elif key in ("doc", "hooks", "union"):
                target[key] = value
            else:
                fail(f"overlay: {name}: unknown key {key}")


# A type that is written by controllers and agents, never by people, is not refused for a member that is left out: the
# published API fills such members with zeros. `required` stays for readers of the schema.
ZEROS = {"string": "", "bool": False, "int32": 0, "int64": 0}


# Fields that mean the same wherever they occur.
COMMON = {
    "apiVersion": "Group and version of this representation", "kind": "What this object is", "metadata": "Name, labels and the like",
    "observedGeneration": "Generation that this was computed for", "lastTransitionTime": "When the status changed last",
    "lastUpdateTime": "When it was reported last", "lastProbeTime": "When it was checked last", "fsType": "File system of the volume",
    "readOnly": "Refuse writes", "secretRef": "Secret with credentials", "protocol": "Protocol", "nodeSelector": "Labels that the node must have",
    "matchExpressions": "Requirements; all must hold", "requiredDuringSchedulingIgnoredDuringExecution": "Must hold when the pod is placed",
    "preferredDuringSchedulingIgnoredDuringExecution": "Should hold when the pod is placed", "optional": "Whether it may be absent",
    "items": "Keys to take; all by default", "localhostProfile": "File on the node", "reason": "One word for programs",
    "message": "A sentence for people", "startedAt": "When it started", "finishedAt": "When it ended", "exitCode": "Exit code",
    "signal": "Signal that ended it", "containerID": "Identity of the container", "limits": "Most that may be used",
    "requests": "What is set aside", "claims": "Claims on devices", "operator": "How key and values relate", "values": "The values",
    "namespace": "Namespace", "uid": "UID", "resourceVersion": "Version", "name": "Name", "namespaces": "Namespaces",
    "resources": "Resources", "conditions": "Aspects of the state", "labelSelector": "Selects by labels", "ip": "Address",
    "ports": "Ports", "hostname": "Host name", "tolerations": "Taints that are tolerated", "type": "Which kind of it",
    "path": "Path", "key": "The key", "value": "The value", "count": "How often", "capacity": "All there is",
}


def mark(made, fields, key, value):
    """plan.yaml's lists of fields that the published facts say nothing about."""
    for name, names in (fields or {}).items():
        if name not in made:
            fail(f"plan: {key}: {name} is not reachable")
        for field in names:
            if field not in made[name]["fields"]:
                fail(f"plan: {key}: {name} has no field {field}")
            made[name]["fields"][field][key] = value


def document(made):
    for body in made.values():
        for field, facts in body["fields"].items():
            if "doc" not in facts and not facts.get("protoInline") and field in COMMON:
                facts["doc"] = COMMON[field]


def soften(made, names):
    for name in names:
        if name not in made:
            fail(f"plan: soft type {name} is not reachable")
        for facts in made[name]["fields"].values():
            if facts.get("required") and "default" not in facts and facts["type"] in ZEROS:
                facts["default"] = ZEROS[facts["type"]]
            elif facts.get("required") and "default" not in facts:
                del facts["required"]


def forbid_empty(made):
    """A required text that is empty counts as missing, as in the published API."""
    for body in made.values():
        for facts in body["fields"].values():
            if facts.get("required") and facts["type"] == "string" and "default" not in facts:
                facts.setdefault("minLength", 1)


def flow(value):
    if isinstance(value, bool) or value is None or isinstance(value, (int, float)):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {flow(v)}" for k, v in value.items()) + "}"
    plain = value and all(c.isalnum() or c in "._/-" for c in value) and value[0].isalpha() and \
        value.lower() not in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
    return value if plain else json.dumps(value, ensure_ascii=False)


def render(types):
    out = ["# Made by plugins/core/generate-kinds.py from the published types and overlay/*.yaml. Do not edit.", "types:"]
    for name in sorted(types):
        body = types[name]
        out.append(f"  {name}:")
        for key in ("doc", "hooks", "union"):
            if key in body:
                out.append(f"    {key}: {flow(body[key])}")
        if not body["fields"]:
            out.append("    fields: {}")
            continue
        out.append("    fields:")
        for field, facts in body["fields"].items():
            ordered = {k: facts[k] for k in FIELD_KEYS if k in facts}
            out.append(f"      {field}: {flow(ordered)}")
    return "\n".join(out) + "\n"


def file_of(name):
    package = name.rsplit(".", 1)[0]
    if package == META[:-1]:
        return "meta-v1.yaml"
    return package.split(".", 1)[1].replace(".", "-") + ".yaml"


def main():
    args = [a for a in sys.argv[1:] if a != "--check"]
    if len(args) != 1:
        sys.exit(__doc__)
    types, messages = load_facts(pathlib.Path(args[0]))
    overlay, plan = {}, None
    for path in sorted((HERE / "overlay").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        if path.name == "plan.yaml":
            plan = content
            continue
        for name, entry in (content or {}).items():
            if name in overlay:
                fail(f"{path.name}: {name} is in another overlay file too")
            overlay[name] = entry
    generator = Generator(types, messages, overlay)
    owner = {}
    for plugin, roots in plan["owners"].items():
        before = set(generator.made)
        for root in roots:
            generator.make(root)
        for name in set(generator.made) - before:
            owner[name] = plugin
    for name in overlay:
        if name not in generator.used:
            fail(f"overlay: nothing refers to {name}")
    soften(generator.made, plan["soft"])
    mark(generator.made, plan["plain"], "protoZero", "drop")
    mark(generator.made, plan["pointers"], "protoZero", "keep")
    mark(generator.made, plan["repeating"], "duplicates", "allow")
    document(generator.made)
    forbid_empty(generator.made)
    files = {}
    for name, plugin in owner.items():
        files.setdefault(PLUGINS / plugin / "types" / file_of(name), {})[name] = generator.made[name]
    stale = 0
    for path, content in sorted(files.items()):
        text = render(content)
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                print(f"{path} is not what the generator makes")
                stale = 1
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    undocumented = sum(1 for t in generator.made.values() for f in t["fields"].values() if "doc" not in f)
    print(f"{len(owner)} types, {sum(len(t['fields']) for t in generator.made.values())} fields, {undocumented} without a doc")
    sys.exit(stale)


if __name__ == "__main__":
    main()
