"""Real containers on a real Docker engine: streams, services, names, restarts, and rolling updates that lose no request."""
import http.client
import json
import os
import subprocess
import tempfile
import threading
import time
import unittest

from cluster import ROOT, Cluster, ClusterTest, wait

BUSYBOX = "pintle-test/busybox:1"
RUNS = int(os.environ.get("PINTLE_ROLLOUT_RUNS", "2"))


def docker(*args, **kw):
    return subprocess.run(["docker", "-H", "unix:///var/run/docker.sock", *args], capture_output=True, text=True, check=True, **kw).stdout


def make_server_images():
    """pintle-test/server:1 and :2 from tests/e2e/server/server.c."""
    if "server" in docker("images", "pintle-test/server", "-q", "--filter", "reference=pintle-test/server:2", "--format", "{{.Repository}}"):
        return
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["cc", "-O1", "-static", "-o", f"{d}/server", os.path.join(ROOT, "tests/e2e/server/server.c")], check=True)
        for version in "12":
            tar = subprocess.run(["tar", "-C", d, "-c", "server"], capture_output=True, check=True).stdout
            subprocess.run(["docker", "-H", "unix:///var/run/docker.sock", "import", "--change", f'CMD ["/server","8080","{version}"]', "-",
                            f"pintle-test/server:{version}"], input=tar, check=True, capture_output=True)


class Load:
    """Clients that ask all the time; counts what fails. Keep-alive clients ask again on a new connection when the server had closed the idle one
    before it sent a single byte, as RFC 9112 section 9.3.1 lets them."""

    def __init__(self, address, keep_alive, clients=4, pause=0.01):
        self.address, self.keep_alive, self.pause = address, keep_alive, pause
        self.stop_now = False
        self.done, self.failures, self.versions = 0, [], set()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        self.started = time.monotonic()
        for t in self.threads:
            t.start()

    def run(self):
        connection, fresh = None, True
        while not self.stop_now:
            try:
                if connection is None:
                    connection, fresh = http.client.HTTPConnection(self.address, 80, timeout=5), True
                connection.request("GET", "/", headers={} if self.keep_alive else {"Connection": "close"})
                r = connection.getresponse()
                self.versions.add(r.read().decode())
                if r.status != 200:
                    self.failures.append(f"status {r.status}")
                self.done += 1
                fresh = False
                if not self.keep_alive or r.will_close:
                    connection.close()
                    connection = None
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as e:
                connection.close()
                connection = None
                if fresh or not self.keep_alive:
                    self.failures.append(f"{time.monotonic() - self.started:.3f} s: {e!r}")
            except Exception as e:  # noqa: BLE001 - every failure counts
                self.failures.append(f"{time.monotonic() - self.started:.3f} s: {e!r}")
                if connection is not None:
                    connection.close()
                connection = None
            time.sleep(self.pause)

    def stop(self):
        self.stop_now = True
        for t in self.threads:
            t.join(10)
        return self.done / (time.monotonic() - self.started)


class Docker(ClusterTest):
    options = {"kind": "docker", "name": "e2e"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls.clean)
        make_server_images()

    @classmethod
    def clean(cls):
        ids = docker("ps", "-aq", "--filter", "label=io.pintle.cluster=e2e").split()
        if ids:
            docker("rm", "-f", *ids)

    def pod(self, name, command, **spec):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 2,
                         "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-c", command], **spec}]}}

    def run_pod(self, *args, **kw):
        pod = self.pod(*args, **kw)
        self.cluster.apply(json.dumps(pod))
        self.k("wait", "--for=condition=Ready", f"pod/{args[0]}", "--timeout=60s")

    def test_streams(self):
        self.run_pod("streams", "echo started; mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 8080 -h /www")
        self.assertEqual(self.k("logs", "streams").out, "started\n")
        self.assertEqual(self.k("exec", "-i", "streams", "--", "sh", "-c", "cat; exit 3", stdin="hello\n", check=False).out, "hello\n")
        self.assertEqual(self.k("exec", "streams", "--", "sh", "-c", "exit 3", check=False).returncode, 3)
        local = os.path.join(self.cluster.dir, "file")
        with open(local, "w") as f:
            f.write("data\n")
        self.k("cp", local, "streams:/tmp/file")
        self.k("cp", "streams:/tmp/file", local + "2")
        with open(local + "2") as f:
            self.assertEqual(f.read(), "data\n")
        forward = self.cluster.popen("port-forward", "pod/streams", ":8080", stdout=subprocess.PIPE)
        try:
            port = int(forward.stdout.readline().split(":")[1].split()[0])
            for _ in range(3):
                c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                c.request("GET", "/")
                self.assertEqual(c.getresponse().read(), b"page\n")
                c.close()
        finally:
            forward.kill()
            forward.communicate()
        self.k("delete", "pod", "streams", "--now")

    def test_run_rm_gives_the_exit_code(self):
        r = self.k("run", "-i", "--rm", "one", f"--image={BUSYBOX}", "--restart=Never", "--", "sh", "-c", "sleep 1; echo out; exit 4", check=False, stdin="")
        self.assertEqual(r.returncode, 4, r.all)
        self.assertIn("out\n", r.out)

    def test_environment_volumes_and_security(self):
        self.k("create", "configmap", "settings", "--from-literal=color=blue")
        self.k("create", "secret", "generic", "hidden", "--from-literal=word=xyzzy")
        pod = self.pod("full", "echo $COLOR $WORD $POD_NAME $TWICE; cat /settings/color /hidden/word; id -u; id -g; touch /x || echo read-only; echo $(cat /proc/1/status | grep NoNewPrivs); sleep 1000",
                       env=[{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
                            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                            {"name": "TWICE", "value": "$(COLOR)-$(COLOR)"}],
                       volumeMounts=[{"name": "settings", "mountPath": "/settings"}, {"name": "hidden", "mountPath": "/hidden", "readOnly": True}],
                       securityContext={"runAsUser": 1000, "runAsGroup": 2000, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                                        "capabilities": {"drop": ["ALL"]}})
        pod["spec"]["volumes"] = [{"name": "settings", "configMap": {"name": "settings"}}, {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o444}}]
        self.cluster.apply(json.dumps(pod))
        self.k("wait", "--for=condition=Ready", "pod/full", "--timeout=60s")
        log = wait(lambda: self.k("logs", "full").out if "NoNewPrivs" in self.k("logs", "full").out else "", 20, "the whole log")
        for line in ("blue xyzzy full blue-blue", "bluexyzzy1000", "2000", "read-only", "NoNewPrivs: 1"):
            self.assertIn(line, log)
        self.k("delete", "pod", "full", "--now")

    def test_a_container_that_ends_is_restarted_with_back_off(self):
        self.cluster.apply(json.dumps(self.pod("crash", "exit 1")))
        wait(lambda: "CrashLoopBackOff" in self.k("get", "pod", "crash").out, 60, "CrashLoopBackOff")
        self.k("delete", "pod", "crash", "--now")

    def test_a_killed_container_is_noticed_and_a_deleted_pod_replaced(self):
        self.cluster.apply(json.dumps(self.deployment("heal", image="pintle-test/server:1", replicas=1)))
        self.k("rollout", "status", "deployment/heal", "--timeout=60s")
        pod = self.cluster.get("pods", "-l", "app=heal")["items"][0]
        docker("kill", pod["status"]["containerStatuses"][0]["containerID"].split("//")[1])
        wait(lambda: self.cluster.get("pod", pod["metadata"]["name"])["status"]["containerStatuses"][0]["restartCount"] == 1, 15, "the restart")
        self.k("delete", "pod", pod["metadata"]["name"], "--now")
        wait(lambda: [p for p in self.cluster.get("pods", "-l", "app=heal")["items"]
                      if p["metadata"]["name"] != pod["metadata"]["name"] and p["status"]["phase"] == "Running"], 30, "the replacement")
        self.k("delete", "deployment", "heal")

    def test_a_restart_of_pintle_restarts_nothing(self):
        self.cluster.apply(json.dumps(self.deployment("stay", image="pintle-test/server:1", replicas=2)))
        self.k("rollout", "status", "deployment/stay", "--timeout=60s")
        columns = "custom-columns=N:.metadata.name,C:.status.containerStatuses[0].containerID,S:.status.containerStatuses[0].state.running.startedAt,R:.status.containerStatuses[0].restartCount"
        before = self.k("get", "pods", "-l", "app=stay", "-o", columns).out
        for how in ("stop", "kill"):
            getattr(self.cluster, how)()
            self.cluster.start()
            wait(lambda: "Ready" in self.k("get", "nodes").out.split("\n")[1].split(), 30, "the node")
            self.assertEqual(self.k("get", "pods", "-l", "app=stay", "-o", columns).out, before)
        self.k("delete", "deployment", "stay")

    def test_services_and_names(self):
        self.cluster.apply(json.dumps(self.deployment("svc", image="pintle-test/server:1", replicas=2)))
        self.k("rollout", "status", "deployment/svc", "--timeout=60s")
        self.k("expose", "deployment", "svc", "--port=80", "--target-port=8080", "--type=NodePort")
        service = self.cluster.get("service", "svc")
        ip, node_port = service["spec"]["clusterIP"], service["spec"]["ports"][0]["nodePort"]
        node_ip = [a["address"] for a in self.cluster.get("nodes")["items"][0]["status"]["addresses"] if a["type"] == "InternalIP"][0]

        def fetch(host, port):
            c = http.client.HTTPConnection(host, port, timeout=3)
            c.request("GET", "/", headers={"Connection": "close"})
            return c.getresponse().read()

        wait(lambda: fetch(ip, 80) == b"1", 15, "the page at the cluster IP")
        wait(lambda: fetch(node_ip, node_port) == b"1", 15, "the page at the node port")
        self.run_pod("client", "sleep 1000")
        for name in (ip, "svc", "svc.default", "svc.default.svc.cluster.local"):
            out = wait(lambda n=name: self.k("exec", "client", "--", "sh", "-c", f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {n} 80", check=False).out, 15, f"the page at {name}")
            self.assertTrue(out.endswith("1"), out)
        # A pod reaches itself through its Service.
        self.k("scale", "deployment", "svc", "--replicas=0")
        self.cluster.apply(json.dumps({**self.pod("self", "mkdir -p /www; echo me > /www/index.html; exec httpd -f -p 8080 -h /www"),
                                       "metadata": {"name": "self", "labels": {"app": "svc"}}}))
        self.k("wait", "--for=condition=Ready", "pod/self", "--timeout=60s")
        out = wait(lambda: "me" in self.k("exec", "self", "--", "sh", "-c", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 svc 80", check=False).out, 30, "a pod reaching itself")
        self.assertTrue(out)
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

    def rollouts(self, keep_alive):
        name = "keep" if keep_alive else "each"
        deployment = self.deployment(name, image="pintle-test/server:1", replicas=3)
        deployment["spec"]["template"]["spec"]["containers"][0].update({"name": "server", "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}})
        self.cluster.apply(json.dumps(deployment))
        self.k("rollout", "status", f"deployment/{name}", "--timeout=60s")
        self.k("expose", "deployment", name, "--port=80", "--target-port=8080")
        ip = self.cluster.get("service", name)["spec"]["clusterIP"]

        def answers():
            c = http.client.HTTPConnection(ip, 80, timeout=2)
            c.request("GET", "/", headers={"Connection": "close"})
            return c.getresponse().status == 200

        wait(answers, 15, "the Service")
        for n in range(RUNS):
            load = Load(ip, keep_alive)
            try:
                self.k("set", "image", f"deployment/{name}", "server=pintle-test/server:2")
                self.k("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
                self.k("rollout", "undo", f"deployment/{name}")
                self.k("rollout", "status", f"deployment/{name}", "--timeout=120s", timeout=130)
            finally:
                rate = load.stop()
            self.assertEqual(load.failures, [], f"run {n}: {len(load.failures)} of {load.done} failed")
            self.assertEqual(load.versions, {"1", "2"})
            print(f"rollout {name} {n}: {load.done} requests, {rate:.0f}/s, 0 failed", flush=True)
        self.k("delete", "deployment,service", name)

    def test_rolling_updates_lose_no_request_with_a_connection_each(self):
        self.rollouts(keep_alive=False)

    def test_rolling_updates_lose_no_request_with_keep_alive(self):
        self.rollouts(keep_alive=True)


if __name__ == "__main__":
    unittest.main()
