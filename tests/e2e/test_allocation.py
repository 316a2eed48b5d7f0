"""Addresses and node ports: each is one Service's, none is lost, whatever happens between."""
import json
import os
import random
import threading
import unittest

from cluster import SIM, ClusterTest, wait

KILLS = int(os.environ.get("PINTLE_ALLOCATION_KILLS", "3"))
CHANGES = int(os.environ.get("PINTLE_ALLOCATION_CHANGES", "500"))
SMALL = (SIM % {"agent": json.dumps({"nodes": [{"name": "sim-1", "runtime": "runtime.sim"}]})}).replace(
    "  service:\n", "  service: {config: {serviceCIDR: 10.97.0.0/24, nodePortFrom: 30000, nodePortTo: 30119}}\n")
SERVICES = "/api/v1/namespaces/default/services"


def service(name, kind="ClusterIP", **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}], **spec}}


class Allocation(ClusterTest):
    options = {"config": SMALL, "name": "alloc"}

    def request(self, *args):
        return self.cluster.request(*args)

    def create(self, *args, **kw):
        code, body = self.request("POST", SERVICES, service(*args, **kw))
        self.assertEqual(code, 201, body)
        return body["spec"]

    def refused(self, code, text, body, method="POST", path=SERVICES):
        got, status = self.request(method, path, body)
        self.assertEqual(got, code, status)
        self.assertIn(text, status["message"])
        return status

    def names(self, path):
        return sorted(o["metadata"]["name"] for o in self.request("GET", path)[1]["items"])

    def assert_books_balance(self):
        """What Services hold is what is marked as taken, and nothing is held twice."""
        services = [s for s in self.request("GET", "/api/v1/services")[1]["items"]]
        addresses = sorted(s["spec"]["clusterIP"] for s in services if s["spec"].get("clusterIP", "None") != "None")
        ports = sorted(f"{p['nodePort']}-{p['protocol'].lower()}" for s in services for p in s["spec"].get("ports", []) if p.get("nodePort"))
        self.assertEqual(len(addresses), len(set(addresses)), "an address is held twice")
        self.assertEqual(len(ports), len(set(ports)), "a node port is held twice")
        self.assertEqual(self.names("/apis/networking.k8s.io/v1/ipaddresses"), addresses)
        self.assertEqual(self.names("/apis/pintle.dev/v1/nodeports"), ports)
        return services

    def tearDown(self):
        for name in self.names(SERVICES):
            if name != "kubernetes":
                self.request("DELETE", f"{SERVICES}/{name}")
        self.assert_books_balance()

    def test_parallel_changes_and_kills(self):
        todo = list(range(CHANGES))
        lock = threading.Lock()
        there, gone, unsure = set(), set(), set()

        def work(seed):
            chance = random.Random(seed)
            mine = []
            while True:
                with lock:
                    if not todo:
                        return
                    n = todo.pop()
                if len(mine) > 8 or (mine and chance.random() < 0.4):
                    name, verb = mine.pop(chance.randrange(len(mine))), "DELETE"
                else:
                    name, verb = f"s{n}", "POST"
                try:
                    if verb == "POST":
                        code, body = self.request("POST", SERVICES, service(name, "NodePort" if n % 3 == 0 else "ClusterIP"))
                    else:
                        code, body = self.request("DELETE", f"{SERVICES}/{name}")
                except OSError:
                    with lock:
                        unsure.add(name)
                    wait(lambda: self.request("GET", "/livez")[0] == 200, 60, "the next pintled")
                    continue
                except Exception:  # noqa: BLE001 - an answer that was cut
                    with lock:
                        unsure.add(name)
                    continue
                with lock:
                    if code in (200, 201):
                        (there if verb == "POST" else gone).add(name)
                    else:
                        unsure.add(name)
                        problems.append((verb, name, code, body.get("message")))
                if verb == "POST" and code == 201:
                    mine.append(name)

        problems = []
        workers = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(24)]
        for w in workers:
            w.start()
        for kill in range(KILLS):
            part = CHANGES * (kill + 1) // (KILLS + 1)
            wait(lambda: len(there) + len(gone) + len(unsure) >= part * 0.9, 120, f"{part} changes")
            self.cluster.kill()
            self.cluster.start()
        for w in workers:
            w.join(120)
            self.assertFalse(w.is_alive(), "a client hangs")
        self.assertEqual([p for p in problems if p[2] != 503], [])
        present = {s["metadata"]["name"] for s in self.assert_books_balance()}
        self.assertEqual(there - gone - unsure - present, set(), "acknowledged and lost")
        self.assertEqual((gone - unsure) & present, set(), "deleted and there")
        self.assertGreater(len(there), CHANGES // 3)
        self.assertLess(len(unsure), CHANGES // 3)
        print(f"{len(there)} created, {len(gone)} deleted, {len(unsure)} unsure after {KILLS} kills", flush=True)

    def test_a_full_range_says_so(self):
        """254 addresses: those that are there already count."""
        free = 254 - len(self.names("/apis/networking.k8s.io/v1/ipaddresses"))
        addresses = {self.create(f"f{i}")["clusterIP"] for i in range(free)}
        self.assertEqual(len(addresses), free)
        self.refused(500, "Internal error occurred: failed to allocate a serviceIP: range is full", service("more"))
        self.assertIn("failed to allocate a serviceIP: range is full", self.k("create", "service", "clusterip", "more", "--tcp=80", check=False).all)
        freed = self.request("GET", f"{SERVICES}/f7")[1]["spec"]["clusterIP"]
        self.request("DELETE", f"{SERVICES}/f7")
        self.assertEqual(self.create("again")["clusterIP"], freed)

    def test_a_full_port_range_says_so(self):
        free = 120 - len(self.names("/apis/pintle.dev/v1/nodeports"))
        ports = {self.create(f"n{i}", "NodePort")["ports"][0]["nodePort"] for i in range(free)}
        self.assertEqual(len(ports), free)
        self.refused(500, "Internal error occurred: failed to allocate a nodePort: range is full", service("more", "NodePort"))
        # TCP and UDP are counted apart, and the refused Service has left no address behind (tearDown counts).
        self.create("udp", "NodePort", ports=[{"port": 53, "protocol": "UDP"}])

    def test_wishes_and_conflicts(self):
        self.assertEqual(self.create("a", clusterIP="10.97.0.77")["clusterIP"], "10.97.0.77")
        status = self.refused(422, 'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.97.0.77"]: failed to allocate IP 10.97.0.77: provided IP is already allocated',
                              service("b", clusterIP="10.97.0.77"))
        self.assertEqual((status["reason"], status["details"]["causes"][0]["field"]), ("Invalid", "spec.clusterIPs"))
        self.refused(422, "failed to allocate IP 10.1.2.3: the provided IP (10.1.2.3) is not in the valid range. The range of valid IPs is 10.97.0.0/24", service("b", clusterIP="10.1.2.3"))
        self.assertEqual(self.create("c", "NodePort", ports=[{"port": 80, "nodePort": 30007}])["ports"][0]["nodePort"], 30007)
        self.refused(422, "spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated", service("d", "NodePort", ports=[{"port": 80, "nodePort": 30007}]))
        self.refused(422, "spec.ports[0].nodePort: Invalid value: 99: provided port is not in the valid range. The range of valid ports is 30000-30119",
                     service("d", "NodePort", ports=[{"port": 80, "nodePort": 99}]))
        self.refused(422, "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'", service("d", ports=[{"port": 80, "nodePort": 30008}]))
        self.refused(422, "spec.clusterIPs[0]: Invalid value: [\"10.97.0.78\"]: may not change once set",
                     {**service("a", clusterIP="10.97.0.78", clusterIPs=["10.97.0.78"])}, "PUT", f"{SERVICES}/a")

    def test_changes_of_type(self):
        def patch(spec):
            code, body = self.request("PATCH", f"{SERVICES}/t", {"spec": spec})
            self.assertEqual(code, 200, body)
            self.assert_books_balance()
            return body["spec"]

        address = self.create("t")["clusterIP"]
        node = patch({"type": "NodePort"})
        self.assertEqual(node["clusterIP"], address)
        self.assertTrue(node["ports"][0]["nodePort"])
        self.assertEqual(patch({"type": "LoadBalancer"})["ports"], node["ports"])
        wait(lambda: any(e["reason"] == "NoLoadBalancer" and e["involvedObject"]["name"] == "t" for e in self.cluster.get("events")["items"]), 10, "the Event about the load balancer")
        plain = patch({"type": "ClusterIP"})
        self.assertEqual((plain["clusterIP"], "nodePort" in plain["ports"][0], "externalTrafficPolicy" in plain), (address, False, False))
        name = patch({"type": "ExternalName", "externalName": "example.org"})
        self.assertNotIn("clusterIP", name)
        self.assertTrue(patch({"type": "ClusterIP", "externalName": None})["clusterIP"])


if __name__ == "__main__":
    unittest.main()
