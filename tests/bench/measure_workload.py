"""Deployments, scheduling and a scheduler that changes, on simulated nodes, everything durable."""
import json
import os
import re
import subprocess
import tempfile

from peers import BUILD, Pintle, program, wait
from row import Row, median, ratio

KUBE_SCHEDULER_CI = 810  # pods/s that Kubernetes' own CI asks of kube-scheduler's basic case (published)


def cluster(nodes):
    return Pintle({"simulated": {"count": nodes, "taint": False}})


def nodes_ready(pintle, count):
    def ready():
        nodes = json.loads(pintle.client.ok("GET", "/api/v1/nodes"))["items"]
        # Without a taint: a scheduler may use it.
        return sum(not n["spec"].get("taints") and any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"]["conditions"]) for n in nodes) >= count
    wait(ready, 120, f"{count} ready nodes")


def pods_run(pintle, count):
    path = "/api/v1/namespaces/default/pods?fieldSelector=status.phase%21%3DRunning"
    wait(lambda: not json.loads(pintle.client.ok("GET", path))["items"], 120, f"{count} running pods")


def deployment(size):
    pods = 5 if size.tiny else 100
    took, sync, answered = [], [], []
    with cluster(20) as pintle:
        nodes_ready(pintle, 20)
        for n in range(size.rounds):
            sync.append(program("boundary_bench", "--do", "sync", "--folder", pintle.data, "--count", 20 if size.tiny else 300)["sync_us"])
            r = program("workload_bench", *pintle.options, "--do", "deployment", "--pods", pods, "--name", f"d{n}")
            took.append(r["last_us"])
            answered.append(r["answered_us"])
            pods_run(pintle, pods * (n + 1))
    return [Row("G14", f"Deployment created -> {pods} Pod objects durable (the POST alone: {median(answered) / 1000:.1f} ms)", "on", f"{median(took) / 1000:.1f} ms",
                f"one write and fdatasync: {median(sync) / 1000:.2f} ms", "<= 30", ratio(took, sync))]


def store_rows(seconds):
    """Durable rows/s of the store alone at 64 writers."""
    with tempfile.TemporaryDirectory(prefix="pintle-bench-") as folder:
        out = subprocess.run([os.path.join(BUILD, "tests/bench/store_bench"), folder, str(seconds), "64"], capture_output=True, text=True, check=True).stdout
    return float(re.search(r"durable, 64 writers: (\d+) rows/s", out).group(1))


def schedule(size):
    nodes, pods = (10, 30) if size.tiny else (1000, 3000)
    rate, limit = [], []
    with cluster(nodes) as pintle:
        nodes_ready(pintle, nodes)
        for n in range(size.rounds):
            limit.append(store_rows(0.1 if size.tiny else 1))
            r = program("workload_bench", *pintle.options, "--do", "schedule", "--pods", pods, "--name", f"s{n}")
            rate.append(r["pods"] / r["bound_s"])
            pods_run(pintle, pods * (n + 1))
    what = f"{pods:,} pods created over HTTPS and bound durably on {nodes:,} simulated nodes that run them meanwhile"
    return [Row("G8", what, "on", f"{median(rate):.0f} pods/s", f"kube-scheduler's CI threshold (published): {KUBE_SCHEDULER_CI} pods/s", ">= 10", median(rate) / KUBE_SCHEDULER_CI),
            Row("G8", "the same against the store's durable rows (64 writers)", "-", f"{median(rate):.0f} pods/s", f"{median(limit):.0f} rows/s", ">= 0.1", ratio(rate, limit))]


def swap(size):
    # All rounds together stay below what the nodes hold: a pod that fits nowhere would be measured as a swap that never ended.
    pods, rate, nodes, swaps = (60, 200, 5, 2) if size.tiny else (1000, 500, 100, 4)
    gap, usual, load = [], [], []
    with cluster(nodes) as pintle:
        nodes_ready(pintle, nodes)
        for n in range(size.rounds):
            load.append(program("boundary_bench", "--do", "load", "--load", os.path.join(BUILD, "lib/pintle/plugins/scheduler-binpack.so"))["load_us"])
            r = program("workload_bench", *pintle.options, "--do", "swap", "--pods", pods, "--rate", rate, "--swaps", swaps, "--name", f"w{n}")
            gap.append(r["gap_us"])
            usual.append(r["usual_p99_us"])
            pods_run(pintle, pods * (n + 1))
    what = f"scheduler swapped while {rate:,} pods/s are asked for: longest time without a bind, 0 pods lost or bound twice (p99 between binds: {median(usual) / 1000:.1f} ms)"
    return [Row("G15", what, "on", f"{median(gap) / 1000:.1f} ms", f"dlopen of the plugin: {median(load):.0f} µs", "<= 200", ratio(gap, load))]
