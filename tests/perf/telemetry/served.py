"""A hello-world service under full load: uvicorn with one worker, `wrk` on the same machine, each stack beside the one it is compared with.

Both servers of a pair are bound to one processor and take turns of 50 ms on it, stopped and continued by signals, each under its own `wrk`
on another processor: so they meet the same machine, and each has its caches to itself. One after the other their throughputs differed by
35 % on a machine whose speed wanders. Each round has servers of its own, for where a process's memory lies makes 2 % of its speed. Shown
are medians and quartiles over rounds of the throughput, and of the CPU time of the server a request; the first row compares a stack with
itself.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apps
import psutil

CONNECTIONS = 8
TURN_S = 0.05
WARM_UP_S = 4
"""Of both: what stores imports its libraries in the background, with its first batch."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def server_command(port: int) -> list[str]:
    """uvicorn with one worker and the stack that `STACK` names."""
    words = ["-m", "uvicorn", "apps:app", "--app-dir", str(Path(__file__).parent), "--port", str(port)]
    return [sys.executable, *words, "--no-access-log", "--log-level", "warning"]


@contextmanager
def _server(stack: str) -> Iterator[tuple[str, psutil.Process]]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        env = os.environ | {"STACK": stack, "PERF_FOLDER": folder, "OTEL_SERVICE_NAME": f"perf-{port}"}
        with subprocess.Popen(server_command(port), env=env, cwd=folder, preexec_fn=_bind(0)) as process:
            url = f"http://127.0.0.1:{port}/hello/you"
            try:
                wait(url, process)
                yield url, psutil.Process(process.pid)
            finally:
                process.terminate()


def wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.read() == b"hello"
                return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError("the server ended") from None
            time.sleep(0.1)
    raise RuntimeError("the server did not begin within a minute")


def _bind(index: int) -> Callable[[], None]:
    places = sorted(os.sched_getaffinity(0))
    return partial(os.sched_setaffinity, 0, {places[index % len(places)]})


def _load(urls: tuple[str, str], servers: tuple[psutil.Process, psutil.Process], seconds: int) -> list[int]:
    """How many requests each answered in as many turns."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("install Debian's `wrk`")
    loads = [
        subprocess.Popen(
            [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url], stdout=subprocess.PIPE, text=True, preexec_fn=_bind(1)
        )
        for url in urls
    ]  # fmt: skip
    order = list(servers)
    try:
        while any(load.poll() is None for load in loads):
            random.shuffle(order)
            for one, other in (order, reversed(order)):
                other.suspend()
                one.resume()
                time.sleep(TURN_S)
    finally:
        for one in servers:
            one.resume()
    answered: list[int] = []
    for load in loads:
        told, _ = load.communicate()
        count = re.search(r"(\d+) requests in", told)
        if load.returncode or "Non-2xx" in told or count is None or not int(count[1]):
            raise RuntimeError(told or "nothing was answered: this machine has no processor to spare for a measurement")
        answered.append(int(count[1]))
    return answered


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def under_load(rounds: int, seconds: int, only: str = "") -> None:
    """Print the table; of the stacks with that in their name."""
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("needs two processors: one for the servers, one for their load")
    print("| stack | beside | throughput | quartiles | CPU µs a request | more CPU | quartiles |\n|---|---|---|---|---|---|---|")
    for stack, base in ((apps.NONE, apps.NONE), *apps.BESIDE):
        if only not in stack:
            continue
        more: list[float] = []
        rates: list[float] = []
        spent: list[float] = []
        for _ in range(rounds):
            with _server(base) as (base_url, one), _server(stack) as (url, other):
                _load((base_url, url), (one, other), WARM_UP_S)
                before = _cpu_s(one), _cpu_s(other)
                n = _load((base_url, url), (one, other), seconds)
                taken = [(after - begin) / count * 1e6 for begin, after, count in zip(before, (_cpu_s(one), _cpu_s(other)), n, strict=True)]
                rates.append(100 * (n[1] / n[0] - 1))
                more.append(100 * (taken[1] / taken[0] - 1))
                spent.append(taken[1])
        print(
            f"| {stack} | {base} | {statistics.median(rates):+.1f} % | {_quartiles(rates)} | {statistics.median(spent):.0f} "
            f"| {statistics.median(more):+.1f} % | {_quartiles(more)} |",
            flush=True,
        )


def _quartiles(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:+.1f} to {high:+.1f} %"
