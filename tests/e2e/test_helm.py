"""helm with a small chart: what works today, and what is refused and how."""
import os
import subprocess
import unittest

from cluster import CLIENTS, ClusterTest

CHART = {
    "Chart.yaml": "apiVersion: v2\nname: small\nversion: 0.1.0\n",
    "values.yaml": "replicas: 2\n",
    "templates/all.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-conf}
data: {minor: "{{ .Capabilities.KubeVersion.Minor }}"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: main, image: "web:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec: {selector: {app: {{ .Release.Name }}}, ports: [{port: 80}]}
""",
}


class Helm(ClusterTest):
    options = {"name": "helm"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.chart = os.path.join(cls.cluster.dir, "chart")
        os.makedirs(os.path.join(cls.chart, "templates"))
        for path, text in CHART.items():
            with open(os.path.join(cls.chart, path), "w") as f:
                f.write(text)

    def helm(self, binary, *args, check=True):
        r = subprocess.run([os.path.join(CLIENTS, binary), *args], capture_output=True, text=True, env=self.cluster.env(), timeout=120)
        if check:
            self.assertEqual(r.returncode, 0, f"{binary} {args}\n{r.stdout}{r.stderr}")
        return r.stdout + r.stderr

    def life(self, binary, release, *flags):
        self.helm(binary, "install", release, self.chart, "--wait", "--timeout", "60s", *flags)
        self.assertEqual(self.cluster.get("configmap", f"{release}-conf")["data"], {"minor": "35"})
        self.helm(binary, "upgrade", release, self.chart, "--set", "replicas=3", "--wait", "--timeout", "60s", *flags)
        self.assertEqual(self.cluster.get("deployment", release)["spec"]["replicas"], 3)
        self.helm(binary, "rollback", release, "1", *flags)
        self.assertEqual(self.cluster.get("deployment", release)["spec"]["replicas"], 2)
        self.assertIn(release, self.helm(binary, "list"))
        self.helm(binary, "uninstall", release)
        self.assertIn("NotFound", self.k("get", "deployment", release, check=False).all)

    def test_helm_3_lives(self):
        self.life("kubectl-1.32-helm", "three")

    def test_helm_4_lives_without_server_side_apply(self):
        self.assertIn("server-side apply is not available", self.helm("kubectl-1.35-helm", "install", "refused", self.chart, check=False))
        self.life("kubectl-1.35-helm", "four", "--server-side=false")


if __name__ == "__main__":
    unittest.main()
