"""Rolling updates under load lose no request: `kubectl set image` and `kubectl rollout undo`, while two kinds of clients ask through the cluster IP at
200 requests a second and more each: one with keep-alive, one with a connection per request.

The server (server/server.c) closes its listener at once on SIGTERM, finishes what it has and exits; the pods have no preStop hook.

What counts as failed: everything that is not a 200 with a body, with one exception. A keep-alive client that finds an idle connection closed, without a
byte of an answer, asks once more on a new one, as RFC 9110 section 9.2.2 and RFC 9112 section 9.3.1 let it for GET. These are counted and printed.
A first request on a new connection is never repeated."""
import http.client
import json
import os
import threading
import time
import unittest

from cluster import wait
from engine import SERVER, EngineTest, docker

RUNS = int(os.environ.get("PINTLE_ROLLOUT_RUNS", "20"))
RATE = 200


class Load:
    """Clients that together ask at a little over RATE, whatever the answers take; what a client missed it makes up for."""

    def __init__(self, address, keep_alive, clients=8):
        self.address, self.keep_alive = address, keep_alive
        self.interval = clients / (RATE * 1.15)
        self.stop_now = False
        self.done, self.again, self.failures, self.versions = 0, 0, [], set()
        self.lock = threading.Lock()
        self.started = time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(i / clients,), daemon=True) for i in range(clients)]
        for t in self.threads:
            t.start()

    def ask(self, connection):
        connection.request("GET", "/", headers={} if self.keep_alive else {"Connection": "close"})
        r = connection.getresponse()
        body = r.read().decode()
        if r.status != 200 or not body:
            raise AssertionError(f"status {r.status}, body {body!r}")
        return body, self.keep_alive and not r.will_close

    def run(self, offset):
        connection, used = None, False
        due = self.started + offset * self.interval
        while not self.stop_now:
            time.sleep(max(0.0, due - time.monotonic()))
            due += self.interval
            again, error, body, keep = 0, None, None, False
            while True:
                if connection is None:
                    connection, used = http.client.HTTPConnection(self.address, 80, timeout=5), False
                try:
                    body, keep = self.ask(connection)
                except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as e:
                    connection.close()
                    connection = None
                    if used and not again:
                        again = 1
                        continue
                    error = e
                except Exception as e:  # noqa: BLE001 - every failure counts
                    error = e
                break
            if connection is not None and (error or not keep):
                connection.close()
                connection = None
            used = True
            with self.lock:
                self.done += 1
                self.again += again
                if error is not None:
                    self.failures.append(f"{time.monotonic() - self.started:.3f} s: {error!r}")
                else:
                    self.versions.add(body)
        if connection is not None:
            connection.close()

    def stop(self):
        self.stop_now = True
        for t in self.threads:
            t.join(10)
        self.rate = self.done / (time.monotonic() - self.started)


class Rollout(EngineTest):
    options = {"kind": "docker", "name": "roll"}
    IMAGES = (f"myapp-container={SERVER}:1", f"myapp-container={SERVER}:2")

    def serve(self, port="8080", **container):
        deployment = self.deployment("myapp", image=f"{SERVER}:1", replicas=3)
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

    def roll(self, ip, change):
        """One run: an update and its undo under both loads."""
        loads = [Load(ip, keep_alive=True), Load(ip, keep_alive=False)]
        try:
            change()
            self.k("rollout", "status", "deployment/myapp", "--timeout=120s", timeout=130)
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


class TheHarness(Rollout):
    """It can fail: a server that dies without a word loses requests, and the loads notice."""
    options = {"kind": "docker", "name": "loss"}

    def test_lost_requests_are_noticed(self):
        ip = self.serve()
        loads = [Load(ip, keep_alive=True), Load(ip, keep_alive=False)]
        try:
            ids = docker("ps", "-q", "--filter", "label=io.pintle.cluster=loss", "--filter", f"ancestor={SERVER}:1").split()
            self.assertEqual(len(ids), 3)
            docker("kill", *ids)
            wait(lambda: all(load.failures for load in loads), 20, "failures in both loads")
        finally:
            for load in loads:
                load.stop()
        print(", ".join(f"{len(load.failures)} of {load.done} requests failed" for load in loads), flush=True)


if __name__ == "__main__":
    unittest.main()
