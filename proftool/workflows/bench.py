"""`bench` and `ab`: measure benchmarks, compare two sides of a repository, and name the functions behind a difference.

The verdict comes from the timed pairs alone. A flagged benchmark is then recorded in separate pairs, the sides in turn, and the profiles
are compared like any others; the functions that changed are its causes, each with its share of the benchmark's own change.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from proftool import registry
from proftool.bench import checkouts
from proftool.bench.pairs import Compared, NullControl, Plan, Series, compare
from proftool.bench.processes import WORKER, Side, Value, discover, measure, measure_command
from proftool.bench.report import Cause, Measured
from proftool.bench.statistics import Verdict
from proftool.contracts import Mode
from proftool.errors import BackendFailed, BackendUnavailable, UsageError
from proftool.formats import native
from proftool.launch.interpreter import inspect
from proftool.model.compare import diff as compare_profiles
from proftool.model.profile import Profile
from proftool.model.transform import strip_frames
from proftool.workflows.changed import touched_lines

Say = Callable[[str], None]
N_PROCESSES = 12
"""Of `bench`: one value each."""
PROFILE_PAIRS = 6
PROFILE_LEAST_NS = 600_000_000
"""How long one recording of a benchmark lasts at least."""
MAX_CAUSES = 8
_RUN_WORKER = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
"""Not as a script: the project of a script is where it lies, and the worker lies in proftool."""
BUDGET_S = 45.0
"""For one benchmark or command, when nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What `ab` found."""

    base: str
    new: str
    answers: tuple[Compared, ...]
    control: NullControl
    causes: dict[str, tuple[Cause, ...]]

    @property
    def exit_status(self) -> int:
        """0 nothing is slower, 1 something is, 10 undecided."""
        verdicts = {a.verdict for a in self.answers}
        return 1 if Verdict.SLOWER in verdicts else 10 if Verdict.INCONCLUSIVE in verdicts else 0


def bench(paths: Sequence[Path], *, python: Path, processes: int = N_PROCESSES, say: Say) -> list[Measured]:
    """One value a process of every benchmark below the paths, round-robin so that all meet the same machine."""
    side = Side(name="here", root=Path.cwd(), python=python)
    found = discover(paths or [Path()], side)
    if not found:
        raise UsageError(
            "no benchmarks found",
            cause="no function named `bench_*` in files named `bench_*.py`",
            fix="name a file: `proftool bench bench_things.py`",
        )
    order = random.Random(0)
    values: dict[tuple[Path, str], list[Value]] = {one: [] for one in found}
    for done in range(processes):
        for file, name in order.sample(found, len(found)):
            seen = values[file, name]
            seen.append(measure(side, file, name, seed=order.randrange(1, 1 << 32), loops=seen[0].loops if seen else 0))
        say(f"{done + 1} of {processes} processes each")
    return [
        Measured(
            name=f"{file.as_posix()}::{name}",
            clock="cpu",
            values_ns=np.array([v.cpu_ns for v in own]),
            peak_bytes=max(v.peak_bytes for v in own),
            loops=own[0].loops,
        )
        for (file, name), own in values.items()
    ]


def ab(
    base: str,
    head: str | None,
    *,
    command: Sequence[str] | None,
    paths: Sequence[Path],
    python: Path,
    carry: Sequence[str] = (),
    most_pairs: int = 60,
    budget_s: float | None = None,
    say: Say,
) -> Answer:
    """Compare the same work at two revisions, or at one and the working tree."""
    with checkouts.sides(Path.cwd(), base, head, python=python, carry=carry) as (old, new):
        both = {"base": old, "new": new}
        if command is not None:
            series, works = _command_series(command, both)
        else:
            series, works = _bench_series(paths or [Path()], both)
        plan = Plan(most_pairs=most_pairs, most_seconds=budget_s if budget_s is not None else BUDGET_S * len(series))
        answers, control = compare(
            series, plan, seed=random.randrange(1 << 30), progress=lambda n, most: say(f"pair {n} of at most {most}")
        )
        causes: dict[str, tuple[Cause, ...]] = {}
        for answer in answers:
            if answer.verdict in (Verdict.SLOWER, Verdict.FASTER):
                say(f"{answer.name} is {answer.verdict}: recording {PROFILE_PAIRS} pairs for the cause")
                causes[answer.name] = _causes(answer, works[answer.name], both)
    return Answer(base=old.name, new=new.name, answers=tuple(answers), control=control, causes=causes)


@dataclass(frozen=True, slots=True)
class _Work:
    """How to run one benchmark under a profiler: its command line, and how many runs of the work that is."""

    argv: Sequence[str]
    runs: int


def _command_series(command: Sequence[str], both: dict[str, Side]) -> tuple[list[Series], dict[str, _Work]]:
    if not command:
        raise UsageError(
            "no command to compare", cause="nothing stands after `--`", fix="`proftool ab main -- python app.py`, or `--bench`"
        )
    words = [str(both["base"].python) if command[0] in ("python", "python3") else command[0], *command[1:]]
    first = measure_command(both["base"], words, seed=1)

    def value(side: Literal["base", "new"], seed: int) -> Value:
        return measure_command(both[side], words, seed=seed)

    # A command that mostly waits is judged by what its user sees; one that works, by what it costs.
    clock: Literal["cpu", "wall"] = "cpu" if first.cpu_ns > 0.5 * first.wall_ns else "wall"
    name = " ".join(command)
    return [Series(name=name, measure=value, clock=clock)], {name: _Work(words, 1)}


def _bench_series(paths: Sequence[Path], both: dict[str, Side]) -> tuple[list[Series], dict[str, _Work]]:
    found = {side: discover(paths, both[side]) for side in ("base", "new")}
    common = [one for one in found["new"] if one in found["base"]]
    if not common:
        raise UsageError(
            "no benchmark is on both sides",
            cause="functions named `bench_*` in files named `bench_*.py` are looked for",
            fix="compare a command instead: `proftool ab BASE -- python app.py`",
        )
    series: list[Series] = []
    works: dict[str, _Work] = {}
    for file, name in common:
        first = measure(both["base"], file, name, seed=1)
        if first.outside:
            module, path = next(iter(first.outside.items()))
            raise UsageError(
                "a side would run the other side's code",
                cause=f"module `{module}` comes from {path}, outside of {both['base'].root}",
                fix="run in an environment where the project is not installed, or name its source folder in pyproject.toml",
            )

        def value(side: Literal["base", "new"], seed: int, file: Path = file, name: str = name, loops: int = first.loops) -> Value:
            return measure(both[side], file, name, seed=seed, loops=loops)

        label = f"{file.as_posix()}::{name}"
        series.append(Series(name=label, measure=value))
        per_loop_ns = max(first.wall_ns * first.loops, 1.0)
        values = max(int(PROFILE_LEAST_NS / per_loop_ns), 3)
        spec = msgspec.json.encode({"loops": first.loops, "values": values, "least_ns": 1, "warmup_ns": 0}).decode()
        works[label] = _Work([str(both["base"].python), "-c", _RUN_WORKER, str(WORKER), "run", str(file), name, spec], values * first.loops)
    return series, works


def _causes(answer: Compared, work: _Work, both: dict[str, Side]) -> tuple[Cause, ...]:
    profiles: dict[str, list[Profile]] = {"base": [], "new": []}
    for pair in range(PROFILE_PAIRS):
        for side in ("base", "new") if pair % 2 else ("new", "base"):
            profiles[side].append(_recorded(work, both[side], seed=pair + 1))
    found = compare_profiles(profiles["base"], profiles["new"], names=("base", "new"))
    strings, f = found.profile.strings, found.profile.functions
    measured_ns = float(np.median(answer.new_ns) - np.median(answer.base_ns))
    touched = _touched(both)
    causes: list[Cause] = []
    flagged = [c for c in found.functions if str(c.verdict) in ("slower", "faster", "new", "gone", "moved")]
    # The functions whose change reaches its own noise come first; without any, the largest is named with its interval.
    for change in (flagged or list(found.functions[:1]))[:MAX_CAUSES]:
        file, line = strings[int(f.file[change.function])], int(f.first_line[change.function])
        delta_ns = change.delta_self / work.runs
        causes.append(
            Cause(
                name=strings[int(f.qualname[change.function])],
                module=strings[int(f.module[change.function])] or None,
                file=file or None,
                line=line or None,
                delta_ns=delta_ns,
                share=delta_ns / measured_ns if measured_ns else None,
                low_ns=None if change.low is None else change.low / work.runs,
                high_ns=None if change.high is None else change.high / work.runs,
                changed_in_diff=_was_touched(touched, both["new"], file, line),
            )
        )
    return tuple(causes)


def _inside_sampler() -> str:
    """The backend that samples stacks from inside the target."""
    for name in registry.names("backend"):
        able = registry.backend(name).capabilities
        if able.in_process and able.stacks and Mode.SAMPLE in able.modes:
            return name
    raise BackendUnavailable(
        "no backend samples from inside the target", cause="none is registered", fix="`proftool doctor` lists the backends"
    )


def _recorded(work: _Work, side: Side, *, seed: int) -> Profile:
    """The work once under the in-process sampler, whose millisecond finds small functions; proftool runs as a command of its own, so that
    the side's folder and environment are its."""
    with tempfile.TemporaryDirectory(prefix="proftool-ab-") as folder:
        file = Path(folder) / "run.proftool"
        read, write = os.pipe()
        env = side.environment(seed) | {"PROFTOOL_BENCH_FD": str(write), "PROFTOOL_STORE": f"sqlite:///{folder}/runs.db"}
        argv = [sys.executable, "-m", "proftool", "run", "--backend", _inside_sampler(), "--quiet", "-o", str(file), "--", *work.argv]
        try:
            done = subprocess.run(
                argv, cwd=side.root, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(write,)
            )
        finally:
            os.close(write)
            os.close(read)
        if not file.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise BackendFailed(
                f"side {side.name} could not be recorded",
                cause=said[-1] if said else f"status {done.returncode}",
                fix="profile the command by itself: `proftool run`",
            )
        profile = native.loads(file.read_bytes())
    own = {at for at, text in enumerate(profile.strings) if text.endswith("_worker.py")}
    return strip_frames(profile, np.isin(profile.functions.file, list(own))) if own else profile


def _touched(both: dict[str, Side]) -> dict[str, list[tuple[int, int]]]:
    """Lines of the new side that differ from the base side."""
    new = checkouts.top_level(both["new"].root)
    base = checkouts.git(both["base"].root, "rev-parse", "HEAD").strip()
    return touched_lines(new, base) or {}


def _was_touched(touched: dict[str, list[tuple[int, int]]], side: Side, file: str, line: int) -> bool:
    ranges = touched.get(file, [])
    if not ranges or not line:
        return False
    last = _last_line(side.root / file, line)
    return any(low <= last and line <= high for low, high in ranges)


def _last_line(path: Path, first_line: int) -> int:
    import ast

    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return first_line
    ends = [
        node.end_lineno or first_line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and first_line in (node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ())))
    ]
    return max(ends, default=first_line)


def interpreter(python: Path | None) -> Path:
    """The Python that benchmarks run with: as named, else $VIRTUAL_ENV's, else proftool's own."""
    from proftool.launch.targets import resolve

    return inspect(resolve([], code="pass", python=python).python).executable
