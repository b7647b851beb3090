"""Instructions and cache misses of a served request, which no other program disturbs: uvicorn under `cachegrind`.

One connection asks 2,500 times, and 500 times in a second run that lasts as long; the difference, divided by 2,000, is a request's. It
repeats to 0.3 %. What runs by the clock (an event loop's delay, a writer) is in both, and so in neither.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import apps
from served import free_port, server_command, wait

FEW, MANY = 500, 2500
COUNTED = {
    "Ir": "instructions",
    "I1mr": "misses of instructions",
    "D1mr": "misses of data read",
    "ILmr": "of these also by a second level: instructions",
    "DLmr": "data",
}
SECOND_LEVEL = "524288,8,64"
"""Bytes, ways, bytes a line: what one processor has to itself, where several share the next level."""


def _counted(stack: str, requests: int, at_least_s: float = 0.0) -> tuple[dict[str, int], float]:
    with tempfile.TemporaryDirectory() as folder:
        port, out = free_port(), Path(folder) / "out"
        env = os.environ | {"STACK": stack, "PERF_FOLDER": folder, "OTEL_SERVICE_NAME": f"perf-{port}", "PYTHONHASHSEED": "0"}
        counting = ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=yes", f"--LL={SECOND_LEVEL}", f"--cachegrind-out-file={out}"]
        command = [*counting, *server_command(port)]
        with subprocess.Popen(command, env=env, cwd=folder) as process:
            try:
                wait(f"http://127.0.0.1:{port}/hello/you", process)
                begun = time.monotonic()
                connection = http.client.HTTPConnection("127.0.0.1", port)
                for _ in range(requests):
                    connection.request("GET", "/hello/you")
                    assert connection.getresponse().read() == b"hello"
                time.sleep(max(at_least_s - (time.monotonic() - begun), 0))
                took_s = time.monotonic() - begun
            finally:
                process.terminate()
        text = out.read_text()
    events, totals = (re.search(rf"^{word}: (.*)$", text, re.MULTILINE) for word in ("events", "summary"))
    assert events
    assert totals
    return dict(zip(events[1].split(), map(int, totals[1].split()), strict=True)), took_s


def of_a_request() -> None:
    """Print the table."""
    if shutil.which("valgrind") is None:
        raise SystemExit("install Debian's `valgrind`")
    print(f"| stack | {' | '.join(f'{name} | more' for name in COUNTED.values())} |\n|---|{'---|' * 2 * len(COUNTED)}", file=sys.stdout)
    base: dict[str, float] = {}
    for stack in (apps.NONE, apps.BARE, apps.METRICS, apps.TRACED, apps.INSTRUMENTATOR, apps.OTEL):
        many, took_s = _counted(stack, MANY)
        few, _ = _counted(stack, FEW, took_s)
        found = {name: (many[name] - few[name]) / (MANY - FEW) for name in COUNTED}
        base = base or found
        print(f"| {stack} | {' | '.join(f'{found[name]:,.0f} | {found[name] - base[name]:+,.0f}' for name in COUNTED)} |", flush=True)
