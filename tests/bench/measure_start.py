"""From the start of the process until it answers: /readyz of pintled, /health of etcd. Empty directory, and with many objects; memory of the latter."""
import base64
import json
import os
import time

from peers import Client, Etcd, Pintle, free_port, program, pss_mib
from row import Row, median, ratio


def start(pintle):
    """Seconds until /readyz says 200, which it does when the plugins run."""
    began = time.monotonic()
    port = free_port()
    pintle.start_on(port)
    while not all(map(os.path.exists, pintle.certificate)):  # the first start makes them
        time.sleep(0.002)
    return Client(port, *pintle.certificate).ready("/readyz", began)


def fill_etcd(etcd, objects):
    client, value = etcd.client, base64.b64encode(b"d" * 1000).decode()
    for first in range(0, objects, 100):
        puts = [{"requestPut": {"key": base64.b64encode(f"/bench/{n}".encode()).decode(), "value": value}} for n in range(first, min(first + 100, objects))]
        client.ok("POST", "/v3/kv/txn", json.dumps({"success": puts}))


def run(size):
    objects = 200 if size.tiny else 100000
    ours, theirs = [], []
    full = Pintle().start()
    for _ in range(size.rounds):
        etcd = Etcd(full.pki)
        theirs.append(etcd.start())
        etcd.__exit__()
        pintle = Pintle()
        ours.append(start(pintle))
        pintle.remove()
    rows = [Row("G11", "start to /readyz, empty directory (certificates are made)", "on", f"{median(ours) * 1000:.0f} ms", f"etcd: {median(theirs) * 1000:.0f} ms", "<= 0.2",
                ratio(ours, theirs))]
    body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"o%N%"},"data":{"d":"' + "d" * 820 + '"}}'
    program("http_load", *full.options, "--method", "POST", "--path", "/api/v1/namespaces/default/configmaps", "--body", body, "--requests", objects,
            "--connections", 128)
    full.stop()
    ours, theirs, ours_pss, theirs_pss = [], [], [], []
    with Etcd(full.pki) as etcd:
        fill_etcd(etcd, objects)
        for _ in range(size.rounds):
            etcd.stop()
            theirs.append(etcd.start())
            theirs_pss.append(pss_mib([etcd.process.pid]))
            ours.append(start(full))
            ours_pss.append(pss_mib([full.process.pid]))
            full.stop()
    full.remove()
    return rows + [Row("G11", f"start to /readyz with {objects:,} objects of 1 KB", "on", f"{median(ours) * 1000:.0f} ms", f"etcd: {median(theirs) * 1000:.0f} ms",
                       "<= 0.5", ratio(ours, theirs)),
                   Row("G4", "memory right after that start", "on", f"{median(ours_pss):.0f} MiB", f"etcd: {median(theirs_pss):.0f} MiB", "<= 0.6",
                       ratio(ours_pss, theirs_pss))]
