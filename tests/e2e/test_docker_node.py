"""Pods on a real Docker engine: the order of containers, restarts, probes, hooks, ends, resources, images, the node itself."""
import base64
import hashlib
import http.server
import io
import json
import os
import platform
import shutil
import tarfile
import threading
import time
import unittest
import urllib.request

from cluster import wait
from containers import DockerTest, container, inspect, pod
from engine import BUSYBOX, docker


class Node(DockerTest):
    options = {"kind": "docker", "name": "node"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.host = os.path.join(cls.cluster.dir, "host")  # what containers write here outlives them
        os.mkdir(cls.host, 0o777)
        os.chmod(cls.host, 0o777)

    def on_host(self):
        return {"volumes": [{"name": "host", "hostPath": {"path": self.host, "type": "Directory"}}]}

    HOST = {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}

    def read(self, name):
        with open(os.path.join(self.host, name)) as f:
            return f.read()

    # ---- order ------------------------------------------------------------------------------------------------------

    def test_init_containers_sidecars_and_containers_come_and_go_in_order(self):
        def stays(name, before=""):
            return f"{before}trap 'echo -{name} >>/host/order; exit 0' TERM; echo +{name} >>/host/order; while :; do sleep 0.1; done"
        started = {"exec": {"command": ["grep", "-q", "side", "/host/order"]}}
        self.run_pod("order", container("one", stays("one"), **self.HOST), container("two", stays("two"), **self.HOST),
                     initContainers=[container("first", "sleep 0.5; echo first >>/host/order", **self.HOST),
                                     container("side", stays("side", "sleep 1; "), restartPolicy="Always", startupProbe={**started, "periodSeconds": 1}, **self.HOST),
                                     container("last", "echo last >>/host/order", **self.HOST),
                                     container("late", stays("late"), restartPolicy="Always", **self.HOST)], **self.on_host())
        lines = self.read("order").split()
        self.assertEqual(lines[:3], ["first", "+side", "last"], "a sidecar has started before what follows it begins")
        self.assertEqual(sorted(lines[3:]), ["+late", "+one", "+two"])
        status = self.status("order")
        self.assertEqual([s["state"]["terminated"]["reason"] for s in status["initContainerStatuses"][0::2]], ["Completed", "Completed"])
        self.assertTrue(all(s["started"] and s["ready"] for s in status["initContainerStatuses"][1::2]))
        # A sidecar that is killed comes again and nothing else does.
        docker("kill", self.container_status("order", "side")["containerID"].split("//")[1])
        wait(lambda: self.container_status("order", "side")["restartCount"] == 1 and self.container_status("order", "side")["ready"], 20, "the sidecar's restart")
        self.assertEqual([self.container_status("order", n)["restartCount"] for n in ("one", "two", "first", "last", "late")], [0] * 5)
        os.truncate(os.path.join(self.host, "order"), 0)
        self.gone("order")
        lines = self.read("order").split()
        self.assertEqual(sorted(lines[:2]), ["-one", "-two"])
        self.assertEqual(lines[2:], ["-late", "-side"], "sidecars end after the others, the last one first")

    def test_an_init_container_that_fails_is_tried_again_or_fails_the_pod(self):
        flaky = "[ -e /host/tried ] && exit 0; touch /host/tried; exit 1"
        self.apply(pod("flaky", container(command="sleep 1000"), initContainers=[container("init", flaky, **self.HOST)], **self.on_host()),
                   pod("failing", container(command="sleep 1000"), initContainers=[container("init", "exit 3")], restartPolicy="Never"))
        self.ready("flaky")
        self.assertEqual(self.container_status("flaky", "init")["restartCount"], 1)
        wait(lambda: self.status("failing")["phase"] == "Failed", 30, "the failure of the pod")
        self.assertEqual(self.container_status("failing", "init")["state"]["terminated"]["exitCode"], 3)
        self.assertEqual(self.container_status("failing")["state"]["waiting"]["reason"], "PodInitializing")
        self.k("delete", "pod", "flaky", "failing", "--wait=false")

    def test_a_pod_whose_container_cannot_start_is_deleted_in_time(self):
        # Some engines refuse privileged containers; a program that is not in the image is refused by every one.
        self.apply(pod("no-program", container(command=["/no/such/program"])),
                   pod("privileged", container(command="sleep 1000; grep -q CapEff /proc/1/status", securityContext={"privileged": True})))

        def settled(name):
            s = self.container_status(name)
            return "running" in s["state"] or s["restartCount"] >= 1 and s["lastState"]
        for name in ("no-program", "privileged"):
            wait(lambda n=name: settled(n), 90, f"{name}: running, or a restart")
        last = self.container_status("no-program")["lastState"]["terminated"]
        self.assertEqual((last["reason"], last["exitCode"]), ("ContainerCannotRun", 127))
        self.assertIn("/no/such/program", last["message"])
        self.event("no-program", "Failed", "/no/such/program")
        self.gone("no-program", "privileged")
        self.assertEqual(docker("ps", "-aq", "--filter", "label=io.pintle.cluster=node", "--filter", "label=io.pintle.pod.name=no-program"), "")

    # ---- restarts and ends --------------------------------------------------------------------------------------------

    def test_restart_policies_and_back_off(self):
        self.apply(pod("always", container(command="exit 0")), pod("crash", container(command="echo $RANDOM; exit 1")),
                   pod("on-failure", container(command="[ -e /host/once ] && exit 0; touch /host/once; exit 5", **self.HOST), restartPolicy="OnFailure", **self.on_host()),
                   pod("never", container(command="exit 5"), restartPolicy="Never"),
                   pod("done", container(command="exit 0"), container("b", "sleep 1"), restartPolicy="OnFailure"))
        for name in ("always", "crash"):
            wait(lambda n=name: self.container_status(n)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", 60, f"CrashLoopBackOff of {name}")
        waiting = self.container_status("crash")
        self.assertRegex(waiting["state"]["waiting"]["message"], r"^back-off 10s restarting failed container=main pod=crash_default\(")
        self.assertEqual((waiting["restartCount"], waiting["lastState"]["terminated"]["exitCode"]), (1, 1))
        self.event("crash", "BackOff", "Back-off restarting failed container main in pod crash_default(")
        wait(lambda: self.container_status("crash")["restartCount"] == 2, 30, "the restart after the back-off")
        self.assertEqual(self.finished("on-failure"), "")
        self.assertEqual((self.status("on-failure")["phase"], self.container_status("on-failure")["restartCount"]), ("Succeeded", 1))
        self.finished("never")
        self.assertEqual((self.status("never")["phase"], self.container_status("never")["state"]["terminated"]["exitCode"]), ("Failed", 5))
        self.finished("done")
        self.assertEqual(self.status("done")["phase"], "Succeeded")
        self.k("delete", "pod", "always", "crash", "on-failure", "never", "done", "--wait=false")

    def test_a_killed_container_is_noticed_in_two_seconds(self):
        self.run_pod("killed", container(command="sleep 1000"))
        took = []
        for n in range(3):
            status = self.container_status("killed")
            watch = self.cluster.popen("get", "pod", "killed", "--watch-only", "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.containerID} {.status.containerStatuses[0].state.terminated.containerID}\n", stdout=-1)
            try:
                wait(lambda s=status: inspect(s["containerID"].split("//")[1])["State"]["Running"], 30, "the running container")
                begun = time.monotonic()
                docker("kill", status["containerID"].split("//")[1])
                while status["containerID"] not in watch.stdout.readline():
                    pass
                took.append(time.monotonic() - begun)
            finally:
                watch.kill()
                watch.communicate()
            # The next kill needs a container that runs again.
            wait(lambda m=n: self.container_status("killed")["restartCount"] == m + 1 and "running" in self.container_status("killed")["state"], 60, "the restart")
        # The median: the machine runs other tests as well.
        self.assertLess(sorted(took)[1], 2, took)
        print(f"docker kill seen after {', '.join(f'{t:.2f} s' for t in took)}", flush=True)
        self.k("delete", "pod", "killed", "--now", "--wait=false")

    def test_termination_messages(self):
        self.apply(pod("words", container(command="printf oops >/dev/termination-log; exit 1"), container("own", "printf mine >/tmp/end", terminationMessagePath="/tmp/end"),
                       container("log", "echo one; echo two; exit 2", terminationMessagePolicy="FallbackToLogsOnError"),
                       container("both", "echo out; echo err >&2; exit 2", terminationMessagePolicy="FallbackToLogsOnError"),
                       container("fine", "echo quiet", terminationMessagePolicy="FallbackToLogsOnError"), restartPolicy="Never"))
        wait(lambda: self.status("words")["phase"] == "Failed", 60, "the end of pod words")
        said = {s["name"]: s["state"]["terminated"].get("message") for s in self.status("words")["containerStatuses"]}
        # The engine reads the two streams apart: which of two lines that come together it writes first is its own affair.
        self.assertEqual(sorted(said.pop("both").splitlines()), ["err", "out"])
        self.assertEqual(said, {"main": "oops", "own": "mine", "log": "one\ntwo\n", "fine": None})
        # It stays with its run when the container starts anew at once.
        self.apply(pod("again", container(command="echo last words; exit 1", terminationMessagePolicy="FallbackToLogsOnError")))
        wait(lambda: self.container_status("again")["lastState"].get("terminated", {}).get("message") == "last words\n", 40, "the message of the run before")
        self.k("delete", "pod", "words", "again", "--wait=false")

    def test_the_grace_and_the_hooks(self):
        hooks = {"postStart": {"exec": {"command": ["/bin/sh", "-c", "sleep 0.5; echo post >>/host/hooks"]}},
                 "preStop": {"exec": {"command": ["/bin/sh", "-c", "echo pre >>/host/hooks"]}}}
        self.apply(pod("hooks", container(command="trap 'echo term >>/host/hooks; exit 0' TERM; while :; do sleep 0.1; done", lifecycle=hooks, **self.HOST),
                       terminationGracePeriodSeconds=20, **self.on_host()),
                   pod("stubborn", container(command="trap '' TERM; while :; do sleep 0.1; done"), terminationGracePeriodSeconds=2),
                   pod("bad-hook", container(command="sleep 1000", lifecycle={"postStart": {"exec": {"command": ["/bin/sh", "-c", "echo no luck; exit 1"]}}})))
        self.ready("hooks", "stubborn")
        self.assertEqual(self.read("hooks"), "post\n", "ready only after the hook")
        self.event("bad-hook", "FailedPostStartHook", "no luck")
        wait(lambda: self.container_status("bad-hook")["restartCount"] >= 1, 60, "the restart after a hook that failed")
        stubborn = self.container_status("stubborn")["containerID"].split("//")[1]
        begun = time.monotonic()
        self.k("delete", "pod", "stubborn", "hooks", "bad-hook", "--wait=false")
        wait(lambda: docker("ps", "-q", "--no-trunc", "--filter", f"id={stubborn}") == "", 30, "the kill of the stubborn one")
        self.assertGreaterEqual(time.monotonic() - begun, 2, "its grace")
        wait(lambda: "term" in self.read("hooks"), 20, "the stop")
        self.assertEqual(self.read("hooks"), "post\npre\nterm\n")

    # ---- probes ---------------------------------------------------------------------------------------------------------

    def test_three_probes_of_three_kinds(self):
        web = "mkdir -p /www; echo ok >/www/live; httpd -f -p 8080 -h /www & sleep 1000"
        self.apply(pod("probes", container(command=web, ports=[{"name": "web", "containerPort": 8080}],
                                           startupProbe={"exec": {"command": ["test", "-e", "/started"]}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 60},
                                           readinessProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 1},
                                           livenessProbe={"httpGet": {"path": "/live", "port": "web"}, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 2})))
        # Until the startup probe has succeeded the others are not asked.
        self.event("probes", "Unhealthy", "Startup probe failed")
        status = self.container_status("probes")
        self.assertEqual((status["started"], status["ready"], status["restartCount"]), (False, False, 0))
        self.shell("probes", "touch /started")
        self.ready("probes", timeout=60)
        self.assertTrue(self.container_status("probes")["started"])
        self.shell("probes", "rm /www/live")
        self.event("probes", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404")
        self.event("probes", "Killing", "Container main failed liveness probe, will be restarted")
        wait(lambda: self.container_status("probes")["restartCount"] == 1 and "running" in self.container_status("probes")["state"], 30, "the restart")
        self.shell("probes", "touch /started")
        self.ready("probes", timeout=60)
        self.shell("probes", "killall httpd; touch /www/live; true")
        wait(lambda: not self.container_status("probes")["ready"], 20, "not ready without the port")
        self.k("delete", "pod", "probes", "--now", "--wait=false")

    # ---- resources -------------------------------------------------------------------------------------------------------

    def test_requests_limits_and_quality_of_service(self):
        self.apply(pod("guaranteed", container(command="sleep 1000", resources={"limits": {"cpu": "250m", "memory": "64Mi"}})),
                   pod("burstable", container(command="sleep 1000", resources={"requests": {"cpu": "100m"}, "limits": {"memory": "32Mi"}})),
                   pod("best-effort", container(command="sleep 1000")),
                   pod("oom", container(command="tail /dev/zero", resources={"limits": {"memory": "16Mi"}}), restartPolicy="Never"),
                   pod("too-big", container(command="true", resources={"requests": {"memory": "100Ti"}})))
        self.ready("guaranteed", "burstable", "best-effort")
        self.assertEqual([self.status(n)["qosClass"] for n in ("guaranteed", "burstable", "best-effort")], ["Guaranteed", "Burstable", "BestEffort"])
        host = inspect(self.container_status("guaranteed")["containerID"].split("//")[1])["HostConfig"]
        self.assertEqual((host["CpuQuota"], host["CpuPeriod"], host["CpuShares"], host["Memory"], host["MemorySwap"]), (25000, 100000, 256, 64 << 20, 64 << 20))
        host = inspect(self.container_status("burstable")["containerID"].split("//")[1])["HostConfig"]
        self.assertEqual((host["CpuQuota"], host["CpuShares"], host["Memory"]), (0, 102, 32 << 20))
        wait(lambda: self.status("oom")["phase"] == "Failed", 60, "the end of pod oom")
        self.assertEqual(self.container_status("oom")["state"]["terminated"]["reason"], "OOMKilled")
        self.event("too-big", "FailedScheduling", "Insufficient memory")
        self.k("delete", "pod", "guaranteed", "burstable", "best-effort", "oom", "too-big", "--now", "--wait=false")

    # ---- images ----------------------------------------------------------------------------------------------------------

    def test_pull_policies_say_what_to_do(self):
        docker("tag", BUSYBOX, "pintle-test/only-here:1")
        self.apply(pod("has-it", container(command="sleep 1000", image="pintle-test/only-here:1", imagePullPolicy="Never")),
                   pod("pulls-it", container(command="sleep 1000", image="pintle-test/only-here:1", imagePullPolicy="Always")),
                   pod("lacks-it", container(command="sleep 1000", image="pintle-test/absent:1", imagePullPolicy="Never")))
        message = self.event("pulls-it", "Failed", "imagePullPolicy is Always")
        self.assertRegex(message, r'The image is on node "[^"]+" already, but imagePullPolicy is Always: set imagePullPolicy: IfNotPresent on container "main" to use it')
        wait(lambda: self.container_status("pulls-it")["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff"), 30, "the refused pull")
        self.event("lacks-it", "ErrImageNeverPull", 'Container image "pintle-test/absent:1" is not present with pull policy of Never')
        self.ready("has-it")
        self.event("has-it", "Pulled", "already present on machine")
        self.k("delete", "pod", "has-it", "pulls-it", "lacks-it", "--now", "--wait=false")

    def test_an_image_is_pulled_with_the_pods_secret(self):
        registry = Registry("someone", "s3cret")
        self.addCleanup(registry.close)
        image = f"{registry.address}/private/box:1"
        self.addCleanup(docker, "rmi", "-f", image)
        for name, password in (("good", "s3cret"), ("bad", "wrong")):
            self.k("create", "secret", "docker-registry", f"{name}-login", f"--docker-server={registry.address}", "--docker-username=someone", f"--docker-password={password}")
        self.apply(pod("bad-login", container(command="sleep 1000", image=image, imagePullPolicy="Always"), imagePullSecrets=[{"name": "bad-login"}]))
        wait(lambda: self.container_status("bad-login")["state"]["waiting"]["reason"] in ("ErrImagePull", "ImagePullBackOff"), 30, "the refused pull")
        self.apply(pod("good-login", container(command="sleep 1000", image=image), imagePullSecrets=[{"name": "good-login"}]))
        self.ready("good-login")
        self.event("good-login", "Pulled", f'Successfully pulled image "{image}"')
        for secret in ("s3cret", "wrong"):
            self.assertNotIn(secret, self.cluster.log_text())
        self.k("delete", "pod", "good-login", "bad-login", "--now", "--wait=false")

    # ---- the node ----------------------------------------------------------------------------------------------------------

    def test_the_node_says_what_it_is(self):
        node = self.cluster.get("nodes")["items"][0]
        labels = node["metadata"]["labels"]
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        self.assertEqual((labels["kubernetes.io/os"], labels["kubernetes.io/arch"], labels["kubernetes.io/hostname"]), ("linux", arch, node["metadata"]["name"]))
        self.assertTrue(labels["topology.kubernetes.io/zone"])
        self.assertRegex(node["status"]["nodeInfo"]["containerRuntimeVersion"], r"^docker://\d+\.")
        self.assertEqual([c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"], ["True"])

    def test_host_network_and_host_ports(self):
        self.apply(pod("host-port", container(command="mkdir /w; echo hp >/w/index.html; httpd -f -p 8080 -h /w", ports=[{"containerPort": 8080, "hostPort": 30871}])),
                   pod("host-net", container(command="mkdir /w; echo hn >/w/index.html; httpd -f -p 30872 -h /w"), hostNetwork=True))
        self.ready("host-port", "host-net")
        status = self.status("host-net")
        self.assertEqual(status["podIP"], status["hostIP"])
        for port, page in ((30871, "hp\n"), (30872, "hn\n")):
            def fetch(p=port):
                return urllib.request.urlopen(f"http://{status['hostIP']}:{p}/", timeout=2).read().decode()
            self.assertEqual(wait(fetch, 15, f"the page on port {port}"), page)
        # Taken: the scheduler keeps the second one pending and says so.
        self.apply(pod("same-port", container(command="sleep 1000", ports=[{"containerPort": 8080, "hostPort": 30871}])))
        self.event("same-port", "FailedScheduling", "free ports")
        self.k("delete", "pod", "host-port", "host-net", "same-port", "--now", "--wait=false")

    def test_what_the_node_cannot_do_keeps_the_pod_pending_with_the_reason(self):
        cases = {"grpc": (dict(livenessProbe={"grpc": {"port": 1}}), {}, "spec.containers[main].livenessProbe.grpc"),
                 "nfs": ({}, {"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}, "spec.volumes[v].nfs"),
                 "userns": ({}, {"hostUsers": False}, "spec.hostUsers"),
                 "selinux": (dict(securityContext={"seLinuxOptions": {"level": "s0"}}), {}, "spec.containers[main].securityContext.seLinuxOptions")}
        self.apply(*(pod(n, container(command="sleep 1000", **c), **s) for n, (c, s, _) in cases.items()))
        # The driver's own refusal: a seccomp profile from a file.
        self.apply(pod("seccomp", container(command="sleep 1000", securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}})))
        for name, (_, _, field) in cases.items():
            self.event(name, "Unsupported", field)
            wait(lambda n=name: self.container_status(n)["state"]["waiting"]["reason"] == "Unsupported", 20, f"the reason of {name}")
            self.assertEqual(self.status(name)["phase"], "Pending")
        self.event("seccomp", "Failed", "seccompProfile.type Localhost")
        # A limit that is not kept is said, and the pod runs.
        self.run_pod("limits", container(command="sleep 1000", resources={"limits": {"ephemeral-storage": "1Gi"}}), volumes=[{"name": "d", "emptyDir": {"sizeLimit": "1Mi"}}])
        self.event("limits", "NotEnforced", "spec.volumes[d].emptyDir.sizeLimit, the ephemeral-storage limit")
        self.k("delete", "pod", "seccomp", "limits", *cases, "--now", "--wait=false")


class Registry:
    """One image behind a password: as much of the registry protocol as a pull needs."""

    def __init__(self, user, password):
        tree = io.BytesIO()
        with tarfile.open(fileobj=tree, mode="w") as tar:
            for path in ("bin", "tmp", "proc", "sys", "dev", "etc"):
                entry = tarfile.TarInfo(path)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            tar.add(shutil.which("busybox"), "bin/busybox")
            for applet in ("sh", "sleep"):
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        layer = tree.getvalue()

        def digest(data):
            return "sha256:" + hashlib.sha256(data).hexdigest()
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        config = json.dumps({"architecture": arch, "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind,
                               "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest(config)},
                               "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar", "size": len(layer), "digest": digest(layer)}]}).encode()
        things = {digest(layer): layer, digest(config): config, digest(manifest): manifest, "1": manifest}
        login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body, code = b"", 200
                if self.headers.get("Authorization") != login:
                    code, body = 401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
                elif self.path != "/v2/":
                    body = things.get(self.path.rsplit("/", 1)[1])
                    if body is None:
                        code, body = 404, b"{}"
                self.send_response(code)
                if code == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="test"')
                if code == 200 and body is manifest:
                    self.send_header("Docker-Content-Digest", digest(manifest))
                self.send_header("Content-Type", kind if body is manifest else "application/octet-stream")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


if __name__ == "__main__":
    unittest.main()
