"""GET of one object: CPU per request against nginx with a file of the same bytes; p99 beside 5,000 idle connections."""
from peers import Nginx, Pintle, family, processor_ns, program
from row import Row, median, ratio

PATH = "/api/v1/namespaces/default/configmaps/object"
OBJECT = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"object"},"data":{"d":"%s"}}' % ("x" * 900)


def cpu(pid, requests, *options):
    before = {p: processor_ns(p) for p in family(pid)}
    program("http_load", "--requests", requests, *options)
    return sum(processor_ns(p) - before[p] for p in family(pid)) / requests / 1000


def run(size):
    requests, idle = (200, 20) if size.tiny else (20000, 5000)
    with Pintle() as pintle:
        pintle.client.ok("POST", "/api/v1/namespaces/default/configmaps", OBJECT)
        get = [*pintle.options, "--path", PATH]
        with Nginx(pintle.pki, pintle.client.ok("GET", PATH)) as nginx:
            ours, theirs = [], []
            for _ in range(size.rounds):
                theirs.append(cpu(nginx.process.pid, requests, "--address", nginx.address, *pintle.options[2:], "--path", "/object"))
                ours.append(cpu(pintle.process.pid, requests, *get))
        alone, beside = [], []
        for _ in range(size.rounds):
            alone.append(program("http_load", "--requests", requests, *get)["p99_us"])
            beside.append(program("http_load", "--requests", requests, "--idle", idle, *get)["p99_us"])
    return [Row("G7", "GET of one object (1 KB), 16 connections, CPU per request", "on", f"{median(ours):.1f} µs", f"nginx, static file: {median(theirs):.1f} µs",
                "<= 2.0", ratio(ours, theirs)),
            Row("G7", f"GET p99 beside {idle:,} idle connections", "on", f"{median(beside) / 1000:.2f} ms", f"without them: {median(alone) / 1000:.2f} ms", "<= 1.5",
                ratio(beside, alone))]
