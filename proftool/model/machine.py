"""Was the machine equally fast for both sides? What the speed probes around the runs, and the order of the runs in time, say of it.

A witness of its own beside the functions: where the program's functions cannot tell a slower machine from a slower program, because one of
them has most of the time, only the probe can. It is a coarse one. Measured on a shared two-core machine: while the program's speed stayed
within 15 % the probe of ten milliseconds differed from it by 7 % (root mean square over five runs a side), so a small change of the
probe says nothing; when the program ran 1.65 times slower for minutes, the probe followed to within 5 to 10 %.
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


def machine(profiles: Sequence[Profile], n_base: int, mode: str) -> Machine:
    """What is known of the machine's speed from the passes of a mode; base runs come first."""
    levels, times = _levels(profiles, mode), _times(profiles, mode)
    n_new = len(profiles) - n_base
    in_turn = times is not None and min(n_base, n_new) > 1 and _in_turn(times, n_base)
    own = ONE_RUN_SD**2 * (1 / n_base + 1 / n_new)
    if levels is None:
        return Machine(probed=None, shift=0.0, sd=float(np.sqrt(IN_TURN_SD**2 + own)) if in_turn else UNKNOWN_SD, in_turn=in_turn)
    probed = float(np.median(levels[n_base:]) - np.median(levels[:n_base]))
    believed = probed**4 / (probed**4 + PROBE_NOISE**4)
    steady = IN_TURN_SD if in_turn else STEADY_SD
    return Machine(probed=probed, shift=believed * probed, sd=float(np.sqrt((steady + SHIFTED_SD * believed) ** 2 + own)), in_turn=in_turn)


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


def _times(profiles: Sequence[Profile], mode: str) -> NDArray[np.float64] | None:
    started = [next((p.started_ns for p in profile.meta.passes if not mode or p.mode == mode), None) for profile in profiles]
    if any(value is None for value in started):
        return None
    return np.array([value - min(v for v in started if v is not None) for value in started if value is not None], np.float64)


def _in_turn(times: NDArray[np.float64], n_base: int) -> bool:
    spread = float(times.std())
    return spread > 0 and abs(float(times[n_base:].mean() - times[:n_base].mean())) < INTERLEAVED * spread
