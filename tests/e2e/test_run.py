"""scripts/run from a machine without an engine to a fetched page, and back to a machine without a trace; the ends of a cluster; upgrades."""
import json
import os
import shutil
import tempfile
import time
import unittest

from cluster import BUILD, CLIENTS, ROOT, wait
from host import Host

ALONE = True
PRESET = os.path.basename(BUILD)
SECOND_RUN_SECONDS = float(os.environ.get("PINTLE_E2E_SECOND_RUN_SECONDS", "15"))


class RunTest(unittest.TestCase):
    def setUp(self):
        os.chdir(ROOT)
        self.host = Host()
        self.addCleanup(self.host.remove)
        self.work = tempfile.mkdtemp(prefix="pintle-run-")
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)
        self.data = os.path.join(self.work, "data")
        self.kubeconfig = os.path.join(self.data, "admin.kubeconfig")

    def script(self, *args, path=None, **kw):
        env = {**os.environ, "PINTLE_DATA": self.data, "PINTLE_PRESET": PRESET}
        env.pop("KUBECONFIG", None)
        if path:
            env["PATH"] = f"{path}:{env['PATH']}"
        return self.host.run("scripts/run", *args, env=env, timeout=900, **kw)

    def kubectl(self, *args):
        return self.host.run(os.path.join(CLIENTS, "kubectl-1.35"), *args, env={**os.environ, "KUBECONFIG": self.kubeconfig}).stdout

    def pintle(self, *args, **kw):
        return self.host.run(os.path.join(BUILD, "bin/pintle"), *args, "--data", self.data, **kw)

    def docker(self, *args):
        return self.host.run("docker", "-H", "unix:///var/run/docker.sock", *args).stdout

    def traces(self):
        """What there is on the host."""
        cgroups = set()
        for top, names, _ in os.walk("/sys/fs/cgroup"):
            cgroups.update(os.path.join(top, n) for n in names if "pintle" in n or any(c in n for c in self.container_ids))
        return {"processes": self.host.processes(),
                "links": [line.split(":")[1] for line in self.host.run("ip", "-o", "link").stdout.splitlines()],
                "routes": self.host.lines("ip", "route"),
                "rules": self.host.lines("nft", "list", "tables"),
                "iptables": self.host.lines("iptables", "-S"),
                "mounts": self.host.lines("awk", "{print $5}", "/proc/self/mountinfo"),
                "namespaces": self.host.lines("ls", "/run/netns"),
                "cgroups": cgroups,
                "data": os.path.exists(self.data)}

    container_ids = ()

    def test_from_nothing_to_a_page_and_back(self):
        # An engine leaves its bridge and its chains behind, whoever started it: they belong to both sides of the comparison.
        self.host.start_engine()
        self.host.stop_engine()
        wait(lambda: not self.host.processes(), 20, "the end of the engine")
        before = self.traces()
        # A kubectl that is too old counts as none.
        old = os.path.join(self.work, "old")
        os.mkdir(old)
        with open(os.path.join(old, "kubectl"), "w") as f:
            f.write('#!/bin/sh\necho \'{"clientVersion": {"major": "1", "minor": "29", "gitVersion": "v1.29.0"}}\'\n')
        os.chmod(os.path.join(old, "kubectl"), 0o755)
        first = self.script(path=old).stdout
        for expected in (r"First run \d+ to \d+ minutes", r"\[ *\d+s\] 1/6 packages and build", r"using \S+/build/clients/kubectl-1.35 \(Client Version: v1.35", "started dockerd",
                         r"(?m)^ok +docker ", r"(?m)^http://10\.\d+\.\d+\.\d+/ says: .*Hello from Pintle", r"http://web.default.svc.cluster.local/ says, in a pod: .*Hello from Pintle",
                         r"(?m)^pod/web-\S+ +1/1 +Running", r"(?m)^service/web +ClusterIP", r"(?m)^deployment.apps/web +3/3", "What to try next:", "scripts/run --stop"):
            self.assertRegex(first, expected)
        # The next start finds everything there.
        self.container_ids = self.docker("ps", "-aq", "--no-trunc").split()
        self.assertGreaterEqual(len(self.container_ids), 6)
        self.script("--stop")
        began = time.monotonic()
        second = self.script().stdout
        took = time.monotonic() - began
        self.assertRegex(second, r"Ready in \d+ s")
        self.assertLess(took, SECOND_RUN_SECONDS, second)
        self.container_ids += self.docker("ps", "-aq", "--no-trunc").split()
        self.assertEqual(self.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"), "True")
        while_up = self.traces()
        self.assertIn("pintled", while_up["processes"])
        self.assertTrue(any("pintle" in r for r in while_up["rules"]), while_up["rules"])
        stopped = self.script("--stop").stdout
        for expected in (r"removed \d+ containers", f"removed {self.data}", "stopping the Docker engine"):
            self.assertRegex(stopped, expected)
        wait(lambda: self.host.processes() == before["processes"], 20, "the end of every process")
        after = self.traces()
        for what, value in before.items():
            self.assertEqual(after[what], value, what)
        for note in ("build/dockerd.pid", "build/docker.service"):
            self.assertFalse(os.path.exists(note), note)
        # And a second time there is nothing to do.
        self.script("--stop")

    def start(self):
        self.host.start_engine()
        self.host.run("tests/images/make", "--example")
        self.pintle("up", "--detach", "--wait", "--config", "config/pintle.yaml")
        self.kubectl("apply", "-f", "config/examples/web.yaml")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=120s")

    def containers(self):
        """Identity and start of every container."""
        ids = self.docker("ps", "-q", "--no-trunc").split()
        return {c["Id"]: (c["State"]["StartedAt"], c["RestartCount"]) for c in json.loads(self.docker("inspect", *ids))} if ids else {}

    def restarts(self):
        return self.kubectl("get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount} {end}")

    def test_down_leaves_containers_drain_ends_them_and_purge_removes_only_ours(self):
        self.start()
        self.docker("run", "-d", "--name", "foreign", "pintle-example/web:1")
        self.host.run("nft", "add table ip foreign")
        before, pods = self.containers(), self.restarts()
        self.assertIn("containers go on running", self.pintle("down").stdout)
        self.assertNotIn("pintled", self.host.processes())
        self.assertEqual(self.containers(), before)
        self.pintle("up", "--detach", "--wait", "--config", "config/pintle.yaml")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertEqual((self.containers(), self.restarts()), (before, pods))
        self.assertIn("draining: 0 of", self.pintle("down", "--drain").stdout)
        self.assertEqual(self.docker("ps", "--format", "{{.Names}}").split(), ["foreign"])
        self.pintle("down", "--purge")
        self.assertEqual(self.docker("ps", "-a", "--format", "{{.Names}}").split(), ["foreign"])
        self.assertEqual(self.host.lines("nft", "list", "tables", "ip").count("table ip foreign"), 1)
        self.assertNotIn("table ip pintle", self.host.lines("nft", "list", "tables"))
        self.assertFalse(os.path.exists(self.data))
        self.host.stop_engine()

    def test_an_upgrade_restarts_no_container(self):
        prefix = os.path.join(self.work, "prefix")
        install = ["cmake", "--install", BUILD, "--component", "pintle", "--prefix", prefix]
        self.host.run(*install)
        self.host.start_engine()
        self.host.run("tests/images/make", "--example")
        pintle = os.path.join(prefix, "bin/pintle")
        self.host.run(pintle, "up", "--detach", "--wait", "--config", "config/pintle.yaml", "--data", self.data)
        self.kubectl("apply", "-f", "config/examples/web.yaml")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
        before, pods = self.containers(), self.restarts()
        # As a package does it: new files take the place of those that run.
        for folder, _, names in os.walk(prefix):
            for name in names:
                os.unlink(os.path.join(folder, name))
        self.host.run(*install)
        self.host.run(pintle, "down", "--data", self.data)
        self.host.run(pintle, "up", "--detach", "--wait", "--config", "config/pintle.yaml", "--data", self.data)
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertEqual((self.containers(), self.restarts()), (before, pods))
        self.kubectl("scale", "deployment", "web", "--replicas=4")
        self.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.host.run(pintle, "down", "--purge", "--data", self.data)
        self.host.stop_engine()

    def test_an_engine_that_does_not_run_is_said_and_the_api_serves(self):
        preflight = self.host.run(os.path.join(BUILD, "bin/pintle"), "preflight", check=False)
        self.assertEqual(preflight.returncode, 1)
        self.assertRegex(preflight.stdout, r"(?m)^FAIL +docker +no engine at /var/run/docker.sock\n +fix: ")
        self.pintle("up", "--detach", "--config", "config/pintle.yaml")
        wait(lambda: "docker.sock" in self.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].message}"), 30, "the reason at the node")
        self.assertIn("default", self.kubectl("get", "namespaces"))
        self.pintle("down", "--purge")


if __name__ == "__main__":
    unittest.main()
