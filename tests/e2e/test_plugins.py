"""Plugin and Slot objects as an operator meets them: disabling, forcing, drift, swaps, refusals, a boot that leaves a plugin out."""
import json
import os
import subprocess
import unittest

from cluster import BUILD, ClusterTest, wait

PINTLE = os.path.join(BUILD, "bin/pintle")


class PluginsTest(ClusterTest):
    options = {"name": "plugins"}

    def patch(self, kind, name, spec, check=True, **annotations):
        body = {"spec": spec, **({"metadata": {"annotations": {f"pintle.dev/{k}": v for k, v in annotations.items()}}} if annotations else {})}
        return self.k("patch", kind, name, "--type=merge", "-p", json.dumps(body), check=check)

    def status(self, name, kind="plugin"):
        return self.cluster.get(kind, name)["status"]

    def active(self, *names):
        for name in names:
            wait(lambda: self.status(name)["state"] == "Active", 20, f"{name} to be active")

    def events(self, kind, name):
        return {e["reason"] for e in self.cluster.get("events")["items"] if e["involvedObject"]["kind"] == kind and e["involvedObject"]["name"] == name}

    def diff(self):
        return subprocess.run([PINTLE, "config", "diff", "--config", self.cluster.config, "--data", self.cluster.data], capture_output=True, text=True)

    def test_who_is_needed_is_not_disabled_unless_forced(self):
        refused = self.patch("plugin", "scheduling", {"enabled": False}, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn('plugin "scheduling" cannot be disabled: "scheduler-binpack", "scheduler-default" need it', refused.stderr)
        refused = self.k("delete", "plugin", "replicaset", check=False)
        self.assertIn('"deployment" need it', refused.stderr)

        deleted = self.k("delete", "plugin", "gc")
        self.assertIn('Warning: plugin "gc" is disabled by this and stays so', deleted.all)
        wait(lambda: self.status("gc")["state"] == "Unloaded", 20, "gc to be unloaded")
        self.patch("plugin", "gc", {"enabled": True})
        self.active("gc")

        self.patch("plugin", "replicaset", {"enabled": False}, force="true")
        wait(lambda: self.status("replicaset")["state"] == "Unloaded", 20, "replicaset to be unloaded")
        self.assertNotIn("pintle.dev/force", self.cluster.get("plugin", "replicaset")["metadata"]["annotations"])
        self.assertIn("Unloaded", self.events("Plugin", "replicaset"))
        self.patch("plugin", "replicaset", {"enabled": True})
        self.active("replicaset", "deployment")

    def test_the_last_holder_of_a_slot_that_the_file_names_is_needed(self):
        self.patch("plugin", "scheduler-binpack", {"enabled": False})
        wait(lambda: self.status("scheduler.default-scheduler", "slot")["candidates"] == ["scheduler-default"], 20, "one candidate")
        refused = self.patch("plugin", "scheduler-default", {"enabled": False}, check=False)
        self.assertIn("slot scheduler.default-scheduler", refused.stderr)
        self.patch("plugin", "scheduler-binpack", {"enabled": True})
        wait(lambda: len(self.status("scheduler.default-scheduler", "slot")["candidates"]) == 2, 20, "two candidates")

    def test_a_swap_is_an_event_and_wrong_providers_are_refused(self):
        self.active("scheduler-default")
        refused = self.patch("slot", "scheduler.default-scheduler", {"provider": "gc"}, check=False)
        self.assertIn('these can: "scheduler-default", "scheduler-binpack"', refused.stderr)
        before = self.status("scheduler.default-scheduler", "slot")["epoch"]
        for provider in ("scheduler-binpack", "scheduler-default"):
            self.patch("slot", "scheduler.default-scheduler", {"provider": provider})
            wait(lambda: self.status("scheduler.default-scheduler", "slot").get("provider") == provider, 20, f"the slot to go to {provider}")
        self.assertGreaterEqual(self.status("scheduler.default-scheduler", "slot")["epoch"], before + 2)
        wait(lambda: "Swapped" in self.events("Slot", "scheduler.default-scheduler"), 10, "the event")
        self.assertIn("Swapped", self.k("describe", "slot", "scheduler.default-scheduler").out)

    def test_what_is_not_acted_upon_is_a_warning_that_names_it(self):
        said = self.patch("slot", "scheduler.default-scheduler", {"shadow": "scheduler-binpack", "revertIf": {"errors": 3}})
        self.assertIn("spec.shadow", said.stderr)
        self.assertIn("spec.revertIf", said.stderr)

    def test_drift_from_the_file_is_shown(self):
        def row():
            return next(line for line in self.k("get", "plugins", "-o", "wide").out.splitlines() if line.startswith("gc "))

        self.assertEqual(self.status("gc")["drift"], False)
        self.patch("plugin", "gc", {"logLevel": "debug"})
        wait(lambda: self.status("gc")["drift"], 10, "the drift")
        self.assertIn("true", row())
        told = self.diff()
        self.assertEqual(told.returncode, 1)
        self.assertRegex(told.stdout, r"plugin/gc\s+logLevel\s+-\s+debug")
        self.k("patch", "plugin", "gc", "--type=json", "-p", '[{"op":"remove","path":"/spec/logLevel"}]')
        wait(lambda: not self.status("gc")["drift"], 10, "the end of the drift")
        self.assertNotIn("plugin/gc", self.diff().stdout)

    def test_a_configuration_outside_the_schema_leaves_the_running_one(self):
        self.active("runtime-sim")
        self.patch("plugin", "runtime-sim", {"config": {"speed": 3}})
        wait(lambda: "plugins.runtime-sim.config.speed: unknown key" in json.dumps(self.status("runtime-sim")), 10, "the reason")
        self.assertEqual(self.status("runtime-sim")["state"], "Active", "what runs goes on")
        self.k("patch", "plugin", "runtime-sim", "--type=json", "-p", '[{"op":"remove","path":"/spec/config"}]')
        self.active("runtime-sim")

    def test_it_boots_without_a_plugin_that_others_need(self):
        self.cluster.stop()
        try:
            self.cluster.extra = ["--without", "core"]
            self.cluster.start()
            self.assertEqual(self.status("core")["state"], "Skipped")
            self.assertIn('needs plugin "core"', self.status("gc").get("message", "") + self.status("namespace")["message"])
        finally:
            self.cluster.stop()
            self.cluster.extra = []
            self.cluster.start()
        self.active("core", "namespace", "scheduler-default")


if __name__ == "__main__":
    unittest.main()
