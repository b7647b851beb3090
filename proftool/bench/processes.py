"""Fresh processes that give one value each: a benchmark of a file through the worker, or any command line as a whole.

Both arms of a pair get the same hash seed, a new one each pair: without it one side's lucky dictionary order is taken for speed.
Whatever a benchmark prints goes to the null device; what a failing one says is kept for the error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from proftool.errors import BackendFailed, UsageError

WORKER = Path(__file__).with_name("_worker.py")
ERROR_TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Where the code of one side lives and how it is started."""

    name: str
    root: Path
    python: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to the environment; `PYTHONPATH` puts the side's own code before an editable install of another checkout."""

    def environment(self, seed: int) -> dict[str, str]:
        """The whole environment of a process of this side."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")}
        return kept | {"PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": ""} | dict(self.env)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What one process measured; times are ns per call (per run of a command)."""

    cpu_ns: float
    wall_ns: float
    loops: int
    peak_bytes: int
    involuntary_switches: int
    samples: tuple[float, ...] = ()
    """Every value of the process by CPU time, for the distribution; never counted as independent."""
    outside: Mapping[str, str] = field(default_factory=dict[str, str])


class _Answer(msgspec.Struct):
    loops: int
    values: dict[str, list[float]]
    peak_bytes: int
    involuntary_switches: int
    outside: dict[str, str] = {}


class _Listing(msgspec.Struct):
    benchmarks: list[str]


def discover(paths: Sequence[Path], side: Side) -> list[tuple[Path, str]]:
    """Benchmarks as (file relative to the side's root, name), from `bench_*.py` of folders and from files as named."""
    files: list[Path] = []
    for path in paths:
        place = path if path.is_absolute() else side.root / path
        if place.is_dir():
            files += sorted(p for p in place.rglob("bench_*.py") if not any(part.startswith(".") for part in p.relative_to(place).parts))
        elif place.exists():
            files.append(place)
        else:
            raise UsageError(
                f"no file or folder `{path}`",
                cause=f"it does not exist below {side.root}",
                fix="name a folder with bench_*.py files, or such a file",
            )
    found: list[tuple[Path, str]] = []
    for file in files:
        listing = msgspec.json.decode(_worker(side, ["list", str(file)], seed=0), type=_Listing)
        found += [(file.relative_to(side.root) if file.is_relative_to(side.root) else file, name) for name in listing.benchmarks]
    return found


def measure(
    side: Side,
    file: Path,
    name: str,
    *,
    seed: int,
    loops: int = 0,
    values: int = 5,
    least_ns: int = 20_000_000,
    warmup_ns: int = 200_000_000,
) -> Value:
    """One value of one benchmark from a fresh process: the median of its values."""
    spec = {"loops": loops, "values": values, "least_ns": least_ns, "warmup_ns": warmup_ns, "root": str(side.root)}
    raw = _worker(side, ["run", str(side.root / file), name, msgspec.json.encode(spec).decode()], seed=seed)
    answer = msgspec.json.decode(raw, type=_Answer)
    middle = len(answer.values["cpu"]) // 2
    return Value(
        cpu_ns=sorted(answer.values["cpu"])[middle],
        wall_ns=sorted(answer.values["wall"])[middle],
        loops=answer.loops,
        peak_bytes=answer.peak_bytes,
        involuntary_switches=answer.involuntary_switches,
        samples=tuple(answer.values["cpu"]),
        outside=answer.outside,
    )


def measure_command(side: Side, command: Sequence[str], *, seed: int, timeout_s: float | None = None) -> Value:
    """One run of a command line: wall time, and CPU time of it and the children that it waited for."""
    with tempfile.TemporaryFile() as said:
        begin = time.perf_counter_ns()
        process = subprocess.Popen(
            list(command), cwd=side.root, env=side.environment(seed), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall_ns = time.perf_counter_ns() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise _failed(f"`{' '.join(command)}` on side {side.name} ended with status {process.returncode}", said)
    return Value(
        cpu_ns=(usage.ru_utime + usage.ru_stime) * 1e9,
        wall_ns=float(wall_ns),
        loops=1,
        peak_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        involuntary_switches=usage.ru_nivcsw,
    )


def _worker(side: Side, arguments: Sequence[str], *, seed: int) -> bytes:
    read, write = os.pipe()
    env = side.environment(seed) | {"PROFTOOL_BENCH_FD": str(write)}
    with tempfile.TemporaryFile() as said, os.fdopen(read, "rb") as answer:
        process = subprocess.Popen(
            [str(side.python), str(WORKER), *arguments],
            cwd=side.root,
            env=env,
            pass_fds=(write,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        os.close(write)
        try:
            told = answer.read()
        finally:
            if process.poll() is None:
                try:
                    process.wait(timeout=10)
                except BaseException:
                    process.kill()
                    process.wait()
                    raise
        if process.returncode or not told:
            raise _failed(f"benchmark `{' '.join(arguments[1:3])}` failed on side {side.name}", said)
    return told


def _failed(what: str, said: IO[bytes]) -> BackendFailed:
    said.seek(0)
    lines = said.read()[-ERROR_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    shown = [line for line in lines if str(WORKER) not in line]
    return BackendFailed(
        what, cause="\n       ".join(shown[-12:]) or "it said nothing on stderr", fix="run it by itself first, then measure it"
    )
