"""Clusters on the real Docker engine: images, pods, and a clean engine afterwards."""
import json
import os
import subprocess
import tempfile

from cluster import ROOT, ClusterTest, wait

BUSYBOX = "pintle-test/busybox:1"
SERVER = "pintle-test/server"


def docker(*args, **kw):
    return subprocess.run(["docker", "-H", "unix:///var/run/docker.sock", *args], capture_output=True, text=True, check=True, **kw).stdout


def make_server_images():
    """pintle-test/server:1 and :2 from tests/e2e/server/server.c: answer their version on port 8080."""
    if docker("images", "-q", f"{SERVER}:2"):
        return
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["cc", "-O1", "-static", "-o", f"{d}/server", os.path.join(ROOT, "tests/e2e/server/server.c")], check=True)
        tar = subprocess.run(["tar", "-C", d, "-c", "server"], capture_output=True, check=True).stdout
        for version in "12":
            subprocess.run(["docker", "-H", "unix:///var/run/docker.sock", "import", "--change", f'CMD ["/server","8080","{version}"]', "-", f"{SERVER}:{version}"],
                           input=tar, check=True, capture_output=True)


class EngineTest(ClusterTest):
    """`options` names the cluster; its containers are removed after the daemon, which would start them again."""

    @classmethod
    def setUpClass(cls):
        cls.addClassCleanup(cls.remove_containers)
        super().setUpClass()
        make_server_images()

    @classmethod
    def remove_containers(cls):
        ids = docker("ps", "-aq", "--filter", f"label=io.pintle.cluster={cls.options['name']}").split()
        # One that is being removed already is as good as removed.
        subprocess.run(["docker", "-H", "unix:///var/run/docker.sock", "rm", "-f", "-v", *ids], capture_output=True, check=False)

    @staticmethod
    def pod(name, command, labels=None, image=BUSYBOX, ports=(), **spec):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, **spec,
                         "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command if isinstance(command, list) else ["/bin/sh", "-c", command],
                                         "ports": list(ports)}]}}

    def run_pods(self, *pods, timeout=90):
        self.cluster.apply("\n---\n".join(map(json.dumps, pods)))
        self.k("wait", "--for=condition=Ready", *[f"pod/{p['metadata']['name']}" for p in pods], f"--timeout={timeout}s", timeout=timeout + 10)

    def sh(self, pod, command, check=True):
        return self.k("exec", pod, "--", "sh", "-c", command, check=check)

    def pod_ip(self, name):
        return self.cluster.get("pod", name)["status"]["podIP"]

    def endpoints_are(self, service, count, namespace="default"):
        def ready():
            slices = self.cluster.get("endpointslices", "-n", namespace, "-l", f"kubernetes.io/service-name={service}")["items"]
            return sum(e["conditions"]["ready"] for s in slices for e in s["endpoints"]) == count
        wait(ready, 40, f"{count} ready endpoints of {service}")
