"""A hello-world service under full load: uvicorn with one worker, `wrk` on the same machine, one server a stack.

All servers stand beside each other and take turns under load, so that they share the machine's moods. The throughput of a stack is
compared with that of the bare application in the same round; so is the CPU time of the server's process a request, which other
programs on the machine change less. Shown are the best round of each stack, compared, and the quartiles of the comparisons by round.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import apps
import psutil

CONNECTIONS = 8


@contextmanager
def _server(stack: str) -> Iterator[tuple[str, psutil.Process]]:
    with socket.socket() as found, tempfile.TemporaryDirectory() as folder:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
        found.close()
        env = os.environ | {"STACK": stack, "PERF_FOLDER": folder, "OTEL_SERVICE_NAME": f"perf-{port}"}
        command = [sys.executable, "-m", "uvicorn", "apps:app", "--app-dir", str(Path(__file__).parent)]
        command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
        with subprocess.Popen(command, env=env) as process:
            url = f"http://127.0.0.1:{port}/hello/you"
            try:
                _wait(url, process)
                yield url, psutil.Process(process.pid)
            finally:
                process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.read() == b"hello"
                return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError("the server ended") from None
            time.sleep(0.1)
    raise RuntimeError("the server did not begin within a minute")


def _load(url: str, seconds: int) -> tuple[float, int]:
    """Requests a second, and how many."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("install Debian's `wrk`")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        raise RuntimeError(told)
    rate, count = re.search(r"Requests/sec:\s+([\d.]+)", told), re.search(r"(\d+) requests in", told)
    if rate is None or count is None:
        raise RuntimeError(told)
    return float(rate[1]), int(count[1])


def under_load(rounds: int, seconds: int) -> None:
    """Print the table."""
    rates: dict[str, list[float]] = {stack: [] for stack in apps.SERVED}
    spent: dict[str, list[float]] = {stack: [] for stack in apps.SERVED}
    with ExitStack() as held:
        servers = {stack: held.enter_context(_server(stack)) for stack in apps.SERVED}
        for turn in range(rounds + 1):
            for stack in list(servers) if turn % 2 else reversed(servers):
                url, process = servers[stack]
                before = process.cpu_times()
                rate, count = _load(url, seconds if turn else 1)
                after = process.cpu_times()
                if not count:
                    raise SystemExit("nothing was answered: this machine has no processor to spare for a measurement")
                if turn:
                    rates[stack].append(rate)
                    spent[stack].append((after.user + after.system - before.user - before.system) / count * 1e6)
    print("| stack | requests a second | throughput | quartiles | CPU µs a request | added | quartiles |\n|---|---|---|---|---|---|---|")
    for stack in rates:
        lost = sorted(100 * (one / bare - 1) for one, bare in zip(rates[stack], rates[apps.NONE], strict=True))
        added = sorted(100 * (one / bare - 1) for one, bare in zip(spent[stack], spent[apps.NONE], strict=True))
        best, least = max(rates[stack]), min(spent[stack])
        print(
            f"| {stack} | {best:.0f} | {100 * (best / max(rates[apps.NONE]) - 1):+.1f} % | {_quartiles(lost)} "
            f"| {least:.0f} | {100 * (least / min(spent[apps.NONE]) - 1):+.1f} % | {_quartiles(added)} |"
        )


def _quartiles(values: list[float]) -> str:
    return f"{values[len(values) // 4]:+.1f} to {values[3 * len(values) // 4]:+.1f} %"
