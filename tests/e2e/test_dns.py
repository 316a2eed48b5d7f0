"""Names: from pods by busybox's nslookup, from the host by dig."""
import json
import random
import re
import socket
import struct
import subprocess
import threading
import unittest

from cluster import wait
from test_services import OtherHost, ServiceTest

DNS = "10.97.0.10"
UPSTREAM = "127.0.0.53"


class Upstream(threading.Thread):
    """Knows one name, and says for each question by which way it came."""

    def __init__(self):
        super().__init__(daemon=True)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((UPSTREAM, 53))
        self.asked = []

    def run(self):
        while True:
            try:
                query, client = self.udp.recvfrom(4096)
            except OSError:
                return
            end = query.find(b"\0", 12)
            if end < 0 or len(query) < end + 5:
                continue  # nonsense that was passed on
            name = re.sub(rb"[\x01-\x3f]", b".", query[12:end]).decode().strip(".")
            kind = struct.unpack("!H", query[end + 1:end + 3])[0]
            self.asked.append(name)
            known = name == "outside.example" and kind == 1
            head = query[:2] + (b"\x81\x80" if name == "outside.example" else b"\x81\x83") + struct.pack("!4H", 1, int(known), 0, 0)
            answer = b"\xc0\x0c" + struct.pack("!HHIH4B", 1, 1, 30, 4, 198, 51, 100, 7) if known else b""
            self.udp.sendto(head + query[12:end + 5] + answer, client)


def dig(*args, host=None):
    command = ["dig", "+time=2", "+tries=2", *args]
    out = (host.run(*command) if host else subprocess.run(command, capture_output=True, text=True)).stdout
    status = re.search(r"status: (\w+)", out)
    return (status.group(1) if status else "none"), out


def short(name, kind="A", *more):
    return sorted(subprocess.run(["dig", f"@{DNS}", "+short", "+time=2", "+tries=2", *more, name, kind], capture_output=True, text=True).stdout.split("\n")[:-1])


class Names(ServiceTest):
    options = {"kind": "docker", "name": "dns", "dns_config": {"upstream": [UPSTREAM]}}

    @classmethod
    def setUpClass(cls):
        cls.upstream = Upstream()
        cls.upstream.start()
        cls.addClassCleanup(cls.upstream.udp.close)
        super().setUpClass()
        self = cls()
        self.run_pods(self.pod("client", "exec sleep 10000"), self.pod("db-0", "exec sleep 10000", labels={"app": "db"}, hostname="zero", subdomain="db"),
                      self.pod("db-1", "exec sleep 10000", labels={"app": "db"}))

    def runTest(self):
        """The instance that makes the pods is no test."""

    def test_records(self):
        ip = self.service("web", {"app": "nobody"}, [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}])["clusterIP"]
        wait(lambda: short("web.default.svc.cluster.local") == [ip], 10, "the A record")
        self.assertEqual(short("_http._tcp.web.default.svc.cluster.local", "SRV"), ["0 100 80 web.default.svc.cluster.local."])
        self.assertEqual(short("_dns._udp.web.default.svc.cluster.local", "SRV"), ["0 100 53 web.default.svc.cluster.local."])
        self.assertEqual(short(".".join(reversed(ip.split("."))) + ".in-addr.arpa", "PTR"), ["web.default.svc.cluster.local."])
        self.assertEqual(short("web.default.svc.cluster.local", "A", "+tcp"), [ip])
        self.assertEqual(short("WeB.DEFAULT.svc.Cluster.Local"), [ip])
        self.assertEqual(short("1-2-3-4.default.pod.cluster.local"), ["1.2.3.4"])
        self.assertEqual(short("dns-version.cluster.local", "TXT"), ['"1.1.0"'])

    def test_headless(self):
        self.service("db", {"app": "db"}, [{"name": "sql", "port": 5432}], clusterIP="None")
        zero, one = self.pod_ip("db-0"), self.pod_ip("db-1")
        wait(lambda: short("db.default.svc.cluster.local") == sorted([zero, one]), 10, "both pods")
        self.assertEqual(short("zero.db.default.svc.cluster.local"), [zero])
        self.assertEqual(short(one.replace(".", "-") + ".db.default.svc.cluster.local"), [one])
        self.assertEqual(short("_sql._tcp.db.default.svc.cluster.local", "SRV"),
                         sorted(["0 100 5432 zero.db.default.svc.cluster.local.", f"0 100 5432 {one.replace('.', '-')}.db.default.svc.cluster.local."]))
        self.assertEqual(short(".".join(reversed(zero.split("."))) + ".in-addr.arpa", "PTR"), ["zero.db.default.svc.cluster.local."])
        self.service("nobody", {"app": "nobody"}, clusterIP="None")
        wait(lambda: self.cluster.get("endpointslices", "-l", "kubernetes.io/service-name=nobody")["items"], 10, "its slice")
        self.assertEqual(dig(f"@{DNS}", "nobody.default.svc.cluster.local")[0], "NXDOMAIN")

    def test_external_names_and_forwarding(self):
        self.service("ext", type="ExternalName", externalName="outside.example", ports=[{"port": 80}])
        wait(lambda: short("ext.default.svc.cluster.local") == ["198.51.100.7", "outside.example."], 10, "the CNAME and where it leads")
        self.assertEqual(short("outside.example"), ["198.51.100.7"])
        self.assertEqual(dig(f"@{DNS}", "unknown.example")[0], "NXDOMAIN")
        asked = len(self.upstream.asked)
        self.assertEqual(dig(f"@{DNS}", "nothing.default.svc.cluster.local")[0], "NXDOMAIN")
        self.assertEqual(self.upstream.asked[asked:], [], "names of the cluster stay in the cluster")

    def test_absent_names_and_absent_records(self):
        status, out = dig(f"@{DNS}", "kubernetes.default.svc.cluster.local", "AAAA")
        self.assertEqual(status, "NOERROR")
        self.assertIn("ANSWER: 0, AUTHORITY: 1", out)
        self.assertIn("SOA", out)
        status, out = dig(f"@{DNS}", "nope.default.svc.cluster.local")
        self.assertEqual(status, "NXDOMAIN")
        self.assertIn("SOA", out)

    def test_answers_that_are_too_long_for_udp(self):
        self.service("big", ports=[{"port": 80}], clusterIP="None")
        self.cluster.apply(json.dumps({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "big", "labels": {"kubernetes.io/service-name": "big"}},
                                       "addressType": "IPv4", "ports": [], "endpoints": [{"addresses": [f"10.1.0.{i}"]} for i in range(1, 101)]}))
        self.addCleanup(self.k, "delete", "endpointslice", "big")
        wait(lambda: len(short("big.default.svc.cluster.local")) == 100, 10, "a hundred addresses, by TCP")
        self.assertRegex(dig(f"@{DNS}", "+ignore", "+bufsize=512", "big.default.svc.cluster.local")[1], r"flags:[a-z ]* tc")
        out = dig(f"@{DNS}", "+bufsize=4096", "kubernetes.default.svc.cluster.local")[1]
        self.assertIn("EDNS: version: 0", out)

    def test_pods_resolve(self):
        ip = self.service("near", {"app": "nobody"})["clusterIP"]
        for name in ("near", "near.default", "near.default.svc", "near.default.svc.cluster.local", "near.default.svc.cluster.local."):
            wait(lambda n=name: ip in self.sh("client", f"ping -c 1 -w 1 {n} 2>&1 | head -1", check=False).out, 10, name)
        out = self.sh("client", "nslookup -type=a near.default.svc.cluster.local", check=False).all
        self.assertIn(f"Address: {ip}", out)
        self.assertIn("198.51.100.7", self.sh("client", "nslookup -type=a outside.example", check=False).all)
        self.assertIn("NXDOMAIN", self.sh("client", "nslookup -type=a nope.default.svc.cluster.local", check=False).all)
        resolv = self.sh("client", "cat /etc/resolv.conf").out
        self.assertIn(f"nameserver {DNS}", resolv)
        self.assertIn("search default.svc.cluster.local svc.cluster.local cluster.local", resolv)
        self.assertIn("ndots:5", resolv)

    def test_pods_with_a_policy_of_their_own(self):
        own = {"nameservers": ["192.0.2.53"], "searches": ["one.example", "two.example"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}
        self.run_pods(self.pod("none", "exec sleep 10000", dnsPolicy="None", dnsConfig=own), self.pod("more", "exec sleep 10000", dnsConfig=own),
                      self.pod("nodes", "exec sleep 10000", dnsPolicy="Default"))
        self.addCleanup(self.k, "delete", "pod", "none", "more", "nodes", "--now")
        none = self.sh("none", "cat /etc/resolv.conf").out
        self.assertEqual(re.findall(r"^nameserver (.*)", none, re.M), ["192.0.2.53"])
        self.assertIn("search one.example two.example", none)
        self.assertRegex(none, r"options.*ndots:2")
        more = self.sh("more", "cat /etc/resolv.conf").out
        self.assertEqual(re.findall(r"^nameserver (.*)", more, re.M), [DNS, "192.0.2.53"])
        self.assertIn("cluster.local one.example two.example", more)
        self.assertNotIn("ndots:5", more)
        self.assertNotIn(DNS, self.sh("nodes", "cat /etc/resolv.conf").out)

    def test_strangers_and_nonsense(self):
        port = self.cluster.get("endpointslices", "-n", "kube-system", "-l", "kubernetes.io/service-name=kube-dns")["items"][0]
        address, port = port["endpoints"][0]["addresses"][0], port["ports"][0]["port"]
        stranger = OtherHost("pintle-far", "203.0.113")
        try:
            for name in ("outside.example", "kubernetes.default.svc.cluster.local"):
                self.assertEqual(dig(f"@{address}", "-p", str(port), name, host=stranger)[0], "REFUSED", name)
        finally:
            stranger.remove()
        chance = random.Random(1)
        query = bytearray(b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for _ in range(2000):
                packet = bytearray(query)
                for _ in range(chance.randrange(1, 6)):
                    packet[chance.randrange(len(packet))] = chance.randrange(256)
                s.sendto(bytes(packet[:chance.randrange(len(packet) + 1)]), (DNS, 53))
        for _ in range(50):
            with socket.create_connection((DNS, 53), 2) as s:
                s.sendall(chance.randbytes(chance.randrange(1, 600)))
        wait(lambda: len(short("kubernetes.default.svc.cluster.local")) == 1, 10, "an answer afterwards")
        self.assertEqual(self.k("get", "plugin", "dns", "-o", "jsonpath={.status.restarts}").out.strip() or "0", "0")


if __name__ == "__main__":
    unittest.main()
