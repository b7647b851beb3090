"""The two processes of a pair share one processor, so that a machine whose speed wanders meets both alike.

A shared machine changes its speed by tens of percent within a second (neighbours, hyper-threads, frequency), and two processes that run one
after the other meet different machines. Measured on two cores of a cloud machine, identical programs: the logarithm of the ratio
of a pair has a standard deviation of 0.25 one after the other, and of 0.012 on one processor together.

A benchmark's two processes start and warm up at the same time; then they take turns of a few milliseconds in random order, never both at
once, and turn k of one side stands against turn k of the other. Two runs of a command share the processor by the kernel's own time slices,
the shorter one with the smaller share, and are judged by CPU time; one that waits, or that uses several processors, is run one after the
other instead.

Near it: "duet benchmarking" (Bulej et al., ICPE 2020) runs both at the same time on two processors; "randomized multiple interleaved
trials" (Abedi & Brecht, ICPE 2017) takes turns of whole runs.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from proftool.bench.pairs import SideName
from proftool.bench.processes import WARM_UP_NS, Running, Side, Value, command_value, value_of, worker_answer
from proftool.errors import BackendFailed

TURNS_NS = 250_000_000
"""How long all turns of one process take together."""
TURN_NS = 4_000_000
"""A turn lasts at least this long: shorter ones begin with the caches of the other side, longer ones meet another machine."""
FEWEST_TURNS, MOST_TURNS = 5, 60
MOST_LEVELS = 19
"""Of niceness."""
SINGLE = 1.15
"""CPU time by wall time up to which a command is taken to use one processor."""
Alone = Callable[[Side, int], Value]
"""(side, hash seed) -> one value."""
Beside = Callable[[tuple[Side, Side], int], tuple[Value, Value]]
"""(two sides in the order of their start, hash seed) -> one value of each."""


def processors() -> list[int]:
    """Those that a process may be bound to; empty where the system binds none (macOS)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def turns(first: Value) -> int:
    """How many turns a process takes, by what one value of it said."""
    return max(FEWEST_TURNS, min(round(TURNS_NS / max(first.wall_ns * first.loops, 1.0)), MOST_TURNS))


def benchmark_pair(
    sides: tuple[Side, Side], file: Path, name: str, *, seed: int, loops: int, values: int, bound: bool, warmup_ns: int = WARM_UP_NS
) -> tuple[Value, Value]:
    """
    One pair of a benchmark: two fresh processes that take turns.

    Args:
        values: number of turns of each.
        bound: on one processor, chosen by the seed; right for what computes.
    """
    places = processors()
    order = random.Random(seed)
    with contextlib.ExitStack() as open_:
        two: list[_Taker] = []
        for side in sides:
            spec: dict[str, object] = {
                "loops": loops,
                "values": values,
                "least_ns": TURN_NS,
                "warmup_ns": warmup_ns,
                "root": str(side.tree),
            }
            if bound and places:
                spec["processor"] = places[seed % len(places)]
            two.append(open_.enter_context(_taker(side, ["run", str(side.root / file), name], spec, seed)))
        while asking := [one for one in two if one.asks()]:
            order.shuffle(asking)
            for one in asking:
                one.grant()
                one.asks()
        first, second = (one.value() for one in two)
    return first, second


class _Taker:
    """A worker that asks before each turn, `r`, and says when it needs no more, `e`."""

    def __init__(self, process: Running, side: Side, arguments: Sequence[str], asked: int, granted: int) -> None:
        self._process, self._side, self._arguments, self._asked, self._granted = process, side, arguments, asked, granted
        self._state: Literal["working", "asking", "ended"] = "working"

    def asks(self) -> bool:
        """Wait until it asks for a turn (True) or needs no more."""
        while self._state == "working":
            if select.select([self._asked], [], [], 0.5)[0]:
                self._state = "asking" if os.read(self._asked, 1) == b"r" else "ended"
            elif self._process.ended():  # a child that it left behind may hold the other end of the pipe open
                self._state = "ended"
        return self._state == "asking"

    def grant(self) -> None:
        """It may take a turn."""
        self._state = "working"
        with contextlib.suppress(BrokenPipeError):  # it died while it waited: `asks` finds the end
            os.write(self._granted, b"g")

    def value(self) -> Value:
        """What it measured."""
        return value_of(worker_answer(self._process, self._side, self._arguments), in_turns=True)


@contextlib.contextmanager
def _taker(side: Side, arguments: Sequence[str], spec: Mapping[str, object], seed: int) -> Generator[_Taker]:
    asked, ask = os.pipe()
    grant, granted = os.pipe()
    theirs = [grant, ask]
    try:
        told = msgspec.json.encode({**spec, "turns": theirs}).decode()
        with Running.of_worker(side, [*arguments, told], seed, more=theirs) as process:
            while theirs:
                os.close(theirs.pop())
            yield _Taker(process, side, arguments, asked, granted)
    finally:
        for descriptor in (asked, granted, *theirs):
            os.close(descriptor)


def is_single(first: Sequence[Value]) -> bool:
    """Does a command that computes use one processor, so that two of them can share it?"""
    return bool(processors()) and all(value.cpu_ns <= SINGLE * value.wall_ns for value in first)


def command_pair(
    sides: tuple[Side, Side], words: tuple[Sequence[str], Sequence[str]], *, seed: int, levels: tuple[int, int] = (0, 0)
) -> tuple[Value, Value]:
    """
    Two runs of a command at the same time on one processor, chosen by the seed.

    Args:
        levels: how many levels of niceness either yields to the other.
    """
    places = processors()
    with contextlib.ExitStack() as open_:
        two = [
            open_.enter_context(Running.of_command(side, own, seed, processor=places[seed % len(places)], levels=level))
            for side, own, level in zip(sides, words, levels, strict=True)
        ]
        first, second = (command_value(one, side, own) for one, side, own in zip(two, sides, words, strict=True))
    return first, second


class Commands:
    """
    Pairs of runs of a command whose shorter one yields, so that both end at about the same time.

    What the longer one does after the other's end it does on another machine. Measured on programs that differ by 60 %: the logarithm of
    the ratio has a deviation of 0.06 to 0.13 when both have the same share of the processor, of 0.013 to 0.03 when the shorter yields.
    """

    def __init__(self, words: Callable[[Side], Sequence[str]], sides: tuple[Side, Side], first: Sequence[Value]) -> None:
        """`first`: one run of each of the sides, by which the first pair goes; later ones go by the pairs before."""
        self._words, self._sides = words, sides
        self._guess = _log_of(first[0], first[1])
        self._seen: list[float] = []

    def pair(self, sides: tuple[Side, Side], seed: int) -> tuple[Value, Value]:
        """One more pair."""
        turned = 0.0 if sides[0] is sides[1] else 1.0 if sides[0] is self._sides[0] else -1.0
        expected = statistics.median(self._seen) if self._seen else self._guess
        two = command_pair(sides, (self._words(sides[0]), self._words(sides[1])), seed=seed, levels=levels(turned * expected))
        if turned:
            self._seen.append(turned * _log_of(*two))
        return two


def _log_of(one: Value, other: Value) -> float:
    return math.log(max(other.cpu_ns, 1.0) / max(one.cpu_ns, 1.0))


def levels(expected: float) -> tuple[int, int]:
    """How far the shorter of two yields, by log(second / first) of their times; a level takes a fifth of its share (`sched(7)`)."""
    steps = min(round(abs(expected) / math.log(1.25)), MOST_LEVELS)
    return (steps, 0) if expected > 0 else (0, steps)


class Sharing:
    """How the pairs of one benchmark or command are measured: beside each other as long as they bear it, else one after the other."""

    def __init__(self, both: Mapping[SideName, Side], apart: Alone, beside: Beside | None) -> None:
        self._both, self._apart, self._beside = both, apart, beside
        self.failed: str | None = None
        """What went wrong beside each other, and did not one after the other."""

    @property
    def is_beside(self) -> bool:
        """Do the two share a processor or take turns?"""
        return self._beside is not None

    def pair(self, names: tuple[SideName, SideName], seed: int) -> tuple[Value, Value]:
        """
        One value of each side.

        What fails beside its like (a port, a lock, a file of one name) and not by itself is run one after the other from then on.
        """
        sides = self._both[names[0]], self._both[names[1]]
        failed: BackendFailed | None = None
        if self._beside is not None:
            try:
                return self._beside(sides, seed)
            except BackendFailed as problem:
                failed = problem
        found = self._apart(sides[0], seed), self._apart(sides[1], seed)
        if failed is not None:
            self._beside, self.failed = None, failed.what
        return found
