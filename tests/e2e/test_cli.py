"""The commands of `pintle` on a simulated cluster."""
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tarfile
import time
import unittest

from cluster import ROOT, wait
from command import KUBECTL, PINTLE, SIM_CONFIG, CommandTest, lock_holder

ALONE = True


class HelpTest(CommandTest):
    def test_every_command_teaches_itself(self):
        commands = re.findall(r"(?m)^  ([a-z]+(?: [a-z]+)?)  ", self.pintle("--help").stdout)
        self.assertGreaterEqual(len(commands), 14, commands)
        for command in commands:
            help_text = self.pintle(*command.split(), "--help").stdout
            self.assertTrue(help_text.startswith(f"usage: pintle {command}"), help_text)
            self.assertEqual(help_text, self.pintle("help", *command.split()).stdout)
        self.assertEqual(self.pintle(code=2).stdout, "")

    def test_the_version_is_that_of_the_tree(self):
        version = self.read(os.path.join(ROOT, "sdk/VERSION")).strip()
        for program in (PINTLE, PINTLE + "d"):
            self.assertIn(f" {version} (Kubernetes API v1.35)", self.run_program(program, "--version").stdout)

    def complete(self, *words):
        """What bash offers for the last word."""
        script = f"source <({PINTLE} completion bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _pintle; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        return self.run_program("bash", "-c", script, "bash", *words).stdout.split()

    def test_bash_completes_commands_and_options(self):
        self.assertIn("preflight", self.complete("pintle", ""))
        self.assertEqual(self.complete("pintle", "sta"), ["status"])
        self.assertEqual(sorted(self.complete("pintle", "config", "")), ["check", "diff"])
        self.assertEqual(sorted(self.complete("pintle", "up", "--d")), ["--data", "--detach"])
        self.assertIn("--merge", self.complete("pintle", "kubeconfig", "--"))
        self.write("pintle.yaml", "")
        self.assertEqual(self.complete("pintle", "config", "check", "pin"), ["pintle.yaml"])

    def test_zsh_and_fish_complete_too(self):
        zsh = self.write("_pintle", self.pintle("completion", "zsh").stdout)
        fish = self.write("pintle.fish", self.pintle("completion", "fish").stdout)
        self.assertTrue(self.read(zsh).startswith("#compdef pintle\n"))
        self.run_program("zsh", "-n", zsh)
        loaded = self.run_program("zsh", "-f", "-c", f"autoload -U compinit && compinit -u -D && source {zsh} && print -r -- ${{_comps[pintle]}}")
        self.assertTrue(loaded.stdout.strip(), loaded.stderr)
        offered = self.run_program("fish", "--no-config", "-c", f"source {fish}; complete --do-complete 'pintle sta'").stdout
        self.assertTrue(offered.startswith("status\t"), offered)
        offered = self.run_program("fish", "--no-config", "-c", f"source {fish}; complete --do-complete 'pintle up --de'").stdout
        self.assertTrue(offered.startswith("--detach\t"), offered)


class OneClusterTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.data = self.path("data")

    def test_a_crashed_kernel_is_back_within_a_second(self):
        self.up(self.data, "--wait")
        context = ssl._create_unverified_context()
        port = int(re.search(r"server: .*:(\d+)", self.read(os.path.join(self.data, "admin.kubeconfig")))[1])

        def answers():
            c = http.client.HTTPSConnection("127.0.0.1", port, timeout=1, context=context)
            try:
                c.request("GET", "/readyz")
                return c.getresponse().status == 200
            except OSError:
                return False
            finally:
                c.close()

        took, before = [], self.kubectl(self.data, "get", "node", "sim-1", "-o", "jsonpath={.metadata.uid}").stdout
        for _ in range(3):
            pid = lock_holder(self.data)
            os.kill(pid, signal.SIGKILL)
            started = time.monotonic()
            wait(lambda: lock_holder(self.data) not in (0, pid) and answers(), 30, "the new pintled")
            took.append(time.monotonic() - started)
        # The machine may be busy with other things: the best of three counts.
        self.assertLess(min(took), 1.0, took)
        self.assertEqual(self.kubectl(self.data, "get", "node", "sim-1", "-o", "jsonpath={.metadata.uid}").stdout, before)
        self.assertIn("signal 9 (Killed); starting it again", self.read(os.path.join(self.data, "log/pintled.log")))

    def test_up_again_says_that_it_runs(self):
        first = self.up(self.data)
        again = self.up(self.data)
        self.assertEqual(first.stdout, again.stdout)
        self.assertIn(f"it runs already (process {lock_holder(self.data)})", again.stderr)

    def test_status_shows_plugins_slots_and_nodes(self):
        self.up(self.data, "--wait")
        out = self.pintle("status", "--data", self.data).stdout
        for expected in (rf"(?m)^pintled: process {lock_holder(self.data)}, supervised by \d+$", r"(?m)^ready:   yes$", r"(?m)^scheduler-default .*Active",
                         r"(?m)^scheduler.default-scheduler +scheduler-default +\d+ ", r"(?m)^nodes: 3 of 3 ready$", r"(?m)^pods:  0$"):
            self.assertRegex(out, expected)

    def test_down_drain_ends_every_pod_and_the_next_start_opens_the_nodes(self):
        self.up(self.data, "--wait")
        self.kubectl(self.data, "create", "deployment", "web", "--image=web:1", "--replicas=3")
        self.kubectl(self.data, "rollout", "status", "deployment/web", "--timeout=60s")
        out = self.pintle("down", "--drain", "--data", self.data).stdout
        self.assertIn("draining: 0 of 3 pods left", out)
        self.assertIn("stopped", out)
        self.assertEqual(lock_holder(self.data), 0)
        self.assertEqual(lock_holder(self.data, "supervisor"), 0)
        self.up(self.data, "--wait")
        self.kubectl(self.data, "rollout", "status", "deployment/web", "--timeout=60s")
        self.assertEqual(self.kubectl(self.data, "get", "nodes", "-o", "jsonpath={.items[*].spec.unschedulable}").stdout, "")

    def test_down_purge_takes_only_the_named_cluster(self):
        other = self.path("other")
        self.up(self.data)
        self.up(other)
        pid = lock_holder(other)
        self.assertIn(f"removed {self.data}", self.pintle("down", "--purge", "--data", self.data).stdout)
        self.assertFalse(os.path.exists(self.data))
        self.assertEqual(lock_holder(other), pid)
        self.assertIn(" Ready", self.wait_for(other, "get", "nodes", contains=" Ready"))

    def test_a_further_name_of_the_server_is_in_its_certificate(self):
        self.up(self.data, "--tls-san", "cluster.example", "--tls-san", "192.0.2.7")
        text = self.run_program("openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", os.path.join(self.data, "pki/server.crt")).stdout
        for name in ("DNS:cluster.example", "IP Address:192.0.2.7", "DNS:localhost", "IP Address:127.0.0.1", "DNS:kubernetes.default.svc"):
            self.assertIn(name, text)
        server = self.kubectl(self.data, "config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
        self.kubectl(self.data, "--server", server, "--tls-server-name", "cluster.example", "get", "--raw", "/version")
        refused = self.kubectl(self.data, "--server", server, "--tls-server-name", "other.example", "get", "--raw", "/version", code=1)
        self.assertIn("certificate is valid for", refused.stderr)

    def test_explain_tells_each_node_and_the_pod_and_its_event_tell_the_same(self):
        self.up(self.data, "--wait")
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"},
               "spec": {"nodeSelector": {"kubernetes.io/hostname": "sim-2"},
                        "containers": [{"name": "c", "image": "web:1", "resources": {"requests": {"cpu": "4000"}}}]}}
        self.kubectl(self.data, "apply", "-f", "-", input=json.dumps(pod))
        message = self.wait_for(self.data, "get", "pod", "greedy", "-o", "jsonpath={.status.conditions[?(@.type=='PodScheduled')].message}", contains="0/3 nodes")
        self.assertIn("Insufficient cpu", message)
        text = self.pintle("explain", "pod/greedy", "--data", self.data).stdout
        self.assertTrue(text.startswith(f"pod greedy: {message}"), text + message)
        # Each node's first failing filter, with its numbers or names.
        self.assertRegex(text, r"(?m)^sim-2 +no +- +NodeResourcesFit: Insufficient cpu: needs 4000000m, \d+m of \d+m free$")
        self.assertRegex(text, r"(?m)^sim-1 +no +- +NodeAffinity: wants \S+=sim-2, the node has \S+=sim-1$")
        event = self.wait_for(self.data, "get", "events", "--field-selector", "reason=FailedScheduling,involvedObject.name=greedy", "-o",
                              "jsonpath={.items[*].message}", contains="0/3 nodes")
        self.assertEqual(event, message)
        answer = json.loads(self.pintle("explain", "greedy", "--json", "--data", self.data).stdout)
        self.assertEqual({n["name"] for n in answer["nodes"]}, {"sim-1", "sim-2", "sim-3"})
        self.kubectl(self.data, "run", "small", "--image=web:1")
        self.wait_for(self.data, "get", "pod", "small", "-o", "jsonpath={.spec.nodeName}", contains="sim-")
        self.assertIn('it is assigned to node "sim-', self.pintle("explain", "po/small", "--data", self.data).stdout)
        self.assertIn("not found", self.refused(PINTLE, "explain", "pod/absent", "--data", self.data, code=1))

    def test_config_diff_shows_what_was_changed_at_run_time(self):
        self.up(self.data)
        self.assertIn("the cluster is as", self.pintle("config", "diff", "--config", SIM_CONFIG, "--data", self.data).stdout)
        self.kubectl(self.data, "patch", "plugin", "gc", "--type=merge", "-p", '{"spec":{"logLevel":"debug"}}')
        self.kubectl(self.data, "patch", "slot", "scheduler.default-scheduler", "--type=merge", "-p", '{"spec":{"provider":"scheduler-binpack"}}')
        out = self.pintle("config", "diff", "--config", SIM_CONFIG, "--data", self.data, code=1).stdout
        self.assertRegex(out, r"(?m)^plugin/gc +logLevel +- +debug$")
        self.assertRegex(out, r"(?m)^slot/scheduler.default-scheduler +provider +scheduler-default +scheduler-binpack$")
        self.assertIn("good (", self.pintle("config", "check", SIM_CONFIG).stdout)

    def test_plugins_are_listed_and_inspected(self):
        self.up(self.data)
        self.assertRegex(self.pintle("plugin", "list", "--data", self.data).stdout, r"(?m)^core +\S+ +Active ")
        files = self.pintle("plugin", "list", "--data", self.path("none")).stdout
        path = re.search(r"(?m)^gc .* (/\S+/gc\.so)$", files)[1]
        self.assertRegex(self.pintle("plugin", "inspect", path).stdout, r"(?m)^sha256 +[0-9a-f]{64}$")
        self.assertIn("gc", json.loads(self.pintle("plugin", "inspect", path, "--json").stdout)["name"])

    def test_a_debug_bundle_holds_the_state_and_no_secret(self):
        canary = "canary-6c1f0e"
        self.up(self.data, "--wait")
        self.kubectl(self.data, "create", "secret", "generic", "s", f"--from-literal=password={canary}")
        bundle = self.path("bundle.tar.gz")
        self.assertIn(bundle, self.pintle("debug", "bundle", "--output", bundle, "--data", self.data).stdout)
        with tarfile.open(bundle) as tar:
            files = {os.path.basename(m.name): tar.extractfile(m).read().decode() for m in tar.getmembers() if m.isfile()}
        for name in ("about.txt", "preflight.json", "version.json", "readyz.txt", "metrics.txt", "plugins.json", "slots.json", "nodes.json", "events.json", "pintled.log", "up.json"):
            self.assertTrue(files[name].strip(), name)
        self.assertIn('"sim-1"', files["nodes.json"])
        key = re.search(r"client-key-data: \"?([A-Za-z0-9+/=]+)", self.read(os.path.join(self.data, "admin.kubeconfig")))[1]
        for name, text in files.items():
            self.assertNotIn(canary, text, name)
            self.assertNotIn("PRIVATE KEY", text, name)
            self.assertNotIn(key, text, name)
        # Also from a cluster that has ended.
        self.pintle("down", "--data", self.data)
        self.pintle("debug", "bundle", "--output", self.path("later.tar.gz"), "--data", self.data)
        with tarfile.open(self.path("later.tar.gz")) as tar:
            self.assertTrue(any(m.name.endswith("/pintled.log") for m in tar.getmembers()))


class KubeconfigTest(CommandTest):
    def test_it_is_merged_for_who_asks_and_foreign_entries_stay(self):
        data = self.path("data")
        self.up(data)
        kube = self.path(".kube/config")
        self.assertEqual(self.pintle("kubeconfig", "--data", data).stdout, self.read(os.path.join(data, "admin.kubeconfig")))
        self.assertIn(f'added context "pintle" in {kube}', self.pintle("kubeconfig", "--merge", "--data", data).stdout)
        self.assertEqual(os.stat(kube).st_mode & 0o777, 0o600)
        self.run_program(KUBECTL, "get", "nodes")
        # Another cluster's entry of that name, and a context in use.
        foreign = re.sub(r"certificate-authority-data: .*", "certificate-authority-data: Zm9yZWlnbg==", self.read(kube))
        self.write(".kube/config", foreign.replace("current-context: pintle", "current-context: work"))
        out = self.pintle("kubeconfig", "--merge", "--data", data).stdout
        self.assertIn('ours is "pintle-2"', out)
        after = self.read(kube)
        self.assertIn("Zm9yZWlnbg==", after)
        self.assertIn("current-context: work", after)
        self.run_program(KUBECTL, "--context", "pintle-2", "get", "nodes")
        self.assertIn('renewed context "pintle-2"', self.pintle("kubeconfig", "--merge", "--data", data).stdout)
        self.write(".kube/config", "a: [")
        self.assertIn("it was not changed", self.refused(PINTLE, "kubeconfig", "--merge", "--data", data, code=2))
        self.assertEqual(self.read(kube), "a: [")

    def test_under_sudo_it_is_the_file_of_the_user_behind(self):
        self.assertEqual(os.geteuid(), 0, "this test acts as sudo does, so it needs root")
        data = self.path("data")
        self.up(data)
        # A user of this machine with a home that can be written: one is made for the test, in a password file of its own.
        home = self.path("ann")
        os.mkdir(home)
        os.chown(home, 4321, 4321)
        os.chmod(self.home, 0o711)
        passwd = self.write("passwd", self.read("/etc/passwd") + f"ann:x:4321:4321::{home}:/bin/sh\n", 0o644)
        script = f"mount --bind {passwd} /etc/passwd && exec {PINTLE} kubeconfig --merge --data {data}"
        out = self.run_program("unshare", "--mount", "bash", "-c", script, env={"SUDO_UID": "4321", "SUDO_GID": "4321", "SUDO_USER": "ann", "HOME": "/root"}).stdout
        self.assertIn(f"{home}/.kube/config", out)
        for name, mode in ((".kube", 0o700), (".kube/config", 0o600)):
            info = os.stat(os.path.join(home, name))
            self.assertEqual((info.st_uid, info.st_gid, info.st_mode & 0o777), (4321, 4321, mode), name)
        shutil.copy(KUBECTL, self.path("kubectl"))
        os.chmod(self.path("kubectl"), 0o755)
        r = subprocess.run(["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups", self.path("kubectl"), "get", "nodes"], capture_output=True, text=True,
                           env={"HOME": home, "PATH": "/usr/bin:/bin"}, timeout=60)
        self.assertEqual(r.returncode, 0, r.stderr)


if __name__ == "__main__":
    unittest.main()
