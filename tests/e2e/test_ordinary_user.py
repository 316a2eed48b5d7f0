"""An ordinary user without Docker and nftables: an installation, ten clusters at once, nothing left behind."""
import concurrent.futures
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from cluster import BUILD, CLIENTS, wait
from command import NOBODY, without_privileges

ALONE = True
CLUSTERS = int(os.environ.get("PINTLE_E2E_CLUSTERS", "10"))

# What the README says, typed into a shell. Each step's answer is one line.
SCRIPT = r"""
set -e
eval "$(pintle up --config "$SIM" --listen 127.0.0.1:0 --print-env)"
echo "data $PINTLE_DATA"
kubectl get namespace default kube-system kube-public kube-node-lease >/dev/null
kubectl wait --for=condition=Ready node --all --timeout=60s >/dev/null
kubectl create deployment web --image=web:1 --replicas=4 >/dev/null
kubectl rollout status deployment/web --timeout=60s >/dev/null
echo "server $(kubectl config view -o 'jsonpath={.clusters[0].cluster.server}')"
echo "pods $(kubectl get pods --field-selector=status.phase=Running -o name | wc -l)"
read -r _
kubectl get --raw /readyz >/dev/null
pintle down --purge
"""


class OrdinaryUserTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The tree may lie where nobody else may look: the user works with an installation.
        cls.root = tempfile.mkdtemp(prefix="pintle-user-")
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        os.chmod(cls.root, 0o755)
        cls.prefix = os.path.join(cls.root, "pintle")
        subprocess.run(["cmake", "--install", BUILD, "--component", "pintle", "--prefix", cls.prefix], check=True, capture_output=True)
        shutil.copy(os.path.join(CLIENTS, "kubectl-1.35"), os.path.join(cls.prefix, "bin/kubectl"))
        cls.home = os.path.join(cls.root, "home")
        os.mkdir(cls.home, 0o700)
        if os.geteuid() == 0:
            os.chown(cls.home, NOBODY, NOBODY)
        cls.env = {"HOME": cls.home, "PATH": f"{cls.prefix}/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "SIM": os.path.join(cls.prefix, "share/pintle/sim.yaml")}

    def shell(self, script, **kw):
        return subprocess.Popen(without_privileges("bash", "-c", script), env=self.env, cwd=self.home, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, **kw)

    def processes(self):
        """Command lines of the programs of this installation that run."""
        out = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/exe").startswith(self.prefix):
                    with open(f"/proc/{pid}/cmdline") as f:
                        out.append(f.read().replace("\0", " "))
            except OSError:
                continue
        return out

    def test_ten_clusters_at_once(self):
        shells = [self.shell(SCRIPT) for _ in range(CLUSTERS)]
        answers = []
        try:
            # All of them are up before the first one is let go.
            for shell in shells:
                lines = {}
                for _ in range(3):
                    line = shell.stdout.readline()
                    self.assertTrue(line, "a shell ended early")
                    lines.update([line.split()])
                answers.append(lines)
            self.assertEqual([a["pods"] for a in answers], ["4"] * CLUSTERS)
            self.assertEqual(len({a["server"] for a in answers}), CLUSTERS, answers)
            self.assertEqual(len({a["data"] for a in answers}), CLUSTERS, answers)
            for a in answers:
                self.assertTrue(a["data"].startswith(self.home + "/"), a)
                self.assertEqual(os.stat(a["data"]).st_mode & 0o777, 0o700)
            self.assertEqual(sum("pintled --config" in p for p in self.processes()), CLUSTERS, self.processes())
        finally:
            with concurrent.futures.ThreadPoolExecutor(CLUSTERS) as pool:
                ended = list(pool.map(lambda s: (*s.communicate("go\n", timeout=120), s.returncode), shells))
        for out, err, code in ended:
            self.assertEqual(code, 0, out + err)
            self.assertIn("removed " + self.home, out)
        wait(lambda: not self.processes(), 10, "the end of every process")
        self.assertEqual(os.listdir(os.path.join(self.home, ".local/share/pintle")), [])

    def test_a_cluster_is_up_soon(self):
        took = []
        for _ in range(3):
            started = time.monotonic()
            shell = self.shell('pintle up --config "$SIM" --listen 127.0.0.1:0 --print-env')
            out, err = shell.communicate(timeout=60)
            took.append(time.monotonic() - started)
            self.assertEqual(shell.returncode, 0, err)
            self.assertRegex(out, r"\Aexport KUBECONFIG=\S+; export PINTLE_DATA=\S+\n\Z")
            data = re.search(r"PINTLE_DATA=(\S+)", out)[1]
            down = self.shell(f"pintle down --purge --data {data}")
            out, err = down.communicate(timeout=60)
            self.assertEqual(down.returncode, 0, out + err)
        # A build for debugging on a machine that has other things to do; the figure that counts is measured by scripts/bench.
        self.assertLess(min(took), 3.0, took)

    def test_the_foreground_ends_by_ctrl_c_and_leaves_nothing(self):
        shell = self.shell('exec pintle up --config "$SIM" --listen 127.0.0.1:0')
        self.assertRegex(shell.stdout.readline(), r"^ready: https://127\.0\.0\.1:\d+$")
        self.assertIn("export KUBECONFIG=", shell.stdout.readline())
        shell.send_signal(2)
        out, err = shell.communicate(timeout=60)
        self.assertEqual(shell.returncode, 0, out + err)
        self.assertEqual(self.processes(), [])
        self.assertEqual(os.listdir(os.path.join(self.home, ".local/share/pintle")), [])

    def test_real_containers_are_refused_with_the_way_out(self):
        shell = self.shell("pintle preflight")
        out, _ = shell.communicate(timeout=60)
        self.assertEqual(shell.returncode, 1, out)
        self.assertRegex(out, r"FAIL +root .*\n +fix: .*pintle up --config config/sim.yaml")

    def test_a_template_from_the_installation_needs_the_sdk(self):
        shell = self.shell("pintle plugin new mine --provides runtime")
        _, err = shell.communicate(timeout=60)
        self.assertEqual(shell.returncode, 1)
        self.assertIn("apt install pintle-dev", err)
        self.assertEqual(err.count("\n"), 1, err)


if __name__ == "__main__":
    unittest.main()
