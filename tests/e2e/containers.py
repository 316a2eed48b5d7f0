"""What the modules about real containers share: the engine's command line, pods on one line, a cluster of one Docker node."""
import json

from cluster import wait
from engine import BUSYBOX, EngineTest, docker


def inspect(container):
    return json.loads(docker("inspect", container))[0]


def container(name="main", command=None, **spec):
    out = {"name": name, "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", **spec}
    if command is not None:
        out["command"] = command if isinstance(command, list) else ["/bin/sh", "-c", command]
    return out


def pod(name, *containers, labels=None, annotations=None, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}, "annotations": annotations or {}},
            "spec": {"terminationGracePeriodSeconds": 2, "containers": list(containers), **spec}}


class DockerTest(EngineTest):
    """A cluster of one node on the Docker engine; `options["name"]` marks its containers."""

    def apply(self, *objects):
        self.cluster.apply("\n---\n".join(json.dumps(o) for o in objects))

    def status(self, name):
        return self.cluster.get("pod", name)["status"]

    def container_status(self, name, container="main"):
        status = self.status(name)
        return next(s for s in status.get("containerStatuses", []) + status.get("initContainerStatuses", []) if s["name"] == container)

    def ready(self, *names, timeout=60):
        r = self.k("wait", "--for=condition=Ready", *(f"pod/{n}" for n in names), f"--timeout={timeout}s", timeout=timeout + 10, check=False)
        if r.returncode:
            raise AssertionError(r.all + self.k("describe", "pod", *names, check=False).all + docker("ps", "-a", "--filter", f"label=io.pintle.cluster={self.options['name']}"))

    def run_pod(self, *args, **spec):
        self.apply(pod(*args, **spec))
        self.ready(args[0])

    def shell(self, name, command, container="main"):
        return self.k("exec", name, "-c", container, "--", "/bin/sh", "-c", command).out

    def logs(self, name, *args):
        return self.k("logs", name, *args).out

    def finished(self, name, timeout=60):
        """The log of a pod that ends by itself."""
        wait(lambda: self.status(name)["phase"] in ("Succeeded", "Failed"), timeout, f"the end of pod {name}")
        return self.logs(name)

    def event(self, name, reason, text="", timeout=30):
        """Waits for an Event of a pod and returns its message."""
        def look():
            for e in self.cluster.get("events", "--field-selector", f"involvedObject.name={name},reason={reason}")["items"]:
                if text in e["message"]:
                    return e["message"]
        return wait(look, timeout, f"an Event {reason} \"{text}\" of {name}")

    def gone(self, *names, timeout=20):
        self.k("delete", "pod", *names, "--wait=false")
        for name in names:
            wait(lambda n=name: self.k("get", "pod", n, check=False).returncode != 0, timeout, f"the end of pod {name}")
