"""What the plugin line costs: the guard, a message, a commit that wakes a controller."""
import os
import tempfile

from peers import BUILD, program
from row import Row, median, ratio

STAMP = os.path.join(BUILD, "tests/bench/stamp.so")


def columns(rounds):
    return {key: [r[key] for r in rounds] for key in rounds[0]}


def guard(size):
    ns = columns([program("boundary_bench", "--do", "guard", "--plugin", STAMP, "--count", 2000 if size.tiny else 10_000_000) for _ in range(size.rounds)])
    message = f"{median(ns['message_us']):.1f} µs and {median(ns['message_allocations']):.0f} allocations"
    return [Row("G15", f"plugin code entered through the guard, {max(ns['allocations']):.0f} allocations (a whole message and its answer beside: {message})", "-",
                f"{median(ns['guard_ns']):.1f} ns", f"virtual call: {median(ns['virtual_ns']):.1f} ns", "<= 2.0", ratio(ns["guard_ns"], ns["virtual_ns"]))]


def reconcile(size):
    with tempfile.TemporaryDirectory(prefix="pintle-bench-") as folder:
        us = columns(program("boundary_bench", "--do", "reconcile", "--plugin", STAMP, "--folder", folder, "--count", 20 if size.tiny else 1000, "--rounds", size.rounds))
    return [Row("G14", "durable commit answered -> reconcile entered in a plugin, p99", "-",
                f"{median(us['reconcile_p99_us']):.0f} µs (p50 {median(us['reconcile_p50_us']):.0f})",
                f"condition variable: {median(us['condvar_p99_us']):.0f} µs (p50 {median(us['condvar_p50_us']):.0f})", "<= 5.0",
                ratio(us["reconcile_p99_us"], us["condvar_p99_us"]))]
