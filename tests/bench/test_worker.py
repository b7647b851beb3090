"""Fresh processes: set-up, async, pytest benchmarks, imports, commands and what is told of each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from proftool.bench.measured import Measured
from proftool.bench.processes import Side, discover, measure, measure_command, measure_import
from proftool.errors import BackendFailed

SUBJECT = """import time
def bench_nothing():
    pass
def bench_sort(rows):
    rows.sort()
bench_sort.setup_each = lambda: list(range(20_000, 0, -1))
def bench_sum(rows):
    return sum(rows)
bench_sum.setup = lambda: range(1000)
async def bench_async():
    return 1
def bench_wait():
    time.sleep(0.002)
"""
TESTS = """import pytest
def test_sum(benchmark):
    assert benchmark(sum, [1, 2]) == 3
@pytest.mark.parametrize("n", [10, 10_000])
def test_range(benchmark, n):
    benchmark(lambda: sum(range(n)))
def test_list(benchmark):
    benchmark.pedantic(list.sort, setup=lambda: (([3, 1, 2] * 500,), {}), rounds=4)
def test_other():
    raise AssertionError("is not run")
def test_broken(benchmark):
    benchmark(lambda: 1 / 0)
"""
QUICK = {"values": 3, "least_ns": 1_000_000, "warmup_ns": 5_000_000}


@pytest.fixture
def side(tmp_path: Path) -> Side:
    """A folder with benchmarks of both kinds."""
    (tmp_path / "bench_it.py").write_text(SUBJECT)
    (tmp_path / "test_it.py").write_text(TESTS)
    return Side(name="here", root=tmp_path, python=Path(sys.executable))


def test_the_empty_loop_is_subtracted(side: Side) -> None:
    """A function that does nothing costs a call and no loop: what was subtracted is told, and is not negative."""
    value = measure(side, Path("bench_it.py"), "bench_nothing", seed=1, **QUICK)
    assert 0 < value.overhead_ns[0] <= value.overhead_ns[1]
    assert all(one >= 0 for one in value.samples)
    assert value.warmup_calls > 0


def test_set_up_is_outside_of_the_clock(side: Side) -> None:
    """Each call sorts a list in reverse; sorted again it would be several times as fast, and one loop is one call."""
    value = measure(side, Path("bench_it.py"), "bench_sort", seed=1, **QUICK)
    assert value.loops == 1
    assert value.cpu_ns > 20_000
    assert measure(side, Path("bench_it.py"), "bench_sum", seed=1, **QUICK).loops > 1


def test_what_waits_is_judged_by_wall_time(side: Side) -> None:
    """A sleeping benchmark has wall time and no CPU time to speak of; a computing one the reverse."""
    waits, works = (
        Measured.of(name, [measure(side, Path("bench_it.py"), name, seed=1, **QUICK)] * 3) for name in ("bench_wait", "bench_sum")
    )
    assert (waits.clock, works.clock) == ("wall", "cpu")
    assert waits.median_ns > 1_500_000


def test_tests_with_the_fixture_are_benchmarks(side: Side) -> None:
    """They are listed with their parameters, measured in a worker, and those without the fixture are not run."""
    names = [name for _, name in discover([Path("test_it.py")], side).benchmarks]
    assert names == ["test_sum", "test_range[10]", "test_range[10000]", "test_list", "test_broken"]
    few, many = (measure(side, Path("test_it.py"), f"test_range[{n}]", seed=1, **QUICK).cpu_ns for n in (10, 10_000))
    assert many > 20 * few
    assert len(measure(side, Path("test_it.py"), "test_list", seed=1, **QUICK).samples) == 4


def test_a_failing_test_says_what_it_said(side: Side) -> None:
    """pytest's own account of the failure reaches the error."""
    with pytest.raises(BackendFailed) as told:
        measure(side, Path("test_it.py"), "test_broken", seed=1, **QUICK)
    assert "ZeroDivisionError" in told.value.cause


def test_an_import_is_measured_in_a_fresh_process(side: Side) -> None:
    """A module that computes while it is imported takes that long."""
    (side.root / "heavy.py").write_text("total = sum(range(2_000_000))\n")
    assert measure_import(side, "heavy", seed=1).cpu_ns > 5_000_000


def test_the_peak_of_a_command_is_its_own(side: Side) -> None:
    """A large process that starts a small one is not counted (the kernel keeps the peak over exec); what the command itself takes is."""
    ballast = bytearray(150_000_000)
    small = measure_command(side, [sys.executable, "-c", "pass"], seed=1).peak_bytes
    large = measure_command(side, [sys.executable, "-c", "x = bytearray(80_000_000)"], seed=1).peak_bytes
    assert len(ballast) > 140_000_000
    assert small < 60_000_000 < 80_000_000 <= large
