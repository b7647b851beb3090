"""What the probes and the order of runs say of the machine."""

from __future__ import annotations

import numpy as np
import pytest
from model.sides import sampled

from proftool.model.machine import STEADY_SD, UNKNOWN_SD, machine
from proftool.model.profile import Profile

SECOND_NS = 10**9


def runs(*speeds: float, times: list[int] | None = None, beside_sd: float | None = None) -> list[Profile]:
    """A run on each machine."""
    rng = np.random.default_rng(1)
    return [
        sampled(rng, n_samples=20, machine=s, started_ns=times[at] * SECOND_NS if times else None, beside_sd=beside_sd)
        for at, s in enumerate(speeds)
    ]


def test_a_small_change_of_the_probe_is_its_own_noise() -> None:
    """Five percent are hardly believed."""
    told = machine(runs(*[1.0] * 5, *[1.05] * 5), 5, "sample")
    assert told.probed is not None
    assert abs(told.shift) < 0.02


def test_a_large_change_of_the_probe_is_the_machine() -> None:
    """1.65 times slower is believed, and with more doubt than none."""
    told, still = machine(runs(*[1.0] * 5, *[1.65] * 5), 5, "sample"), machine(runs(*[1.0] * 10), 5, "sample")
    assert told.shift == pytest.approx(np.log(1.65), abs=0.08)
    assert told.sd > still.sd >= STEADY_SD


def test_what_was_measured_during_the_runs_is_trusted_more() -> None:
    """A machine that became 1.25 times slower is known to a third of the doubt that probes before and after leave."""
    speeds = (*[1.0] * 5, *[1.25] * 5)
    around, during = (machine(runs(*speeds, beside_sd=sd), 5, "sample") for sd in (None, 0.06))
    assert during.shift == pytest.approx(np.log(1.25), abs=0.06)
    assert during.sd < 0.6 * around.sd


def test_a_run_that_nobody_measured_beside_leaves_the_probes_around_all() -> None:
    """Both sides are judged by the same kind of measurement: that of another kind is longer or shorter."""
    some = [*runs(*[1.0] * 4, beside_sd=0.06), *runs(*[1.0] * 4)]
    assert machine(some, 4, "sample").probed == pytest.approx(0.0, abs=0.2)


def test_sides_swapped_mirror_the_shift() -> None:
    """And leave the doubt as it is."""
    sides = runs(*[1.0] * 4, *[1.3] * 4)
    there, back = machine(sides, 4, "sample"), machine([*sides[4:], *sides[:4]], 4, "sample")
    assert (there.shift, there.sd) == pytest.approx((-back.shift, back.sd))


def test_sides_recorded_in_turn_are_trusted_more() -> None:
    """A drift meets both alike; one side after the other it does not."""
    turn, after = [0, 3, 4, 7, 1, 2, 5, 6], [0, 1, 2, 3, 4, 5, 6, 7]
    in_turn, one_by_one = (machine(runs(*[1.0] * 8, times=times), 4, "sample") for times in (turn, after))
    assert in_turn.in_turn
    assert not one_by_one.in_turn
    assert in_turn.sd < one_by_one.sd


def test_runs_without_a_probe_say_nothing() -> None:
    """An import has none."""
    rng = np.random.default_rng(1)
    told = machine([sampled(rng, n_samples=20), sampled(rng, n_samples=20)], 1, "sample")
    assert (told.probed, told.shift, told.sd) == (None, 0.0, UNKNOWN_SD)
