"""`bench` and `ab`: measure benchmarks, compare two sides of a repository, and name the functions behind a difference.

The verdict comes from the timed pairs alone. A flagged benchmark is then recorded in separate pairs (causes.py).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from proftool.bench import checkouts
from proftool.bench.beside import TURN_NS, Commands, Sharing, benchmark_pair, is_single, turns
from proftool.bench.checkouts import Setting
from proftool.bench.failures import Failure, all_failed
from proftool.bench.measured import Measured
from proftool.bench.pairs import Plan, Series, SideName, compare
from proftool.bench.processes import WORKER, Side, Value, discover, does_work, measure, measure_command, seen_outside
from proftool.bench.report import Comparison
from proftool.bench.statistics import Verdict
from proftool.errors import BackendFailed, UsageError
from proftool.launch.interpreter import inspect
from proftool.workflows.causes import Explained, Work, explain

Say = Callable[[str], None]
N_PROCESSES = 12
"""Of `bench`: one value each."""
PROFILE_LEAST_NS = 600_000_000
"""How long one recording of a benchmark lasts at least."""
TRACE_NS = 100_000_000
"""How long the traced run would take without the tracer."""
_RUN_WORKER = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
"""Not as a script: the project of a script is where it lies, and the worker lies in proftool."""
BUDGET_S = 45.0
"""To measure one benchmark or command, when nothing else is said; the causes then take what they need."""
SIDES: tuple[SideName, SideName] = ("base", "new")
CAUSES_SHARE = 0.5
"""Of a budget: so much is left for the causes, also where measuring has used it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `ab` is to compare."""

    base: str
    head: str | None = None
    command: Sequence[str] | None = None
    paths: Sequence[Path] = ()
    only: str | None = None
    """The one benchmark to compare, by `file.py::name`."""
    settings: tuple[Setting, Setting]
    carry: Sequence[str] = ()
    build: str | None = None
    most_pairs: int = 60
    budget_s: float | None = None
    """To measure; what is left of it, and `CAUSES_SHARE` of it at least, is for the causes. None: 45 s each, and what the causes need."""
    clock: Literal["cpu", "wall"] | None = None
    """None chooses by what the work does."""
    quantity: Literal["time", "peak"] = "time"
    pages: Path | None = None
    """Folder for differential flame graphs; None writes none."""
    with_causes: bool = True
    apart: bool = False
    """Runs of a command one after the other, for programs that disturb each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """What is compared, and what cannot be."""

    of: list[Subject]
    failed: tuple[Failure, ...] = ()
    only_base: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What `bench` measured, and what failed."""

    rows: list[Measured]
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """One benchmark or command that both sides have."""

    series: Series
    work: Work
    sharing: Sharing


def here(python: Path) -> Side:
    """The working folder as a side of its own."""
    return Side(name="", root=Path.cwd(), python=python)


def bench(paths: Sequence[Path], *, python: Path, processes: int = N_PROCESSES, say: Say) -> Session:
    """One value a process of every benchmark below the paths, round-robin so that all meet one machine; BackendFailed where all fail."""
    side = here(python)
    discovered = discover(paths or [Path()], side)
    failed = [Failure(name=file.as_posix(), error=error) for file, error in discovered.failed.items()]
    found = discovered.benchmarks
    if not found and not failed:
        raise UsageError(
            "no benchmarks found",
            cause="no function named `bench_*` in files named `bench_*.py`, and no test that asks for the fixture `benchmark`",
            fix="name a file: `proftool bench bench_things.py` or `proftool bench test_things.py`",
        )
    order = random.Random(0)
    values: dict[tuple[Path, str], list[Value]] = {one: [] for one in found}
    for done in range(processes):
        for file, name in order.sample([*values], len(values)):
            seen = values[file, name]
            try:
                seen.append(measure(side, file, name, seed=order.randrange(1, 1 << 32), loops=seen[0].loops if seen else 0))
            except BackendFailed as error:
                failed.append(Failure(name=f"{file.as_posix()}::{name}", error=error))
                del values[file, name]
        say(f"{done + 1} of {processes} processes each")
    if not values:
        raise all_failed(failed)
    return Session(rows=[Measured.of(f"{file.as_posix()}::{name}", own) for (file, name), own in values.items()], failed=tuple(failed))


def bench_command(command: Sequence[str], *, python: Path, processes: int = N_PROCESSES, say: Say) -> Session:
    """One value a run of a command line."""
    side = here(python)
    order = random.Random(0)
    words = words_of(command, side)
    values: list[Value] = []
    for done in range(processes):
        values.append(measure_command(side, words, seed=order.randrange(1, 1 << 32)))
        say(f"{done + 1} of {processes} runs")
    return Session(rows=[Measured.of(" ".join(command), values)])


def ab(asked: Asked, *, say: Say, tell: Callable[[Comparison], None] | None = None) -> Comparison:
    """
    Compare the same work at two revisions, or at one and the working tree.

    Args:
        tell: is given the verdicts as soon as they are there; the causes take as long again.
    """
    begin = time.monotonic()
    with checkouts.sides(Path.cwd(), asked.base, asked.head, settings=asked.settings, carry=asked.carry, build=asked.build) as (old, new):
        both: dict[SideName, Side] = {"base": old, "new": new}
        chosen = subjects(asked, both)
        found = chosen.of
        series = [one.series for one in found]
        plan = Plan(most_pairs=asked.most_pairs, most_seconds=BUDGET_S * len(series) if asked.budget_s is None else asked.budget_s)
        answers, control = compare(
            series, plan, seed=random.randrange(1 << 30), progress=lambda n, most: say(f"pair {n} of at most {most}")
        )
        late = [Failure(name=one.name, error=one.failed) for one in series if one.failed is not None]
        comparison = Comparison(
            base=old.name,
            new=new.name,
            answers=tuple(answers),
            control=control,
            causes={},
            pages={},
            seconds=time.monotonic() - begin,
            beside={one.series.name: one.sharing.is_beside for one in found},
            failed_beside={one.series.name: one.sharing.failed for one in found if one.sharing.failed},
            failed=(*chosen.failed, *late),
            only_base=chosen.only_base,
            only_new=chosen.only_new,
        )
        if tell is not None:
            tell(comparison)
        works = {one.series.name: one.work for one in found}
        explained = _explained(asked, comparison, works, both, begin, say) if asked.with_causes and asked.quantity == "time" else {}
    return replace(
        comparison,
        causes={name: one.causes for name, one in explained.items()},
        pages={name: one.page for name, one in explained.items() if one.page},
        left_out={name: one.left_out for name, one in explained.items() if one.left_out},
    )


def _explained(
    asked: Asked, found: Comparison, works: Mapping[str, Work], both: Mapping[SideName, Side], begin: float, say: Say
) -> dict[str, Explained]:
    """The causes of what is slower or faster, the largest change first, since the time may not be enough for all."""
    until: float | None = None
    if asked.budget_s is not None:
        until = max(begin + asked.budget_s, time.monotonic() + CAUSES_SHARE * asked.budget_s)
    claims = [a for a in found.answers if a.verdict in (Verdict.SLOWER, Verdict.FASTER)]
    claims.sort(key=lambda a: -abs(math.log(a.found.ratio)))
    return {a.name: explain(a, works[a.name], both, asked.pages, say, until=until) for a in claims}


def subjects(asked: Asked, both: Mapping[SideName, Side]) -> Subjects:
    """What is compared, one at least; each side has run once, and only its own code."""
    if asked.command is not None:
        return Subjects(of=[_of_command(asked, both)])
    return _of_benchmarks(asked, both)


def words_of(command: Sequence[str], side: Side) -> list[str]:
    """The command with the side's interpreter where it says `python`."""
    if not command:
        raise UsageError(
            "no command to measure", cause="nothing stands after `--`", fix="`proftool ab main -- python app.py`, or `--bench`"
        )
    return [str(side.python) if command[0] in ("python", "python3") else command[0], *command[1:]]


def _of_command(asked: Asked, both: Mapping[SideName, Side]) -> Subject:
    command = asked.command or ()
    first: list[Value] = []
    for side in (both["base"], both["new"]):
        value, wrong = seen_outside(side, words_of(command, side), seed=1)
        first.append(value)
        _refuse_outside(side, wrong)

    # A command that mostly waits is judged by what its user sees; one that works, by what it costs.
    clock: Literal["cpu", "wall"] = asked.clock or ("cpu" if does_work(first) else "wall")

    def apart(side: Side, seed: int) -> Value:
        return measure_command(side, words_of(command, side), seed=seed)

    beside = Commands(partial(words_of, command), (both["base"], both["new"]), first).pair
    sharing = Sharing(both, apart, beside if clock == "cpu" and not asked.apart and is_single(first) else None)
    series = Series(name=" ".join(command), measure=sharing.pair, clock=clock, quantity=asked.quantity)
    words = words_of(command, both["base"])
    return Subject(series, Work(words, 1, words, 1), sharing)


def _of_benchmarks(asked: Asked, both: Mapping[SideName, Side]) -> Subjects:
    paths = [Path(asked.only.partition("::")[0])] if asked.only else asked.paths or [Path()]
    listed = {side: discover(paths, both[side]) for side in SIDES}
    failed = [Failure(name=file.as_posix(), error=error, side=side) for side in SIDES for file, error in listed[side].failed.items()]
    # Of a file that one side cannot list, nobody knows what it lacks.
    unknown = {file for side in SIDES for file in listed[side].failed}
    found = {side: [one for one in listed[side].benchmarks if one[0] not in unknown and _is_asked(asked, one[1])] for side in SIDES}
    only = {
        side: tuple(f"{file.as_posix()}::{name}" for file, name in found[side] if (file, name) not in found[other])
        for side, other in ((SIDES[0], SIDES[1]), (SIDES[1], SIDES[0]))
    }
    result: list[Subject] = []
    for file, name in (one for one in found["new"] if one in found["base"]):
        first: dict[SideName, Value] = {}
        for side in SIDES:
            try:
                first[side] = measure(both[side], file, name, seed=1, least_ns=TURN_NS)
            except BackendFailed as error:
                failed.append(Failure(name=f"{file.as_posix()}::{name}", error=error, side=side))
        if len(first) == len(SIDES):
            result.append(_of_benchmark(asked, both, file, name, first))
    if not result:
        if failed:
            raise all_failed(failed)
        lacks = "; ".join(f"only in {side}: {', '.join(only[side])}" for side in SIDES if only[side])
        raise UsageError(
            "no benchmark is on both sides",
            cause=lacks or "functions named `bench_*` in files named `bench_*.py` are looked for",
            fix="compare a command instead: `proftool ab BASE -- python app.py`",
        )
    return Subjects(of=result, failed=tuple(failed), only_base=only["base"], only_new=only["new"])


def _is_asked(asked: Asked, name: str) -> bool:
    return asked.only is None or name == asked.only.partition("::")[2]


def _of_benchmark(asked: Asked, both: Mapping[SideName, Side], file: Path, name: str, first: Mapping[SideName, Value]) -> Subject:
    for side in SIDES:
        _refuse_outside(both[side], first[side].outside)
    own = first["base"]
    clock: Literal["cpu", "wall"] = asked.clock or ("cpu" if does_work([*first.values()]) else "wall")
    apart = partial(measure, file=file, name=name, loops=own.loops, values=turns(own))
    beside = partial(benchmark_pair, file=file, name=name, loops=own.loops, values=turns(own), bound=clock == "cpu")
    sharing = Sharing(
        both, lambda side, seed: apart(side, seed=seed), None if asked.apart else lambda sides, seed: beside(sides, seed=seed)
    )
    series = Series(name=f"{file.as_posix()}::{name}", measure=sharing.pair, clock=clock, quantity=asked.quantity)
    return Subject(series, work_of(both["base"], file, name, own), sharing)


def work_of(side: Side, file: Path, name: str, first: Value) -> Work:
    """How to run a benchmark under a profiler, by what one value of it said."""
    loop_ns = max(first.wall_ns * first.loops, 1.0)
    values = max(int(PROFILE_LEAST_NS / loop_ns), 3)
    few = min(max(int(TRACE_NS / max(first.wall_ns, 1.0)), 1), first.loops)

    def argv(loops: int, values: int) -> list[str]:
        spec = msgspec.json.encode({"loops": loops, "values": values, "least_ns": 1, "warmup_ns": 0}).decode()
        return [str(side.python), "-c", _RUN_WORKER, str(WORKER), "run", str(file), name, spec]

    return Work(argv(first.loops, values), values * first.loops, argv(few, 1), few)


def _refuse_outside(side: Side, wrong: Mapping[str, str]) -> None:
    if wrong:
        module, path = next(iter(wrong.items()))
        raise UsageError(
            f"side {side.name} would run code that is not its own",
            cause=f"module `{module}` comes from {path}, outside of {side.tree}",
            fix="name its source folder in pyproject.toml ([tool.setuptools.packages.find] where), or give each side an environment of its "
            "own by `--base-python` and `--new-python`",
        )


def interpreter(python: Path | None) -> Path:
    """The Python that benchmarks run with: as named, else $VIRTUAL_ENV's, else proftool's own."""
    from proftool.launch.targets import resolve

    return inspect(resolve([], code="pass", python=python).python).executable
