"""CPU instructions instead of time, for changes below one percent: counted by valgrind, or by the processor where it may be asked.

Labelled instructions, not time: blind to waiting, locks, caches and the disk. The hash seed is fixed and addresses are not randomised, so
that a program does the same twice. A benchmark is counted with N and with 2N calls, and the difference divided by N: start-up,
imports and calibration fall out. Native threads and children are counted.

Source: valgrind's manual, "Cachegrind" (`--cache-sim=no`); `perf stat -e instructions:u`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from proftool.bench.processes import WORKER, Side
from proftool.errors import BackendFailed, BackendUnavailable
from proftool.launch.whole import run_whole

N_CALLS_NS = 2_000_000
"""N calls of a benchmark take about this long without valgrind, which is fifty times slower."""
_SUMMARY = re.compile(r"^summary:\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counter:
    """What counts."""

    name: str
    """`perf` or `valgrind`."""
    program: str


@cache
def counter() -> Counter:
    """The processor's own counters where they answer, else valgrind; BackendUnavailable where there is neither."""
    if (perf := shutil.which("perf")) and _answers(perf):
        return Counter("perf", perf)
    if valgrind := shutil.which("valgrind"):
        return Counter("valgrind", valgrind)
    raise BackendUnavailable(
        "instructions cannot be counted here",
        cause="valgrind is not installed, and `perf stat -e instructions:u` counts nothing on this machine",
        fix="install valgrind (`apt-get install valgrind`, `dnf install valgrind`)",
    )


def _answers(perf: str) -> bool:
    done = subprocess.run(
        [perf, "stat", "-x,", "-e", "instructions:u", "true"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0 and _of_perf(done.stderr) is not None


def _of_perf(told: str) -> int | None:
    found = [line.split(",") for line in told.splitlines() if "instructions" in line]
    return int(found[0][0]) if found and found[0][0].isdigit() and int(found[0][0]) > 0 else None


def count(side: Side, command: Sequence[str], *, descriptor: int | None = None) -> int:
    """Instructions of one run of a command, its children included."""
    by = counter()
    fixed = [setarch, "-R"] if (setarch := shutil.which("setarch")) else []
    env = side.environment(0) | {"PYTHONHASHSEED": "0", **({"PROFTOOL_BENCH_FD": str(descriptor)} if descriptor is not None else {})}
    with tempfile.TemporaryDirectory(prefix="proftool-count-") as folder:
        if by.name == "perf":
            tool = [by.program, "stat", "-x,", "-e", "instructions:u", "-o", f"{folder}/out", "--"]
        else:
            tool = [
                by.program, "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes", "-q",
                f"--cachegrind-out-file={folder}/out.%p", "--",
            ]  # fmt: skip
        told = () if descriptor is None else (descriptor,)
        done = run_whole([*fixed, *tool, *command], cwd=side.root, env=env, pass_fds=told)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise BackendFailed(
                f"`{' '.join(command[:3])}` ended with status {done.returncode} while its instructions were counted{side.where}",
                cause="\n       ".join(said[-8:]) or "it said nothing on stderr",
                fix="run it by itself first; what needs processor features that valgrind lacks cannot be counted",
            )
        if by.name == "perf":
            return _of_perf(Path(folder, "out").read_text()) or 0
        return sum(int(found[1]) for file in Path(folder).iterdir() if (found := _SUMMARY.search(file.read_text(errors="replace"))))


def count_benchmark(side: Side, file: Path, name: str, calls: int) -> float:
    """Instructions per call of a benchmark: 2N calls less N calls, divided by N."""
    counted: list[int] = []
    with open(os.devnull, "wb") as nowhere:
        for n in (calls, 2 * calls):
            spec = msgspec.json.encode({"loops": n, "values": 1, "least_ns": 1, "warmup_ns": 0, "count": True}).decode()
            command = [str(side.python), str(WORKER), "run", str(side.root / file), name, spec]
            counted.append(count(side, command, descriptor=nowhere.fileno()))
    return (counted[1] - counted[0]) / calls
