"""What a pod's containers see on a real Docker engine: commands, environment, volumes, security; and the streams to them."""
import calendar
import filecmp
import http.client
import json
import os
import pty
import re
import select
import subprocess
import time
import unittest

from cluster import wait
from containers import DockerTest, container, pod
from engine import BUSYBOX


class Pods(DockerTest):
    options = {"kind": "docker", "name": "pods"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.k("create", "configmap", "settings", "--from-literal=color=blue", "--from-literal=size=big")
        cls.k("create", "secret", "generic", "hidden", "--from-literal=word=xyzzy")

    # ---- commands and environment --------------------------------------------------------------------------------------

    def test_command_args_and_environment(self):
        show = "env | sort; echo args:$0:$*"
        env = [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
               {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
               {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "none", "optional": True}}},
               {"name": "TWICE", "value": "$(COLOR)-$(COLOR) $$(COLOR) $(NOBODY)"},
               {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
               {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
               {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}}]
        fields = {"NAME": "metadata.name", "NS": "metadata.namespace", "UID_": "metadata.uid", "NODE": "spec.nodeName", "IP": "status.podIP", "HOST": "status.hostIP",
                  "ACCOUNT": "spec.serviceAccountName"}
        env += [{"name": k, "valueFrom": {"fieldRef": {"fieldPath": v}}} for k, v in fields.items()]
        self.apply(pod("env", container(command=["/bin/sh", "-c"], args=[show, "$(COLOR)", "$$(COLOR)", "$(NOBODY)"], env=env, workingDir="/tmp",
                                        envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "set_"}, {"secretRef": {"name": "hidden"}},
                                                 {"configMapRef": {"name": "none", "optional": True}}],
                                        resources={"limits": {"cpu": "250m"}, "requests": {"memory": "8Mi"}}), restartPolicy="Never"),
                   pod("no-source", container(command="true", envFrom=[{"secretRef": {"name": "none"}}])))
        log = self.finished("env")
        seen = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
        p = self.cluster.get("pod", "env")
        want = {"COLOR": "blue", "WORD": "xyzzy", "TWICE": "blue-blue $(COLOR) $(NOBODY)", "LABEL": "env", "CPU": "250", "MEMORY": "8", "set_color": "blue", "set_size": "big",
                "word": "xyzzy", "NAME": "env", "NS": "default", "UID_": p["metadata"]["uid"], "NODE": p["spec"]["nodeName"], "HOST": p["status"]["hostIP"], "ACCOUNT": "default",
                "PWD": "/tmp", "HOSTNAME": "env"}
        self.assertEqual({k: seen.get(k) for k in want}, want)
        self.assertRegex(seen["IP"], r"^\d+\.\d+\.\d+\.\d+$")
        self.assertNotIn("GONE", seen)
        self.assertIn("KUBERNETES_SERVICE_HOST", seen)
        self.assertIn("args:blue:$(COLOR) $(NOBODY)\n", log)
        # What is missing holds the container back, by name, until it comes.
        wait(lambda: self.container_status("no-source")["state"]["waiting"]["reason"] == "CreateContainerConfigError", 20, "CreateContainerConfigError")
        self.assertIn('secret "none" not found', self.container_status("no-source")["state"]["waiting"]["message"])
        self.k("delete", "pod", "env", "no-source", "--wait=false")

    # ---- volumes --------------------------------------------------------------------------------------------------------

    def test_volumes_hold_what_they_say(self):
        host = os.path.join(self.cluster.dir, "shown")
        os.mkdir(host)
        with open(os.path.join(host, "file"), "w") as f:
            f.write("from the host\n")
        volumes = [{"name": "config", "configMap": {"name": "settings", "defaultMode": 0o640, "items": [{"key": "color", "path": "deep/colour"}, {"key": "size", "path": "size", "mode": 0o600}]}},
                   {"name": "secret", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
                   {"name": "maybe", "secret": {"secretName": "none", "optional": True}},
                   {"name": "api", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                                                             {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}}]}},
                   {"name": "all", "projected": {"sources": [{"configMap": {"name": "settings", "items": [{"key": "color", "path": "a/color"}]}},
                                                             {"secret": {"name": "hidden"}}, {"downwardAPI": {"items": [{"path": "me", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
                   {"name": "scratch", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                   {"name": "host", "hostPath": {"path": host, "type": "Directory"}},
                   {"name": "made", "hostPath": {"path": os.path.join(self.cluster.dir, "made"), "type": "DirectoryOrCreate"}}]
        mounts = [{"name": n, "mountPath": f"/{n}"} for n in ("config", "secret", "maybe", "api", "all", "scratch", "memory", "made")]
        mounts += [{"name": "host", "mountPath": "/host", "readOnly": True}, {"name": "scratch", "mountPath": "/sub", "subPath": "a/b"},
                   {"name": "scratch", "mountPath": "/expr", "subPathExpr": "$(NAME)/x"}, {"name": "config", "mountPath": "/etc/colour", "subPath": "deep/colour"}]
        show = r"""
            cat /config/deep/colour; echo; stat -L -c '%a %n' /config/deep/colour /config/size /secret/word; cat /secret/word; echo; ls /maybe | wc -l; cat /api/labels /api/cpu; echo
            cat /all/a/color /all/word /all/me; echo; echo in >/sub/f; cat /scratch/a/b/f; echo ex >/expr/f; cat /scratch/volumes/x/f; cat /etc/colour; echo; cat /host/file
            touch /host/x 2>&1; touch /config/x 2>&1; grep ' /memory ' /proc/mounts | grep -o "size=[0-9]*k"; dd if=/dev/zero of=/memory/big bs=64k count=32 2>&1 | grep -i space; stat -c '%a' /scratch; touch /made/here; sleep 1000"""
        self.run_pod("volumes", container(command=show, volumeMounts=mounts, env=[{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                                          resources={"limits": {"cpu": "100m"}}), volumes=volumes)
        wait(lambda: os.path.exists(os.path.join(self.cluster.dir, "made/here")), 30, "the end of the script")
        self.assertEqual(self.logs("volumes"), """blue
640 /config/deep/colour
600 /config/size
400 /secret/word
xyzzy
0
app="volumes"100
bluexyzzyvolumes
in
ex
blue
from the host
touch: /host/x: Read-only file system
touch: /config/x: Read-only file system
size=1024k
dd: error writing '/memory/big': No space left on device
777
""")
        # A changed configMap reaches the files, but not what was mounted by subPath; labels too.
        self.k("patch", "configmap", "settings", "-p", '{"data":{"size":"small"}}')
        self.k("label", "pod", "volumes", "colour=green")
        wait(lambda: self.shell("volumes", "cat /config/size") == "small", 30, "the changed configMap")
        wait(lambda: 'colour="green"' in self.shell("volumes", "cat /api/labels"), 30, "the changed labels")
        self.k("patch", "configmap", "settings", "-p", '{"data":{"size":"big"}}')
        uid = self.cluster.get("pod", "volumes")["metadata"]["uid"]
        files = os.path.join(self.cluster.dir, "agent", "pods", uid)
        self.assertEqual(os.stat(files).st_mode & 0o777, 0o700)
        self.gone("volumes")
        wait(lambda: not os.path.exists(files), 10, "the removal of the pod's files")
        self.assertTrue(os.path.exists(os.path.join(host, "file")), "what belongs to the host stays")

    def test_a_volume_that_cannot_be_had_holds_the_pod_with_the_reason(self):
        self.apply(pod("no-map", container(command="true", volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=[{"name": "v", "configMap": {"name": "later"}}], restartPolicy="Never"),
                   pod("no-dir", container(command="true", volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=[{"name": "v", "hostPath": {"path": "/no/such", "type": "Directory"}}]))
        self.event("no-map", "FailedMount", 'MountVolume.SetUp failed for volume "v" : configmap "later" not found')
        self.event("no-dir", "FailedMount", "/no/such is not a Directory")
        self.assertEqual(self.status("no-map")["phase"], "Pending")
        self.k("create", "configmap", "later", "--from-literal=a=b")
        self.finished("no-map", 30)
        self.assertEqual(self.status("no-map")["phase"], "Succeeded")
        self.k("delete", "pod", "no-map", "no-dir", "--wait=false")

    def test_a_sub_path_cannot_leave_its_volume(self):
        host = os.path.join(self.cluster.dir, "trap")
        os.mkdir(host)
        outside = os.path.join(self.cluster.dir, "outside")
        os.mkdir(outside)
        with open(os.path.join(outside, "secret"), "w") as f:
            f.write("not yours\n")
        os.symlink(outside, os.path.join(host, "link"))
        os.symlink("../outside", os.path.join(host, "up"))
        volume = {"volumes": [{"name": "v", "hostPath": {"path": host}}]}
        names = {"sub-link": "link", "sub-up": "up/secret", "sub-new": "link/made"}
        self.apply(*(pod(n, container(command="sleep 1000", volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": s}]), **volume) for n, s in names.items()))
        for name, sub in names.items():
            message = self.event(name, "Failed", "leaves its volume")
            self.assertIn(f'subPath "{sub}"', message)
        self.assertEqual(os.listdir(outside), ["secret"])
        self.assertIn("must not contain '..'", self.k("apply", "-f", "-", check=False, stdin=json.dumps(
            pod("dots", container(command="true", volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "../x"}]), **volume))).all)
        self.k("delete", "pod", *names, "--wait=false")

    # ---- security -------------------------------------------------------------------------------------------------------

    def test_security_contexts(self):
        show = "id -u; id -g; id -G; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; touch /x 2>&1; sleep 1000"
        self.apply(pod("default", container(command=show)),
                   pod("user", container(command="touch /data/mine; stat -c '%u %g %a' /data/mine /data; " + show, volumeMounts=[{"name": "d", "mountPath": "/data"}],
                                         securityContext={"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}),
                       volumes=[{"name": "d", "emptyDir": {}}],
                       securityContext={"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000], "runAsNonRoot": True}),
                   pod("caps", container(command=show, securityContext={"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}, "seccompProfile": {"type": "Unconfined"}})),
                   pod("root", container(command=show, securityContext={"runAsNonRoot": True})))
        self.ready("default", "user", "caps")

        def log(name):
            return wait(lambda: "Seccomp" in self.logs(name) and self.logs(name), 20, f"the log of {name}")
        plain = log("default")
        self.assertRegex(plain, r"^0\n0\n")
        self.assertRegex(plain, r"NoNewPrivs:\s0\nSeccomp:\s2\n$")
        self.assertEqual(int(re.search(r"CapEff:\s(\w+)", plain)[1], 16), 0xa80425fb, "the engine's default set")
        text = wait(lambda: "Read-only" in self.logs("user") and self.logs("user"), 20, "the log of user")
        self.assertRegex(text, r"^1000 3000 644\n0 3000 2777\n1000\n2000\n")
        self.assertEqual(set(text.splitlines()[4].split()), {"2000", "3000", "4000"})
        self.assertRegex(text, r"CapEff:\s0{16}\nCapBnd:\s0{16}\nNoNewPrivs:\s1\nSeccomp:\s2\ntouch: /x: Read-only file system")
        self.assertRegex(log("caps"), r"CapEff:\s0000000000000401\n(.*\n)*Seccomp:\s0\n")
        wait(lambda: "image will run as root" in self.container_status("root")["state"]["waiting"].get("message", ""), 20, "the refusal")
        self.k("delete", "pod", "default", "user", "caps", "root", "--now", "--wait=false")

    def test_containers_of_a_pod_share_network_and_ipc_and_the_process_list_on_request(self):
        self.run_pod("shared", container(command="mkdir /w; echo page >/w/index.html; httpd -f -p 8080 -h /w"), container("peer", "sleep 1001"),
                     shareProcessNamespace=True, hostname="box", subdomain="sub", hostAliases=[{"ip": "192.0.2.7", "hostnames": ["seven", "sieben"]}])
        self.assertEqual(self.shell("shared", "wget -qO- http://127.0.0.1:8080/", "peer"), "page\n")
        self.assertIn("httpd", self.shell("shared", "ps", "peer"))
        self.assertEqual(self.shell("shared", "hostname", "peer"), "box\n")
        hosts = self.shell("shared", "cat /etc/hosts", "peer")
        self.assertIn("seven", hosts)
        self.assertIn("box.sub.default.svc.cluster.local", hosts)
        links = {c: self.shell("shared", "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc", c) for c in ("main", "peer")}
        self.assertEqual(links["main"], links["peer"])
        self.k("delete", "pod", "shared", "--now", "--wait=false")

    def test_a_pod_sees_the_hosts_processes_and_ipc_on_request_only(self):
        self.apply(pod("host-view", container(command="sleep 1000"), hostPID=True, hostIPC=True), pod("own-view", container(command="sleep 1000")))
        self.ready("host-view", "own-view")
        for kind in ("pid", "ipc"):
            ours = os.readlink(f"/proc/self/ns/{kind}") + "\n"
            self.assertEqual(self.shell("host-view", f"readlink /proc/self/ns/{kind}"), ours)
            self.assertNotEqual(self.shell("own-view", f"readlink /proc/self/ns/{kind}"), ours)
        self.k("delete", "pod", "host-view", "own-view", "--now", "--wait=false")

    # ---- streams --------------------------------------------------------------------------------------------------------

    def test_logs(self):
        self.run_pod("logs", container(command="for i in 1 2 3 4 5; do echo line $i; done; while [ ! -e /go ]; do sleep 0.1; done; echo more; while [ ! -e /end ]; do sleep 0.1; done; echo last; exit 1"),
                     container("other", "echo other >&2; sleep 1000"))
        k = self.logs
        self.assertEqual(k("logs", "-c", "main", "--tail=2"), "line 4\nline 5\n")
        self.assertEqual(k("logs", "-c", "main", "--limit-bytes=6"), "line 1")
        self.assertRegex(k("logs", "-c", "main", "--timestamps", "--tail=1"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z line 5\n$")
        self.assertEqual(k("logs", "-c", "other"), "other\n")
        both = k("logs", "--all-containers", "--prefix")
        self.assertIn("[pod/logs/main] line 1\n", both)
        self.assertIn("[pod/logs/other] other\n", both)
        follow = self.cluster.popen("logs", "-f", "logs", "-c", "main", "--tail=1", stdout=subprocess.PIPE)
        self.addCleanup(follow.stdout.close)
        self.addCleanup(follow.kill)
        self.assertEqual(follow.stdout.readline(), "line 5\n")
        # kubectl sends whole seconds.
        mark = calendar.timegm(time.strptime(k("logs", "-c", "main", "--timestamps", "--tail=1")[:19], "%Y-%m-%dT%H:%M:%S")) + 1
        wait(lambda: time.time() >= mark, 5, "the next second")
        self.shell("logs", "touch /go")
        self.assertEqual(follow.stdout.readline(), "more\n")
        since = k("logs", "-c", "main", "--since-time=" + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(mark)))
        self.assertEqual(since, "more\n")
        self.assertIn("line 1\n", k("logs", "-c", "main", "--since=1h"))
        self.shell("logs", "touch /end")
        self.assertEqual(follow.stdout.read(), "last\n", "a followed log ends with its container")
        follow.wait(10)
        wait(lambda: self.container_status("logs")["restartCount"] == 1 and "running" in self.container_status("logs")["state"], 40, "the restart")
        self.assertTrue(k("logs", "-c", "main", "--previous").endswith("line 5\nmore\nlast\n"))
        self.assertNotIn("last", k("logs", "-c", "main"))
        r = self.k("logs", "logs", "-c", "other", "--previous", check=False)
        self.assertIn('previous terminated container "other" in pod "logs" not found', r.all)
        self.k("delete", "pod", "logs", "--now", "--wait=false")

    def terminal(self, *args):
        """kubectl on a terminal of its own: (process, master descriptor)."""
        master, slave = pty.openpty()
        p = subprocess.Popen([self.cluster.kubectl_binary, *args], stdin=slave, stdout=slave, stderr=slave, env=self.cluster.env(), start_new_session=True)
        os.close(slave)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.addCleanup(os.close, master)
        return p, master

    def expect(self, master, text, timeout=30):
        seen, deadline = "", time.monotonic() + timeout
        while text not in seen:
            self.assertLess(time.monotonic(), deadline, f"{text!r} did not come; so far {seen!r}")
            if select.select([master], [], [], 0.2)[0]:
                try:
                    seen += os.read(master, 4096).decode(errors="replace")
                except OSError:
                    self.fail(f"the terminal ended before {text!r}; so far {seen!r}")
        return seen

    def test_a_shell_on_a_terminal_and_attach(self):
        self.run_pod("term", container(command="while read x; do echo got $x; done", stdin=True))
        p, master = self.terminal("exec", "-it", "term", "--", "sh")
        self.expect(master, "#")
        os.write(master, b"tty; echo $((6*7))\n")
        self.assertIn("/dev/pts/", self.expect(master, "42\r\n"))
        os.write(master, b"exit 5\n")
        self.assertEqual(p.wait(20), 5)
        attach = self.cluster.popen("attach", "-i", "term", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        attach.stdin.write("hello\n")
        attach.stdin.flush()
        self.assertEqual(attach.stdout.readline(), "got hello\n")
        attach.kill()
        attach.communicate()
        p, master = self.terminal("run", "-it", "--rm", "shell", f"--image={BUSYBOX}", "--restart=Never", "--", "sh")
        self.expect(master, "#", 60)
        os.write(master, b"echo $((6*7)); exit 3\n")
        self.expect(master, "42\r\n")
        self.assertEqual(p.wait(60), 3)
        wait(lambda: self.k("get", "pod", "shell", check=False).returncode != 0, 20, "the removal after --rm")
        self.k("delete", "pod", "term", "--now", "--wait=false")

    def test_exec_in_a_container_that_has_ended_says_so(self):
        self.apply(pod("ended", container(command="exit 1")), pod("over", container(command="true"), restartPolicy="Never"))
        wait(lambda: self.container_status("ended")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff", 60, "CrashLoopBackOff")
        r = self.k("exec", "ended", "--", "true", check=False)
        self.assertNotIn(r.returncode, (0, 126), r.all)
        self.assertRegex(r.all, r"(?i)not running|ended")
        self.finished("over")
        self.assertIn("cannot exec into a container in a completed pod", self.k("exec", "over", "--", "true", check=False).all)
        # Around a restart an exec works or says why not; 126 is what a command that cannot be run answers.
        self.run_pod("busy", container(command="sleep 0.7; exit 1"), restartPolicy="Always")
        answers = set()
        for _ in range(12):
            r = self.k("exec", "busy", "--", "true", check=False)
            answers.add((r.returncode, r.all.strip()[:120]))
        self.assertNotIn(126, {code for code, _ in answers}, answers)
        self.assertEqual(self.k("exec", "busy2", "--", "true", check=False).returncode, 1)
        self.k("delete", "pod", "ended", "over", "busy", "--now", "--wait=false")

    def test_exit_codes_cp_and_port_forward(self):
        self.run_pod("streams", container(command="mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 8080 -h /www"))
        self.assertEqual(self.k("exec", "-i", "streams", "--", "sh", "-c", "cat; exit 3", stdin="hello\n", check=False).out, "hello\n")
        for command, code in (("exit 3", 3), ("kill -9 $$", 137)):
            self.assertEqual(self.k("exec", "streams", "--", "sh", "-c", command, check=False).returncode, code)
        r = self.k("exec", "streams", "--", "/no/such", check=False)
        self.assertIn(r.returncode, (126, 127), r.all)
        self.assertIn("/no/such", r.all)
        big = os.path.join(self.cluster.dir, "big")
        with open(big, "wb") as f:
            f.write(os.urandom(3 << 20))
        tree = os.path.join(self.cluster.dir, "tree")
        os.makedirs(os.path.join(tree, "a/b"))
        with open(os.path.join(tree, "a/b/file"), "w") as f:
            f.write("data\n")
        self.k("cp", big, "streams:/tmp/big")
        self.k("cp", "streams:/tmp/big", big + "2")
        self.assertTrue(filecmp.cmp(big, big + "2", shallow=False))
        self.k("cp", tree, "streams:/tmp/tree")
        self.assertEqual(self.shell("streams", "cat /tmp/tree/a/b/file"), "data\n")
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
        self.k("delete", "pod", "streams", "--now", "--wait=false")

    def test_run_rm_gives_the_exit_code(self):
        r = self.k("run", "-i", "--rm", "one", f"--image={BUSYBOX}", "--restart=Never", "--", "sh", "-c", "sleep 1; echo out; exit 4", check=False, stdin="")
        self.assertEqual(r.returncode, 4, r.all)
        self.assertIn("out\n", r.out)


if __name__ == "__main__":
    unittest.main()
