"""An idle cluster whose discovery, OpenAPI v3 and `explain` documents were all asked for: memory and CPU."""
import json
import subprocess
import time

from peers import Etcd, Pintle, family, processor_ns, pss_mib
from row import Row, median, ratio

LIMIT_MIB = 64


def ask_for_everything(pintle):
    get = pintle.client.ok
    get("GET", "/api")
    get("GET", "/apis")
    paths = json.loads(get("GET", "/openapi/v3"))["paths"]
    for group in paths.values():
        get("GET", group["serverRelativeURL"])
    for group in paths:
        if group.startswith("api"):
            get("GET", "/" + group)
    for kind in ("pods", "deployments", "services"):
        subprocess.run([pintle.kubectl_binary, "explain", kind, "--recursive"], env=pintle.env(), stdout=subprocess.DEVNULL, check=True)
    return len(paths)


def run(size):
    seconds = 1 if size.tiny else 20
    with Pintle() as pintle, Etcd(pintle.pki) as etcd:
        documents = ask_for_everything(pintle)
        ours, theirs, ours_cpu, theirs_cpu = [], [], [], []
        time.sleep(0 if size.tiny else 5)
        for _ in range(size.rounds):
            both, began = (family(pintle.process.pid), [etcd.process.pid]), time.monotonic()
            before = [sum(map(processor_ns, pids)) for pids in both]
            time.sleep(seconds / size.rounds)
            spent = [(sum(map(processor_ns, pids)) - b) / (time.monotonic() - began) / 1e7 for pids, b in zip(both, before)]
            ours.append(pss_mib(both[0]))
            theirs.append(pss_mib(both[1]))
            ours_cpu.append(spent[0])
            theirs_cpu.append(spent[1])
    what = f"idle {seconds} s after discovery, {documents} OpenAPI v3 documents and explain; 11 plugins, 3 simulated nodes"
    return [Row("G10", f"PSS of pintled and its hosts, {what}", "on", f"{median(ours):.1f} MiB", f"the limit: {LIMIT_MIB} MiB", "<= 1.0", median(ours) / LIMIT_MIB),
            Row("G10", "the same against etcd alone, empty", "on", f"{median(ours):.1f} MiB", f"etcd: {median(theirs):.1f} MiB", "<= 1.0", ratio(ours, theirs)),
            Row("G10", "CPU of the same, of one core", "on", f"{median(ours_cpu):.2f} %", f"the limit: 0.5 % (etcd: {median(theirs_cpu):.2f} %)", "<= 1.0",
                median(ours_cpu) / 0.5)]
