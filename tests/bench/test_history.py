"""Change points and history: planted steps are found where they are, drift-free noise has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from proftool.bench.changepoints import change_points
from proftool.bench.history import add, load, machine
from proftool.bench.measured import Measured
from proftool.workflows.bench_history import document, lines


def test_noise_alone_has_no_change_point() -> None:
    """Of 100 series of 40 values with 5 % noise at most 5 show a change (level 1 %)."""
    alarms = sum(bool(change_points(np.random.default_rng(seed).normal(100, 5, 40))) for seed in range(100))
    assert alarms <= 5


def test_planted_steps_are_found_in_their_places() -> None:
    """+30 % at 20 and back at 35, under 5 % noise with two wild values: both, within one place, in nearly every series."""
    found = 0
    for seed in range(20):
        values = np.random.default_rng(seed).normal(100, 5, 60)
        values[20:35] *= 1.3
        values[[7, 50]] *= 3
        places = change_points(values)
        found += len(places) == 2 and abs(places[0] - 20) <= 1 and abs(places[1] - 35) <= 1
    assert found >= 17


def test_sessions_of_this_machine_become_a_series(tmp_path: Path) -> None:
    """Twelve sessions with a step; a torn line is passed over, another Python's sessions are not mixed in."""
    for at in range(12):
        level = 1e6 if at < 6 else 1.5e6
        row = Measured(name="b.py::bench_it", clock="cpu", values_ns=np.array([level, level * 1.01, level * 0.99]))
        add(tmp_path, [row], at=f"2026-01-{at + 1:02}T00:00:00", commit=f"{at:040x}", dirty=False, python_version="CPython 3.12.1")
    with (tmp_path / "benchmarks" / f"{machine('CPython 3.12.1')}.jsonl").open("ab") as file:
        file.write(b'{"at": "2026')
    (series,) = load(tmp_path, "CPython 3.12.1", ["bench_it"])
    assert len(series.points) == 12
    (change,) = series.changes
    assert change.point.commit == f"{6:040x}"
    assert abs(change.ratio - 1.5) < 0.01
    assert load(tmp_path, "CPython 3.13.0") == []


def test_two_series_of_one_name_say_their_clock(tmp_path: Path) -> None:
    """A benchmark that waited once and computed later has two lines, which the clock tells apart."""
    for clock in ("wall", "cpu"):
        row = Measured(name="b.py::bench_it", clock=clock, values_ns=np.full(3, 1e6))
        add(tmp_path, [row], at="2026-01-01T00:00:00", commit=None, dirty=None, python_version="CPython 3.12.1")
    found = load(tmp_path, "CPython 3.12.1")
    assert [line.rpartition(", ")[2] for line in lines(found)] == ["wall time", "cpu time"]
    told = document(found)["benchmarks"]
    assert isinstance(told, list)
    assert [row["metric"] for row in told] == ["wall_time", "cpu_time"]
