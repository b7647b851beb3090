"""Was the machine equally fast for both sides? What the speed probes around the runs, and the order of the runs in time, say of it.

A witness of its own beside the functions: where the program's functions cannot tell a slower machine from a slower program, because one of
them has most of the time, only the probe can. It is a coarse one. Measured on a shared two-core machine: while the program's speed stayed
within 15 % the probe of ten milliseconds differed from it by 7 % (root mean square over five runs a side), so a small change of the
probe says nothing; when the program ran 1.65 times slower for minutes, the probe followed to within 5 to 10 %. What was measured during
the runs, on the target's processor, is finer: where CPU time varied by 16 to 20 % from run to run, it left 3 to 5 % (slope 1.02 to 1.13).
Rule: swapping the sides mirrors the shift and keeps its uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proftool.model.profile import Profile

UNEXPLAINED = 0.1
"""From here on (natural logarithm) it is said that functions moved together and the probe did not."""
LEAST_SHIFT = 0.03
"""Nobody needs to be told of a machine that was slower by less."""
AGREE = (0.5, 2.0)
"""How far what moved together may be from the probe, as a ratio of logarithms, to be the machine."""
PROBE_NOISE = 0.15
"""A change of the probe (natural logarithm) that is half believed; smaller ones are mostly its own noise, larger ones the machine's."""
STEADY_SD = 0.03
"""How far a machine's speed differs between two sides of several runs of which the probes say that it did not change."""
SHIFTED_SD = 0.06
"""How much less is known where they say that it did."""
WITNESS_SD = 0.045
"""How far a run differs from what was measured beside it: 2.8 to 4.7 % in six series of 25 runs of three programs."""
WITNESSED_SD = 0.015
"""How far two sides do, each of many runs."""
ONE_RUN_SD = 0.05
"""How far the speed differs from run to run."""
IN_TURN_SD = 0.015
"""The same where the sides were recorded in turn."""
UNKNOWN_SD = 0.35
"""Where no run was probed."""
INTERLEAVED = 0.5
"""Sides were recorded in turn where their mean times differ by less than this part of a standard deviation of all times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How much slower the machine was for the new side, as natural logarithms."""

    probed: float | None
    """What the probes say, as measured; None where a run has none."""
    shift: float
    """What is believed of that without the functions."""
    sd: float
    """Standard deviation of what is believed."""
    in_turn: bool
    """The sides were recorded in turn, so that a drifting machine met both alike."""
    beside: NDArray[np.float64] | None = None
    """How much slower than their mean it was for each run, as far as that is believed; None where it was not measured during every run."""


def machine(profiles: Sequence[Profile], n_base: int, mode: str) -> Machine:
    """What is known of the machine's speed from the passes of a mode; base runs come first."""
    levels, times = _levels(profiles, mode), _times(profiles, mode)
    n_new = len(profiles) - n_base
    in_turn = times is not None and min(n_base, n_new) > 1 and _in_turn(times, n_base)
    runs = 1 / n_base + 1 / n_new
    own = ONE_RUN_SD**2 * runs
    if (beside := _beside(profiles, mode)) is not None:
        probed = _moved(beside, n_base)
        beside = _believed(beside, n_base)
        steady = IN_TURN_SD if in_turn else WITNESSED_SD
        return Machine(
            probed=probed, shift=_moved(beside, n_base), sd=float(np.sqrt(steady**2 + WITNESS_SD**2 * runs)), in_turn=in_turn, beside=beside
        )
    if levels is None:
        return Machine(probed=None, shift=0.0, sd=float(np.sqrt(IN_TURN_SD**2 + own)) if in_turn else UNKNOWN_SD, in_turn=in_turn)
    probed = float(np.median(levels[n_base:]) - np.median(levels[:n_base]))
    believed = probed**4 / (probed**4 + PROBE_NOISE**4)
    steady = IN_TURN_SD if in_turn else STEADY_SD
    return Machine(probed=probed, shift=believed * probed, sd=float(np.sqrt((steady + SHIFTED_SD * believed) ** 2 + own)), in_turn=in_turn)


def _believed(levels: NDArray[np.float64], n_base: int) -> NDArray[np.float64]:
    """What is off by so much a run says nothing of runs, and of sides, that differ by less."""
    sides, noise = (levels[:n_base], levels[n_base:]), WITNESS_SD**2
    within = sum(float(((side - side.mean()) ** 2).sum()) for side in sides) / max(len(levels) - 2, 1)
    of_runs = max(0.0, 1 - noise / max(within, 1e-12))
    moved = _moved(levels, n_base)
    of_sides = moved**2 / (moved**2 + noise * sum(1 / len(side) for side in sides))
    centred = np.concatenate([of_runs * (side - side.mean()) for side in sides])
    centred[:n_base] -= of_sides * moved / 2
    centred[n_base:] += of_sides * moved / 2
    return centred


def _moved(levels: NDArray[np.float64], n_base: int) -> float:
    return float(levels[n_base:].mean() - levels[:n_base].mean())


def _levels(profiles: Sequence[Profile], mode: str) -> NDArray[np.float64] | None:
    """Logarithm of each run's probe, the mean of before and after; None where one has none."""
    found: list[float] = []
    for profile in profiles:
        probes = [
            v for p in profile.meta.passes if p.speed and (not mode or p.mode == mode) for v in (p.speed.before_ns, p.speed.after_ns) if v
        ]
        if not probes:
            return None
        found.append(float(np.mean(np.log(probes))))
    return np.array(found)


def _beside(profiles: Sequence[Profile], mode: str) -> NDArray[np.float64] | None:
    """Logarithm of what was measured during each run; None where one has nothing."""
    found: list[float] = []
    for profile in profiles:
        parts = [p.speed.during_ns for p in profile.meta.passes if p.speed and p.speed.during_ns and (not mode or p.mode == mode)]
        if not parts:
            return None
        found.append(float(np.mean(np.log(parts))))
    return np.array(found)


def _times(profiles: Sequence[Profile], mode: str) -> NDArray[np.float64] | None:
    started = [next((p.started_ns for p in profile.meta.passes if not mode or p.mode == mode), None) for profile in profiles]
    if any(value is None for value in started):
        return None
    return np.array([value - min(v for v in started if v is not None) for value in started if value is not None], np.float64)


def _in_turn(times: NDArray[np.float64], n_base: int) -> bool:
    spread = float(times.std())
    return spread > 0 and abs(float(times[n_base:].mean() - times[:n_base].mean())) < INTERLEAVED * spread
