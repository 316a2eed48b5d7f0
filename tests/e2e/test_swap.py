"""The scheduler is swapped while pods arrive, and a plugin is switched off in the middle of a rollout: over the real API, with kubectl.

What must never be is read from the watch, change by change, not from a look at the end. $PINTLE_E2E_SWAPS (50) swaps while
$PINTLE_E2E_PODS_PER_SECOND (100) pods arrive."""
import base64
import collections
import http.client
import json
import os
import ssl
import statistics
import tempfile
import threading
import time
import unittest
import zlib

from cluster import SIM, Cluster, wait

SWAPS = int(os.environ.get("PINTLE_E2E_SWAPS", "50"))
RATE = int(os.environ.get("PINTLE_E2E_PODS_PER_SECOND", "100"))
SLOT = "scheduler.default-scheduler"
NODES, PODS_PER_NODE = 100, 40  # as many pods fit by their requests
LIFETIME = 8.0  # seconds that a pod lives after it was bound
PODS = "/api/v1/namespaces/default/pods"


class Api:
    """The REST API with the administrator's certificate; each user of it has a connection of its own."""

    def __init__(self, cluster):
        view = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").out)
        user, server = view["users"][0]["user"], view["clusters"][0]["cluster"]
        self.host = server["server"].split("//")[1]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as f:
            f.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
            f.flush()
            self.tls.load_cert_chain(f.name)

    def connect(self):
        return http.client.HTTPSConnection(self.host, context=self.tls, timeout=120)

    @staticmethod
    def send(connection, verb, path, body=None):
        connection.request(verb, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None

    def get(self, path):
        connection = self.connect()
        try:
            return self.send(connection, "GET", path)
        finally:
            connection.close()

    def watch(self, path, revision):
        """Yields the lines of a watch until it ends. It has begun when this returns."""
        connection = self.connect()
        connection.request("GET", f"{path}?watch=true&resourceVersion={revision}")
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()

        def lines():
            try:
                yield from answer
            finally:
                connection.close()
        return lines()


class Referee(threading.Thread):
    """Reads every change of the pods and keeps the score."""

    def __init__(self, api, revision):
        super().__init__(daemon=True)
        self.stream = api.watch(PODS, revision)
        self.wrong = []
        self.node_of = {}   # uid -> node, of all pods ever bound
        self.bound_at = {}  # uid -> (when seen, name)
        self.counted = collections.Counter()
        self.holding = {}   # uid -> node that it takes room on now
        self.over = False

    def run(self):
        for line in self.stream:
            event = json.loads(line)
            if event["type"] == "ERROR":
                self.wrong.append(f"the watch ended: {event['object']}")
                return
            self.see(event["type"], event["object"])
        if not self.over:
            self.wrong.append("the watch ended")

    def see(self, kind, pod):
        uid, name, node = pod["metadata"]["uid"], pod["metadata"]["name"], pod["spec"].get("nodeName", "")
        before = self.node_of.get(uid, "")
        if before and node != before:
            self.wrong.append(f"pod {name} was bound to {before} and then to {node!r}")
        if node and not before:
            self.node_of[uid] = node
            self.bound_at[uid] = (time.monotonic(), name)
        gone = kind == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed")
        if gone and uid in self.holding:
            self.counted[self.holding.pop(uid)] -= 1
        elif not gone and node and uid not in self.holding:
            self.holding[uid] = node
            self.counted[node] += 1
            if self.counted[node] > PODS_PER_NODE:
                self.wrong.append(f"node {node} is over-committed by {name}: {self.counted[node]} pods, {PODS_PER_NODE} fit")
        if pod["status"].get("phase") == "Failed":
            self.wrong.append(f"pod {name} failed: {pod['status']}")


class Arrivals(threading.Thread):
    """A part of the pods that arrive, RATE / PARTS a second."""
    PARTS = 4

    def __init__(self, api, part):
        super().__init__(daemon=True)
        self.api, self.part = api, part
        self.made = {}  # uid -> name
        self.wrong = []
        self.over = threading.Event()

    @staticmethod
    def pod(name):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {"terminationGracePeriodSeconds": 1,
                         "containers": [{"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "200m", "memory": "16Mi"}}}]}}

    def run(self):
        connection, begun, number = self.api.connect(), time.monotonic(), 0
        while not self.over.is_set():
            for _ in range(min(int((time.monotonic() - begun) * RATE / self.PARTS) - number, RATE)):
                status, pod = self.api.send(connection, "POST", PODS, self.pod(f"p{self.part}-{number}"))
                number += 1
                if status == 201:
                    self.made[pod["metadata"]["uid"]] = pod["metadata"]["name"]
                else:
                    self.wrong.append(f"create answered {status}: {pod}")
                if self.over.is_set():
                    break
            self.over.wait(0.02)
        connection.close()


class Departures(threading.Thread):
    """A part of the pods leave LIFETIME after they were bound: as many as arrive, so that what the server holds stays the same."""
    PARTS = 3

    def __init__(self, api, referee, part):
        super().__init__(daemon=True)
        self.api, self.referee, self.part = api, referee, part
        self.over = threading.Event()

    def run(self):
        connection = self.api.connect()
        while not self.over.wait(0.02):
            now = time.monotonic()
            for uid, (at, name) in list(self.referee.bound_at.items()):
                if at + LIFETIME > now or self.over.is_set():
                    break
                if zlib.crc32(uid.encode()) % self.PARTS == self.part:
                    self.api.send(connection, "DELETE", f"{PODS}/{name}")
                    self.referee.bound_at.pop(uid)
        connection.close()


class Sweep(threading.Thread):
    """What is told about pods goes with them."""

    def __init__(self, api):
        super().__init__(daemon=True)
        self.api = api
        self.over = threading.Event()

    def run(self):
        connection = self.api.connect()
        while not self.over.wait(2):
            self.api.send(connection, "DELETE", "/api/v1/namespaces/default/events")
        connection.close()


def memory(pid):
    """MiB that are in use."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) / 1024


class SwapUnderLoad(unittest.TestCase):
    def setUp(self):
        agent = {"simulated": {"count": NODES, "cpu": "8", "memory": "32Gi", "pods": "110", "taint": False}}
        # A short history is full after a few seconds: what grows later is a leak.
        self.cluster = Cluster(SIM % {"agent": json.dumps(agent)} + "store: {historyMiB: 4}\n", name="swap")
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        self.api = Api(self.cluster)
        wait(lambda: len([n for n in self.api.get("/api/v1/nodes")[1]["items"]
                          if any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"].get("conditions", []))]) == NODES,
             60, "readiness of all nodes")
        wait(lambda: self.api.get("/api/v1/namespaces/default/serviceaccounts/default")[0] == 200, 20, "the default ServiceAccount")

    def slot(self):
        return self.api.get(f"/apis/pintle.dev/v1/slots/{SLOT}")[1]["status"]

    def test_pods_arrive_while_the_scheduler_is_swapped(self):
        referee = Referee(self.api, self.api.get(PODS)[1]["metadata"]["resourceVersion"])
        referee.start()
        arrivals = [Arrivals(self.api, part) for part in range(Arrivals.PARTS)]
        threads = [*arrivals, *(Departures(self.api, referee, part) for part in range(Departures.PARTS)), Sweep(self.api)]
        for t in threads:
            t.start()

        def made():
            return {uid for a in arrivals for uid in list(a.made)}

        def wrong():
            return referee.wrong + [w for a in arrivals for w in a.wrong]
        begun = time.monotonic()
        wait(lambda: len(referee.node_of) > 2 * RATE, 60, "the first pods")
        epoch, used, spread = self.slot()["epoch"], [], {"scheduler-binpack": [], "scheduler-default": []}
        for i in range(SWAPS):
            to = ("scheduler-binpack", "scheduler-default")[i % 2]
            self.cluster.kubectl("patch", "slot", SLOT, "--type=merge", "-p", json.dumps({"spec": {"provider": to}}))
            wait(lambda: self.slot()["provider"] == to, 30, f"the swap to {to}")
            # What the holder before decided on may still be on its way: the new one places what comes from now on.
            earlier = len(made())
            wait(lambda: len(referee.node_of) >= earlier + max(20, RATE // 2), 60, f"pods that {to} has placed")
            nodes = list(referee.node_of.values())[earlier:]
            spread[to].append(len(set(nodes)) / len(nodes))
            used.append(memory(self.cluster.process.pid))
            self.assertEqual(wrong(), [])
        took = time.monotonic() - begun
        for t in threads:
            t.over.set()
        for t in threads:
            t.join()
        wait(lambda: made() <= set(referee.node_of), 60, "every pod's node")
        referee.over = True
        self.assertEqual(wrong(), [])
        self.assertEqual(self.slot()["epoch"], epoch + SWAPS)
        packed, even = (statistics.median(spread[p]) for p in ("scheduler-binpack", "scheduler-default"))
        quarter = max(1, len(used) // 4)
        early, late = statistics.median(used[quarter:2 * quarter] or used), statistics.median(used[-quarter:])
        print(f"\n{SWAPS} swaps, {len(made())} pods in {took:.0f} s ({len(made()) / took:.0f}/s); nodes per pod: binpack {packed:.2f}, "
              f"default {even:.2f}; RSS {used[0]:.0f} MiB at first, {early:.0f} early, {late:.0f} late")
        self.assertLess(packed, even / 2, spread)
        self.assertLess(late, early * 1.1 + 8, "memory grows with the swaps: a leaked generation is more than 1 MiB a swap")


class DisabledInTheMiddle(unittest.TestCase):
    """`deployment` is switched off while its rollout runs, the server is restarted, and it is switched on again."""

    def setUp(self):
        self.cluster = Cluster(agent={"simulated": {"count": 3, "taint": False}}, name="disable")
        self.addCleanup(self.cluster.remove)
        self.cluster.start()
        self.k = self.cluster.kubectl
        wait(lambda: self.k("get", "serviceaccount", "default").out, 20, "the default ServiceAccount")

    def enable(self, on):
        self.k("patch", "plugin", "deployment", "--type=merge", "-p", json.dumps({"spec": {"enabled": on}}))

    def sizes(self):
        return {s["metadata"]["uid"]: s["spec"]["replicas"] for s in self.cluster.get("replicasets")["items"]}

    def pods(self):
        return {p["metadata"]["uid"] for p in self.cluster.get("pods")["items"] if "deletionTimestamp" not in p["metadata"]}

    def assert_hidden(self):
        api = Api(self.cluster)
        self.assertEqual(api.get("/apis/apps/v1/namespaces/default/deployments")[0], 404)
        self.assertEqual(api.get("/apis/apps/v1/namespaces/default/deployments/web")[0], 404)
        resources = [r["name"] for r in api.get("/apis/apps/v1")[1]["resources"]]
        self.assertIn("replicasets", resources)
        self.assertEqual([r for r in resources if r.startswith("deployments")], [])
        self.assertNotIn("deployments", self.k("api-resources").out)
        refused = self.k("get", "deployments", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn('doesn\'t have a resource type "deployments"', refused.all)

    def test_its_kinds_are_hidden_its_pods_stay_and_the_rollout_goes_on_later(self):
        web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
               "spec": {"replicas": 6, "minReadySeconds": 2, "selector": {"matchLabels": {"app": "web"}},
                        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
                        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "web:1"}]}}}}
        self.cluster.apply(json.dumps(web))
        self.k("rollout", "status", "deployment/web", "--timeout=60s")
        uid = self.cluster.get("deployment", "web")["metadata"]["uid"]
        self.k("set", "image", "deployment/web", "c=web:2")
        wait(lambda: 2 <= self.cluster.get("deployment", "web")["status"].get("updatedReplicas", 0) < 6, 30, "the middle of the rollout")
        stream = Api(self.cluster).watch("/apis/apps/v1/namespaces/default/deployments", "0")
        ended = threading.Event()
        threading.Thread(target=lambda: (list(stream), ended.set()), daemon=True).start()

        self.enable(False)
        wait(lambda: self.cluster.get("plugin", "deployment")["status"]["state"] in ("Unloaded", "Destroyed"), 30, "the plugin's end")
        self.assertTrue(ended.wait(10), "the open watch did not end")
        self.assert_hidden()
        sizes = self.sizes()
        self.assertEqual(len(sizes), 2)
        self.assertTrue(all(n > 0 for n in sizes.values()), sizes)
        total = sum(sizes.values())
        wait(lambda: len(self.pods()) == total, 30, "the pods that the ReplicaSets want")
        pods = self.pods()

        self.cluster.stop()
        self.cluster.start()
        wait(lambda: self.cluster.get("plugin", "gc")["status"]["state"] == "Active", 30, "garbage collection")
        self.assert_hidden()
        # A sign of life of everything around it: a deleted pod is replaced, by the ReplicaSets of before.
        victim = next(p["metadata"]["name"] for p in self.cluster.get("pods")["items"] if p["metadata"]["uid"] in pods)
        self.k("delete", "pod", victim, "--timeout=60s")
        wait(lambda: len(self.pods()) == total, 30, "the deleted pod's successor")
        self.assertEqual(self.sizes(), sizes)
        self.assertEqual(len(self.pods() & pods), total - 1)

        self.enable(True)
        wait(lambda: self.k("get", "deployment", "web", check=False).returncode == 0, 30, "the kind's return")
        self.assertEqual(self.cluster.get("deployment", "web")["metadata"]["uid"], uid)
        self.k("rollout", "status", "deployment/web", "--timeout=60s")
        self.assertEqual(sorted(self.sizes().values()), [0, 6])
        self.assertEqual({p["spec"]["containers"][0]["image"] for p in self.cluster.get("pods")["items"]
                          if "deletionTimestamp" not in p["metadata"]}, {"web:2"})


if __name__ == "__main__":
    unittest.main()
