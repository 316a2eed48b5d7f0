"""A pintled of one's own for a test: started in a directory of its own on a free port, stopped by pid, removed without a trace.

Binaries come from $PINTLE_BUILD (default build/release), kubectl from build/clients ($PINTLE_CLIENTS)."""
import base64
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("PINTLE_BUILD", "build/release"))
CLIENTS = os.path.join(ROOT, os.environ.get("PINTLE_CLIENTS", "build/clients"))

SIM = """
listen: ["127.0.0.1:0"]
slots: {scheduler.default-scheduler: scheduler-default}
plugins:
  core: {required: true, config: {caFile: "{data}/pki/ca.crt"}}
  namespace:
  gc:
  replicaset:
  deployment:
  service:
  scheduling:
  scheduler-default:
  scheduler-binpack:
  runtime-sim:
  node-agent:
    config: %(agent)s
"""

DOCKER = """
listen: ["127.0.0.1:0"]
slots: {scheduler.default-scheduler: scheduler-default}
plugins:
  core: {required: true, config: {caFile: "{data}/pki/ca.crt"}}
  namespace:
  gc:
  replicaset:
  deployment:
  service: {config: {serviceCIDR: %(cidr)s}}
  scheduling:
  scheduler-default:
  scheduler-binpack:
  runtime-docker: {config: {cluster: %(name)s}}
  node-agent:
    config: %(agent)s
  service-proxy: {config: {table: pintle-%(name)s}}
  dns: {config: %(dns_config)s}
"""


def wait(condition, timeout=30.0, what="the condition"):
    """Polls until `condition()` is true and returns its value; fails with the last value or exception."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except Exception as e:  # noqa: BLE001 - the last one is reported
            last = e
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {timeout} s; last: {last!r}")
        time.sleep(0.05)


class Cluster:
    def __init__(self, config=None, kind="sim", agent=None, dns_config=None, name="e2e", kubectl="kubectl-1.35", extra=(), isolation=None):
        self.dir = tempfile.mkdtemp(prefix=f"pintle-{name}-")
        self.data = os.path.join(self.dir, "data")
        self.kubectl_binary = os.path.join(CLIENTS, kubectl)
        self.extra = list(extra)
        self.process = None
        self.tls = None
        self.log_path = os.path.join(self.dir, "pintled.log")
        text = config
        if text is None and kind == "sim":
            text = SIM % {"agent": json.dumps(agent or {"nodes": [{"name": f"sim-{i}", "runtime": "runtime.sim"} for i in range(1, 4)]})}
        elif text is None:
            dns = "10.97.0.10"
            config = {"runtime": "runtime.docker", "root": f"{self.dir}/agent", "clusterDNS": dns, **(agent or {})}
            text = DOCKER % {"name": name, "cidr": "10.97.0.0/16", "agent": json.dumps(config),
                             "dns_config": json.dumps({"port": 0, "clusterIP": dns, **(dns_config or {})})}
        for plugin, where in (isolation or {}).items():
            # "  name:" or "  name: {...}" of the texts above
            text, n = re.subn(rf"^  {plugin}:( \{{)?", lambda m: f"  {plugin}: {{isolation: {where}" + (", " if m[1] else "}"), text, flags=re.MULTILINE)
            if n != 1:
                raise ValueError(f"no plugin {plugin} in the configuration")
        self.config = os.path.join(self.dir, "pintle.yaml")
        with open(self.config, "w") as f:
            f.write(text)

    @property
    def kubeconfig(self):
        return os.path.join(self.data, "admin.kubeconfig")

    def launch(self):
        """Starts the daemon and returns the descriptor on which it tells that it is ready."""
        read, write = os.pipe()
        os.set_inheritable(write, True)
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "bin/pintled"), "--config", self.config, "--data", self.data, "--print-ready-fd", str(write), *self.extra],
            stdout=self.log, stderr=self.log, close_fds=True, pass_fds=[write])
        os.close(write)
        os.set_blocking(read, False)
        return read

    def start(self, timeout=30):
        read = self.launch()
        line = b""

        def ready():
            nonlocal line
            if self.process.poll() is not None:
                raise RuntimeError(f"pintled exited with {self.process.returncode}")
            try:
                line += os.read(read, 4096)
            except BlockingIOError:
                pass
            return line.startswith(b"ready")

        try:
            wait(ready, timeout, "pintled's readiness")
        except AssertionError:
            with open(self.log_path) as f:
                raise AssertionError("pintled did not start:\n" + f.read()[-4000:]) from None
        finally:
            os.close(read)
        self.url = line.decode().split()[1]
        return self

    def stop(self, sig=signal.SIGTERM, timeout=30):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("pintled did not stop in time")
        code = self.process.returncode
        self.process = None
        self.log.close()
        return code

    def kill(self):
        self.stop(signal.SIGKILL)

    def remove(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def env(self):
        return {**os.environ, "KUBECONFIG": self.kubeconfig, "HOME": self.dir}

    def kubectl(self, *args, check=True, stdin=None, timeout=60):
        r = subprocess.run([self.kubectl_binary, *args], input=stdin, capture_output=True, text=True, env=self.env(), timeout=timeout)
        if check and r.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(args)} exited with {r.returncode}\n{r.stdout}\n{r.stderr}")
        r.out = r.stdout
        r.all = r.stdout + r.stderr
        return r

    def popen(self, *args, **kw):
        return subprocess.Popen([self.kubectl_binary, *args], env=self.env(), text=True, **kw)

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json").out)

    def apply(self, text, *args):
        return self.kubectl("apply", "-f", "-", *args, stdin=text)

    def request(self, method, path, body=None, timeout=30):
        """One request without kubectl, on a connection of its own: (code, decoded answer). OSError when there is nobody."""
        if self.tls is None:
            user = json.loads(self.kubectl("config", "view", "--raw", "-o", "json").out)
            files = {}
            for name, text in (("crt", user["users"][0]["user"]["client-certificate-data"]), ("key", user["users"][0]["user"]["client-key-data"])):
                files[name] = os.path.join(self.dir, f"client.{name}")
                with open(files[name], "wb") as f:
                    f.write(base64.b64decode(text))
            self.tls = ssl.create_default_context(cadata=base64.b64decode(user["clusters"][0]["cluster"]["certificate-authority-data"]).decode())
            self.tls.load_cert_chain(files["crt"], files["key"])
        host = self.url.split("//")[1]
        connection = http.client.HTTPSConnection(host, timeout=timeout, context=self.tls)
        try:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": kind, "Accept": "application/json"})
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith("{") else text
        finally:
            connection.close()

    def log_text(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()


class ClusterTest(unittest.TestCase):
    """One cluster for all tests of a class."""
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(**cls.options)
        cls.addClassCleanup(cls.cluster.remove)
        cls.cluster.start()
        cls.k = cls.cluster.kubectl
        wait(lambda: cls.k("get", "serviceaccount", "default").out, 20, "the default ServiceAccount")

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print(f"--- log of pintled after {self.id()} ---\n{self.cluster.log_text()[-3000:]}")

    @staticmethod
    def deployment(name, image="web:1", replicas=3, labels=None, **pod):
        labels = labels or {"app": name}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                         "template": {"metadata": {"labels": labels},
                                      "spec": {"containers": [{"name": f"{name}_container".replace("_", "-"), "image": image}], **pod}}}}


if __name__ == "__main__":
    unittest.main()
