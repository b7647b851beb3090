"""How far a run can be trusted: good, weak or poor, with a sentence for each reason.

What is not known is said and never counts as bad, but a run of which nothing is known is never good.
"""

from __future__ import annotations

from math import log
from typing import Literal

from proftool.model.meta import Pass, Quality
from proftool.model.profile import Profile

FEW_SAMPLES = 300
TOO_FEW_SAMPLES = 50
LOW_RATE = 0.7
LOAD_PER_CORE = 1.5
STEAL_SHARE = 0.05
SPEED_CHANGE = 0.15
OVERHEAD_SHARE = 0.3
ERROR_SHARE = 0.05


def judge(profile: Profile, *, n_cores: int | None = None) -> Quality:
    """The verdict on a run from its own circumstances; `n_cores` puts the load average into proportion where it is known."""
    poor: list[str] = []
    weak: list[str] = []
    known = False
    told: list[str] = []
    for own in profile.meta.passes:
        if own.rate_kept_hz and own.rate_asked_hz:
            told.append(f"the rate was lowered from {own.rate_asked_hz:.0f} to {own.rate_kept_hz:.0f} Hz to keep to the overhead budget")
        known = _judge_pass(profile, own, n_cores, poor, weak) or known
    if profile.meta.lost:
        weak.extend(profile.meta.lost)
    if profile.meta.reconstructed:
        weak.append("the tree was reconstructed from caller-callee pairs")
    if not len(profile.cells):
        poor.append("nothing was recorded")
    verdict: Literal["good", "weak", "poor"] = "poor" if poor else "weak" if weak or not known else "good"
    reasons = (*poor, *weak, *told) if known else (*poor, *weak, *told, "how it was recorded is not known")
    return Quality(verdict=verdict, reasons=tuple(dict.fromkeys(reasons)))


def _judge_pass(profile: Profile, own: Pass, n_cores: int | None, poor: list[str], weak: list[str]) -> bool:
    """One pass's reasons; False where nothing is known of how it went."""
    if own.mode == "sample" and own.samples is not None:
        if own.samples < TOO_FEW_SAMPLES:
            poor.append(f"only {own.samples} samples: run longer or raise `--rate`")
        elif own.samples < FEW_SAMPLES:
            weak.append(f"few samples ({own.samples}): run longer or raise `--rate`")
    wanted_hz = own.rate_kept_hz or own.rate_asked_hz
    if wanted_hz and own.rate_achieved_hz is not None and own.rate_achieved_hz < LOW_RATE * wanted_hz:
        weak.append(f"{own.rate_achieved_hz:.0f} of {wanted_hz:.0f} samples a second were achieved")
    seen = own.samples or 0
    for count, what in ((own.missed, "samples were missed"), (own.errors, "stacks could not be read")):
        if count and count > ERROR_SHARE * max(seen + count, 1):
            weak.append(f"{count} {what}, of {seen + count}")
    if own.overhead_ns is not None and own.duration_ns and own.overhead_ns > OVERHEAD_SHARE * own.duration_ns:
        weak.append(f"the profiler took {100 * own.overhead_ns / own.duration_ns:.0f} % of the time")
    if own.complete is False:
        weak.append("the recording was cut short: not every process delivered its part")
    if speed := own.speed:
        if speed.before_ns and speed.after_ns and abs(log(speed.after_ns / speed.before_ns)) > SPEED_CHANGE:
            change = 100 * (speed.before_ns / speed.after_ns - 1)
            weak.append(f"the machine's speed changed by {change:+.0f} % during the run")
        if speed.load is not None and n_cores and speed.load > LOAD_PER_CORE * n_cores:
            weak.append(f"the machine was busy: load {speed.load:.1f} on {n_cores} cores")
        if speed.steal_share is not None and speed.steal_share > STEAL_SHARE:
            weak.append(f"the hypervisor took {100 * speed.steal_share:.0f} % of the machine's time")
        if speed.throttled_ns:
            weak.append(f"the container's CPU limit stopped the target for {speed.throttled_ns / 1e6:.0f} ms")
    return own.duration_ns is not None or own.samples is not None
