"""When were py-spy's samples taken, and what does a function's share vary by? A program keeps the true times itself, by its own clock.

Run: `python tests/perf/places.py [ROUNDS]`. Two tables, which docs/decisions/0013-when-a-sample-was-taken.md keeps: how many samples lie
within the call that really ran then, placed evenly and by what py-spy read; and by how much a function's share, over its true one, varies
from round to round, counted in samples and as measured processor time.
"""

from __future__ import annotations

import json
import sys
import tempfile
from bisect import bisect_right
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proftool.backends.pyspy import PART, backend
from proftool.backends.reading.pyspy_file import read_file
from proftool.backends.reading.sample_places import placed
from proftool.backends.reading.thread_clocks import read_clocks
from proftool.contracts import Mode, Program, RecordOptions
from proftool.launch.start import launch
from proftool.model.profile import Profile
from proftool.model.tree import function_self

FUNCTIONS = ("parse", "transform", "render", "encode")
PROGRAM = """
import json, sys, time
now, log = time.monotonic_ns, []
def parse(n):
    total = 0
    for i in range(n): total += i % 7 * 3
def transform(n):
    total = 0
    for i in range(n): total ^= i * 5 + 1
def render(n):
    total = 0
    for i in range(n): total += i // 3
def encode(n):
    total = 0
    for i in range(n): total = (total * 31 + i) % 65521
def call(function, n):
    begun, cpu = now(), time.thread_time_ns()
    function(n)
    log.append((function.__name__, begun, now(), time.thread_time_ns() - cpu))
for _ in range(10):
    call(parse, 250_000); call(transform, 430_000); call(render, 250_000); call(encode, 150_000)
json.dump(log, open(sys.argv[1], "w"))
"""
Floats = NDArray[np.float64]
Call = tuple[str, int, int, int]
"""Function, begin and end by the monotonic clock, processor time."""


def recorded(folder: Path) -> tuple[list[Call], Profile, tuple[Floats, Floats], list[str | None]]:
    """One run: what the program says, the profile, where its main thread's samples lie evenly and by reads, and the function of each."""
    script, log = folder / "program.py", folder / "log"
    script.write_text(PROGRAM)
    options = RecordOptions(mode=Mode.SAMPLE, overhead_budget=1.0)
    program = Program(python=Path(sys.executable), script=str(script), argv=(str(log),))
    recording = launch(program, backend.command(program, options, folder), options, folder)
    pid = recording.processes[0].pid
    told, clocks = read_file((folder / PART).read_bytes(), pid), read_clocks(folder, recording.duration_ns, None)
    thread = next(thread for thread in told.threads if thread.tid == pid)
    times, n = clocks.threads[pid].time_ns, len(thread.stacks)
    names = [next((told.frames[at].name for at in stack if told.frames[at].name in FUNCTIONS), None) for stack in told.stacks]
    counted = clocks.taken(pid, n)
    if counted is None:
        raise SystemExit("this kernel does not tell what a thread reads")
    laid = placed(n, times[0], times[-1], None).at_ns, placed(n, times[0], times[-1], counted).at_ns
    of_each = [names[stack] if stack >= 0 else None for stack in thread.stacks]
    return json.loads(log.read_text()), backend.read(recording), laid, of_each


def fit(calls: list[Call], at_ns: Floats, names: list[str | None]) -> tuple[float, Floats]:
    """The part of the samples that lie within a call of their function, and how far each is from one, ms."""
    begins = [begun for _, begun, _, _ in calls]
    within, off_ms = 0, list[float]()
    for time_ns, name in zip(at_ns.tolist(), names, strict=True):
        if name is None:
            continue
        ran, begun, ended, _ = calls[max(bisect_right(begins, time_ns) - 1, 0)]
        within += ran == name and begun <= time_ns <= ended
        off_ms.append(min(max(first - time_ns, 0, time_ns - last) for ran, first, last, _ in calls if ran == name) / 1e6)
    return within / len(off_ms), np.array(off_ms)


def shares(profile: Profile, metric: str) -> Floats:
    """Of the functions, together 1."""
    values = dict.fromkeys(FUNCTIONS, 0)
    own = function_self(profile, profile.metric_index(metric))
    for name, value in zip(profile.functions.qualname.tolist(), own.tolist(), strict=True):
        if (text := profile.text(name)) in values:
            values[text] += value
    found = np.array(list(values.values()), np.float64)
    return found / found.sum()


def main(rounds: int) -> None:
    """Print both tables."""
    within: dict[str, list[tuple[float, Floats]]] = {"evenly": [], "by what py-spy read": []}
    relative: dict[str, list[Floats]] = {"samples": [], "cpu_time": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            calls, profile, laid, names = recorded(Path(folder))
        for key, at_ns in zip(within, laid, strict=True):
            within[key].append(fit(calls, at_ns, names))
        true_ns = np.array([sum(cpu for ran, _, _, cpu in calls if ran == name) for name in FUNCTIONS], np.float64)
        for metric, found in relative.items():
            found.append(shares(profile, metric) / (true_ns / true_ns.sum()))
    print("| samples placed | within their own function | off by, mean | nine of ten within |\n|---|---|---|---|")
    for key, found in within.items():
        off_ms = np.concatenate([off for _, off in found])
        part = np.mean([part for part, _ in found])
        print(f"| {key} | {100 * part:.0f} % | {off_ms.mean():.1f} ms | {np.quantile(off_ms, 0.9):.1f} ms |")
    print(f"\n| share of a function over its true one | {' | '.join(FUNCTIONS)} |\n|---|{'---|' * len(FUNCTIONS)}")
    for metric, found in relative.items():
        mean, sd = np.mean(found, 0), np.std(found, 0, ddof=1)
        print(f"| {metric} | {' | '.join(f'{m:.2f} ± {100 * s:.0f} %' for m, s in zip(mean, sd, strict=True))} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
