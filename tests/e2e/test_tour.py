"""The kubectl tour on simulated nodes: what people type on day one, with a stock kubectl."""
import json
import os
import socket
import subprocess
import tempfile
import unittest

from cluster import Cluster, ClusterTest, wait

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

    def test_every_create_that_needs_no_policy(self):
        self.k("create", "namespace", "creates")
        n = ("-n", "creates")
        self.k("create", "serviceaccount", "robot", *n)
        self.k("create", "service", "clusterip", "s1", "--tcp=80:8080", *n)
        self.k("create", "service", "nodeport", "s2", "--tcp=80", *n)
        self.k("create", "service", "externalname", "s3", "--external-name=example.org", *n)
        self.k("create", "service", "loadbalancer", "s4", "--tcp=80", *n)
        self.k("create", "service", "clusterip", "s5", "--clusterip=None", *n)
        services = {s["metadata"]["name"]: s["spec"] for s in self.cluster.get("services", *n)["items"]}
        self.assertEqual(services["s1"]["ports"][0]["targetPort"], 8080)
        self.assertEqual(services["s3"]["externalName"], "example.org")
        self.assertEqual(services["s5"]["clusterIP"], "None")
        self.assertIn("LoadBalancer", self.k("get", "services", *n).out)
        self.k("create", "secret", "docker-registry", "d", "--docker-server=r", "--docker-username=u", "--docker-password=p", *n)
        self.assertEqual(self.cluster.get("secret", "d", *n)["type"], "kubernetes.io/dockerconfigjson")
        # Policy kinds are refused until something enforces them.
        for args in (("quota", "q", "--hard=pods=1"), ("poddisruptionbudget", "p", "--selector=a=b", "--min-available=1")):
            r = self.k("create", *args, *n, check=False)
            self.assertNotEqual(r.returncode, 0, args)
            self.assertIn("the server could not find the requested resource", r.all, args)
        self.k("delete", "namespace", "creates", "--timeout=60s")

    def test_apply_dry_run_diff_and_removed_fields(self):
        text = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ap"}, "data": {"a": "1", "b": "2"}})
        self.assertIn("created (server dry run)", self.cluster.apply(text, "--dry-run=server").out)
        self.assertIn("NotFound", self.k("get", "configmap", "ap", check=False).all)
        self.assertIn("created", self.cluster.apply(text).out)
        less = text.replace(', "b": "2"', "")
        self.assertIn("configured (server dry run)", self.cluster.apply(less, "--dry-run=server").out)
        self.assertIn("configured", self.cluster.apply(less).out)
        self.assertEqual(self.cluster.get("configmap", "ap")["data"], {"a": "1"})
        r = self.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text, check=False)
        self.assertNotEqual(r.returncode, 0)
        self.assertIn("server-side apply is not available", r.all)
        self.assertIn("server-side apply is not available", self.k("apply", "--server-side", "-f", "-", stdin=text.replace('"ap"', '"ap-new"'), check=False).all)
        self.assertIn("server-side apply is not available", self.k("diff", "--server-side", "-f", "-", stdin=text, check=False).all)
        self.k("replace", "--force", "-f", "-", stdin=text)
        self.k("delete", "-f", "-", stdin=text)

    def test_get_sorts_labels_columns_and_watches(self):
        for i, name in enumerate(("sort-b", "sort-a", "sort-c")):
            self.k("create", "configmap", name, f"--from-literal=k={i}")
            self.k("label", "configmap", name, f"rank={3 - i}", "set=sort")

        def names(*args):
            return [n.split("/")[1] for n in self.k("get", "configmaps", "-l", "set=sort", "-o", "name", *args).out.split()]

        self.assertEqual(names("--sort-by=.metadata.labels.rank"), ["sort-c", "sort-a", "sort-b"])
        self.assertEqual(names("--sort-by=.metadata.name"), ["sort-a", "sort-b", "sort-c"])
        self.assertEqual(names("--field-selector=metadata.name=sort-a"), ["sort-a"])
        self.assertEqual(names("--chunk-size=1"), ["sort-a", "sort-b", "sort-c"])
        self.assertRegex(self.k("get", "configmaps", "-L", "rank", "-l", "set=sort").out, r"NAME\s+DATA\s+AGE\s+RANK\nsort-a\s+1\s+\S+\s+2")
        self.assertIn("set=sort", self.k("get", "configmaps", "--show-labels", "-l", "rank").out)
        self.assertEqual(self.k("get", "configmap", "sort-a", "-o", "go-template={{.data.k}}").out, "1")
        self.assertEqual(json.loads(self.k("get", "configmap", "sort-a", "-o", "jsonpath-as-json={.data}").out), [{"k": "1"}])
        with open(os.path.join(self.cluster.dir, "columns"), "w") as f:
            f.write("NAME          RANK\nmetadata.name metadata.labels.rank\n")
        self.assertRegex(self.k("get", "configmaps", "-l", "set=sort", "-o", "custom-columns-file=" + f.name).out, r"sort-b\s+3")
        self.assertRegex(self.k("get", "pods,configmaps", "-l", "set=sort").out, r"configmap/sort-a")
        self.assertIn("field label not supported", self.k("get", "pods", "--field-selector=spec.nope=x", check=False).all)
        self.assertIn("doesn't have a resource type", self.k("get", "nonsense", check=False).all)
        # -w -A, cut by the client's own time-out, and a wait for a deletion.
        watched = self.k("get", "configmaps", "-A", "-w", "-l", "set=sort", "--request-timeout=2s", check=False).out
        self.assertRegex(watched, r"default\s+sort-a")
        waiter = self.cluster.popen("wait", "--for=delete", "configmap/sort-a", "--timeout=30s", stdout=subprocess.PIPE)
        self.k("delete", "configmaps", "-l", "set=sort")
        waiter.communicate(timeout=30)
        self.assertEqual(waiter.returncode, 0)
        self.assertIn("timed out", self.k("wait", "--for=create", "configmap/never", "--timeout=1s", check=False).all)

    def test_describe_explain_and_events(self):
        self.cluster.apply(json.dumps(self.deployment("told", replicas=1)))
        self.rollout("told")
        pod = self.cluster.get("pods", "-l", "app=told")["items"][0]["metadata"]["name"]
        text = self.k("describe", "pod", pod).out
        for part in (r"Controlled By:\s+ReplicaSet/told-", r"Status:\s+Running", "Conditions:", "Scheduled", "Started"):
            self.assertRegex(text, part)
        self.assertIn("ScalingReplicaSet", self.k("describe", "deployment", "told").out)
        self.assertIn("Taints:", self.k("describe", "node", "sim-1").out)
        for kind in ("namespace/default", "serviceaccount/default", "configmap/kube-root-ca.crt", "service/kubernetes"):
            self.assertIn("Name:", self.k("describe", kind, check=False).all, kind)
        self.assertRegex(self.k("explain", "pod.spec.containers").out, r"name\s+<string> -required-")
        self.assertIn("rollingUpdate", self.k("explain", "deployment", "--recursive").out)
        self.assertIn("does not exist", self.k("explain", "pod.spec.nope", check=False).all)
        self.assertIn("told", self.k("events", "--for", "deployment/told").out)
        self.assertIn("ScalingReplicaSet", self.k("get", "events", "--field-selector=involvedObject.name=told,reason=ScalingReplicaSet").out)
        self.k("delete", "deployment", "told")

    def test_drain_evicts_and_cordons(self):
        self.cluster.apply(json.dumps(self.deployment("drained", replicas=3)))
        self.rollout("drained")

        def where():
            return {p["spec"].get("nodeName") for p in self.cluster.get("pods", "-l", "app=drained")["items"] if not p["metadata"].get("deletionTimestamp")}

        self.cluster.apply(POD % ("bare", ""))
        self.k("wait", "--for=condition=Ready", "pod/bare", "--timeout=30s")
        node = self.cluster.get("pod", "bare")["spec"]["nodeName"]
        self.assertIn("declare no controller", self.k("drain", node, "--ignore-daemonsets", check=False).all)
        self.assertIn("evicting pod", self.k("drain", node, "--force", "--grace-period=1", "--timeout=60s").all)
        wait(lambda: node not in where() and len(where()) > 0, 30, "the pods on other nodes")
        self.assertIn("SchedulingDisabled", self.k("get", "node", node).out)
        self.k("uncordon", node)
        self.k("cordon", node)
        self.k("drain", node, "--disable-eviction", "--force", "--timeout=60s")  # sends DeleteOptions in protobuf
        self.k("uncordon", node)
        self.rollout("drained")
        self.k("delete", "deployment", "drained")

    def test_streams_reach_the_pod_or_say_why_not(self):
        self.cluster.apply(POD % ("streams", ""))
        self.k("wait", "--for=condition=Ready", "pod/streams", "--timeout=30s")
        self.assertEqual(self.k("exec", "-i", "streams", "--", "cat", stdin="through\n").out, "through\n")
        self.assertIn("not found", self.k("exec", "nobody", "--", "true", check=False).all)
        self.assertIn("container nope is not valid for pod streams", self.k("exec", "streams", "-c", "nope", "--", "true", check=False).all)
        self.assertIn("container nope is not valid", self.k("logs", "streams", "-c", "nope", check=False).all)
        self.assertEqual(len(self.k("logs", "streams", "--tail=1").out.splitlines()), 1)
        self.assertIn("streams", self.k("logs", "-l", "app=tour", "--prefix", "--tail=1").out)
        # A simulated pod sends back what comes to a port: through two connections of one forward.
        forward = self.cluster.popen("port-forward", "pod/streams", ":80", stdout=subprocess.PIPE)
        try:
            port = int(forward.stdout.readline().split(":")[1].split()[0])
            for word in (b"one", b"two"):
                with socket.create_connection(("127.0.0.1", port), 10) as s:
                    s.sendall(word * 1000)
                    got = b""
                    while len(got) < 3000:
                        part = s.recv(65536)
                        self.assertTrue(part, "the forward ended")
                        got += part
                    self.assertEqual(got, word * 1000)
        finally:
            forward.kill()
            forward.wait()
        self.k("delete", "pod", "streams", "--now")

    def test_server_answers(self):
        self.assertEqual(self.k("get", "--raw", "/livez").out, "ok")
        self.assertEqual(self.k("get", "--raw", "/readyz?verbose").out, "[+]ping ok\n[+]store ok\n[+]plugins ok\nreadyz check passed\n")
        self.assertEqual(json.loads(self.k("get", "--raw", "/version").out)["minor"], "35")
        metrics = self.k("get", "--raw", "/metrics").out
        for name in ("process_resident_memory_bytes", "pintle_store_", "pintle_bus_", "pintle_front_", "pintle_plugin_open", "apiserver_request_total", "apiserver_request_duration_seconds_bucket"):
            self.assertIn(name, metrics)
        self.assertIn("is running at", self.k("cluster-info").out)
        # Who may do what is not asked of the server yet: a clear answer instead of a wrong one.
        self.assertIn("could not find the requested resource", self.k("auth", "can-i", "get", "pods", check=False).all)

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


class Sockets(unittest.TestCase):
    def test_a_server_with_a_socket_only_says_where_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            address = f"unix:{folder}/api.sock"
            cluster = Cluster(config=f'listen: ["{address}"]\nplugins: {{}}\n', name="socket")
            self.addCleanup(cluster.remove)
            cluster.start()
            self.assertEqual(cluster.url, address)
            wait(lambda: f"pintled: ready: {address}\n" in cluster.log_text(), 10, "the line of the log")
            cluster.stop()


class Lists:
    """kubectl checks a v1 List, and kinds that are not served, with OpenAPI v2."""

    def test_a_list_is_applied_created_and_checked(self):
        self.k("create", "namespace", "lists")
        self.k("create", "configmap", "c", "--from-literal=a=b", "-n", "lists")
        self.k("create", "service", "clusterip", "s", "--tcp=80:8080", "-n", "lists")
        self.cluster.apply(json.dumps(self.deployment("d", replicas=1)), "-n", "lists")
        self.k("rollout", "status", "deployment/d", "-n", "lists", "--timeout=60s")
        names = ("configmap/c", "service/s", "deployment.apps/d")
        saved = self.k("get", "cm/c", "svc/s", "deployment/d", "-n", "lists", "-o", "yaml").out
        self.assertIn("kind: List", saved)
        out = self.cluster.apply(saved, "-n", "lists").out
        for name in names:
            self.assertRegex(out, f"{name} (configured|unchanged)")
        copies = self.cluster.get("cm/c", "svc/s", "deployment/d", "-n", "lists")
        self.assertEqual(copies["kind"], "List")
        for o in copies["items"]:
            del o["metadata"]["resourceVersion"], o["metadata"]["uid"]
        self.k("delete", *names, "-n", "lists")
        out = self.k("create", "-f", "-", "-n", "lists", stdin=json.dumps(copies)).out
        for name in names:
            self.assertIn(f"{name} created", out)
        wrong = {"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "strict"}, "data": {"a": "b"}, "dta": {}},
            {**self.deployment("strict"), "spec": {"replicas": "many"}}]}
        for verb in ("apply", "create"):
            r = self.k(verb, "-f", "-", "--validate=strict", "-n", "lists", stdin=json.dumps(wrong), check=False)
            self.assertNotEqual(r.returncode, 0)
            self.assertIn('unknown field "dta"', r.stderr)
            self.assertIn('invalid type for io.k8s.api.apps.v1.DeploymentSpec.replicas: got "string", expected "integer"', r.stderr)
        self.assertEqual(self.cluster.get("cm", "-n", "lists", "--field-selector", "metadata.name=strict")["items"], [])
        self.k("delete", "namespace", "lists", "--timeout=60s")

    def test_a_kind_that_is_not_served_is_said_to_be_so(self):
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": []}}}}
        for verb in ("apply", "create"):
            r = self.k(verb, "-f", "-", stdin=json.dumps(job), check=False)
            self.assertNotEqual(r.returncode, 0)
            self.assertIn('no matches for kind "Job" in version "batch/v1"', r.stderr)
            self.assertNotIn("openapi", r.stderr)


class ListsOfKubectl(Lists, ClusterTest):
    pass


class ListsOfOlderKubectl(Lists, ClusterTest):
    options = {"kubectl": "kubectl-1.32"}

    def test_explain_reads_v2_too(self):
        self.assertIn("FIELD: replicas", self.k("explain", "deployment.spec.replicas", "--output=plaintext-openapiv2").out.replace("FIELD:    ", "FIELD: "))


class OlderKubectl(ClusterTest):
    options = {"kubectl": "kubectl-1.32"}

    def test_smoke(self):
        self.cluster.apply(json.dumps(self.deployment("old", replicas=2)))
        self.k("rollout", "status", "deployment/old", "--timeout=60s")
        self.assertEqual(len(self.k("get", "pods", "-l", "app=old", "--no-headers").out.splitlines()), 2)
        self.k("create", "configmap", "c", "--from-literal=a=b")
        self.k("create", "namespace", "older")
        self.k("create", "deployment", "p", "--image=web:1", "-n", "older")
        self.k("label", "configmap", "c", "x=y")
        self.k("patch", "configmap", "c", "-p", '{"data":{"c":"d"}}')
        self.k("set", "image", "deployment/old", "old-container=web:2")
        self.k("rollout", "status", "deployment/old", "--timeout=60s")
        pod = self.k("get", "pods", "-l", "app=old", "-o", "name").out.split()[0]
        self.assertEqual(self.k("exec", pod, "--", "echo", "hello").out, "hello\n")
        self.assertTrue(self.k("logs", pod).out)
        self.assertIn("replicas", self.k("explain", "deployment.spec").out)
        self.k("delete", "deployment", "old")
        self.k("delete", "namespace", "older", "--timeout=60s")


if __name__ == "__main__":
    unittest.main()
