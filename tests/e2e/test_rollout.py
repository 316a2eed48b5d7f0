"""Rolling updates under load lose no request: `kubectl set image` and `kubectl rollout undo`, while two kinds of clients ask through the cluster IP at
200 requests a second and more each: one with keep-alive, one with a connection per request (load.py says what counts as failed).

The server (server/server.c) closes its listener at once on SIGTERM, finishes what it has and exits; the pods have no preStop hook."""
import http.client
import json
import os
import signal
import time
import unittest

from cluster import wait
from engine import SERVER, EngineTest
from load import RATE, Load

RUNS = int(os.environ.get("PINTLE_ROLLOUT_RUNS", "20"))


class Rollout(EngineTest):
    options = {"kind": "docker", "name": "roll"}
    IMAGES = (f"myapp-container={SERVER}:1", f"myapp-container={SERVER}:2")

    def serve(self, port="8080", replicas=3, **container):
        deployment = self.deployment("myapp", image=f"{SERVER}:1", replicas=replicas)
        deployment["spec"]["template"]["spec"]["containers"][0].update(
            {"name": "myapp-container", "imagePullPolicy": "IfNotPresent", "readinessProbe": {"httpGet": {"path": "/", "port": port if port.isalpha() else int(port)}, "periodSeconds": 1}, **container})
        self.cluster.apply(json.dumps(deployment))
        self.k("rollout", "status", "deployment/myapp", "--timeout=90s", timeout=100)
        self.k("expose", "deployment", "myapp", "--port=80", f"--target-port={port}")
        self.addCleanup(self.k, "delete", "deployment,service", "myapp", "--timeout=60s")
        ip = self.cluster.get("service", "myapp")["spec"]["clusterIP"]

        def answers():
            c = http.client.HTTPConnection(ip, 80, timeout=2)
            c.request("GET", "/", headers={"Connection": "close"})
            return c.getresponse().status == 200

        wait(answers, 20, "the Service")
        return ip

    def roll(self, ip, change, undo=True):
        """One run: an update and its undo under both loads."""
        loads = [Load(ip, keep_alive=True), Load(ip, keep_alive=False)]
        try:
            change()
            self.k("rollout", "status", "deployment/myapp", "--timeout=120s", timeout=130)
            if undo:
                self.k("rollout", "undo", "deployment/myapp")
                self.k("rollout", "status", "deployment/myapp", "--timeout=120s", timeout=130)
        finally:
            for load in loads:
                load.stop()
        return loads

    def assert_lossless(self, n, loads):
        for load, kind in zip(loads, ("keep-alive", "one connection each")):
            self.assertEqual(load.failures, [], f"run {n}, {kind}: {len(load.failures)} of {load.done} requests failed")
            self.assertEqual(load.versions, {"1", "2"})
            self.assertGreaterEqual(load.rate, RATE, f"run {n}, {kind}: the load was lower than promised")
        print("run %d: " % n + "; ".join(f"{load.done} requests, {load.rate:.0f}/s, {load.again} asked again" for load in loads), flush=True)

    def set_image(self):
        self.k("set", "image", "deployment/myapp", f"myapp-container={SERVER}:2")


class Lossless(Rollout):
    def test_set_image_and_undo(self):
        ip = self.serve()
        for n in range(RUNS):
            self.assert_lossless(n, self.roll(ip, self.set_image))

    def test_a_version_that_listens_elsewhere(self):
        """The Service names its target port and each version has another number for it: EndpointSlices come and go as a whole."""
        port = lambda number: {"command": ["/server", str(number), "1" if number == 8080 else "2"], "ports": [{"name": "web", "containerPort": number}]}
        ip = self.serve(port="web", **port(8080))
        change = json.dumps([{"op": "replace", "path": "/spec/template/spec/containers/0/" + k, "value": v} for k, v in port(9090).items()])
        for n in range(max(1, RUNS // 5)):
            self.assert_lossless(n, self.roll(ip, lambda: self.k("patch", "deployment", "myapp", "--type=json", "-p", change)))


class SlowProxy(Rollout):
    """The service proxy is in a process of its own, which is stopped (SIGSTOP) when a rollout begins and goes on HELD seconds after the first pod was told to
    go: a node too busy to follow. Both classes do the same; only the node agent's wait for the proxy's confirmation differs. There is one replica: while the
    proxy knows nothing newer, every request goes to the pod that leaves."""
    HELD = 3.0  # seconds; less than the wait's limit, which is 5 by default

    @classmethod
    def setUpClass(cls):
        cls.options = {**cls.options, "isolation": {"service-proxy": "process"}}
        super().setUpClass()

    def proxy_pid(self):
        status = self.cluster.get("plugin", "service-proxy")["status"]
        self.assertEqual((status["state"], status["isolation"]), ("Active", "process"))
        pid = [i for i in status["instances"] if i["state"] == "Active"][0]["pid"]
        with open(f"/proc/{pid}/comm") as f:
            self.assertEqual(f.read().strip(), "service-proxy")
        return pid

    def held_rollout(self):
        """One rollout with the proxy held at its beginning; the loads."""
        ip, pid = self.serve(replicas=1), self.proxy_pid()

        def a_pod_is_leaving():
            return any("deletionTimestamp" in p["metadata"] for p in self.cluster.request("GET", "/api/v1/namespaces/default/pods")[1]["items"])

        def change():
            os.kill(pid, signal.SIGSTOP)
            try:
                self.set_image()
                wait(a_pod_is_leaving, 30, "the first pod that leaves")
                time.sleep(self.HELD)  # this is how slow the proxy is; nothing is waited for
            finally:
                os.kill(pid, signal.SIGCONT)

        loads = self.roll(ip, change, undo=False)
        self.assertEqual(self.proxy_pid(), pid, "the proxy was replaced meanwhile")
        return loads


class SlowProxyWithTheWait(SlowProxy):
    options = {"kind": "docker", "name": "slow"}

    def test_nothing_is_lost(self):
        self.assert_lossless(0, self.held_rollout())
        self.assertNotIn("before every service proxy confirmed", self.cluster.log_text())


class SlowProxyWithoutTheWait(SlowProxy):
    options = {"kind": "docker", "name": "loss", "agent": {"proxyWaitSeconds": 0}}

    def test_requests_are_lost(self):
        loads = self.held_rollout()
        for load, kind in zip(loads, ("keep-alive", "one connection each")):
            self.assertTrue(load.failures, f"the wait was off and none of {load.done} requests failed ({kind}): it would not be noticed when it did nothing")
        print("without the wait: " + "; ".join(f"{len(load.failures)} of {load.done} requests failed, such as {load.failures[0]}" for load in loads), flush=True)


if __name__ == "__main__":
    unittest.main()
