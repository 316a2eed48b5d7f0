"""One event to many watchers over TLS: against a loop that only sends, and against etcd."""
import os
import subprocess

from peers import BUILD, Etcd, Pintle, pss_mib
from row import Row, median, ratio


class FanOut:
    def __init__(self, peer, watchers, certificate, address=None):
        command = [os.path.join(BUILD, "tests/bench/fan_out_bench"), "--peer", peer, "--watchers", str(watchers), "--cert", certificate[0], "--key", certificate[1]]
        self.process = subprocess.Popen(command + (["--address", address] if address else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.line()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"fan_out_bench ended with {self.process.wait()}")
        return line

    def burst(self, events):
        self.process.stdin.write(f"{events}\n")
        self.process.stdin.flush()
        return float(self.line())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)


def run(size):
    watchers, burst, singles = (10, 2, 1) if size.tiny else (1000, 20, 5)
    one, bare_one, many, etcd_many = [], [], [], []
    with Pintle() as pintle, Etcd(pintle.pki) as etcd:
        before = pss_mib([pintle.process.pid])
        server = os.path.join(pintle.pki, "server.crt"), os.path.join(pintle.pki, "server.key")
        with FanOut("pintle", watchers, pintle.certificate, pintle.address) as ours:
            each = (pss_mib([pintle.process.pid]) - before) * 1024 / watchers
            with FanOut("bare", watchers, server) as bare, FanOut("etcd", watchers, pintle.certificate, etcd.address) as theirs:
                for _ in range(size.rounds):
                    singly = [(bare.burst(1), ours.burst(1)) for _ in range(singles)]
                    bare_one.append(median([s[0] for s in singly]))
                    one.append(median([s[1] for s in singly]))
                    etcd_many.append(watchers * burst / theirs.burst(burst) * 1000)
                    many.append(watchers * burst / ours.burst(burst) * 1000)
    return [Row("G5", f"POST of a ConfigMap (1 KB) -> the last of {watchers:,} watchers has it", "on", f"{median(one):.1f} ms", f"a loop of SSL_write: {median(bare_one):.1f} ms",
                "<= 1.3", ratio(one, bare_one)),
            Row("G5", f"deliveries/s, {burst} durable writes to {watchers:,} watchers", "on", f"{median(many):.0f}/s", f"etcd: {median(etcd_many):.0f}/s", ">= 1.3",
                ratio(many, etcd_many)),
            Row("G5", f"memory of one of {watchers:,} watches", "on", f"{each:.1f} KiB", "the limit: 24 KiB", "<= 1.0", each / 24)]
