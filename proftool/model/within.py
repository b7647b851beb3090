"""What one run shows of itself beyond its values: how noisy they are, and by how many calls they came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.model.diff import FunctionChange
from proftool.model.profile import Int32Array, Profile
from proftool.model.significance import Floats, Mask

BETWEEN_COUNTS = 1.5
"""By how much counts of samples vary more between runs than within one; measured 1.0 to 1.7 for sampling at random times."""
CLUMP_NS = 250_000_000
"""How long a thread stands in line at a time, at most: 20 others that want the same processor, and a few slices of a scheduler each."""
TRACE_CV, TRACE_GRAIN = 0.02, 0.01
"""
Where there are no samples: what a function's time varies by, and what one interruption more or less adds to it, as a part of the total. Of
100 traced runs of two programs of 1 s the pairs of equals that were flagged were those with a stall of 50 to 80 ms in one of them.
"""


def within_variance(profile: Profile, functions: Int32Array, values: Floats, scale: float, in_line: float = 0.0) -> Floats:
    """
    Variance of each function's value that the run itself shows: how often sampling met it anew, spread over time blocks.

    Args:
        functions: the function of each node, shape (n_nodes,).
        values: shape (n_functions,); `scale` takes a sample's weight to their unit.
    """
    if not len(profile.samples):
        return (TRACE_CV * values) ** 2 + (TRACE_GRAIN * values.sum()) ** 2
    variance, between = _sampled(profile, functions, values, scale, in_line)
    return between * variance


def _sampled(profile: Profile, functions: Int32Array, values: Floats, scale: float, in_line: float) -> tuple[Floats, float]:
    """What sampling makes of it, and by how much more runs differ."""
    samples, n_functions = profile.samples, len(values)
    order = np.lexsort((samples.time_ns, samples.lane))
    function, lane = functions[samples.node[order]], samples.lane[order]
    fresh = np.ones(len(function), bool)
    fresh[1:] = (function[1:] != function[:-1]) | (lane[1:] != lane[:-1])
    between = BETWEEN_COUNTS * over_dispersion(samples.time_ns[order][fresh], function[fresh])
    if (error_ns := visit_error_ns(profile)) is not None:
        return scale**2 * visit_variance(function, fresh, samples.weight[order], n_functions, error_ns), between
    n = np.bincount(function, minlength=n_functions)
    spread = count_variance(function, fresh, n_functions, in_line, CLUMP_NS / max(float(np.median(samples.weight)), 1.0))
    if weighed_by_time(profile):
        spread *= 1 - persistence_of(function, lane, fresh, n_functions) ** 2
    each = np.where(n > 0, values / np.maximum(n, 1), float(np.median(samples.weight)) * scale)
    return spread * each**2, between


def weighed_by_time(profile: Profile) -> bool:
    """Do its samples weigh the time that passed around them? What stays for several of them has less than the noise of counts then."""
    return all(one.weighed_by_time for one in profile.meta.passes if one.mode == "sample")


def persistence(labels: Sequence[int] | NDArray[np.integer]) -> float:
    """How much likelier than by chance a sample shows what the one before showed, 0..1: 0 where each is drawn anew."""
    of = np.asarray(labels)
    if len(of) < 2:
        return 0.0
    share = np.unique(of, return_counts=True)[1] / len(of)
    chance, found = float((share**2).sum()), float((of[1:] == of[:-1]).mean())
    return max((found - chance) / (1 - chance), 0.0) if chance < 1 else 1.0


def persistence_of(function: NDArray[np.int32], lane: NDArray[np.int32], fresh: Mask, n_functions: int) -> Floats:
    """The same for each function, against the chance of its own lanes; samples in order, `fresh` where a visit begins."""
    n = np.bincount(function, minlength=n_functions)
    n_lane = np.bincount(lane)
    pair, held = np.unique(function.astype(np.int64) * len(n_lane) + lane, return_counts=True)
    chance = np.bincount(pair // len(n_lane), weights=held.astype(np.float64) ** 2 / n_lane[pair % len(n_lane)], minlength=n_functions)
    stays = n - np.bincount(function[fresh], minlength=n_functions)
    found = np.zeros(n_functions)
    np.divide(stays - chance, n - chance, out=found, where=n > chance + 1e-9)
    return np.asarray(np.clip(found, 0.0, 1.0), np.float64)


def visit_error_ns(profile: Profile) -> int | None:
    """How far the ends of visits are off; None: as far as a sample weighs, or nobody knows."""
    found = [one.visit_error_ns for one in profile.meta.passes if one.mode == "sample"]
    return max((error for error in found if error is not None), default=None) if None not in found else None


def quantum_ns(profile: Profile) -> float:
    """What its samples cannot tell from nothing."""
    return float(visit_error_ns(profile) or np.median(profile.samples.weight))


def mean_quantum(profiles: Sequence[Profile], scale: Sequence[float]) -> float:
    """The same of several profiles, in the unit that `scale` takes each one's samples to; 0 where nothing was sampled."""
    weights = [quantum_ns(p) * factor for p, factor in zip(profiles, scale, strict=True) if len(p.samples)]
    return float(np.mean(weights)) if weights else 0.0


def sampling_variance(
    profiles: Sequence[Profile], functions: Sequence[Int32Array], values: Floats, scale: Sequence[float], in_line: Sequence[float]
) -> Floats | None:
    """
    What sampling alone makes a function's part of a run's total vary by, as the runs themselves show; None where nothing was sampled.

    Args:
        functions: of each profile the function of each of its nodes.
        values: shape (n_functions, n_profiles).
    """
    if not all(len(p.samples) for p in profiles):
        return None
    each = zip(profiles, functions, values.T, scale, in_line, strict=True)
    within = np.mean([_sampled(*one)[0] for one in each], axis=0)
    mean = values.mean(axis=1)
    return np.asarray(within * (1 - mean / max(float(mean.sum()), 1e-300)), np.float64)


def visit_variance(function: NDArray[np.int32], fresh: Mask, weight: NDArray[np.int64], n: int, error_ns: int) -> Floats:
    """Variance of each function's time, ns²: as its visits' lengths vary, and what both ends of each are off."""
    starts = np.flatnonzero(fresh)
    length = np.add.reduceat(weight, starts).astype(np.float64)
    of = function[starts]
    visits = np.bincount(of, minlength=n).astype(np.float64)
    mean = np.bincount(of, length, n) / np.maximum(visits, 1)
    within = np.bincount(of, (length - mean[of]) ** 2, n)
    return within * visits / np.maximum(visits - 1, 1) + np.maximum(visits, 1) * float(error_ns) ** 2


def count_variance(function: NDArray[np.int32], fresh: Mask, n: int, in_line: float = 0.0, clump: float = 1.0) -> Floats:
    """
    Variance of each function's number of samples, from the samples of one run in order.

    A visit is samples in a row that met the same function. A sampler at even intervals misses at the ends of visits, so the count
    varies as the visits' lengths do, plus one a visit; one at random times varies as the count itself, which bounds both. What was
    sampled while the thread stood in line for a processor comes in clumps, each in whatever function it was: a clump is one event.

    Args:
        fresh: where a visit begins.
        in_line: the part of the time in which the thread stood in line, at most `clump` samples at a time.
    """
    starts = np.flatnonzero(fresh)
    length = np.diff(np.append(starts, len(function))).astype(np.float64)
    of = function[starts]
    visits = np.bincount(of, minlength=n).astype(np.float64)
    sums, squares = np.bincount(of, length, n), np.bincount(of, length**2, n)
    within = np.maximum(squares - sums**2 / np.maximum(visits, 1), 0) * visits / np.maximum(visits - 1, 1)
    clumps = in_line * np.bincount(of, length * np.minimum(length, max(clump, 1.0)), n)
    return np.maximum(np.clip(within + visits, clumps, (1 - in_line) * sums + clumps), 1.0)


def over_dispersion(times_ns: NDArray[np.int64], function: NDArray[np.int32], n_blocks: int = 24) -> float:
    """
    How much more the visits of functions vary between neighbouring blocks of time than independent ones would, 1 to 4.

    Neighbours, because a program's phases are no noise; their median, because a change of phase is no noise either.
    """
    if len(times_ns) < 4 * n_blocks:
        return 1.0
    block = np.minimum((times_ns - times_ns.min()) * n_blocks // max(int(np.ptp(times_ns)), 1), n_blocks - 1)
    ratios: list[float] = []
    for which in np.flatnonzero(np.bincount(function) >= 2 * n_blocks):
        counts = np.bincount(block[function == which], minlength=n_blocks)
        steps = np.diff(counts) ** 2 / 2
        # The median of a squared standard normal is 0.455.
        ratios.append(float(np.median(steps)) / 0.455 / max(float(counts.mean()), 1e-9))
    return float(np.clip(np.median(ratios), 1.0, 4.0)) if ratios else 1.0


def with_calls(changes: Sequence[FunctionChange], base: Floats, new: Floats) -> list[FunctionChange]:
    """Δ = more calls × mean cost + dearer calls × mean calls, for the calls of each side; the parts add up exactly."""
    result: list[FunctionChange] = []
    for c in changes:
        n0, n1 = float(base[c.function]), float(new[c.function])
        if n0 > 0 and n1 > 0:
            more = (n1 - n0) * (c.base_self / n0 + c.new_self / n1) / 2
            c = replace(c, more_calls=more, dearer_calls=c.delta_self - more)
        elif n0 > 0 or n1 > 0:
            c = replace(c, more_calls=c.delta_self, dearer_calls=0.0)
        result.append(c)
    return result
