"""Every command in README.md, in its order, in one shell, on a host of its own.

A block of commands has a mark in front of it: `run: yes` blocks are run as they stand; of `run: help` blocks, which CI runs itself, each command has to
explain itself. A block without a mark is an error. CI has another build than the release: build/release stands for it."""
import os
import re
import shutil
import tempfile
import unittest

from cluster import BUILD, CLIENTS, ROOT
from command import PINTLE, CommandTest
from host import Host

ALONE = True
PRESET = os.path.basename(BUILD)


def blocks(text):
    """(mark, commands) of each block of indented lines; what is fenced is a picture."""
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    out, mark = [], ""
    for part in re.split(r"\n{2,}", text):
        if m := re.fullmatch(r"<!-- run: (\w+) -->", part.strip()):
            mark = m[1]
            continue
        if part.startswith("    "):
            out.append((mark, [line[4:] for line in part.strip("\n").splitlines()]))
        mark = ""
    return out


class ReadmeTest(unittest.TestCase):
    def test_a_block_without_a_mark_is_seen(self):
        self.assertEqual(blocks("a\n\n    b\n    c\n\n<!-- run: yes -->\n\n    d\n\n```\n    e\n```\n"), [("", ["b", "c"]), ("yes", ["d"])])

    def test_every_command_works(self):
        os.chdir(ROOT)
        with open("README.md") as f:
            text = f.read()
        self.assertLess(len(text.splitlines()), 150)
        found = blocks(text)
        self.assertGreaterEqual(len(found), 5)
        self.assertEqual([b for b in found if b[0] not in ("yes", "help")], [])
        work = tempfile.mkdtemp(prefix="pintle-readme-")
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        os.symlink(os.path.join(CLIENTS, "kubectl-1.35"), os.path.join(work, "kubectl"))
        script = ["set -euo pipefail", f"cd {ROOT}"]
        for mark, commands in found:
            for command in commands:
                command = command.replace("build/release", f"build/{PRESET}")
                if mark == "help":
                    command = command.split("#")[0].split()[0] + " --help | grep -q ."
                script += [f"cat <<'COMMAND'\n+ {command}\nCOMMAND", command]
        script += [f"build/{PRESET}/bin/pintle down --purge", "unset PINTLE_DATA", "scripts/run --stop"]
        for made in ("build/sdk", "build/my-runtime"):
            shutil.rmtree(os.path.join(ROOT, made), ignore_errors=True)
            self.addCleanup(shutil.rmtree, os.path.join(ROOT, made), ignore_errors=True)
        host = Host()
        self.addCleanup(host.remove)
        env = {**os.environ, "PATH": f"{work}:{os.environ['PATH']}", "HOME": work, "PINTLE_PRESET": PRESET}
        for name in ("KUBECONFIG", "PINTLE_DATA"):
            env.pop(name, None)
        r = host.run("bash", "-c", "\n".join(script), env=env, check=False, timeout=1500)
        self.assertEqual(r.returncode, 0, r.stdout[-6000:] + r.stderr[-3000:])
        for expected in ("http://web.default.svc.cluster.local/ says, in a pod: .*Hello from Pintle", r"(?m)^sim-3 +Ready", "slot.pintle.dev/scheduler.default-scheduler patched",
                         "100% tests passed", r"pintle_\S+\.deb generated", "removed /var/lib/pintle"):
            self.assertRegex(r.stdout, expected)
        self.assertEqual(host.run("ls", "/var/lib/pintle", check=False).returncode, 2)

    def test_every_link_leads_somewhere(self):
        for folder, _, names in os.walk(ROOT):
            if "/build" in folder or "/.git" in folder or "node_modules" in folder:
                continue
            for name in (n for n in names if n.endswith(".md")):
                with open(os.path.join(folder, name)) as f:
                    text = f.read()
                for link in re.findall(r"\]\(([^)#\s]+)", text):
                    if "://" not in link:
                        self.assertTrue(os.path.exists(os.path.join(folder, link)), f"{folder}/{name}: {link}")


class ConfigurationReadmeTest(CommandTest):
    def test_it_knows_every_key(self):
        text = self.read(os.path.join(ROOT, "config/README.md"))
        for yaml in ("nothing: 1\n", "log: {nothing: 1}\n", "store: {nothing: 1}\n", "plugins: {gc: {nothing: 1}}\n"):
            line = self.refused(PINTLE, "config", "check", self.write("c.yaml", yaml), code=2)
            known = re.search(r"known are (.*)$", line)[1].split(", ")
            self.assertGreater(len(known), 0)
            section = yaml.split(":")[0]
            for key in known:
                # A key that only holds others is named with them.
                self.assertRegex(text, f"`{section}[.]{key}`" if section in ("log", "store") else f"`{key}[`.]")

    def test_the_configurations_that_come_along_are_good(self):
        for name in ("pintle.yaml", "sim.yaml"):
            self.assertIn("good (", self.pintle("config", "check", os.path.join(ROOT, "config", name)).stdout)


if __name__ == "__main__":
    unittest.main()
