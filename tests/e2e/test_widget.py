"""A kind that the kernel has never heard of, from a plugin built outside the tree against the installed SDK, with a stock kubectl."""
import base64
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
import unittest
import urllib.parse

from cluster import BUILD, ROOT, ClusterTest, wait

CONFIG = """
listen: ["127.0.0.1:0"]
pluginDirectories: [%s, %s]
plugins:
  core: {required: true, config: {caFile: "{data}/pki/ca.crt"}}
  widget: {required: true, isolation: %s}
"""

WIDGET = """
apiVersion: example.org/v1
kind: Widget
metadata: {name: %s, labels: {app: demo}}
spec: {size: %d}
"""


def exec_socket(cluster, path):
    """Speaks v5.channel.k8s.io until the server closes: {channel: bytes}."""
    url = urllib.parse.urlparse(cluster.url)
    tls = ssl.create_default_context(cafile=os.path.join(cluster.data, "pki/ca.crt"))
    tls.load_cert_chain(os.path.join(cluster.data, "pki/admin.crt"), os.path.join(cluster.data, "pki/admin.key"))
    with tls.wrap_socket(socket.create_connection((url.hostname, url.port), 30), server_hostname=url.hostname) as s:
        s.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                   f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n").encode())
        stream = s.makefile("rb")
        head = b""
        while line := stream.readline().strip():
            head += line + b"\n"
        if b" 101 " not in head.split(b"\n")[0]:
            raise AssertionError(head.decode() + stream.read(1000).decode())
        channels = {}
        while len(start := stream.read(2)) == 2:
            length = start[1] & 127
            if length == 126:
                length = struct.unpack(">H", stream.read(2))[0]
            frame, opcode = stream.read(length), start[0] & 15
            if opcode == 8:
                break
            if opcode == 2 and frame:
                channels[frame[0]] = channels.get(frame[0], b"") + frame[1:]
        return channels


class Widgets(ClusterTest):
    isolation = "process"

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="pintle-widget-")
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        sdk, build = os.path.join(cls.work, "sdk"), os.path.join(cls.work, "build")
        for command in (["cmake", "--install", BUILD, "--component", "sdk", "--prefix", sdk],
                        ["cmake", "-S", os.path.join(ROOT, "tests/sdk/widget"), "-B", build, f"-DCMAKE_PREFIX_PATH={sdk}"], ["cmake", "--build", build]):
            r = subprocess.run(command, capture_output=True, text=True)
            if r.returncode:
                raise AssertionError(f"{' '.join(command)}\n{r.stdout[-3000:]}{r.stderr[-3000:]}")
        plugins = os.path.join(cls.work, "plugins")
        os.mkdir(plugins)
        shutil.copy(os.path.join(build, "widget.so"), plugins)
        cls.options = {"config": CONFIG % (os.path.join(BUILD, "lib/pintle/plugins"), plugins, cls.isolation), "name": "widget"}
        super().setUpClass()

    def widget(self, name, *path):
        value = self.cluster.get("widget", name)
        for p in path:
            value = value.get(p)
        return value

    def test_kubectl_knows_the_kind(self):
        self.assertRegex(self.k("api-resources", "--api-group=example.org").out, r"widgets\s+wd\s+example.org/v1\s+true\s+Widget")
        self.assertIn("How large it is", self.k("explain", "widget.spec").out)
        self.assertIn("created", self.cluster.apply(WIDGET % ("a", 3)).out)
        self.assertIn("configured", self.cluster.apply(WIDGET % ("a", 20)).out)
        self.assertIn("unchanged", self.cluster.apply(WIDGET % ("a", 20)).out)
        self.assertRegex(self.k("get", "wd", "a").out, r"NAME\s+SIZE\s+MOOD\s+AGE\na\s+20\s+great\s")
        self.assertIn("widget.example.org/a", self.k("get", "all", "-o", "name").out)
        self.assertIn("unknown field \"spec.sise\"", self.k("apply", "-f", "-", stdin=(WIDGET % ("b", 3)).replace("size", "sise"), check=False).all)
        self.assertIn("spec.size: Invalid value: 1000", self.k("apply", "-f", "-", stdin=WIDGET % ("b", 1000), check=False).all)
        self.assertIn("Warning: blue is out of fashion", self.k("patch", "widget", "a", "--type=merge", "-p", '{"spec":{"color":"blue"}}').all)
        self.assertIn("spec.size: Invalid value: blue widgets are at most 50", self.k("patch", "widget", "a", "--type=merge", "-p", '{"spec":{"size":60}}', check=False).all)
        self.assertEqual(self.k("get", "widgets", "--field-selector=spec.color=blue", "-o", "name").out, "widget.example.org/a\n")
        self.assertRegex(self.k("describe", "widget", "a").out, r"Kind:\s+Widget")
        self.k("delete", "widget", "a")

    def test_status_and_scale(self):
        self.cluster.apply(WIDGET % ("s", 1))
        self.k("scale", "widget", "s", "--replicas=4")
        self.k("patch", "widget", "s", "--subresource=status", "--type=merge", "-p", '{"spec":{"size":9},"status":{"phase":"Running","replicas":4}}')
        self.assertEqual(self.widget("s", "spec"), {"size": 1, "color": "red", "replicas": 4, "number": self.widget("s", "spec", "number")})
        self.assertEqual(self.widget("s", "status"), {"phase": "Running", "replicas": 4})
        self.k("wait", "widget/s", "--for=jsonpath={.status.phase}=Running", "--timeout=10s")
        scale = json.loads(self.k("get", "--raw", "/apis/example.org/v1/namespaces/default/widgets/s/scale").out)
        self.assertEqual((scale["kind"], scale["spec"], scale["status"]), ("Scale", {"replicas": 4}, {"replicas": 4}))
        # Graceful: it is running, so it stays until somebody says that it has ended.
        self.k("delete", "widget", "s", "--wait=false")
        self.assertEqual(self.widget("s", "metadata", "deletionGracePeriodSeconds"), 30)
        self.k("delete", "widget", "s", "--grace-period=0", "--force")
        wait(lambda: "NotFound" in self.k("get", "widget", "s", check=False).all, 10, "the end of the widget")

    def test_numbers_are_allocated_and_released(self):
        for name in ("n1", "n2"):
            self.cluster.apply(WIDGET % (name, 1))
        first, second = (self.widget(n, "spec", "number") for n in ("n1", "n2"))
        self.assertNotEqual(first, second)
        self.assertEqual(self.cluster.get("ticket", f"number-{first}")["holder"], "n1")
        self.k("delete", "widget", "n1")
        self.assertIn("NotFound", self.k("get", "ticket", f"number-{first}", check=False).all)
        self.cluster.apply(WIDGET % ("n3", 1))
        self.assertEqual(self.widget("n3", "spec", "number"), first)
        self.assertIn("field is immutable", self.k("patch", "widget", "n3", "--type=merge", "-p", '{"spec":{"number":99}}', check=False).all)
        self.k("label", "widget", "n3", "protected=yes")
        self.assertIn("protected widgets stay", self.k("delete", "widget", "n3", check=False).all)
        self.k("label", "widget", "n3", "protected-")
        self.k("delete", "widget", "n2", "n3")

    def test_log_and_exec(self):
        self.cluster.apply(WIDGET % ("l", 1))
        base = "/apis/example.org/v1/namespaces/default/widgets/l"
        self.assertEqual(self.k("get", "--raw", base + "/log").out, "first line of l\nsecond line of l\n")
        channels = exec_socket(self.cluster, base + "/exec?command=say&command=hello&stdout=true")
        self.assertEqual(channels[1], b"widget: say hello\n")
        self.assertEqual(json.loads(channels[3])["status"], "Success")
        failed = json.loads(exec_socket(self.cluster, base + "/exec?command=fail&stdout=true")[3])
        self.assertEqual((failed["reason"], failed["details"]["causes"][0]), ("NonZeroExitCode", {"reason": "ExitCode", "message": "7"}))
        self.assertIn("NotFound", self.k("get", "--raw", base[:-1] + "nobody/log", check=False).all)
        self.k("delete", "widget", "l")

    def test_retirement_is_one_transaction(self):
        self.cluster.apply(WIDGET % ("r", 1))
        self.cluster.apply("apiVersion: example.org/v1\nkind: Guard\nmetadata: {name: guard}\nallowed: 1\n")
        path = "/apis/example.org/v1/namespaces/default/widgets/r/retirement"
        ask = {"apiVersion": "example.org/v1", "kind": "Retirement", "allowed": 0}
        self.assertIn("Cannot retire widget as it would violate its guard.", self.k("create", "--raw", path, "-f", "-", stdin=json.dumps(ask), check=False).all)
        ask["allowed"] = 1
        self.assertIn('"Success"', self.k("create", "--raw", path, "-f", "-", stdin=json.dumps(ask)).out)
        self.assertEqual(self.cluster.get("guard", "guard")["allowed"], 0)
        self.assertIn("NotFound", self.k("get", "widget", "r", check=False).all)

    def test_its_own_path(self):
        self.assertEqual(self.k("get", "--raw", "/widget-shop/window").out, "hello kubernetes-admin, this is /widget-shop/window\n")
        self.assertIn("NotFound", self.k("get", "--raw", "/widget-shops", check=False).all)


class WidgetsInProcess(Widgets):
    isolation = "in-process"


if __name__ == "__main__":
    unittest.main()
