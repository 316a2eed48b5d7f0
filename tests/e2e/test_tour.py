"""The kubectl tour on simulated nodes: what people type on day one, with a stock kubectl."""
import json
import os
import subprocess
import unittest

from cluster import ClusterTest, wait

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: tour}, annotations: {%s}}
spec:
  containers:
  - {name: main, image: "web:1"}
"""


class Tour(ClusterTest):
    def rollout(self, name, *args):
        self.k("rollout", "status", f"deployment/{name}", "--timeout=60s", *args)

    def test_discovery(self):
        resources = self.k("api-resources").out
        for kind in ("pods", "deployments", "replicasets", "services", "configmaps", "plugins", "slots"):
            self.assertIn(kind, resources)
        versions = self.k("api-versions").out.split()
        for v in ("v1", "apps/v1", "discovery.k8s.io/v1", "coordination.k8s.io/v1", "events.k8s.io/v1", "pintle.dev/v1"):
            self.assertIn(v, versions)
        self.assertIn("Server Version: v1.35.0+pintle", self.k("version").out)
        self.assertIn("scheduler-default", self.k("get", "plugins", "-o", "wide").out)
        self.assertIn("scheduler.default-scheduler", self.k("get", "slots").out)
        self.assertIn("replicas", self.k("explain", "deployment.spec").out)
        self.assertIn("FIELD: image", self.k("explain", "pod.spec.containers.image").out)

    def test_create_sends_protobuf(self):
        self.k("create", "namespace", "proto")
        self.k("create", "deployment", "p", "--image=web:1", "-n", "proto")
        self.k("create", "configmap", "c", "--from-literal=a=b", "-n", "proto")
        self.k("create", "secret", "generic", "s", "--from-literal=x=y", "-n", "proto")
        self.assertEqual(self.cluster.get("configmap", "c", "-n", "proto")["data"], {"a": "b"})
        self.assertEqual(self.cluster.get("secret", "s", "-n", "proto")["data"], {"x": "eQ=="})
        self.rollout("p", "-n", "proto")
        self.k("delete", "namespace", "proto", "--timeout=60s")
        self.assertNotIn("proto", self.k("get", "namespaces").out)

    def test_outputs_and_selectors(self):
        self.cluster.apply(json.dumps(self.deployment("outputs")))
        self.rollout("outputs")
        for form in ("wide", "yaml", "json", "name", "jsonpath={.items[*].metadata.name}", "custom-columns=N:.metadata.name", "go-template={{len .items}}"):
            self.assertTrue(self.k("get", "pods", "-l", "app=outputs", "-o", form).out.strip(), form)
        self.assertEqual(len(self.k("get", "pods", "-l", "app=outputs", "--field-selector", "status.phase=Running", "--no-headers").out.splitlines()), 3)
        self.assertEqual(len(self.k("get", "pods", "-l", "app in (outputs),x!=y", "--no-headers").out.splitlines()), 3)
        self.assertIn("kube-system", self.k("get", "namespaces", "-A").out)
        self.k("get", "pods", "-A", "--sort-by=.metadata.creationTimestamp")
        self.assertIn("READY", self.k("get", "all").out)
        self.assertIn("outputs", self.k("describe", "deployment", "outputs").out)
        self.assertIn("Node:", self.k("describe", "pods", "-l", "app=outputs").out)
        self.assertIn("sim-1", self.k("describe", "node", "sim-1").out)
        self.k("events")
        self.k("delete", "deployment", "outputs")

    def test_watch_tells_what_happens(self):
        w = self.cluster.popen("get", "configmaps", "-w", "--output-watch-events", "--no-headers", stdout=subprocess.PIPE)
        try:
            while "kube-root-ca.crt" not in w.stdout.readline():
                pass
            self.k("create", "configmap", "watched", "--from-literal=a=1")
            self.k("delete", "configmap", "watched")
            seen = []
            while len(seen) < 2:
                line = w.stdout.readline()
                self.assertTrue(line, "the watch ended")
                if "watched" in line:
                    seen.append(line.split()[0])
            self.assertEqual(seen, ["ADDED", "DELETED"])
        finally:
            w.kill()
            w.wait()

    def test_edit_label_annotate_patch_replace(self):
        self.k("create", "configmap", "m", "--from-literal=a=1")
        self.k("label", "configmap", "m", "x=y")
        self.k("annotate", "configmap", "m", "n=1")
        self.k("patch", "configmap", "m", "-p", '{"data":{"b":"2"}}')
        self.k("patch", "configmap", "m", "--type=merge", "-p", '{"data":{"c":"3"}}')
        self.k("patch", "configmap", "m", "--type=json", "-p", '[{"op":"add","path":"/data/d","value":"4"}]')
        m = self.cluster.get("configmap", "m")
        self.assertEqual(m["data"], {"a": "1", "b": "2", "c": "3", "d": "4"})
        self.assertEqual(m["metadata"]["labels"], {"x": "y"})
        m["data"] = {"only": "this"}
        self.k("replace", "-f", "-", stdin=json.dumps(m))
        self.assertEqual(self.cluster.get("configmap", "m")["data"], {"only": "this"})
        env = {**self.cluster.env(), "KUBE_EDITOR": "sed -i s/this/edited/"}
        subprocess.run([self.cluster.kubectl_binary, "edit", "configmap", "m"], env=env, check=True, capture_output=True)
        self.assertEqual(self.cluster.get("configmap", "m")["data"], {"only": "edited"})
        self.assertIn("created (server dry run)", self.k("create", "configmap", "dry", "--dry-run=server").out)
        self.assertNotEqual(self.k("get", "configmap", "dry", check=False).returncode, 0)
        self.k("delete", "configmap", "m")

    def test_scale_set_and_rollouts(self):
        self.cluster.apply(json.dumps(self.deployment("roll", replicas=2)))
        self.rollout("roll")
        self.k("scale", "deployment", "roll", "--replicas=4")
        self.rollout("roll")
        self.assertEqual(self.cluster.get("deployment", "roll")["status"]["readyReplicas"], 4)
        self.k("set", "image", "deployment/roll", "roll-container=web:2")
        self.rollout("roll")
        self.k("set", "env", "deployment/roll", "K=V")
        self.rollout("roll")
        self.k("set", "resources", "deployment/roll", "--requests=cpu=10m")
        self.rollout("roll")
        self.assertIn("4", self.k("rollout", "history", "deployment/roll").out)
        self.k("rollout", "undo", "deployment/roll", "--to-revision=1")
        self.rollout("roll")
        self.assertEqual(self.cluster.get("deployment", "roll")["spec"]["template"]["spec"]["containers"][0]["image"], "web:1")
        self.k("rollout", "pause", "deployment/roll")
        self.k("set", "image", "deployment/roll", "roll-container=web:3")
        self.k("rollout", "resume", "deployment/roll")
        self.rollout("roll")
        self.k("rollout", "restart", "deployment/roll")
        self.rollout("roll")
        self.k("expose", "deployment", "roll", "--port=80")
        wait(lambda: len(self.cluster.get("endpointslices", "-l", "kubernetes.io/service-name=roll")["items"][0]["endpoints"]) == 4, 20, "four endpoints")
        self.k("delete", "service", "roll")
        self.k("delete", "deployment", "roll")
        wait(lambda: not self.cluster.get("pods", "-l", "app=roll")["items"], 30, "the end of the pods")

    def test_cascades(self):
        for mode in ("background", "foreground", "orphan"):
            name = f"cascade-{mode}"
            self.cluster.apply(json.dumps(self.deployment(name, replicas=1)))
            self.rollout(name)
            self.k("delete", "deployment", name, f"--cascade={mode}", "--timeout=60s")
            if mode == "orphan":
                self.assertEqual(len(self.cluster.get("rs", "-l", f"app={name}")["items"]), 1)
                self.k("delete", "rs", "-l", f"app={name}")
            wait(lambda: not self.cluster.get("rs,pods", "-l", f"app={name}")["items"], 30, f"the end of all after {mode}")

    def test_pods_run_logs_exec_and_wait(self):
        self.cluster.apply(POD % ("tour", ""))
        self.k("wait", "--for=condition=Ready", "pod/tour", "--timeout=30s")
        self.assertTrue(self.k("logs", "tour").out)
        self.assertEqual(self.k("exec", "tour", "--", "echo", "hello").out, "hello\n")
        self.assertEqual(self.k("exec", "tour", "--", "false", check=False).returncode, 1)
        self.k("run", "one", "--image=web:1", "--restart=Never")
        self.k("wait", "--for=condition=Ready", "pod/one", "--timeout=30s")
        self.k("delete", "pod", "one", "tour", "--grace-period=1")

    def test_nodes(self):
        self.k("cordon", "sim-2")
        self.assertIn("SchedulingDisabled", self.k("get", "node", "sim-2").out)
        self.k("uncordon", "sim-2")
        self.k("taint", "nodes", "sim-2", "k=v:NoSchedule")
        self.assertEqual([t for t in self.cluster.get("node", "sim-2")["spec"]["taints"] if t["key"] == "k"][0]["effect"], "NoSchedule")
        self.k("taint", "nodes", "sim-2", "k-")
        self.k("label", "node", "sim-2", "disk=ssd")
        self.assertIn("Metrics API not available", self.k("top", "nodes", check=False).all)

    def test_errors_are_kubernetes_own(self):
        r = self.k("get", "pod", "nope", check=False)
        self.assertEqual(r.stderr, 'Error from server (NotFound): pods "nope" not found\n')
        self.k("create", "configmap", "twice")
        self.assertIn('(AlreadyExists): configmaps "twice" already exists', self.k("create", "configmap", "twice", check=False).all.replace("error: failed to create configmap", "Error from server (AlreadyExists)"))
        bad = self.deployment("bad")
        bad["spec"]["replicas"] = -1
        self.assertIn("spec.replicas: Invalid value: -1: must be greater than or equal to 0", self.k("apply", "-f", "-", stdin=json.dumps(bad), check=False).all)
        bad = self.deployment("bad")
        bad["spec"]["replicsa"] = 1
        self.assertIn('unknown field "spec.replicsa"', self.k("apply", "-f", "-", stdin=json.dumps(bad), check=False).all)
        self.assertIn('namespaces "nowhere" not found', self.k("create", "configmap", "x", "-n", "nowhere", check=False).all)


class OlderKubectl(ClusterTest):
    options = {"kubectl": "kubectl-1.32"}

    def test_smoke(self):
        self.cluster.apply(json.dumps(self.deployment("old", replicas=2)))
        self.k("rollout", "status", "deployment/old", "--timeout=60s")
        self.assertEqual(len(self.k("get", "pods", "-l", "app=old", "--no-headers").out.splitlines()), 2)
        self.k("create", "configmap", "c", "--from-literal=a=b")
        self.k("label", "configmap", "c", "x=y")
        self.k("delete", "deployment", "old")


if __name__ == "__main__":
    unittest.main()
