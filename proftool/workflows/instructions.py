"""`bench --instructions` and `ab --instructions`: the same benchmarks and commands, counted instead of timed.

Each side is counted several times: what the counts differ by is the noise that a difference must pass, at least `FLOOR`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proftool.bench import checkouts
from proftool.bench.instructions import N_CALLS_NS, count, count_benchmark, counter
from proftool.bench.measured import Measured
from proftool.bench.processes import Side, discover, measure
from proftool.errors import UsageError
from proftool.units import Unit, people
from proftool.workflows.bench import Asked, Say, here, subjects, words_of

N_COUNTS = 2
FLOOR = 0.002
"""Relative changes below it are the same: counts of identical runs differ by up to 0.05 % (garbage collection, the time of day)."""
NOISE_FACTOR = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One benchmark on both sides; instructions per call."""

    name: str
    base: tuple[float, ...]
    new: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """new / base of the medians."""
        return float(np.median(self.new) / np.median(self.base))

    @property
    def noise(self) -> float:
        """By how much counts of one side differ, relative."""
        return max((max(side) - min(side)) / float(np.median(side)) for side in (self.base, self.new))

    @property
    def limit(self) -> float:
        """The relative change that is called one."""
        return max(FLOOR, NOISE_FACTOR * self.noise)

    @property
    def verdict(self) -> str:
        """Slower means more instructions."""
        change = self.ratio - 1
        if abs(change) > self.limit:
            return "slower" if change > 0 else "faster"
        return "same" if self.limit <= 5 * FLOOR else "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What `ab --instructions` found."""

    base: str
    new: str
    by: str
    rows: tuple[Counted, ...]

    @property
    def exit_status(self) -> int:
        """0 nothing needs more instructions, 1 something does, 10 undecided."""
        verdicts = {row.verdict for row in self.rows}
        return 1 if "slower" in verdicts else 10 if "inconclusive" in verdicts else 0


def bench(paths: Sequence[Path], command: Sequence[str] | None, *, python: Path, say: Say) -> list[Measured]:
    """Instructions per call of every benchmark, or per run of the command."""
    by, side = counter(), here(python)
    rows: list[Measured] = []
    for name, counts in _counters(paths, command, side, say).items():
        values = np.array([counts(side) for _ in range(N_COUNTS)])
        rows.append(Measured(name=name, clock="instructions", values_ns=values, metadata={"counter": by.name}))
    return rows


def _counters(paths: Sequence[Path], command: Sequence[str] | None, side: Side, say: Say) -> dict[str, Callable[[Side], float]]:
    if command:
        words = words_of(command, side)
        return {
            " ".join(command): lambda own: float(count(own, [str(own.python) if words[0] == str(side.python) else words[0], *words[1:]]))
        }
    discovered = discover(paths or [Path()], side)
    if discovered.failed:
        raise next(iter(discovered.failed.values()))
    found = discovered.benchmarks
    if not found:
        raise UsageError("no benchmarks found", cause="no function named `bench_*` in files named `bench_*.py`", fix="name a file")
    made: dict[str, Callable[[Side], float]] = {}
    for file, name in found:
        first = measure(side, file, name, seed=1, values=1, least_ns=1_000_000, warmup_ns=10_000_000)
        calls = max(int(N_CALLS_NS / max(first.wall_ns, 1.0)), 1)

        def counted(own: Side, file: Path = file, name: str = name, calls: int = calls) -> float:
            say(f"counting {name} on {own.name}")
            return count_benchmark(own, file, name, calls)

        made[f"{file.as_posix()}::{name}"] = counted
    return made


def ab(asked: Asked, *, say: Say) -> Answer:
    """Count both sides."""
    by = counter()
    with checkouts.sides(Path.cwd(), asked.base, asked.head, settings=asked.settings, carry=asked.carry, build=asked.build) as (old, new):
        subjects(asked, {"base": old, "new": new})  # refuses a side that would run the other's code
        counters = _counters(asked.paths, asked.command, old, say)
        rows: list[Counted] = []
        for name, counted in counters.items():
            pairs = [(counted(old), counted(new)) for _ in range(N_COUNTS)]
            rows.append(Counted(name=name, base=tuple(pair[0] for pair in pairs), new=tuple(pair[1] for pair in pairs)))
    return Answer(base=old.name, new=new.name, by=by.name, rows=tuple(rows))


def document(answer: Answer) -> dict[str, object]:
    """The answer as `proftool.bench/1`; there are no timed pairs, so no null control and no p."""
    return {
        "schema": "proftool.bench/1",
        "base": answer.base,
        "new": answer.new,
        "benchmarks": [
            {
                "name": row.name,
                "metric": "instructions",
                "unit": "count",
                "base": {"median": float(np.median(row.base)), "n": len(row.base), "values": list(row.base)},
                "new": {"median": float(np.median(row.new)), "n": len(row.new), "values": list(row.new)},
                "ratio": {"estimate": row.ratio, "low": row.ratio - row.noise, "high": row.ratio + row.noise},
                "p": None,
                "verdict": row.verdict,
                "mde": row.limit,
                "causes": [],
            }
            for row in answer.rows
        ],
        "null_control": None,
        "counter": answer.by,
    }


def lines(answer: Answer) -> list[str]:
    """A line a benchmark."""
    told = [f"  {answer.base} ↔ {answer.new}   CPU instructions by {answer.by}, not time"]
    for row in answer.rows:
        counts = f"{people(float(np.median(row.base)), Unit.COUNT)} → {people(float(np.median(row.new)), Unit.COUNT)}"
        told.append(f"  {row.verdict.upper():<12} {(row.ratio - 1) * 100:+.3f} %  ±{row.noise * 100:.3f}   {counts}   {row.name}")
    return told
