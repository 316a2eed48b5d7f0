"""The program `pintle` as a user runs it: a home of its own, clusters that are stopped at the end."""
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from cluster import BUILD, CLIENTS, ROOT, wait

PINTLE = os.path.join(BUILD, "bin/pintle")
PINTLED = os.path.join(BUILD, "bin/pintled")
SIM_CONFIG = os.path.join(ROOT, "config/sim.yaml")
KUBECTL = os.path.join(CLIENTS, "kubectl-1.35")
NOBODY = 65534


def lock_holder(data, name="pintled"):
    """The process that holds a data directory, as its lock file says; 0 when that one has gone."""
    try:
        with open(os.path.join(data, f"{name}.lock")) as f:
            pid = int(f.read())
        # A process that has ended and is not yet reaped has no program any more.
        return pid if os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("pintle") else 0
    except (OSError, ValueError):
        return 0


def without_privileges(*argv):
    """The command line that runs argv as an ordinary user."""
    if os.geteuid() != 0:
        return argv
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", *argv)


class CommandTest(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="pintle-home-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        # As a machine where nothing was done before: no variable of ours, no data directory in the usual place.
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PINTLE", "XDG_", "SUDO_")) and k != "KUBECONFIG"}
        self.env["HOME"] = self.home

    def path(self, *names):
        return os.path.join(self.home, *names)

    @staticmethod
    def read(path):
        with open(path) as f:
            return f.read()

    def write(self, name, text, mode=0o600):
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def run_program(self, *argv, code=0, env=None, timeout=120, **kw):
        r = subprocess.run(argv, capture_output=True, text=True, env={**self.env, **(env or {})}, timeout=timeout, cwd=kw.pop("cwd", self.home), **kw)
        if code is not None and r.returncode != code:
            raise AssertionError(f"{' '.join(argv)} exited with {r.returncode}, not {code}\n{r.stdout}\n{r.stderr}")
        return r

    def pintle(self, *args, **kw):
        return self.run_program(PINTLE, *args, **kw)

    def refused(self, *argv, code, **kw):
        """The one line a refused command writes to stderr."""
        r = self.run_program(*argv, code=code, **kw)
        lines = r.stderr.splitlines()
        self.assertEqual(len(lines), 1, r.stdout + r.stderr)
        return lines[0]

    def up(self, data, *args, config=SIM_CONFIG):
        """A simulated cluster behind a supervisor; ends with the test."""
        self.addCleanup(self.end, data)
        return self.pintle("up", "--detach", "--config", config, "--listen", "127.0.0.1:0", "--data", data, *args)

    def end(self, data):
        self.run_program(PINTLE, "down", "--data", data, code=None)
        for name in ("supervisor", "pintled"):
            if pid := lock_holder(data, name):
                os.kill(pid, signal.SIGKILL)

    def kubectl(self, data, *args, **kw):
        return self.run_program(KUBECTL, *args, env={"KUBECONFIG": os.path.join(data, "admin.kubeconfig")}, **kw)

    def wait_for(self, data, *args, contains, timeout=30):
        return wait(lambda: (out := self.kubectl(data, *args).stdout) and contains in out and out, timeout, f"{' '.join(args)} with {contains}")
