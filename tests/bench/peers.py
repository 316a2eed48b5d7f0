"""The processes that are measured: pintled, etcd, nginx. Each on a free port with the same certificates, in a directory of its own."""
import glob
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e"))
import cluster  # noqa: E402
from cluster import BUILD, ROOT, wait  # noqa: E402, F401


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def program(name, *arguments, timeout=400):
    """Runs one of the bench programs; its JSON."""
    r = subprocess.run([os.path.join(BUILD, "tests/bench", name), *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    if r.returncode != 0:
        raise RuntimeError(f"{name} {' '.join(map(str, arguments))}: {r.returncode} {r.stderr.strip()}")
    return json.loads(r.stdout)


def processor_ns(pid):
    """Time on a processor of all threads of a process."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total


def family(pid):
    """A process and all below it."""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [pid] + [p for c in f.read().split() for p in family(int(c))]


def pss_mib(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024


class Client:
    """Requests over TLS with a client certificate; one connection, made again when it broke."""

    def __init__(self, port, certificate, key):
        self.port = port
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.context.load_cert_chain(certificate, key)
        self.connection = None

    def request(self, method, path, body=None, content_type="application/json"):
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=30)
            self.connection.request(method, path, body, {"Content-Type": content_type} if body else {})
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection = None
            raise

    def ok(self, method, path, body=None, **kw):
        status, answer = self.request(method, path, body, **kw)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer[:300]!r}")
        return answer

    def ready(self, path, since, timeout=120):
        """Seconds from `since` until `path` answers 200."""
        while True:
            try:
                if self.request("GET", path)[0] == 200:
                    return time.monotonic() - since
            except OSError:
                pass
            if time.monotonic() - since > timeout:
                raise RuntimeError(f"{path} was not ready in {timeout} s")
            time.sleep(0.002)


class Pintle(cluster.Cluster):
    """pintled with simulated nodes; `agent` as in the node agent's configuration."""

    def __init__(self, agent=None, **kw):
        super().__init__(agent=agent, name="bench", **kw)
        self.pki = os.path.join(self.data, "pki")
        self.certificate = os.path.join(self.pki, "admin.crt"), os.path.join(self.pki, "admin.key")

    def start_on(self, port):
        """Starts it on that port and does not wait."""
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen([os.path.join(BUILD, "bin/pintled"), "--config", self.config, "--data", self.data, "--listen", f"127.0.0.1:{port}"],
                                        stdout=self.log, stderr=self.log)

    def start(self, timeout=120):
        super().start(timeout)
        self.address = self.url.removeprefix("https://")
        self.client = Client(int(self.address.rsplit(":", 1)[1]), *self.certificate)
        self.client.ready("/api/v1/namespaces/default", time.monotonic())  # `core` makes it when it has started
        return self

    @property
    def options(self):
        return ["--address", self.address, "--cert", self.certificate[0], "--key", self.certificate[1]]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()


class Process:
    """A peer: its process and its directory."""

    def __init__(self, pki):
        self.pki = pki
        self.directory = tempfile.mkdtemp(prefix="pintle-bench-peer-")
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def client(self):
        return Client(self.port, os.path.join(self.pki, "admin.crt"), os.path.join(self.pki, "admin.key"))

    def run(self, *command):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class Etcd(Process):
    def start(self):
        """Seconds until it answers."""
        peer, url, began = free_port(), f"https://{self.address}", time.monotonic()
        self.run("etcd", "--data-dir", os.path.join(self.directory, "data"), "--listen-client-urls", url, "--advertise-client-urls", url,
                 "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                 "--initial-cluster", f"default=http://127.0.0.1:{peer}", "--cert-file", os.path.join(self.pki, "server.crt"),
                 "--key-file", os.path.join(self.pki, "server.key"))
        return self.client.ready("/health", began)


NGINX = """
daemon off; master_process on; worker_processes 1; pid %(directory)s/pid; error_log %(directory)s/log;
events { worker_connections 16384; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; default_type application/json; sendfile on;
  client_body_temp_path %(directory)s/a; proxy_temp_path %(directory)s/b; fastcgi_temp_path %(directory)s/c; uwsgi_temp_path %(directory)s/d; scgi_temp_path %(directory)s/e;
  server {
    listen 127.0.0.1:%(port)d ssl; root %(directory)s/root;
    ssl_certificate %(pki)s/server.crt; ssl_certificate_key %(pki)s/server.key; ssl_client_certificate %(pki)s/ca.crt; ssl_verify_client on;
  }
}
"""


class Nginx(Process):
    """Serves one file with `body`."""

    def __init__(self, pki, body):
        super().__init__(pki)
        os.chmod(self.directory, 0o755)
        os.mkdir(os.path.join(self.directory, "root"))
        with open(os.path.join(self.directory, "root", "object"), "wb") as f:
            f.write(body)

    def start(self):
        config = os.path.join(self.directory, "nginx.conf")
        with open(config, "w") as f:
            f.write(NGINX % {"directory": self.directory, "port": self.port, "pki": self.pki})
        began = time.monotonic()
        self.run("nginx", "-c", config, "-p", self.directory)
        return self.client.ready("/object", began)
