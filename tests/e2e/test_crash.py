"""kill -9 of pintled at random moments while writes go on: no acknowledged write is lost, nothing exists twice, no container starts again.

PINTLE_E2E_KILLS: kills of a simulated cluster (default 80); PINTLE_E2E_DOCKER_KILLS: of one with real containers (default 20).
PINTLE_E2E_SEED chooses the moments: so many acknowledged writes after a start, or so far into a start."""
import base64
import http.client
import json
import os
import random
import ssl
import threading
import time
import unittest
from urllib.parse import urlsplit

from cluster import ClusterTest, wait
from containers import DockerTest, container, pod
from engine import docker

KILLS = int(os.environ.get("PINTLE_E2E_KILLS", "80"))
DOCKER_KILLS = int(os.environ.get("PINTLE_E2E_DOCKER_KILLS", "20"))
SEED = int(os.environ.get("PINTLE_E2E_SEED", "1"))
PODS, MAPS = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/configmaps"


class Client:
    """The API over one connection, made anew when it breaks. Each test thread has its own."""

    def __init__(self, cluster):
        self.cluster, self.connection = cluster, None
        config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").out)
        cluster_data, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.context = ssl.create_default_context(cadata=base64.b64decode(cluster_data["certificate-authority-data"]).decode())
        pem = os.path.join(cluster.dir, "client.pem")
        with open(os.open(pem, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
            f.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self.context.load_cert_chain(pem)

    def ask(self, method, path, body=None, kind="application/json"):
        """(status, object), or (0, why) when nobody can say what became of the request."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(urlsplit(self.cluster.url).netloc, timeout=10, context=self.context)
            self.connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": kind})
            r = self.connection.getresponse()
            return r.status, json.loads(r.read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            self.close()
            return 0, repr(e)

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def items(self, path):
        status, answer = self.ask("GET", path)
        if status != 200:
            raise AssertionError(f"list of {path}: {answer}")
        return answer["items"]


class Crasher:
    """Kills and starts a cluster; who writes meanwhile waits for `up` when nobody listens."""

    def __init__(self, cluster):
        self.cluster, self.up = cluster, threading.Event()
        self.up.set()
        self.slowest = 0

    def run(self, kills, progress, cleanup):
        rng = random.Random(SEED)
        for n in range(kills):
            if self.cluster.process is None and rng.random() < 0.2:  # in the middle of a start
                size = os.path.getsize(self.cluster.log_path)
                cleanup(os.close, self.cluster.launch())
                plugins = rng.randrange(12)

                def far_enough():
                    with open(self.cluster.log_path, "rb") as f:
                        f.seek(size)
                        return f.read().count(b" is active") >= plugins
                wait(far_enough, 30, f"{plugins} active plugins")
            else:
                if self.cluster.process is None:
                    self.start()
                goal = progress() + rng.randrange(1, 30)
                wait(lambda g=goal: progress() >= g, 30, f"acknowledged writes before kill {n}")
            self.up.clear()
            self.cluster.kill()
        self.start()

    def start(self):
        begun = time.monotonic()
        self.cluster.start()
        self.slowest = max(self.slowest, time.monotonic() - begun)
        self.up.set()


class Writer(threading.Thread):
    """Creates, changes and deletes configMaps, one request at a time, and keeps what was promised: of each name the versions it may have now."""

    def __init__(self, crasher, number):
        super().__init__(daemon=True)
        self.client, self.up, self.number, self.random = Client(crasher.cluster), crasher.up, number, random.Random(SEED * 1000 + number)
        self.promised = {}  # name -> set of versions that may be there; None: absent
        self.acknowledged = self.count = 0
        self.enough = False

    def run(self):
        while not self.enough:
            known = [n for n, v in self.promised.items() if v != {None}]
            choice = self.random.random()
            if not known or choice < 0.5:
                self.create()
            elif choice < 0.8:
                self.change(self.random.choice(known))
            else:
                self.delete(self.random.choice(known))

    def settle(self, name, status, now, refused=()):
        if 200 <= status < 300:
            self.promised[name] = {now}
            self.acknowledged += 1
        elif status == 0 or status >= 500:
            self.promised[name] = self.promised.get(name, {None}) | {now}
            if status == 0:
                self.up.wait(60)
        elif status in refused:
            self.promised[name] = {None}  # an earlier, unanswered request had come through
        else:
            raise AssertionError(f"{name}: {status}")

    def create(self):
        self.count += 1
        name = f"w{self.number}-{self.count}"
        # The server chooses the name: what it makes twice would be there twice.
        status, _ = self.client.ask("POST", MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "w-", "labels": {"writer": name}}, "data": {"version": "0"}})
        self.settle(name, status, "0")

    def path(self, name):
        for o in self.client.ask("GET", f"{MAPS}?labelSelector=writer%3D{name}")[1]["items"]:
            return f"{MAPS}/{o['metadata']['name']}"

    def change(self, name):
        self.one(name, "PATCH", {"data": {"version": str(self.random.randrange(1 << 30))}})

    def delete(self, name):
        self.one(name, "DELETE", None)

    def one(self, name, method, body):
        try:
            path = self.path(name)
        except (TypeError, KeyError):  # no answer
            self.up.wait(60)
            return
        if path is None:
            if None not in self.promised[name]:
                raise AssertionError(f"{name} is lost: {self.promised[name]}")
            self.promised[name] = {None}
            return
        status, _ = self.client.ask(method, path, body, "application/merge-patch+json")
        self.settle(name, status, body["data"]["version"] if body else None, refused=(404,))


class Checks:
    def failures_of_threads(self):
        failures, before = [], threading.excepthook
        threading.excepthook = lambda a: failures.append(a.exc_value)
        self.addCleanup(setattr, threading, "excepthook", before)
        return failures

    def check_writers(self, writers):
        for w in writers:
            w.enough = True
        for w in writers:
            w.join(30)
            self.assertFalse(w.is_alive())
            self.addCleanup(w.client.close)
        there = {}
        for o in writers[0].client.items(MAPS):
            name = o["metadata"].get("labels", {}).get("writer")
            if name:
                self.assertNotIn(name, there, "created twice")
                there[name] = o["data"]["version"]
        wrong = [(n, v, there.get(n)) for w in writers for n, v in w.promised.items() if there.get(n) not in v]
        self.assertEqual(wrong, [], "name, what may be there, what is there")
        self.assertEqual(set(there) - {n for w in writers for n in w.promised}, set())
        return sum(w.acknowledged for w in writers)


class Simulated(Checks, ClusterTest):
    options = {"kind": "sim", "name": "crash-sim"}

    def test_no_acknowledged_write_is_lost(self):
        self.cluster.apply(json.dumps(self.deployment("web", replicas=6)))
        crasher = Crasher(self.cluster)
        writers = [Writer(crasher, i) for i in range(4)]
        failures = self.failures_of_threads()
        for w in writers:
            w.start()
        begun = time.monotonic()
        crasher.run(KILLS, lambda: sum(w.acknowledged for w in writers), self.addCleanup)
        acknowledged = self.check_writers(writers)
        self.assertEqual(failures, [])
        self.assertGreater(acknowledged, KILLS)
        self.k("rollout", "status", "deployment/web", "--timeout=60s", timeout=70)
        pods = [p for p in self.cluster.get("pods", "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]]
        self.assertEqual(len(pods), 6)
        print(f"{KILLS} kills in {time.monotonic() - begun:.0f} s, {acknowledged} acknowledged writes, slowest start {crasher.slowest:.1f} s", flush=True)
        # The check can fail: a write that is taken back behind the writers' backs.
        victim = next(o for o in writers[0].client.items(MAPS) if "writer" in o["metadata"].get("labels", {}))
        self.k("delete", "configmap", victim["metadata"]["name"])
        with self.assertRaisesRegex(AssertionError, victim["metadata"]["labels"]["writer"]):
            self.check_writers(writers)


class RealContainers(Checks, DockerTest):
    options = {"kind": "docker", "name": "crash"}

    def test_no_container_starts_again_and_none_exists_twice(self):
        self.cluster.apply(json.dumps(self.deployment("stay", image="pintle-test/server:1", replicas=3)))
        self.k("rollout", "status", "deployment/stay", "--timeout=90s", timeout=100)

        def standing():
            out = {}
            for p in self.cluster.get("pods", "-l", "app=stay")["items"]:
                s = p["status"]["containerStatuses"][0]
                out[p["metadata"]["name"]] = (p["metadata"]["uid"], s["containerID"], s["state"]["running"]["startedAt"], s["restartCount"])
            return out
        before = standing()
        self.assertEqual(len(before), 3)
        crasher = Crasher(self.cluster)
        writer, comings = Writer(crasher, 0), Comings(crasher)
        failures = self.failures_of_threads()
        writer.start()
        comings.start()
        begun = time.monotonic()
        crasher.run(DOCKER_KILLS, lambda: writer.acknowledged // 4 + comings.acknowledged, self.addCleanup)
        comings.enough = True
        comings.join(30)
        self.addCleanup(comings.client.close)
        acknowledged = self.check_writers([writer])
        self.assertEqual(failures, [])
        self.assertEqual(standing(), before)
        # What comes and goes meanwhile: each pod that is there runs, once; what was deleted leaves nothing.
        kept = {n for n, v in comings.promised.items() if v == {True}}
        self.ready(*kept, timeout=30)
        wait(lambda: {p["metadata"]["name"] for p in self.cluster.get("pods", "-l", "app=come")["items"]} <= kept | {n for n, v in comings.promised.items() if True in v}, 60, "the end of the deleted pods")
        pods = {p["metadata"]["uid"]: p for p in self.cluster.get("pods")["items"]}

        def on_the_engine():
            rows = docker("ps", "-a", "--filter", "label=io.pintle.cluster=crash", "--format", '{{.Label "io.pintle.pod.uid"}} {{.Label "io.pintle.container.name"}}').splitlines()
            return sorted(r.split(" ") for r in rows)
        want = sorted([uid, name] for uid, p in pods.items() for name in ("", p["spec"]["containers"][0]["name"]))
        wait(lambda: on_the_engine() == want, 60, "one sandbox and one container of each pod")
        self.assertEqual({p["status"]["containerStatuses"][0]["restartCount"] for p in pods.values()}, {0})
        print(f"{DOCKER_KILLS} kills in {time.monotonic() - begun:.0f} s, {acknowledged + comings.acknowledged} acknowledged writes, "
              f"{comings.count} pods came, {len(kept)} stayed, slowest start {crasher.slowest:.1f} s", flush=True)
        # An orderly stop restarts nothing either; a pod that is deleted is replaced.
        self.cluster.stop()
        crasher.start()
        wait(lambda: standing() == before, 30, "the same containers after an orderly stop")
        victim = min(before)
        self.k("delete", "pod", victim, "--now", "--wait=false")
        wait(lambda: victim not in standing() and len(standing()) == 3, 60, "the replacement of a deleted pod")


class Comings(threading.Thread):
    """Pods that come and go, so that kills fall between create, start and the write of the status."""

    def __init__(self, crasher):
        super().__init__(daemon=True)
        self.client, self.up, self.random = Client(crasher.cluster), crasher.up, random.Random(SEED + 77)
        self.promised = {}  # name -> {True}, {False}, or both
        self.acknowledged = self.count = 0
        self.enough = False

    def run(self):
        while not self.enough:
            there = [n for n, v in self.promised.items() if v == {True}]
            if len(there) < 3:
                self.count += 1
                name = f"come-{self.count}"
                status, _ = self.client.ask("POST", PODS, pod(name, container(command=["/bin/sleep", "100000"]), labels={"app": "come"}, terminationGracePeriodSeconds=1))
                self.settle(name, status, True, {False})
            else:
                name = self.random.choice(there)
                status, _ = self.client.ask("DELETE", f"{PODS}/{name}")
                self.settle(name, status, False, {True})
            # One after the other, as far as the node is with it when a kill comes.
            while not self.enough:
                status, p = self.client.ask("GET", f"{PODS}/{name}")
                if status != 200 or ("deletionTimestamp" not in p["metadata"] and p.get("status", {}).get("phase") == "Running"):
                    break

    def settle(self, name, status, now, before):
        if 200 <= status < 300:
            self.promised[name] = {now}
            self.acknowledged += 1
        elif status == 0 or status >= 500:
            self.promised[name] = before | {now}
            if status == 0:
                self.up.wait(60)
        else:
            raise AssertionError(f"{name}: {status}")


if __name__ == "__main__":
    unittest.main()
