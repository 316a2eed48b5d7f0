"""The Python client as Debian packages it (python3-kubernetes): list, watch, create, patch, replace, scale, delete."""
import os
import subprocess
import unittest

from cluster import ClusterTest

DEBIAN_PYTHON = "/usr/bin/python3"  # the one that has the package


class PythonClient(ClusterTest):
    options = {"name": "python"}

    def test_smoke(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python_client.py")
        r = subprocess.run([DEBIAN_PYTHON, script, self.cluster.kubeconfig], capture_output=True, text=True, timeout=180, env={**self.cluster.env(), "PYTHONDONTWRITEBYTECODE": "1"})
        self.assertEqual((r.returncode, r.stdout), (0, "ok\n"), r.stdout + r.stderr)


if __name__ == "__main__":
    unittest.main()
