"""Fresh processes that give one value each: a benchmark of a file through the worker, or any command line as a whole.

Both arms of a pair get the same hash seed, a new one each pair: without it one side's lucky dictionary order is taken for speed.
Whatever a benchmark prints goes to the null device; what a failing one says is kept for the error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from proftool.errors import BackendFailed, UsageError

WORKER = Path(__file__).with_name("_worker.py")
SEEN = Path(__file__).with_name("_seen")
STARTER = Path(__file__).with_name("_starter.py")
ERROR_TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Where the code of one side lives and how it is started."""

    name: str
    root: Path
    python: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Added to the environment; `PYTHONPATH` puts the side's own code before an editable install of another checkout."""
    checkout: Path | None = None
    """The root of its checkout, where `root` lies below that."""

    @property
    def tree(self) -> Path:
        """Where its code lies."""
        return self.checkout or self.root

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
    wall_samples: tuple[float, ...] = ()
    steal_ns: int = 0
    """Of all processors, while it was measured."""
    overhead_ns: tuple[float, float] = (0.0, 0.0)
    """Least and largest cost of an empty loop per call; the least is subtracted."""
    warmup_calls: int = 0
    steady: bool = True
    """False: it still became faster when the time for warming up was over."""


def does_work(values: Sequence[Value]) -> bool:
    """Does it compute rather than wait? By the process that was disturbed least: on a busy machine computing takes more wall time too."""
    pairs = [pair for v in values for pair in [(v.cpu_ns, v.wall_ns), *zip(v.samples, v.wall_samples, strict=True)]]
    return max(cpu / max(wall, 1e-3) for cpu, wall in pairs) > 0.5


class _Answer(msgspec.Struct):
    loops: int
    values: dict[str, list[float]]
    peak_bytes: int
    involuntary_switches: int
    outside: dict[str, str] = {}
    steal_ns: int = 0
    overhead_ns: tuple[float, float] = (0.0, 0.0)
    warmup_calls: int = 0
    steady: bool = True


class _Started(msgspec.Struct):
    wall_ns: float = 0.0
    cpu_ns: float = 0.0
    peak_bytes: int = 0
    involuntary_switches: int = 0
    steal_ns: int = 0
    signal: int = 0
    status: int = 0
    error: str = ""


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
    spec = {"loops": loops, "values": values, "least_ns": least_ns, "warmup_ns": warmup_ns, "root": str(side.tree)}
    raw = _worker(side, ["run", str(side.root / file), name, msgspec.json.encode(spec).decode()], seed=seed)
    return _value(msgspec.json.decode(raw, type=_Answer))


def measure_import(side: Side, module: str, *, seed: int) -> Value:
    """What the first import of a module costs in a fresh process."""
    raw = _worker(side, ["import", module, msgspec.json.encode({"root": str(side.tree)}).decode()], seed=seed)
    return _value(msgspec.json.decode(raw, type=_Answer))


def _value(answer: _Answer) -> Value:
    middle = len(answer.values["cpu"]) // 2
    return Value(
        cpu_ns=sorted(answer.values["cpu"])[middle],
        wall_ns=sorted(answer.values["wall"])[middle],
        loops=answer.loops,
        peak_bytes=answer.peak_bytes,
        involuntary_switches=answer.involuntary_switches,
        samples=tuple(answer.values["cpu"]),
        outside=answer.outside,
        wall_samples=tuple(answer.values["wall"]),
        steal_ns=answer.steal_ns,
        overhead_ns=answer.overhead_ns,
        warmup_calls=answer.warmup_calls,
        steady=answer.steady,
    )


def measure_command(side: Side, command: Sequence[str], *, seed: int, env: Mapping[str, str] | None = None) -> Value:
    """One run of a command line: wall time, and CPU time and peak memory of it and the children that it waited for."""
    read, write = os.pipe()
    with tempfile.TemporaryFile() as said, os.fdopen(read, "rb") as answer:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(STARTER), str(write), *command],
            cwd=side.root,
            env=side.environment(seed) | dict(env or {}),
            pass_fds=(write,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        os.close(write)
        try:
            raw = answer.read()
            process.wait()
        except BaseException:
            # The starter waits for the command, so the group is what has to end.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        told = msgspec.json.decode(raw, type=_Started) if raw else _Started(error="its starter died")
        if told.error:
            raise UsageError(
                f"`{command[0]}` cannot be started on side {side.name}", cause=told.error, fix="name a command that runs in the checkout"
            )
        if told.status or told.signal:
            how = f"was ended by signal {told.signal}" if told.signal else f"ended with status {told.status}"
            raise _failed(f"`{' '.join(command)}` on side {side.name} {how}", said)
    return Value(
        cpu_ns=told.cpu_ns,
        wall_ns=told.wall_ns,
        loops=1,
        peak_bytes=told.peak_bytes,
        involuntary_switches=told.involuntary_switches,
        steal_ns=told.steal_ns,
    )


def seen_outside(side: Side, command: Sequence[str], *, seed: int) -> tuple[Value, dict[str, str]]:
    """One run of a command that also says which modules of the side's names came from elsewhere: name -> file."""
    with tempfile.TemporaryDirectory(prefix="proftool-seen-") as folder:
        file = Path(folder) / "modules"
        inherited = side.environment(seed).get("PYTHONPATH")
        paths = os.pathsep.join([str(SEEN), *([inherited] if inherited else [])])
        value = measure_command(side, command, seed=seed, env={"PYTHONPATH": paths, "PROFTOOL_BENCH_SEEN": str(file)})
        rows = file.read_text("utf-8", "surrogateescape").splitlines() if file.exists() else []
    roots = [Path(place) for place in side.env.get("PYTHONPATH", str(side.root)).split(os.pathsep)]
    own = [place for place in roots if place.is_relative_to(side.tree)] or [side.root]
    wrong: dict[str, str] = {}
    for name, _, place in (row.partition("\t") for row in rows):
        if Path(place).resolve().is_relative_to(side.tree.resolve()):
            continue
        top = name.partition(".")[0]
        if any((root / top / "__init__.py").exists() or (root / f"{top}.py").exists() for root in own):
            wrong[name] = place
    return value, wrong


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
