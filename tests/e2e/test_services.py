"""Services on real packets: nftables, Docker's bridge, its FORWARD rules; with and without bridged traffic in the packet filter."""
import http.client
import json
import os
import re
import select
import socket
import subprocess
import time
import unittest

from cluster import wait
from engine import SERVER, EngineTest
from load import RATE, Load

BRIDGE_FILTER = "/proc/sys/net/bridge/bridge-nf-call-iptables"
WEB = "mkdir -p /a /b; hostname > /a/index.html; echo admin-$(hostname) > /b/index.html; httpd -p 8080 -h /a; exec httpd -f -p 8081 -h /b"
PORTS = [{"name": "web", "containerPort": 8080}]


def fetch(host, port=80, timeout=3):
    c = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        c.request("GET", "/", headers={"Connection": "close"})
        return c.getresponse().read().decode().strip()
    finally:
        c.close()


def nft(*args, check=True):
    return subprocess.run(["nft", *args], capture_output=True, text=True, check=check).stdout


class OtherHost:
    """A network namespace with a link to this one: another machine, as far as packets know."""

    def __init__(self, name, network):
        self.name, self.here, self.there = name, f"{network}.1", f"{network}.2"
        link = name[-9:]
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)  # of a run that was cut off
        for command in (f"ip netns add {name}", f"ip link add {link}h type veth peer name {link}n netns {name}", f"ip addr add {self.here}/24 dev {link}h",
                        f"ip link set {link}h up", f"ip -n {name} addr add {self.there}/24 dev {link}n", f"ip -n {name} link set {link}n up",
                        f"ip -n {name} link set lo up", f"ip -n {name} route add default via {self.here}"):
            subprocess.run(command.split(), check=True)

    def run(self, *command):
        return subprocess.run(["ip", "netns", "exec", self.name, *command], capture_output=True, text=True)

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=True)


class ServiceTest(EngineTest):
    def service(self, name, selector=None, ports=None, **spec):
        """Makes a Service that is removed after the test; returns its spec."""
        spec = {"ports": ports or [{"port": 80, "targetPort": 8080}], **({"selector": selector} if selector else {}), **spec}
        self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}))
        self.addCleanup(self.k, "delete", "service", name)
        return self.cluster.get("service", name)["spec"]

    def node_ip(self):
        return [a["address"] for a in self.cluster.get("nodes")["items"][0]["status"]["addresses"] if a["type"] == "InternalIP"][0]

    def get_from(self, pod, host, port=80):
        """The last line of the answer, or what went wrong."""
        out = self.sh(pod, f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {host} {port}", check=False)
        return out.out.strip().split("\n")[-1].strip() or out.all


class Packets(ServiceTest):
    options = {"kind": "docker", "name": "svc"}
    bridge_filter = "1"

    @classmethod
    def setUpClass(cls):
        if os.path.exists(BRIDGE_FILTER):
            with open(BRIDGE_FILTER) as f:
                before = f.read()
            cls.addClassCleanup(cls.set_bridge_filter, before)
            cls.set_bridge_filter(cls.bridge_filter)
        super().setUpClass()
        cls.host = OtherHost("pintle-" + cls.options["name"], "10.98.0")
        cls.addClassCleanup(cls.host.remove)
        self = cls()
        self.run_pods(*[self.pod(n, WEB, labels={"app": "web", "name": n}, ports=PORTS) for n in ("a", "b")], self.pod("client", "exec sleep 10000"))

    @staticmethod
    def set_bridge_filter(value):
        with open(BRIDGE_FILTER, "w") as f:
            f.write(value)

    def runTest(self):
        """The instance that makes the pods is no test."""

    def test_several_ports_from_everywhere(self):
        spec = self.service("web", {"app": "web"}, [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "admin", "port": 81, "targetPort": 8081}], type="NodePort")
        ip, node, ports = spec["clusterIP"], self.node_ip(), [p["nodePort"] for p in spec["ports"]]
        wait(lambda: {fetch(ip) for _ in range(20)} == {"a", "b"}, 20, "both pods at the cluster IP from the host")
        self.assertIn(fetch(ip, 81), ("admin-a", "admin-b"))
        self.assertIn(fetch(node, ports[0]), ("a", "b"))
        self.assertIn(fetch(node, ports[1]), ("admin-a", "admin-b"))
        for host, port in ((ip, 80), (node, ports[0])):
            for pod in ("client", "a"):
                self.assertEqual({self.get_from(pod, host, port) for _ in range(4)} - {"a", "b"}, set(), f"{pod} to {host}:{port}")
        for _ in range(5):
            out = self.host.run("curl", "-fsS", "-m", "5", f"http://{self.host.here}:{ports[0]}/")
            self.assertIn(out.stdout.strip(), ("a", "b"), out.stderr)

    def test_a_pod_reaches_itself(self):
        spec = self.service("self", {"name": "a"}, type="NodePort")
        wait(lambda: fetch(spec["clusterIP"]) == "a", 20, "the Service")
        for host, port in ((spec["clusterIP"], 80), ("self", 80), (self.node_ip(), spec["ports"][0]["nodePort"])):
            self.assertEqual(self.get_from("a", host, port), "a", f"at {host}:{port}")

    def test_without_endpoints_it_is_refused_at_once(self):
        spec = self.service("empty", {"app": "nobody"}, type="NodePort")
        port = spec["ports"][0]["nodePort"]
        wait(lambda: spec["clusterIP"] in nft("list", "set", "ip", "pintle-svc" if self.bridge_filter == "1" else "pintle-svc0", "refused-ips"), 20, "the rule")
        for host, p in ((spec["clusterIP"], 80), (self.node_ip(), port)):
            begun = time.monotonic()
            with self.assertRaises(ConnectionRefusedError):
                fetch(host, p)
            self.assertLess(time.monotonic() - begun, 1)
        self.assertIn("refused", self.get_from("client", spec["clusterIP"]))


class PacketsPastTheFilter(Packets):
    """Bridged traffic does not pass the packet filter: replies on one bridge would not come back through us."""
    options = {"kind": "docker", "name": "svc0"}
    bridge_filter = "0"


class Kinds(ServiceTest):
    options = {"kind": "docker", "name": "kinds"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        self = cls()
        self.run_pods(*[self.pod(n, WEB, labels={"app": "web", "name": n}, ports=PORTS) for n in ("a", "b")], self.pod("client", "exec sleep 10000"))

    def runTest(self):
        """The instance that makes the pods is no test."""

    def test_affinity_holds_while_endpoints_come(self):
        ip = self.service("sticky", {"app": "web"}, sessionAffinity="ClientIP")["clusterIP"]
        wait(lambda: fetch(ip) in ("a", "b"), 20, "the Service")
        first = fetch(ip)
        self.assertEqual({fetch(ip) for _ in range(20)}, {first})
        self.run_pods(self.pod("c", WEB, labels={"app": "web"}))
        self.addCleanup(self.k, "delete", "pod", "c", "--now")
        self.endpoints_are("sticky", 3)
        wait(lambda: self.pod_ip("c") in nft("list", "table", "ip", "pintle-kinds"), 10, "the third endpoint")
        self.assertEqual({fetch(ip) for _ in range(20)}, {first})

    def test_udp_flows_follow_the_endpoints(self):
        answers = lambda n: self.pod(n, ["/server", "5353", n], labels={"app": "udp"}, image=f"{SERVER}:1")
        self.run_pods(answers("u1"))
        ip = "10.97.253.53"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.3)
            s.connect((ip, 53))

            def ask():
                s.send(b"x\n")
                return s.recv(100).decode().strip()

            with self.assertRaises(OSError):
                ask()  # a client that was there before the Service
            self.service("udp", {"app": "udp"}, [{"port": 53, "targetPort": 5353, "protocol": "UDP"}], clusterIP=ip)
            wait(lambda: ask() == "u1", 20, "an answer by UDP")
            self.run_pods(answers("u2"))
            self.endpoints_are("udp", 2)
            self.k("label", "pod", "u1", "app-")  # it lives on, but serves no more
            wait(lambda: ask() == "u2", 10, "the answer of the next pod to the same socket")
        self.k("delete", "pod", "u1", "u2", "--now")

    def test_tcp_flows_end_with_their_endpoint(self):
        """A client that uses a port again must not be sent where its former connection from there went: connection tracking remembers such a one for up to two
        minutes when the pod ended in the middle of its closing."""
        self.run_pods(*[self.pod(n, WEB, labels={"app": "flows"}) for n in ("ends", "leaves", "stays")])
        ip = self.service("flows", {"app": "flows"})["clusterIP"]
        wait(lambda: {fetch(ip) for _ in range(30)} == {"ends", "leaves", "stays"}, 20, "all three pods")
        with socket.create_connection((ip, 80)) as s:
            here = s.getsockname()[0]

        def flows():
            listed = "".join(subprocess.run(["conntrack", "-L", "-p", "tcp", "-d", ip, "--state", state], capture_output=True, text=True).stdout for state in ("FIN_WAIT", "ESTABLISHED"))
            return {int(n) for n in re.findall(r" dst=\S+ sport=(\d+) dport=80 ", listed)} & set(planted)

        def from_port(port):
            c = http.client.HTTPConnection(ip, 80, timeout=3, source_address=(here, port))
            try:
                c.request("GET", "/", headers={"Connection": "close"})
                return c.getresponse().read().decode().strip()
            finally:
                c.close()

        # Ports outside the range that the kernel gives to clients.
        planted = {61001: ("FIN_WAIT", "ends"), 61002: ("ESTABLISHED", "ends"), 61003: ("ESTABLISHED", "leaves"), 61004: ("FIN_WAIT", "stays")}
        # Who forgets them is told of flows that were made while somebody listens.
        with subprocess.Popen(["conntrack", "-E", "-p", "tcp", "-d", ip], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as events:
            self.addCleanup(events.kill)
            wait(lambda: fetch(ip) and select.select([events.stdout], [], [], 0.1)[0], 10, "the events of connection tracking")
            for port, (state, pod) in planted.items():
                subprocess.run(["conntrack", "-I", "-p", "tcp", "-s", here, "-d", ip, "--sport", str(port), "--dport", "80", "--state", state, "--timeout", "120",
                                "--dst-nat", f"{self.pod_ip(pod)}:8080", "-u", "SEEN_REPLY,ASSURED"], check=True, capture_output=True)
            self.assertEqual(flows(), set(planted))
            self.k("delete", "pod", "ends", "--grace-period=1")
            wait(lambda: flows() == {61003, 61004}, 10, "the end of both flows to the pod that ended")
            events.terminate()
            destroyed = [line for line in events.stdout.read().splitlines() if "[DESTROY]" in line]
        for port in (61001, 61002):
            line, = [line for line in destroyed if f"sport={port} " in line]
            self.assertNotIn("progname=dockerd", line, "the engine came first")
        for port in (61001, 61002):
            self.assertIn(from_port(port), ("leaves", "stays"), f"from port {port}")
        self.k("label", "pod", "leaves", "app-")
        self.endpoints_are("flows", 1)
        wait(lambda: {fetch(ip) for _ in range(10)} == {"stays"}, 10, "the Service without it")
        self.assertEqual(flows(), {61003, 61004}, "an open connection to a pod that lives on goes on")
        for port in (61003, 61004):
            subprocess.run(["conntrack", "-D", "-p", "tcp", "--sport", str(port), "-d", ip], check=True, capture_output=True)
        self.k("delete", "pod", "leaves", "stays", "--now")

    def test_own_endpoints(self):
        a = self.pod_ip("a")
        ip = self.service("mirrored")["clusterIP"]
        self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "mirrored"}, "subsets": [{"addresses": [{"ip": a}], "ports": [{"port": 8080}]}]}))
        wait(lambda: fetch(ip) == "a", 20, "the hand-made Endpoints")
        self.k("delete", "endpoints", "mirrored")
        wait(lambda: not self.cluster.get("endpointslices", "-l", "kubernetes.io/service-name=mirrored")["items"], 10, "the mirror's end")
        ip = self.service("sliced", ports=[{"name": "x", "port": 80}])["clusterIP"]
        self.cluster.apply(json.dumps({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "own", "labels": {"kubernetes.io/service-name": "sliced"}},
                                       "addressType": "IPv4", "ports": [{"name": "x", "port": 8080}], "endpoints": [{"addresses": [a]}]}))
        self.addCleanup(self.k, "delete", "endpointslice", "own")
        wait(lambda: fetch(ip) == "a", 20, "the hand-made slice")

    def test_external_addresses(self):
        self.service("ext", {"app": "web"}, externalIPs=["10.98.77.7"])
        wait(lambda: fetch("10.98.77.7") in ("a", "b"), 20, "the external address")
        self.service("rival", {"app": "web"}, externalIPs=["10.98.77.7"])
        wait(lambda: "Service default/rival cannot have 10.98.77.7 . tcp . 80" in self.cluster.log_text(), 10, "the word about the conflict")
        self.assertIn(fetch("10.98.77.7"), ("a", "b"))

    def test_what_is_not_acted_upon_is_said(self):
        r = self.cluster.apply(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lb"},
                                           "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "targetPort": 8080}], "selector": {"app": "web"},
                                                    "loadBalancerSourceRanges": ["10.0.0.0/8"], "trafficDistribution": "PreferClose"}}))
        self.addCleanup(self.k, "delete", "service", "lb")
        for field in ("spec.loadBalancerSourceRanges", "spec.trafficDistribution"):
            self.assertIn(field, r.all)
        port = self.cluster.get("service", "lb")["spec"]["ports"][0]["nodePort"]
        wait(lambda: fetch(self.node_ip(), port) in ("a", "b"), 20, "the node port of the load balancer")
        self.assertIn("has no load balancer", self.k("get", "events", "--field-selector", "involvedObject.name=lb").out)

    def test_unready_pods(self):
        pod = self.pod("slow", WEB, labels={"app": "slow"})
        pod["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["false"]}}
        self.cluster.apply(json.dumps(pod))
        self.addCleanup(self.k, "delete", "pod", "slow", "--now")
        ip = self.service("early", {"app": "slow"}, publishNotReadyAddresses=True)["clusterIP"]
        wait(lambda: fetch(ip) == "slow", 40, "a pod that is not ready but published")
        strict = self.service("strict", {"app": "slow"})["clusterIP"]
        wait(lambda: strict in nft("list", "set", "ip", "pintle-kinds", "refused-ips"), 10, "the refusal")

    def test_the_last_pod_serves_until_it_is_stopped(self):
        """While its preStop hook runs, and readiness is probed on: its Service has no other."""
        pod = self.pod("last", WEB, labels={"app": "last"}, terminationGracePeriodSeconds=30)
        pod["spec"]["containers"][0].update(lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done"]}}},
                                            readinessProbe={"exec": {"command": ["test", "!", "-e", "/unready"]}, "periodSeconds": 1, "failureThreshold": 1})
        self.run_pods(pod)
        ip = self.service("last", {"app": "last"})["clusterIP"]
        wait(lambda: fetch(ip) == "last", 20, "the Service")

        def conditions():
            slices = self.cluster.get("endpointslices", "-l", "kubernetes.io/service-name=last")["items"]
            return [e["conditions"] for s in slices for e in s["endpoints"]]

        self.k("delete", "pod", "last", "--wait=false")
        wait(lambda: "Killing" in self.k("get", "events", "--field-selector", "involvedObject.name=last").out, 10, "the hook")
        wait(lambda: conditions() == [{"ready": False, "serving": True, "terminating": True}], 10, "the terminating endpoint")
        self.assertEqual({fetch(ip) for _ in range(20)}, {"last"})
        self.sh("last", "touch /unready")
        wait(lambda: conditions() == [{"ready": False, "serving": False, "terminating": True}], 10, "the failed readiness probe")
        wait(lambda: ip in nft("list", "set", "ip", "pintle-kinds", "refused-ips"), 10, "the refusal")
        self.sh("last", "touch /go")
        self.k("wait", "--for=delete", "pod/last", "--timeout=30s")


class Restarts(ServiceTest):
    """Pintle goes and comes back; what the containers serve is served meanwhile, and nobody is taken for unready."""
    options = {"kind": "docker", "name": "again"}
    maxDiff = None
    RESTARTS = int(os.environ.get("PINTLE_RESTARTS", "10"))

    def service_of(self, name, **container):
        """A Service with one pod: a moment without it is a refusal. Returns the cluster IP."""
        pod = self.pod(name, ["/server", "8080", name], labels={"app": name}, image=f"{SERVER}:1")
        pod["spec"]["containers"][0].update(container)
        self.run_pods(pod)
        ip = self.service(name, {"app": name})["clusterIP"]
        wait(lambda: fetch(ip) == name, 20, "the Service")
        return ip

    def served(self):
        """What must not change while nothing happens but restarts: by name, whether and since when."""
        condition = lambda o: [(c["status"], c["lastTransitionTime"]) for c in o["status"]["conditions"] if c["type"] == "Ready"]
        out = {"slice " + s["metadata"]["name"]: (s["metadata"]["resourceVersion"], s["endpoints"]) for s in self.cluster.get("endpointslices")["items"]}
        for kind in ("pods", "nodes"):
            out.update({f"{kind} " + o["metadata"]["name"]: condition(o) for o in self.cluster.get(kind)["items"]})
        return out

    def looked_at(self, ips):
        """The new daemon's node agent has asked the runtime: it knows the containers again."""
        for name in ips:
            wait(lambda: self.k("logs", name, check=False).returncode == 0, 30, f"the container of {name}")

    def two_services(self):
        """With one pod each: a moment without it is a refusal. And a pod whose probe needs the driver."""
        strict = {"periodSeconds": 1, "failureThreshold": 1}
        probe = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, **strict}}
        executed = self.pod("executed", "exec sleep 10000")
        executed["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["true"]}, "timeoutSeconds": 20, **strict}
        self.run_pods(executed)
        return {"plain": self.service_of("plain"), "probed": self.service_of("probed", **probe)}

    def under_load(self, ips, disturb):
        """No request fails while `disturb(progress)` runs; `progress()` waits for more of them."""
        before = self.served()
        loads = {name: Load(ip, keep_alive=False) for name, ip in ips.items()}

        def progress():
            done = {name: load.done for name, load in loads.items()}
            wait(lambda: all(load.done > done[name] + 100 for name, load in loads.items()), 10, "more requests")
            self.assertEqual(self.served(), before)
        try:
            disturb(progress)
        finally:
            for load in loads.values():
                load.stop()
        for name, load in loads.items():
            self.assertEqual(load.failures, [], f"{name}: {len(load.failures)} of {load.done} requests failed")
            self.assertGreaterEqual(load.rate, RATE, f"{name}: the load was lower than promised")
        print("; ".join(f"{name}: {load.done} requests, {load.rate:.0f}/s" for name, load in loads.items()), flush=True)
        return before

    def test_killed_and_stopped(self):
        ips = self.two_services()

        def disturb(progress):
            for _ in range(self.RESTARTS):
                self.cluster.kill()
                nft("add", "element", "ip", "pintle-again", "refused-ips", "{ 10.97.9.9 . tcp . 9 }")  # what the dead one did not clean up
                self.cluster.start()
                wait(lambda: "10.97.9.9" not in nft("list", "table", "ip", "pintle-again"), 30, "the end of stale rules")
                self.looked_at(ips)
                progress()

        before = self.under_load(ips, disturb)
        # An ordered stop takes the rules away, but nobody for unready.
        self.cluster.stop()
        self.assertNotIn("pintle-again", nft("list", "tables"))
        self.assertNotIn("pintle services", subprocess.run(["iptables", "-w", "5", "-S", "DOCKER-USER"], capture_output=True, text=True).stdout)
        self.cluster.start()
        for name, ip in ips.items():
            wait(lambda: fetch(ip) == name, 30, "the Service after an ordered stop")
        self.looked_at(ips)
        self.assertEqual(self.served(), before)
        # A new instance in the same slot takes the table over; the old one's end does not take it away.
        chains = re.findall(r"holder-\d+", nft("list", "table", "ip", "pintle-again"))
        self.assertEqual(len(chains), 1, chains)

    def test_plugins_move_between_processes(self):
        def moved(plugin, isolation):
            status = self.cluster.get("plugin", plugin)["status"]
            # Only the new one is left: the old one's end is part of the move.
            one, = status["instances"]
            return (one["state"], one["isolation"]) == ("Active", isolation) and (isolation == "in-process" or os.path.exists(f"/proc/{one['pid']}"))

        def disturb(progress):
            for plugin in (*["service-proxy"] * 3, "runtime-docker", "node-agent", "service"):
                for isolation in ("process", "in-process"):
                    self.k("patch", "plugin", plugin, "--type=merge", "-p", json.dumps({"spec": {"isolation": isolation}}))
                    wait(lambda: moved(plugin, isolation), 30, f"{plugin} {isolation}")
                    progress()

        self.under_load(self.two_services(), disturb)


if __name__ == "__main__":
    unittest.main()
