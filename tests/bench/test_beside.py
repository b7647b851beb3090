"""The two processes of a pair share the machine: in turns, on one processor, and one after the other where they do not bear each other."""

from __future__ import annotations

import json
import math
import os
import random
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from proftool.bench import beside
from proftool.bench.beside import Commands, Sharing, benchmark_pair, command_pair, is_single, levels, processors, turns
from proftool.bench.pairs import Measure, Plan, Series, SideName, compare
from proftool.bench.processes import Side, Value, measure, measure_command
from proftool.bench.statistics import Verdict
from proftool.errors import BackendFailed

binds = pytest.mark.skipif(not processors(), reason="this system binds no process to a processor")

SUBJECT = """import json, os, sys, time
def bench_work():
    begin = time.perf_counter_ns()
    sum(range(20_000))
    row = {"begin": begin, "end": time.perf_counter_ns(), "on": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []}
    with open(f"{os.getpid()}.rows", "a") as file:
        print(json.dumps(row), file=file)
def bench_broken():
    raise ValueError("my own")
"""
TESTS = """def test_rounds(benchmark):
    benchmark.pedantic(sum, args=(range(1000),), rounds=7)
"""
LOCKED = """import fcntl, time
file = open("lock", "w")
fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
"""
N_TURNS = 6


@pytest.fixture
def side(tmp_path: Path) -> Side:
    """A folder with benchmarks."""
    (tmp_path / "bench_it.py").write_text(SUBJECT)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "locked.py").write_text(LOCKED)
    return Side(name="here", root=tmp_path, python=Path(sys.executable))


def rows(side: Side) -> list[list[dict[str, int]]]:
    """What the timed calls of each process wrote down."""
    return [[json.loads(line) for line in file.read_text().splitlines()][-N_TURNS:] for file in side.root.glob("*.rows")]


def test_two_processes_take_turns(side: Side) -> None:
    """No timed call of one meets a timed call of the other, and before either has its next turn the other has had this one."""
    pair = benchmark_pair((side, side), Path("bench_it.py"), "bench_work", seed=5, loops=1, values=N_TURNS, bound=False)
    assert [value.turns for value in pair] == [N_TURNS, N_TURNS]
    both = rows(side)
    assert len(both) == 2
    calls = sorted((row["begin"], row["end"], who) for who, own in enumerate(both) for row in own)
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(calls))
    assert all({calls[at][2], calls[at + 1][2]} == {0, 1} for at in range(0, len(calls), 2))


@binds
def test_what_computes_is_bound_to_one_processor(side: Side) -> None:
    """The timed calls of both are, the seed says to which; a benchmark that waits is left free."""
    benchmark_pair((side, side), Path("bench_it.py"), "bench_work", seed=5, loops=1, values=N_TURNS, bound=True)
    places = processors()
    assert {tuple(row["on"]) for own in rows(side) for row in own} == {(places[5 % len(places)],)}  # type: ignore[arg-type]


@binds
def test_two_runs_of_a_command_share_a_processor(side: Side) -> None:
    """Each is bound to it, and is charged with its own processor time alone."""
    program = (
        "import os, time\nassert len(os.sched_getaffinity(0)) == 1\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
    )
    words = [[sys.executable, "-c", program.format(seconds)] for seconds in (0.2, 0.6)]
    short, long = command_pair((side, side), (words[0], words[1]), seed=1)
    assert 0.2e9 <= short.cpu_ns < long.cpu_ns
    assert long.cpu_ns >= 0.6e9


def test_the_shorter_of_two_runs_yields(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work of 0.2 s and 0.8 s beside each other: by a guess and by the pairs before, whichever is started first."""
    other = replace(side, name="other")
    cpu_ns = {"here": 0.2e9, "other": 0.8e9}
    asked: list[dict[str, int]] = []

    def ran(sides: tuple[Side, Side], words: object, *, seed: int, levels: tuple[int, int]) -> tuple[Value, Value]:
        asked.append(dict(zip([one.name for one in sides], levels, strict=True)))
        first, second = (Value(cpu_ns=cpu_ns[one.name], wall_ns=1e9, loops=1, peak_bytes=1, involuntary_switches=0) for one in sides)
        return first, second

    monkeypatch.setattr(beside, "command_pair", ran)
    equals = [Value(cpu_ns=1e9, wall_ns=1e9, loops=1, peak_bytes=1, involuntary_switches=0)] * 2
    commands = Commands(lambda _: [], (side, other), equals)
    seen = commands.pair((side, other), 1)
    assert asked.pop() == {"here": 0, "other": 0}
    guessed = Commands(lambda _: [], (side, other), seen)
    for by, sides in ((commands, (other, side)), (commands, (side, other)), (guessed, (other, side))):
        by.pair(sides, 1)
        assert asked.pop() == {"here": 6, "other": 0}  # a level takes a fifth: 1.25 ** 6 = 3.8 of the 4 that they differ by


@binds
def test_who_yields_runs_at_so_many_levels_less(side: Side) -> None:
    """The kernel is told, for the one that yields and for it alone."""
    before = os.nice(0)
    words = [[sys.executable, "-c", f"import os; open({name!r}, 'w').write(str(os.nice(0)))"] for name in ("first", "second")]
    command_pair((side, side), (words[0], words[1]), seed=1, levels=(6, 0))
    assert [int((side.root / name).read_text()) for name in ("first", "second")] == [min(before + 6, 19), before]


def test_how_far_the_shorter_yields() -> None:
    """By levels of a quarter; equals do not, nor do those that differ by less than a half of a level; there are 19 levels."""
    assert [levels(math.log(ratio)) for ratio in (1.0, 1.1, 1.25, 1.6, 0.625, 1e9)] == [(0, 0), (0, 0), (1, 0), (2, 0), (0, 2), (19, 0)]


@binds
def test_what_fails_beside_its_like_is_run_one_after_the_other(side: Side) -> None:
    """A program that holds a lock file fails beside itself: from then on its runs stand alone, and what failed is told."""
    words = [sys.executable, "locked.py"]
    both: dict[SideName, Side] = {"base": side, "new": side}
    sharing = Sharing(
        both,
        lambda one, seed: measure_command(one, words, seed=seed),
        lambda sides, seed: command_pair(sides, (words, words), seed=seed),
    )
    assert sharing.is_beside
    pair = sharing.pair(("base", "new"), 1)
    assert all(value.cpu_ns >= 0.5e9 for value in pair)
    assert not sharing.is_beside
    assert "locked.py" in (sharing.failed or "")


def test_a_failing_benchmark_says_what_it_said(side: Side) -> None:
    """Its own error reaches the user, not that of the other, which lost its partner."""
    with pytest.raises(BackendFailed) as told:
        benchmark_pair((side, side), Path("bench_it.py"), "bench_broken", seed=1, loops=1, values=5, bound=False)
    assert "my own" in told.value.cause


def test_a_test_that_says_how_many_rounds_takes_as_many_turns(side: Side) -> None:
    """`pedantic(rounds=7)` is 7 turns, whatever was asked for."""
    pair = benchmark_pair((side, side), Path("test_it.py"), "test_rounds", seed=1, loops=1, values=5, bound=False)
    assert [value.turns for value in pair] == [7, 7]


def test_the_number_of_turns_follows_from_how_long_one_lasts(side: Side) -> None:
    """A benchmark of a second has few turns, one of a millisecond many; none has fewer than five."""
    value = measure(side, Path("bench_it.py"), "bench_work", seed=1, loops=1, values=3)
    assert turns(value) == 60
    slow = Value(cpu_ns=1e9, wall_ns=1e9, loops=1, peak_bytes=1, involuntary_switches=0)
    assert turns(slow) == 5
    assert is_single([slow]) == bool(processors())
    assert not is_single([Value(cpu_ns=1.9e9, wall_ns=1e9, loops=1, peak_bytes=1, involuntary_switches=0)])


class TurnMachine:
    """A machine whose speed wanders by tens of percent from turn to turn; the two of a pair meet it in turn k alike, up to `noise`."""

    def __init__(self, seed: int, factor: float, noise: float = 0.05) -> None:
        self.rng, self.factor, self.noise = random.Random(seed), factor, noise

    def pair(self, names: tuple[SideName, SideName], seed: int) -> tuple[Value, Value]:
        speed, found = [1.0], list[Value]()
        for _ in range(40):
            speed.append(max(speed[-1] + self.rng.gauss(0, 0.15), 0.3))
        own = [self.rng.gauss(0, 0.005) for _ in names]  # where a process lies in memory
        for name, lucky in zip(names, own, strict=True):
            cost = self.factor if name == "new" else 1.0
            samples = tuple(1e6 * cost * s * (1 + lucky) * (1 + abs(self.rng.gauss(0, self.noise))) for s in speed)
            found.append(
                Value(
                    cpu_ns=sorted(samples)[20], wall_ns=1e6, loops=1, peak_bytes=1, involuntary_switches=0, samples=samples,
                    wall_samples=samples, turns=len(samples),
                )
            )  # fmt: skip
        return found[0], found[1]


def test_turns_find_two_percent_where_the_machine_wanders_by_thirty() -> None:
    """+2 % in 19 of 20 comparisons; the same values, each process for itself, would not tell 2 % from nothing."""
    verdicts = [compare([Series(name="it", measure=TurnMachine(n, 1.02).pair)], Plan(), seed=n)[0][0].verdict for n in range(20)]
    assert verdicts.count(Verdict.SLOWER) >= 19


def test_a_change_is_measured_until_its_interval_is_of_use() -> None:
    """+8 % is sure after ten pairs; with two of them far off, its interval is wider than 8 %, and it goes on to 16."""
    far_off = {"even": (), "odd": (3, 7)}

    def pair_of(name: str) -> Measure:
        machine, done = TurnMachine(3, 1.08), [0]

        def one(names: tuple[SideName, SideName], seed: int) -> tuple[Value, Value]:
            done[0] += names != ("base", "base")
            two = machine.pair(names, seed)
            if done[0] not in far_off[name]:
                return two
            far = [replace(v, samples=tuple(2.0 * s for s in v.samples)) if n == "new" else v for n, v in zip(names, two, strict=True)]
            return far[0], far[1]

        return one

    found = {name: compare([Series(name=name, measure=pair_of(name))], Plan(), seed=3)[0][0] for name in far_off}
    assert {name: answer.verdict for name, answer in found.items()} == {"even": Verdict.SLOWER, "odd": Verdict.SLOWER}
    assert len(found["even"].base_ns) == 10
    assert len(found["odd"].base_ns) > 10
    assert found["odd"].found.high - found["odd"].found.low < 0.08


def test_turns_raise_no_alarm_on_identical_code() -> None:
    """100 comparisons of the same: at most 3 are called a change, and most are called the same."""
    verdicts = [compare([Series(name="it", measure=TurnMachine(n, 1.0).pair)], Plan(), seed=n)[0][0].verdict for n in range(100)]
    assert sum(v in (Verdict.SLOWER, Verdict.FASTER) for v in verdicts) <= 3
    assert verdicts.count(Verdict.SAME) >= 80


def test_each_side_is_first_as_often() -> None:
    """Of two pairs one begins with either side, in an order that is random."""
    firsts: list[SideName] = []

    def pair(names: tuple[SideName, SideName], seed: int) -> tuple[Value, Value]:
        firsts.append(names[0])
        own = Value(cpu_ns=1e6, wall_ns=1e6, loops=1, peak_bytes=1, involuntary_switches=0)
        return own, own

    series, order = Series(name="it", measure=pair), random.Random(3)
    for _ in range(40):
        series.pair(order)
    assert all({firsts[at], firsts[at + 1]} == {"base", "new"} for at in range(0, 40, 2))
    assert len({tuple(firsts[at : at + 2]) for at in range(0, 40, 2)}) == 2
