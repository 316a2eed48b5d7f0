"""Real containers on a real Docker engine: streams, volumes, security, restarts."""
import http.client
import json
import os
import subprocess
import unittest

from cluster import wait
from engine import BUSYBOX, EngineTest, docker


class Docker(EngineTest):
    options = {"kind": "docker", "name": "e2e"}

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


if __name__ == "__main__":
    unittest.main()
