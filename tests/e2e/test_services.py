"""Services and names on real packets: nftables, Docker's bridge, its FORWARD rules."""
import http.client
import json
import subprocess
import unittest

from cluster import wait
from engine import SERVER, EngineTest


def fetch(host, port, timeout=3):
    c = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        c.request("GET", "/", headers={"Connection": "close"})
        return c.getresponse().read().decode()
    finally:
        c.close()


class Services(EngineTest):
    options = {"kind": "docker", "name": "svc"}

    def test_services_and_names(self):
        self.cluster.apply(json.dumps(self.deployment("svc", image=f"{SERVER}:1", replicas=2)))
        self.k("rollout", "status", "deployment/svc", "--timeout=60s")
        self.k("expose", "deployment", "svc", "--port=80", "--target-port=8080", "--type=NodePort")
        service = self.cluster.get("service", "svc")
        ip, node_port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
        node_ip = [a["address"] for a in self.cluster.get("nodes")["items"][0]["status"]["addresses"] if a["type"] == "InternalIP"][0]
        wait(lambda: fetch(ip, 80) == "1", 15, "the page at the cluster IP")
        wait(lambda: fetch(node_ip, node_port) == "1", 15, "the page at the node port")
        self.run_pods(self.pod("client", "sleep 1000"))
        for name in (ip, "svc", "svc.default", "svc.default.svc.cluster.local"):
            out = wait(lambda n=name: self.sh("client", f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {n} 80", check=False).out, 15, f"the page at {name}")
            self.assertTrue(out.endswith("1"), out)
        # A pod reaches itself through its Service.
        self.k("scale", "deployment", "svc", "--replicas=0")
        self.run_pods(self.pod("self", "mkdir -p /www; echo me > /www/index.html; exec httpd -f -p 8080 -h /www", labels={"app": "svc"}))
        wait(lambda: "me" in self.sh("self", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 svc 80", check=False).out, 30, "a pod reaching itself")
        # The node port from another host: a network namespace with a link of its own.
        try:
            for command in ("ip netns add pintle-e2e", "ip link add pe2e0 type veth peer name pe2e1 netns pintle-e2e", "ip addr add 10.98.0.1/24 dev pe2e0",
                            "ip link set pe2e0 up", "ip -n pintle-e2e addr add 10.98.0.2/24 dev pe2e1", "ip -n pintle-e2e link set pe2e1 up",
                            "ip -n pintle-e2e route add default via 10.98.0.1"):
                subprocess.run(command.split(), check=True)
            out = subprocess.run(["ip", "netns", "exec", "pintle-e2e", "curl", "-fsS", "-m", "5", f"http://10.98.0.1:{node_port}/"], capture_output=True, text=True)
            self.assertEqual(out.stdout, "me\n", out.stderr)
        finally:
            subprocess.run(["ip", "netns", "del", "pintle-e2e"])
        self.k("delete", "pod", "self", "client", "--now")
        self.k("delete", "deployment,service", "svc")


if __name__ == "__main__":
    unittest.main()
