"""Fresh processes that give one value each: a benchmark of a file through the worker, or any command line as a whole.

How the two processes of a pair share the machine stands in beside.py. Both arms of a pair get the same hash seed, a new one each pair:
without it one side's lucky dictionary order is taken for speed. Whatever a benchmark prints goes to the null device; what a failing one
says is kept for the error.
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
from typing import Self

import msgspec

from proftool.errors import BackendFailed, UsageError

WORKER = Path(__file__).with_name("_worker.py")
SEEN = Path(__file__).with_name("_seen")
STARTER = Path(__file__).with_name("_starter.py")
ERROR_TAIL_BYTES = 8192
END_S = 10
WARM_UP_NS = 200_000_000
"""So long a worker warms up at most."""


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
    def where(self) -> str:
        """For messages: ` on side v1.0`; empty where there is one side alone, which has no name."""
        return f" on side {self.name}" if self.name else ""

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
    turns: int = 0
    """So many values were taken in turn with another process: value k stands next to its value k."""
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


class Running:
    """A process in a session of its own that answers on the descriptor in `PROFTOOL_BENCH_FD`; left before its end, it is killed."""

    def __init__(self, argv: Sequence[str], root: Path, env: Mapping[str, str], *, more: Sequence[int] = ()) -> None:
        read, write = os.pipe()
        try:
            self._answer = os.fdopen(read, "rb")
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
            self._process = subprocess.Popen(
                argv,
                cwd=root,
                env={**env, "PROFTOOL_BENCH_FD": str(write)},
                pass_fds=(write, *more),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,
            )
        finally:
            os.close(write)

    @classmethod
    def of_worker(cls, side: Side, arguments: Sequence[str], seed: int, *, more: Sequence[int] = ()) -> Self:
        """The worker with these arguments."""
        return cls([str(side.python), str(WORKER), *arguments], side.root, side.environment(seed), more=more)

    @classmethod
    def of_command(
        cls,
        side: Side,
        command: Sequence[str],
        seed: int,
        *,
        env: Mapping[str, str] | None = None,
        processor: int | None = None,
        levels: int = 0,
    ) -> Self:
        """A command line, bound to one processor if one is named, so many levels of niceness below the others."""
        bound = "-" if processor is None else str(processor)
        starter = [sys.executable, "-I", "-S", str(STARTER), bound, str(levels)]
        return cls([*starter, *command], side.root, side.environment(seed) | dict(env or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            # A starter waits for its command, so the group is what has to end.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._answer.close()
        self._said.close()

    def ended(self) -> bool:
        """Is it over?"""
        return self._process.poll() is not None

    def answer(self) -> bytes:
        """What it answers, once it is over; empty where it died or failed."""
        told = self._answer.read()
        try:
            status = self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired as late:
            raise self.failed(f"a process did not end within {END_S} s of its answer") from late
        return b"" if status else told

    def failed(self, what: str) -> BackendFailed:
        """The error, with the end of what it said on stderr."""
        self._said.seek(0)
        lines = self._said.read()[-ERROR_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
        shown = [line for line in lines if str(WORKER) not in line]
        return BackendFailed(
            what, cause="\n       ".join(shown[-12:]) or "it said nothing on stderr", fix="run it by itself first, then measure it"
        )


@dataclass(frozen=True, slots=True)
class Discovered:
    """The benchmarks of a side."""

    benchmarks: list[tuple[Path, str]]
    """(file relative to the side's root, name)."""
    failed: dict[Path, BackendFailed]
    """Files that cannot be listed: they raise when they are imported."""


def discover(paths: Sequence[Path], side: Side) -> Discovered:
    """Benchmarks from `bench_*.py` of folders and from files as named."""
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
    found = Discovered([], {})
    for file in files:
        shown = file.relative_to(side.root) if file.is_relative_to(side.root) else file
        try:
            listing = msgspec.json.decode(_worker(side, ["list", str(file)], seed=0), type=_Listing)
        except BackendFailed as problem:
            found.failed[shown] = problem
        else:
            found.benchmarks.extend((shown, name) for name in listing.benchmarks)
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
    warmup_ns: int = WARM_UP_NS,
) -> Value:
    """One value of one benchmark from a fresh process: the median of its values."""
    spec = {"loops": loops, "values": values, "least_ns": least_ns, "warmup_ns": warmup_ns, "root": str(side.tree)}
    return value_of(_worker(side, ["run", str(side.root / file), name, msgspec.json.encode(spec).decode()], seed=seed))


def measure_import(side: Side, module: str, *, seed: int) -> Value:
    """What the first import of a module costs in a fresh process."""
    return value_of(_worker(side, ["import", module, msgspec.json.encode({"root": str(side.tree)}).decode()], seed=seed))


def value_of(told: bytes, *, in_turns: bool = False) -> Value:
    """What a worker answered."""
    answer = msgspec.json.decode(told, type=_Answer)
    middle = len(answer.values["cpu"]) // 2
    return Value(
        cpu_ns=sorted(answer.values["cpu"])[middle],
        wall_ns=sorted(answer.values["wall"])[middle],
        loops=answer.loops,
        peak_bytes=answer.peak_bytes,
        involuntary_switches=answer.involuntary_switches,
        samples=tuple(answer.values["cpu"]),
        turns=len(answer.values["cpu"]) if in_turns else 0,
        outside=answer.outside,
        wall_samples=tuple(answer.values["wall"]),
        steal_ns=answer.steal_ns,
        overhead_ns=answer.overhead_ns,
        warmup_calls=answer.warmup_calls,
        steady=answer.steady,
    )


def measure_command(side: Side, command: Sequence[str], *, seed: int, env: Mapping[str, str] | None = None) -> Value:
    """One run of a command line: wall time, and CPU time and peak memory of it and the children that it waited for."""
    with Running.of_command(side, command, seed, env=env) as process:
        return command_value(process, side, command)


def command_value(process: Running, side: Side, command: Sequence[str]) -> Value:
    """What a command took, once it is over."""
    raw = process.answer()
    told = msgspec.json.decode(raw, type=_Started) if raw else _Started(error="its starter died")
    if told.error:
        raise UsageError(f"`{command[0]}` cannot be started{side.where}", cause=told.error, fix="name a command that runs in the checkout")
    if told.status or told.signal:
        how = f"was ended by signal {told.signal}" if told.signal else f"ended with status {told.status}"
        raise process.failed(f"`{' '.join(command)}`{side.where} {how}")
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
    with Running.of_worker(side, arguments, seed) as process:
        return worker_answer(process, side, arguments)


def worker_answer(process: Running, side: Side, arguments: Sequence[str]) -> bytes:
    """What a worker with these arguments answers."""
    told = process.answer()
    if not told:
        verb, path, *rest = arguments
        file = Path(path)
        shown = (file.relative_to(side.root) if file.is_relative_to(side.root) else file).as_posix()
        if verb == "list":
            raise process.failed(f"the benchmarks of `{shown}` cannot be listed{side.where}")
        raise process.failed(f"benchmark `{shown}{f'::{rest[0]}' if verb == 'run' else ''}` failed{side.where}")
    return told
