"""A Docker engine that is not there, dies and comes back: an engine of the test's own, with its own root, socket and bridge."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from cluster import ROOT, Cluster, ClusterTest, wait
from containers import container, pod
from engine import BUSYBOX

CONFIG = """
listen: ["127.0.0.1:0"]
slots: {scheduler.default-scheduler: scheduler-default}
plugins:
  core: {required: true, config: {caFile: "{data}/pki/ca.crt"}}
  namespace:
  gc:
  service: {config: {serviceCIDR: 10.96.0.0/16}}
  scheduling:
  scheduler-default:
  runtime-docker: {config: {cluster: engine, socket: %(socket)s}}
  node-agent: {config: {runtime: runtime.docker, root: %(root)s}}
"""


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class OwnEngine:
    """A dockerd that only this test talks to, in a network namespace of its own: even --bridge=none removes the bridge of another engine."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="pintle-engine-")
        self.socket = os.path.join(self.dir, "docker.sock")
        self.process = None

    def start(self):
        self.log = open(os.path.join(self.dir, "dockerd.log"), "ab")
        self.process = subprocess.Popen(
            ["unshare", "--net", "dockerd", "--host", f"unix://{self.socket}", "--data-root", f"{self.dir}/root", "--exec-root", f"{self.dir}/exec", "--pidfile", f"{self.dir}/pid",
             "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--storage-driver=vfs"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True)
        self.log.close()

        def answers():
            if self.process.poll() is not None:
                with open(os.path.join(self.dir, "dockerd.log")) as f:
                    raise AssertionError("dockerd ended: " + "".join(f.readlines()[-5:]))
            return self.docker("info", "--format", "{{.ServerVersion}}")
        wait(answers, 60, "the engine")

    def docker(self, *args):
        return subprocess.run(["docker", "-H", f"unix://{self.socket}", *args], capture_output=True, text=True, check=True).stdout

    def children(self):
        """Its containerd and that one's shims: they outlive a killed dockerd and hold the containers."""
        out = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    line = f.read().split(b"\0")
            except OSError:
                continue
            if b"containerd" in os.path.basename(line[0]) and any(self.dir.encode() in word for word in line):
                out.append(int(entry))
        return out

    def running(self):
        """Pids of the processes in its containers."""
        ids = self.docker("ps", "-q").split()
        return [int(p) for p in self.docker("inspect", "-f", "{{.State.Pid}}", *ids).split()] if ids else []

    def kill(self, containers=False):
        """kill -9 of the engine; with `containers` of everything in it, as a machine's crash would."""
        pids = self.running() if containers else []
        self.process.kill()
        self.process.wait()
        if containers:
            for pid in [*self.children(), *pids]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        # Its containerd gets SIGKILL with it. A successor takes the number in the file for a running one, also when that is a zombie which nobody has
        # collected yet, or somebody else by now.
        containerd = f"{self.dir}/exec/containerd/containerd.pid"
        with open(containerd) as f:
            pid = int(f.read())
        wait(lambda: not running(pid), 20, "the end of the engine's containerd")
        for path in (f"{self.dir}/pid", containerd):
            if os.path.exists(path):
                os.unlink(path)

    def remove(self):
        if self.process and self.process.poll() is None:
            ids = self.docker("ps", "-aq").split()
            if ids:
                subprocess.run(["docker", "-H", f"unix://{self.socket}", "rm", "-f", "-v", *ids], capture_output=True)
            self.process.terminate()
            self.process.wait(60)
        for pid in self.children():
            os.kill(pid, signal.SIGKILL)
        with open("/proc/mounts") as f:
            mounts = [line.split()[1] for line in f if line.split()[1].startswith(self.dir)]
        for m in reversed(mounts):
            subprocess.run(["umount", "-l", m])
        shutil.rmtree(self.dir, ignore_errors=True)


class Engine(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.engine = OwnEngine()
        cls.addClassCleanup(cls.engine.remove)
        cls.options = {"config": CONFIG % {"socket": cls.engine.socket, "root": cls.engine.dir + "/agent"}, "name": "engine"}
        super().setUpClass()

    def node(self):
        node = self.cluster.get("nodes")["items"][0]
        return next(c for c in node["status"]["conditions"] if c["type"] == "Ready")

    def plugin(self):
        return next(c for c in self.cluster.get("plugin", "runtime-docker")["status"]["conditions"] if c["type"] == "Ready")

    def statuses(self):
        return {p["metadata"]["name"]: p["status"]["containerStatuses"][0] for p in self.cluster.get("pods")["items"]}

    def restarted(self, before):
        def anew():
            now = self.statuses()["always"]
            return now["ready"] and now["containerID"] != before["always"]["containerID"]
        wait(anew, 60, "the restart of what shall always run")

    def test_the_engine_comes_dies_and_comes_back(self):
        # Not there: the rest serves, the node and the plugin say what to do.
        ready = wait(lambda: self.node()["status"] == "False" and "Docker" in self.node()["message"] and self.node(), 20, "a node that is not ready")
        self.assertIn(f"the Docker Engine does not answer at {self.engine.socket}", ready["message"])
        self.assertIn('start it with "systemctl start docker" or set the plugin\'s `socket`', ready["message"])
        self.assertEqual(self.plugin()["status"], "False")
        self.assertIn(f"the Docker Engine does not answer at {self.engine.socket}", self.plugin()["message"])
        self.k("create", "configmap", "serves", "--from-literal=a=b")
        self.assertEqual(len(ready["message"].splitlines()), 1)
        told = [line for line in self.cluster.log_text().splitlines() if "does not answer" in line]
        self.assertEqual(len(told), 1, "said once, not each second")
        pods = [pod("always", container(command="exec sleep 1000"), hostNetwork=True), pod("once", container(command="exec sleep 1000"), hostNetwork=True, restartPolicy="Never")]
        self.cluster.apply("\n---\n".join(map(json.dumps, pods)))

        # It comes: pods that waited start.
        self.engine.start()
        subprocess.run([os.path.join(ROOT, "tests/images/make")], env={**os.environ, "DOCKER_HOST": f"unix://{self.engine.socket}"}, check=True, stdout=subprocess.DEVNULL)
        self.assertTrue(self.engine.docker("images", "-q", BUSYBOX))
        wait(lambda: self.node()["status"] == "True", 30, "the node")
        wait(lambda: self.plugin()["status"] == "True", 10, "the plugin's own word")
        self.k("wait", "--for=condition=Ready", "pod/always", "pod/once", "--timeout=90s", timeout=100)
        before = self.statuses()

        # It dies alone: the node is not ready and says why.
        self.engine.kill()
        ready = wait(lambda: self.node()["status"] == "False" and self.node(), 20, "a node that is not ready")
        self.assertIn("does not answer", ready["message"])
        self.assertIn("ok", self.k("get", "--raw", "/readyz").out)

        # It dies with all its containers, as in a crash of the machine: each comes back as its policy says.
        self.engine.start()
        wait(lambda: self.node()["status"] == "True", 30, "the node")
        # An engine that starts ends what its predecessor left running.
        self.restarted(before)
        before = self.statuses()
        self.engine.kill(containers=True)
        wait(lambda: self.node()["status"] == "False", 20, "a node that is not ready")
        self.engine.start()
        wait(lambda: self.node()["status"] == "True", 30, "the node")
        self.restarted(before)
        self.assertGreaterEqual(self.statuses()["always"]["restartCount"], 2)
        wait(lambda: "terminated" in self.statuses()["once"]["state"], 60, "the end of what runs once")
        self.assertEqual(self.statuses()["once"]["restartCount"], 0)
        self.assertEqual(self.cluster.get("pod", "once")["status"]["phase"], "Failed")

        # Events flow again after the reconnection.
        self.engine.docker("kill", self.statuses()["always"]["containerID"].split("//")[1])
        count = self.statuses()["always"]["restartCount"]
        wait(lambda: self.statuses()["always"]["restartCount"] > count or "waiting" in self.statuses()["always"]["state"], 20, "a kill after the reconnection")


if __name__ == "__main__":
    unittest.main()
