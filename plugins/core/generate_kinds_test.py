"""The importer of the published types must leave no field over: whatever does not fit is an error that names it."""
import importlib.util
import pathlib
import unittest

SPEC = importlib.util.spec_from_file_location("generate_kinds", pathlib.Path(__file__).with_name("generate-kinds.py"))
importer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(importer)

THING = "api.test.v1.Thing"


def generate(fields, rows, more_messages=None, overlay=None):
    types = {THING: {"definition": THING, "fields": {f: {"type": t} for f, t in fields.items()}}}
    g = importer.Generator(types, {THING: rows, **(more_messages or {})}, overlay or {})
    g.make(THING)
    return g.made


class LeavesNothingOver(unittest.TestCase):
    def refuses(self, text, *args, **kw):
        with self.assertRaises(SystemExit) as caught:
            generate(*args, **kw)
        self.assertIn(text, str(caught.exception))

    def test_a_field_in_both_lists_is_taken(self):
        made = generate({"size": "integer:int32"}, {"size": (1, "optional", "int32")})
        self.assertEqual(made[THING]["fields"], {"size": {"type": "int32", "proto": 1}})

    def test_a_json_field_without_a_number_is_refused(self):
        self.refuses("fields without a protobuf number: color", {"size": "integer:int32", "color": "string"}, {"size": (1, "optional", "int32")})

    def test_a_number_without_a_json_field_is_refused(self):
        self.refuses("protobuf field color (optional string) has no JSON name", {"size": "integer:int32"},
                     {"size": (1, "optional", "int32"), "color": (2, "optional", "string")})

    def test_shapes_that_disagree_are_refused(self):
        self.refuses("string in protobuf, int32 in JSON", {"size": "integer:int32"}, {"size": (1, "optional", "string")})
        self.refuses("repeated in protobuf, int32 in JSON", {"size": "integer:int32"}, {"size": (1, "repeated", "int32")})

    def test_another_case_is_the_same_field(self):
        made = generate({"apiGroup": "string"}, {"aPIGroup": (1, "optional", "string")})
        self.assertEqual(made[THING]["fields"]["apiGroup"]["protoName"], "aPIGroup")

    def test_an_inlined_message_takes_its_fields_and_no_others(self):
        source = "api.test.v1.Source"
        inner = {source: {"path": (1, "optional", "string")}}
        made = generate({"name": "string", "path": "string"}, {"name": (1, "optional", "string"), "source": (2, "optional", "Source")}, more_messages=inner)
        self.assertTrue(made[THING]["fields"]["source"]["protoInline"])
        self.refuses("protobuf field path", {"name": "string"}, {"name": (1, "optional", "string"), "source": (2, "optional", "Source")}, more_messages=inner)

    def test_an_overlay_entry_that_fits_nothing_is_refused(self):
        self.refuses("has no field colour", {"size": "integer:int32"}, {"size": (1, "optional", "int32")}, overlay={THING: {"fields": {"colour": "x"}}})

    def test_a_mark_that_fits_nothing_is_refused(self):
        made = generate({"size": "integer:int32"}, {"size": (1, "optional", "int32")})
        importer.mark(made, {THING: ["size"]}, "protoZero", "drop")
        self.assertEqual(made[THING]["fields"]["size"]["protoZero"], "drop")
        with self.assertRaises(SystemExit):
            importer.mark(made, {THING: ["weight"]}, "protoZero", "drop")


if __name__ == "__main__":
    unittest.main()
