"""scripts/bench calls this: runs measurements by name, prints the table."""
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass

import measure_boundary
import measure_get
import measure_idle
import measure_start
import measure_watch
import measure_workload
import row
from peers import ROOT

MEASUREMENTS = {
    "get": measure_get.run,
    "idle": measure_idle.run,
    "start": measure_start.run,
    "reconcile": measure_boundary.reconcile,
    "deployment": measure_workload.deployment,
    "guard": measure_boundary.guard,
    "swap": measure_workload.swap,
    "watch": measure_watch.run,
    "schedule": measure_workload.schedule,
}
BEGIN, END = "<!-- table: scripts/bench --write -->", "<!-- end of the table -->"


@dataclass
class Size:
    tiny: bool

    @property
    def rounds(self):
        return 1 if self.tiny else 5


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 1024 / 1024
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Linux {platform.release()}"


def write(rows, seconds, load):
    path = os.path.join(ROOT, "tests/bench/README.md")
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    with open(path) as f:
        text = f.read()
    begin, end = text.index(BEGIN), text.index(END)
    facts = f"Commit {commit}; {machine()}; load average before it {load:.1f}{' (the machine was shared)' if load > 0.5 else ''}; took {seconds / 60:.1f} min."
    with open(path, "w") as f:
        f.write(f"{text[:begin]}{BEGIN}\n{facts}\n\n{row.markdown(rows)}\n{text[end:]}")


def main(arguments):
    if "--list" in arguments:
        print("\n".join(MEASUREMENTS))
        return 0
    options = [a for a in arguments if a.startswith("--")]
    names = [a for a in arguments if not a.startswith("--")] or list(MEASUREMENTS)
    for a in options + names:
        if a not in ("--write", "--tiny", *MEASUREMENTS):
            print(f"scripts/bench: unknown: {a} (see scripts/bench --help, --list)", file=sys.stderr)
            return 2
    if "--write" in options and ("--tiny" in options or len(names) < len(MEASUREMENTS)):
        print("scripts/bench: --write takes the whole table: without names and --tiny", file=sys.stderr)
        return 2
    size, rows, began, load = Size("--tiny" in options), [], time.monotonic(), os.getloadavg()[0]
    for n, name in enumerate(names, 1):
        at = time.monotonic()
        print(f"[{n}/{len(names)}] {name}", end="", flush=True)
        rows += MEASUREMENTS[name](size)
        print(f" ({time.monotonic() - at:.0f} s)", flush=True)
    print("\n" + row.markdown(rows))
    if "--write" in options:
        write(rows, time.monotonic() - began, load)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
