"""How fast was the machine during a run? The CPU time of a program that always does the same, beside what is measured next to it.

Run: `python tests/perf/witness.py [ROUNDS]`. Prints a table, which docs/decisions/0011-a-witness-beside-the-run.md keeps: what is left of
the program's deviation (of logarithms) when it is divided by the probes before and after the run, and by the mean, the harmonic mean and
the median of the small parts that `launch/speed.py` does beside it, of all and of every fourth. A slope of 1 is a measure that follows
the program.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proftool.launch import speed

PROGRAM = """
words = {}
for turn in range(6):
    for i in range(150_000): words[i % 5000] = words.get(i % 5000, 0) + i % 7
    text = " ".join(str(i * 3) for i in range(60_000)); sorted(text.split())
"""
EVERY_S = 0.004
AVERAGES: dict[str, Callable[[Sequence[float]], float]] = {
    "mean": statistics.fmean,
    "harmonic mean": statistics.harmonic_mean,
    "median": statistics.median,
}
Floats = NDArray[np.float64]


def run() -> tuple[float, float, list[int]]:
    """CPU seconds of the program, what the probes before and after took, and the parts beside it."""
    parts_ns: list[int] = []
    over = threading.Event()
    before_ns = speed.probe_ns()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM])

    def watch() -> None:
        while not over.wait(EVERY_S):
            try:
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                return
            if fields[0] == "R":
                os.sched_setaffinity(0, {int(fields[36])})
                parts_ns.append(speed.part_ns())

    watching = threading.Thread(target=watch)
    watching.start()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    over.set()
    watching.join()
    return usage.ru_utime + usage.ru_stime, (before_ns + speed.probe_ns()) / 2, parts_ns


def row(name: str, cpu: Floats, beside: Floats) -> str:
    """What is left of the program's deviation when it is divided by that."""
    slope, _ = np.polyfit(beside, cpu, 1)
    return f"| {name} | {(cpu - beside).std():.3f} | {slope:.2f} | {np.corrcoef(beside, cpu)[0, 1]:.2f} |"


def main(rounds: int) -> None:
    """Print the table."""
    runs: list[tuple[float, float, list[int]]] = []
    for _ in range(rounds):
        runs.append(run())
        time.sleep(0.5)
    cpu = np.log([taken for taken, _, _ in runs])
    print(f"{rounds} runs, {statistics.mean(len(parts) for _, _, parts in runs):.0f} parts a run\n")
    print(f"| measured | deviation of the ratio | slope | correlation |\n|---|---|---|---|\n| (the program alone) | {cpu.std():.3f} | | |")
    print(row("before and after", cpu, np.log([probes for _, probes, _ in runs])))
    for step in (1, 4):
        for name, average in AVERAGES.items():
            found = np.log([average(parts[::step]) for _, _, parts in runs])
            print(row(f"beside it, {'every part' if step == 1 else 'every fourth'}: {name}", cpu, found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
