"""A host of a test's own: process, network and mount namespaces with a /run, a /var/lib/docker and a /var/lib/pintle that nobody else uses, on the files of this machine.
Whatever a program leaves behind there can be seen, and nothing of this machine gets in its way."""
import os
import shutil
import signal
import subprocess
import tempfile

from cluster import wait

# The first process of the host: it collects the ended ones, as every first process must.
INIT = """
import os, time
print(os.getpid(), flush=True)
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""

SETUP = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns /run/machine
mount --rbind /var/lib /run/machine
mount -t tmpfs tmpfs /var/lib
for entry in /run/machine/*/; do
  name=$(basename "$entry")
  case $name in docker|containerd|pintle) continue ;; esac
  mkdir "/var/lib/$name"
  mount --bind "$entry" "/var/lib/$name"
done
mkdir /var/lib/docker
mount --bind "$1" /var/lib/docker
ip link set lo up
ip link add eth0 type veth peer name eth0-peer
ip address add 10.199.0.2/24 dev eth0
ip link set eth0 up
ip link set eth0-peer up
ip route add default via 10.199.0.1
"""


class Host:
    """Only for root. remove() ends every process in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="pintle-host-")
        self.engine = os.path.join(self.dir, "docker")
        os.mkdir(self.engine)
        # Who ends the test ends the host, however it is done.
        self.unshare = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net", "--mount", "python3", "-c", INIT], stdout=subprocess.PIPE,
                                        text=True)
        self.unshare.stdout.readline()
        with open(f"/proc/{self.unshare.pid}/task/{self.unshare.pid}/children") as f:
            self.init = f.read().split()[0]
        try:
            self.run("bash", "-c", SETUP, "setup", self.engine)
        except BaseException:
            self.remove()
            raise

    def command(self, *argv):
        return ["nsenter", "-t", self.init, "-n", "-m", "-p", f"--wd={os.getcwd()}", *argv]

    def run(self, *argv, check=True, timeout=300, **kw):
        r = subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=timeout, **kw)
        if check and r.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} exited with {r.returncode}\n{r.stdout}\n{r.stderr}")
        return r

    def popen(self, *argv, **kw):
        return subprocess.Popen(self.command(*argv), text=True, **kw)

    def lines(self, *argv):
        return sorted(filter(None, self.run(*argv).stdout.splitlines()))

    def processes(self):
        """Names of the programs that run, without the first process and the one that looks."""
        names = []
        for line in self.run("ps", "-eo", "pid=,stat=,comm=").stdout.splitlines():
            pid, state, name = line.split(maxsplit=2)
            if pid != "1" and name != "ps" and not state.startswith("Z"):
                names.append(name)
        return sorted(names)

    def start_engine(self):
        log = open(os.path.join(self.dir, "dockerd.log"), "ab")
        self.dockerd = self.popen("dockerd", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        wait(lambda: self.run("docker", "-H", "unix:///var/run/docker.sock", "info", check=False).returncode == 0, 60, "the Docker engine")

    def stop_engine(self):
        # The popen's own process is nsenter's; the engine is its child.
        with open(f"/proc/{self.dockerd.pid}/task/{self.dockerd.pid}/children") as f:
            for child in f.read().split():
                os.kill(int(child), signal.SIGTERM)
        self.dockerd.wait(60)

    def remove(self):
        self.unshare.kill()
        self.unshare.wait()
        self.unshare.stdout.close()

        def gone():
            shutil.rmtree(self.dir)
            return not os.path.exists(self.dir)

        wait(gone, 30, f"the removal of {self.dir}")
