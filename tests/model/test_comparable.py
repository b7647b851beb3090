"""What may be compared, what is adjusted, what is refused, each with its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from text_profile import profile_from_text

from proftool.model.comparable import choose_metric, judge_comparable
from proftool.model.diff import Comparable
from proftool.model.meta import Meta, Pass
from proftool.model.profile import CALLS, PEAK_BYTES, SAMPLES, WALL_TIME, Metric, Profile

PASS = Pass(mode="sample", backend="pyinstrument", clock="wall", rate_asked_hz=1000.0)


def run(metric: Metric = WALL_TIME, recorded: Pass = PASS, **meta: str) -> Profile:
    """A run of one function."""
    return profile_from_text("main", metric=metric, meta=Meta(passes=(recorded,), **meta))  # pyright: ignore[reportArgumentType]


def test_alike_runs_are_the_same() -> None:
    """Nothing to adjust, no reason."""
    answer = judge_comparable([run()], [run()], None)
    assert (answer.verdict, answer.reasons) == (Comparable.SAME, ())


@pytest.mark.parametrize(
    ("recorded", "told"),
    [
        (replace(PASS, rate_asked_hz=100.0), "sampling rates differ (1000 Hz against 100 Hz)"),
        (replace(PASS, backend="py-spy"), "backends differ"),
        (replace(PASS, features=("native",)), "capture features differ: none against native"),
    ],
)
def test_other_circumstances_are_adjustable(recorded: Pass, told: str) -> None:
    """They are named, and the diff goes on."""
    answer = judge_comparable([run()], [run(recorded=recorded)], None)
    assert answer.verdict is Comparable.ADJUSTABLE
    assert told in answer.reasons[0]


def test_another_python_is_adjustable() -> None:
    """Users compare interpreters on purpose."""
    answer = judge_comparable([run(python="CPython 3.11.7")], [run(python="CPython 3.13.1")], None)
    assert answer.verdict is Comparable.ADJUSTABLE


@pytest.mark.parametrize(
    "other",
    [
        run(metric=PEAK_BYTES, recorded=Pass(mode="memory", backend="memray")),
        run(recorded=replace(PASS, mode="trace")),
        run(recorded=replace(PASS, clock="cpu")),
        run(recorded=replace(PASS, attached=True)),
    ],
)
def test_other_quantities_are_refused(other: Profile) -> None:
    """Another metric, mode, clock or exposure measures something else."""
    answer = judge_comparable([run()], [other], None)
    assert answer.verdict is Comparable.REFUSED
    assert answer.reasons


def test_sample_counts_at_different_rates_are_refused() -> None:
    """Twice the rate is twice the samples, and nothing else."""
    answer = judge_comparable([run(SAMPLES)], [run(SAMPLES, replace(PASS, rate_asked_hz=100.0))], None)
    assert answer.verdict is Comparable.REFUSED


def test_unknown_circumstances_never_refuse() -> None:
    """An imported file knows neither clock nor rate."""
    answer = judge_comparable([run()], [profile_from_text("main", metric=WALL_TIME)], None)
    assert answer.verdict is Comparable.SAME


def test_asked_metric_must_be_on_both_sides() -> None:
    """What one side lacks is not replaced by another metric."""
    assert choose_metric([run()], [run()], "calls") is None
    assert choose_metric([run(CALLS)], [run(CALLS)], None) == "calls"
