"""The kubectl verbs that need real containers: a terminal, attach, logs that follow, ports, copies."""
import json
import os
import pty
import re
import select
import subprocess
import time
import unittest
import urllib.request

from cluster import wait
from engine import BUSYBOX, EngineTest


class Terminal:
    """kubectl on a pseudo terminal of its own."""

    def __init__(self, cluster, *args):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([cluster.kubectl_binary, *args], env={**cluster.env(), "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.text = ""

    def expect(self, pattern, timeout=30):
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            if not select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{pattern!r} did not come: {self.text!r}")
            try:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"{pattern!r} did not come before the end: {self.text!r}") from None

    def type(self, text):
        self.text = ""
        os.write(self.master, text.encode())

    def end(self, timeout=30):
        try:
            while self.process.poll() is None:  # what is left must be read, or it cannot end
                if select.select([self.master], [], [], 0.1)[0]:
                    try:
                        self.text += os.read(self.master, 65536).decode(errors="replace")
                    except OSError:
                        break
            return self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            os.close(self.master)


class DockerTour(EngineTest):
    options = {"kind": "docker", "name": "tour"}

    def run_pod(self, name, command, **container):
        self.cluster.apply(json.dumps({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "main", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-c", command], **container}]}}))
        self.k("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")

    def test_exec_on_a_terminal(self):
        self.run_pod("term", "sleep 1000")
        t = Terminal(self.cluster, "exec", "-it", "term", "--", "sh")
        t.expect(r"[#$] ")
        t.type("test -t 0 && test -t 1 && echo on a term''inal\n")
        t.expect("on a terminal")
        t.type("exit 5\n")
        self.assertEqual(t.end(), 5)
        self.k("delete", "pod", "term", "--now")

    def test_attach_reads_and_writes(self):
        self.run_pod("att", "while read line; do echo \"got $line\"; done", stdin=True)
        a = self.cluster.popen("attach", "-i", "att", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            a.stdin.write("hello\n")
            a.stdin.flush()
            while (line := a.stdout.readline()) and "got hello" not in line:
                pass
            self.assertIn("got hello", line)
        finally:
            a.kill()
            a.communicate()
        self.assertIn("got hello", self.k("logs", "att").out)
        self.k("delete", "pod", "att", "--now")

    def test_run_with_a_terminal_and_rm(self):
        t = Terminal(self.cluster, "run", "-it", "--rm", "once", f"--image={BUSYBOX}", "--image-pull-policy=IfNotPresent", "--restart=Never", "--", "sh")
        t.expect(r"[#$] ", 60)
        t.type("echo in the p''od\n")
        t.expect("in the pod")
        t.type("exit\n")
        self.assertEqual(t.end(), 0)
        wait(lambda: "NotFound" in self.k("get", "pod", "once", check=False).all, 30, "the end of the pod")

    def test_logs_follow_and_remember(self):
        self.run_pod("logs", "echo first; sleep 1; echo second; sleep 1; test -e /tmp/x && exit 0; sleep 1000")
        f = self.cluster.popen("logs", "-f", "logs", stdout=subprocess.PIPE)
        try:
            self.assertEqual([f.stdout.readline(), f.stdout.readline()], ["first\n", "second\n"])
        finally:
            f.kill()
            f.communicate()
        self.assertEqual(self.k("logs", "logs", "--tail=1").out, "second\n")
        self.assertRegex(self.k("logs", "logs", "--timestamps").out, r"^\d{4}-\d\d-\d\dT\S+Z first\n")
        self.assertEqual(self.k("logs", "logs", "--since=1h", "--limit-bytes=5").out.strip(), "first")
        self.assertIn("previous terminated container \"main\" in pod \"logs\" not found", self.k("logs", "logs", "-p", check=False).all)
        self.k("exec", "logs", "--", "kill", "1", check=False)
        self.k("delete", "pod", "logs", "--now")

    def test_copies_and_ports(self):
        self.run_pod("web", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 8080 -h /www", ports=[{"containerPort": 8080}])
        tree = os.path.join(self.cluster.dir, "tree")
        os.makedirs(os.path.join(tree, "deep"))
        with open(os.path.join(tree, "deep", "file"), "wb") as f:
            f.write(os.urandom(3_000_000))
        self.k("cp", tree, "web:/tmp/tree")
        self.k("cp", "web:/tmp/tree/deep/file", tree + "-back")
        with open(tree + "-back", "rb") as back, open(f.name, "rb") as there:
            self.assertEqual(back.read(), there.read())
        self.k("expose", "pod", "web", "--port=80", "--target-port=8080")
        # Through a Service: kubectl looks for a pod of it.
        wait(lambda: self.cluster.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"][0]["endpoints"], 20, "an endpoint")
        p = self.cluster.popen("port-forward", "service/web", ":80", stdout=subprocess.PIPE)
        try:
            port = int(p.stdout.readline().split(":")[1].split()[0])
            self.assertEqual(urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read(), b"page\n")
        finally:
            p.kill()
            p.communicate()
        self.k("delete", "service", "web")
        self.k("delete", "pod", "web", "--now")


if __name__ == "__main__":
    unittest.main()
