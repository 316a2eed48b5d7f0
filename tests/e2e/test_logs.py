"""Logs: where they go, what they look like, how much they say, and what they never say."""
import base64
import json
import os
import socket
import subprocess
import unittest

from cluster import wait
from command import PINTLE, PINTLED, SIM_CONFIG, CommandTest

CANARY = "canary-2b9f41d7"


class LogTest(CommandTest):
    def config(self, log, more=""):
        return self.write("pintle.yaml", self.read(SIM_CONFIG).replace("log: {level: info, format: text}", f"log: {log}\n{more}"))

    def foreground(self, config, data):
        """pintled itself; its stderr goes to a file."""
        path = self.path("stderr")
        read, write = os.pipe()
        with open(path, "wb") as f:
            process = subprocess.Popen([PINTLED, "--config", config, "--listen", "127.0.0.1:0", "--data", data, "--print-ready-fd", str(write)], stderr=f, stdout=f,
                                       env=self.env, pass_fds=[write])
        os.close(write)
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.terminate)
        with os.fdopen(read) as f:
            self.assertTrue(f.readline().startswith("ready "), self.read(path))
        return path

    def test_text_goes_to_stderr(self):
        path = self.foreground(self.config("{level: info, format: text}"), self.path("d"))
        for line in self.read(path).splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\S* (debug|info|warning|error) +[a-z][\w.-]*: \S")
        self.assertIn("pintled: ready: https://", self.read(path))
        self.assertFalse(os.path.exists(self.path("d", "log")))

    def test_json_is_one_object_a_line(self):
        path = self.foreground(self.config("{level: debug, format: json}"), self.path("d"))
        lines = [json.loads(line) for line in self.read(path).splitlines()]
        self.assertGreater(len(lines), 5)
        for line in lines:
            self.assertEqual([*line][:4], ["time", "level", "source", "message"])
        self.assertTrue(any(line["source"] == "pintled" and line["message"].startswith("ready: https://") for line in lines))

    def test_a_file_of_ones_own(self):
        own = self.path("own.log")
        stderr = self.foreground(self.config(f"{{level: info, format: text, file: {own}}}"), self.path("d"))
        wait(lambda: "ready: https://" in self.read(own), 10, "the line in the file")
        self.assertEqual(self.read(stderr), "")
        line = self.refused(PINTLED, "--config", self.config("{file: /dev/null/all.log}"), "--data", self.path("e"), code=1)
        self.assertIn("/dev/null/all.log", line)

    def evict(self, data, node):
        """A pod leaves its node; the plugin core says so at level info."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"on-{node}"}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "web:1"}]}}
        self.kubectl(data, "apply", "-f", "-", input=json.dumps(pod))
        self.kubectl(data, "taint", "node", node, "out=of-order:NoExecute")
        self.kubectl(data, "wait", "--for=delete", f"pod/on-{node}", "--timeout=60s")

    def test_the_level_of_a_plugin_changes_at_once(self):
        data = self.path("d")
        self.up(data, "--wait")
        log = self.path("d", "log/pintled.log")

        def said(node):
            return [line for line in self.read(log).splitlines() if "core: evicting a pod" in line and f"on-{node}" in line]

        self.evict(data, "sim-1")
        wait(lambda: said("sim-1"), 10, "the line at level info")
        self.kubectl(data, "patch", "plugin", "core", "--type=merge", "-p", '{"spec":{"logLevel":"error"}}')
        self.evict(data, "sim-2")
        self.kubectl(data, "patch", "plugin", "core", "--type=merge", "-p", '{"spec":{"logLevel":null}}')
        self.evict(data, "sim-3")
        wait(lambda: said("sim-3"), 10, "the line after the level came back")
        self.assertEqual(said("sim-2"), [])

    def test_json_of_a_detached_cluster_and_its_last_words(self):
        data = self.path("d")
        self.up(data, config=self.config("{level: info, format: json}"))
        first = self.read(self.path("d", "log/pintled.log")).splitlines()[0]
        self.assertEqual(json.loads(first)["level"], "info")
        self.assertEqual(os.stat(self.path("d", "log/pintled.log")).st_mode & 0o777, 0o600)
        self.pintle("down", "--data", data)
        # What it died of is told in words, whatever the format of the log is.
        with socket.create_server(("127.0.0.1", 0)) as taken:
            line = self.refused(PINTLE, "up", "--detach", "--config", self.path("pintle.yaml"), "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--data", data, code=1)
        self.assertRegex(line, r'^pintle: the address "\S+" is in use by ')

    def test_no_secret_gets_into_a_log(self):
        tokens = self.write("tokens.csv", f'{CANARY}-token,robot,7,"system:masters"\n')
        data = self.path("d")
        self.up(data, "--wait", config=self.config("{level: debug, format: text}", f"tokenFile: {tokens}"))
        k = lambda *a, **kw: self.kubectl(data, *a, **kw)  # noqa: E731
        for plugin in json.loads(k("get", "plugins", "-o", "json").stdout)["items"]:
            k("patch", "plugin", plugin["metadata"]["name"], "--type=merge", "-p", '{"spec":{"logLevel":"debug"}}')
        k("create", "secret", "generic", "s", f"--from-literal=password={CANARY}-secret")
        k("create", "secret", "docker-registry", "pull", "--docker-server=registry.example", "--docker-username=u", f"--docker-password={CANARY}-pull")
        server = k("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
        curl = ("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", self.path("d", "pki/ca.crt"))
        self.assertEqual(self.run_program(*curl, "-H", f"Authorization: Bearer {CANARY}-token", f"{server}/api/v1/secrets").stdout, "200")
        self.assertEqual(self.run_program(*curl, "-H", f"Authorization: Bearer {CANARY}-wrong", f"{server}/api/v1/secrets").stdout, "401")
        self.assertEqual(self.run_program(*curl, f"{server}/api/v1/secrets?token={CANARY}-query").stdout, "401")
        # Refused objects: the reason names the field, not what is in it.
        bad = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bad"}, "data": {"p": f"{CANARY}-not-base64!"}}
        k("apply", "-f", "-", input=json.dumps(bad), code=1)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
               "spec": {"imagePullSecrets": [{"name": "pull"}], "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
                        "containers": [{"name": "c", "image": "web:1", "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}}],
                                        "volumeMounts": [{"name": "v", "mountPath": "/s"}]}]}}
        k("apply", "-f", "-", input=json.dumps(pod))
        k("wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
        k("delete", "secret", "s", "pull")
        k("delete", "pod", "p")
        self.pintle("down", "--data", data)
        found = []
        encoded = [base64.b64encode(f"{CANARY}-{x}".encode()).decode().rstrip("=") for x in ("secret", "pull", "token")]
        for name in os.listdir(self.path("d", "log")):
            text = self.read(self.path("d", "log", name))
            self.assertGreater(len(text.splitlines()), 10)
            found += [line for line in text.splitlines() if CANARY in line or any(e in line for e in encoded)]
        self.assertEqual(found, [])
        # Nor is it readable on the disk.
        for folder, _, names in os.walk(data):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    content = f.read()
                for needle in [f"{CANARY}-secret", f"{CANARY}-pull", *encoded[:2]]:
                    self.assertNotIn(needle.encode(), content, os.path.join(folder, name))


if __name__ == "__main__":
    unittest.main()
