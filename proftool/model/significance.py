"""How sure is a difference? Values of functions (rows) in runs (columns) in, statistics per function out.

The run is the unit. Sides are often recorded one after the other while the machine's speed drifts, which moves all functions of a
run together, so a change of one function is judged against two witnesses of that speed: the *other functions* of the same runs
(precise where sampling is dense), and the *machine's probe* (machine.py; coarse, but it does not suffer from what the sampler
happened to see). Each function mixes them by the weight that leaves the least noise. Variances are shrunk towards the trend over
functions (limma), and the p of a function is that of the largest statistic over all functions among relabelled runs (Westfall and
Young's max-T), which does not grow with the number of functions. What relabelling cannot see, that two sessions differ, bounds p
from below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from statistics import NormalDist
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ALPHA = 0.02
"""Chance that a report on identical programs flags anything."""
SPLITS_MAX = 4000
"""All relabellings up to so many, else so many random ones."""
PRIOR_DF = 12.0
SUSPECT_T = 2.0
"""A function that moved by more standard errors against the median is no witness of the machine's speed."""
ANCHOR_CAP = 0.2
"""No function has more than this part of the vote on what moved together."""
MACHINE_MAX = 2.0
"""Functions that all moved by more than this factor, or by more than this beyond what the probes say, are no machine: measured, a shared
processor is up to 1.65 times slower for minutes."""
MIN_CV = 0.003
"""Two runs are never taken to agree better than this."""
SESSION_CV = 0.015
"""By how much a function differs between two sessions beyond the machine's speed: caches, addresses, hash seeds."""
SHIFT_CV = 0.12
"""By how much functions respond unequally to a machine that became slower, as a part of that change."""
THIN = 0.1
"""Others that have less than this part of the time are no witness."""
ENOUGH_FOR_SLOPE = 4
N_BOOTSTRAP = 999
LEAST_WEAK_Q = 1e-4
"""Fewer than four runs a side are never surer than this."""


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """All arrays of shape (n_functions,); deltas are new minus base at one speed of the machine."""

    delta: Floats
    se: Floats
    q: Floats
    machine: Floats
    """Natural logarithm of the factor by which the machine was slower for the new side, as this function's test took it."""
    low: Floats
    """Of the delta."""
    high: Floats
    together: float = 0.0
    """Natural logarithm of the factor by which the functions that did not change moved together."""


@dataclass(frozen=True, slots=True, eq=False)
class Witness:
    """What the machine's speed is told by, for each function; made once, for functions and for the nodes inside them."""

    totals: Floats
    """Values of all working functions of each run, shape (n_runs,)."""
    others: Floats
    """Values of the unchanged functions other than the row's, shape (n_functions, n_runs)."""
    weight: Floats
    """Of the others, against that of the probe, 0..1, shape (n_functions,); as several runs a side are judged."""
    can_tell: Mask
    """Are the others a witness at all?"""
    unequal: Floats
    """Sum of the squares of the others' shares among themselves: 1 where one of them is all, 1 / n where they are n equal ones."""
    steady: Mask
    """Functions that work rather than wait."""
    together: float
    shift: float
    sd: float
    """What the probes say of the machine (Machine)."""
    beside: Floats | None = None
    """Of each run, logarithms of shape (n_runs,), where it was measured during all of them."""


def median_shift(ratio: Floats, weight: Floats) -> float:
    """Weighted median of the logarithms of ratios, nobody having more than `ANCHOR_CAP` of the vote; 0 where nobody votes."""
    if not len(ratio) or weight.sum() <= 0:
        return 0.0
    capped = np.minimum(weight, ANCHOR_CAP * weight.sum())
    order = np.argsort(ratio, kind="stable")
    return float(np.log(_weighted_median(ratio[order], np.cumsum(capped[order]))))


def _weighted_median(ordered: Floats, cumulated: Floats) -> float:
    half = float(cumulated[-1]) / 2
    low = int(np.searchsorted(cumulated, half * (1 - 1e-12)))
    high = int(np.searchsorted(cumulated, half * (1 + 1e-12)))
    return float(np.sqrt(ordered[min(low, len(ordered) - 1)] * ordered[min(high, len(ordered) - 1)]))


def witness(values: Floats, n_base: int, steady: Mask, noise: float, shift: float, sd: float, beside: Floats | None = None) -> Witness:
    """
    Who says how fast the machine was.

    Args:
        values: shape (n_functions, n_runs), base runs first.
        noise: variance of a share of the total is `noise` * p * (1 - p) in one run (1 / number of independent samples).
        shift, sd, beside: what is known of the machine without the functions.
    """
    n_runs = values.shape[1]
    working = np.where(steady[:, None], values, 0.0)
    totals = working.sum(axis=0)
    scale = 1 / n_base + 1 / (n_runs - n_base)
    base, new = working[:, :n_base].mean(axis=1), working[:, n_base:].mean(axis=1)
    mean = working.mean(axis=1)
    whole = max(float(mean.sum()), 1e-300)
    share = mean / whole
    both = (base > 0) & (new > 0)
    together = median_shift(new[both] / base[both], np.sqrt(base[both] * new[both]))
    # Who moved against the others by more than sampling explains is no witness; who is on one side only tells of the program.
    change = np.zeros(len(mean))
    change[both] = np.log(new[both] / base[both]) - together
    se = np.sqrt(noise * (1 - share) / np.maximum(share, 1e-12) * scale + SESSION_CV**2 + (SHIFT_CV * together) ** 2)
    voter = both & (np.abs(change) <= SUSPECT_T * se)
    if mean[voter].sum() < THIN * whole:
        voter = both
    pool = working[voter].sum(axis=0)
    others = pool[None] - np.where(voter[:, None], working, 0.0)
    held = others.mean(axis=1) / whole
    squares = np.where(voter, share, 0.0) ** 2
    unequal = np.divide(squares.sum() - squares, held**2, out=np.ones_like(held), where=held > 1e-9).clip(0.0, 1.0)
    if voter.any():
        together = float(np.log(pool[n_base:].mean() / pool[:n_base].mean()))
    # The least variance of: own share, minus `weight` of the others' share, minus the rest of the probe's shift.
    s = sd**2 / scale
    own_noise = noise * (1 - held) / np.maximum(held, 1e-12)
    weight = np.clip((s - noise) / (s + own_noise), 0.0, 1.0)
    can_tell: Mask = (held >= THIN) & (others > 0).all(axis=1)
    if abs(together - shift) > np.log(MACHINE_MAX):
        can_tell[:] = False
        together = shift
    weight = np.where(can_tell, weight, 0.0)
    return Witness(totals, others, weight, can_tell, unequal, steady, together, shift, sd, beside)


def share_noise(values: Floats, n_base: int) -> float:
    """
    By how much shares of the total differ from run to run: the variance of a share p is this times p * (1 - p).

    That is 1 / number of independent samples for a sampler, and little for a tracer.
    """
    totals = values.sum(axis=0)
    if not (totals > 0).all():
        return 1.0
    shares = values / totals
    sides = (shares[:, :n_base], shares[:, n_base:])
    squares: list[Floats] = [((side - side.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for side in sides]
    within = (squares[0] + squares[1]) / max(values.shape[1] - 2, 1)
    mean = shares.mean(axis=1)
    big = (mean >= 0.02) & (mean < 0.98)
    if not big.any():
        return 1e-6
    return float(np.clip(np.median(within[big] / (mean[big] * (1 - mean[big]))), 1e-6, 1.0))


def splits(n_base: int, n_new: int, seed: int) -> NDArray[np.bool_]:
    """Relabellings as rows, True = new; the first is the one at hand. All of them where they are few."""
    n = n_base + n_new
    own = np.zeros(n, bool)
    own[n_base:] = True
    if comb(n, n_new) <= SPLITS_MAX:
        rows = np.zeros((comb(n, n_new), n), bool)
        for at, chosen in enumerate(combinations(range(n), n_new)):
            rows[at, list(chosen)] = True
        return np.concatenate([own[None], rows[~(rows == own).all(axis=1)]])
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(own, (SPLITS_MAX, 1)), axis=1)
    return np.concatenate([own[None], shuffled])


def statistics(values: Floats, labels: NDArray[np.bool_], prior: Floats) -> tuple[Floats, Floats]:
    """Delta and its moderated standard error for every row of labels; shapes (n_splits, n_functions)."""
    n_runs = values.shape[1]
    n_new = int(labels[0].sum())
    n_base = n_runs - n_new
    mask = labels.astype(float)
    sums, squares = mask @ values.T, mask @ (values**2).T
    all_sums, all_squares = values.sum(axis=1), (values**2).sum(axis=1)
    new, base = sums / n_new, (all_sums - sums) / n_base
    within = squares - n_new * new**2 + (all_squares - squares) - n_base * base**2
    df = n_runs - 2
    variance = (PRIOR_DF * prior + np.maximum(within, 0)) / (PRIOR_DF + df)
    return new - base, np.sqrt(variance * (1 / n_new + 1 / n_base)) + 1e-300


def prior_variance(values: Floats, n_base: int, quantum: float, sampled: Floats | None = None) -> Floats:
    """
    What variance a function has in this experiment, never below the sampling's own: what sampling makes it, as many times as the large
    functions vary by more than that; where that is not known, the trend over functions by size.

    Args:
        sampled: what sampling makes each function's. Those that stay for many samples have less than counts of their size, so a trend
            through the large ones, which do, is none of the small ones.
    """
    sides = (values[:, :n_base], values[:, n_base:])
    df = values.shape[1] - 2
    squares: list[Floats] = [((side - side.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for side in sides]
    within = (squares[0] + squares[1]) / df
    mean = values.mean(axis=1)
    floor = np.maximum((MIN_CV * mean) ** 2, quantum * quantum / 12)
    if sampled is not None:
        floor = np.maximum(floor, sampled)
    big = (mean > 0) & (mean >= 0.005 * mean.sum())
    if not big.any():
        return floor
    weight = mean[big] / mean[big].sum()
    if sampled is not None:
        return np.maximum(floor, float(weight @ (within[big] / floor[big])) * sampled)
    # Counting noise grows with the value, what all functions share with its square: the slope between is fitted where there are enough.
    noise, level = np.log(np.maximum(within, floor)[big]), np.log(mean[big])
    slope = 1.5
    if len(level) >= ENOUGH_FOR_SLOPE and np.ptp(level) > 1:
        centred = level - level.mean()
        slope = float(np.clip((centred @ noise) / (centred @ centred), 1.0, 2.0))
    # The largest functions are what matters and what is best known, so the trend passes through them.
    height = float(weight @ (noise - slope * level))
    return np.maximum(floor, np.exp(height + slope * np.log(np.maximum(mean, 1e-300))))


def relative(values: Floats, seen: Witness, rows: NDArray[np.int64] | None = None) -> tuple[Floats, Floats]:
    """
    Values at one speed of the machine as far as each run itself tells it, and the part of the machine that remains to be told by the probe.

    Returns:
        values with the mean of `values`, shape (n_rows, n_runs); logarithm of each run's total, to be weighted by 1 - `Witness.weight`.
    """
    others, weight, steady = (a if rows is None else a[rows] for a in (seen.others, seen.weight, seen.steady))
    level = seen.totals / max(float(seen.totals.mean()), 1e-300)
    level = np.where(level > 0, level, 1.0)
    shares = values / level
    mean = shares.mean(axis=1, keepdims=True)
    part = others / level
    part_mean = np.maximum(part.mean(axis=1, keepdims=True), 1e-300)
    corrected = shares - weight[:, None] * mean * (part / part_mean - 1)
    return np.where(steady[:, None], corrected, values), np.log(level)


def compare_runs(
    values: Floats,
    n_base: int,
    *,
    floor: float = 0.0,
    quantum: float = 0.0,
    sampled: Floats | None = None,
    seed: int = 0,
    seen: Witness | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Tested:
    """
    The max-T test of base runs (the first columns) against new ones.

    Args:
        values: self values, shape (n_functions, n_runs), four runs a side or more.
        floor: functions smaller than this on both sides cannot be flagged and do not count among the tests.
        quantum: weight of one sample in the same unit, 0 where values are not counted.
        sampled: variance of each value that sampling alone makes, where that is known.
        seen: what the machine's speed is told by; None: it is taken to be the same for all runs.
        rows: for each row of `values` its function in `seen`, where these are not the same.
    """
    n, n_runs = values.shape
    labels = splits(n_base, n_runs - n_base, seed)
    size = values.mean(axis=1)
    if seen is None:
        own, level = values, np.zeros(n_runs)
        probe_part, shift, sd, together = np.zeros(n), 0.0, 0.0, 0.0
    else:
        own, level = relative(values, seen, rows)
        weight, steady = (seen.weight, seen.steady) if rows is None else (seen.weight[rows], seen.steady[rows])
        probe_part, shift, sd, together = np.where(steady, 1 - weight, 0.0), seen.shift, seen.sd, seen.together
    prior = prior_variance(own, n_base, quantum, sampled)
    delta, se = statistics(own, labels, prior)
    if seen is not None and seen.beside is not None:
        sides = _level_shift(level - seen.beside, labels)
    else:
        # The probes say how fast the machine was for the sides as they are; relabelled sides are a mix of both, which they do not know.
        sides = _level_shift(level, labels) - shift
    remains = np.clip(sides, -1.0, 1.0)[:, None] * probe_part[None]
    delta = delta + size * 2 * np.sinh(remains / 2)
    session = 0.0 if seen is None else SESSION_CV**2 + (SHIFT_CV * max(abs(together), abs(shift))) ** 2
    extra = size**2 * ((probe_part * sd) ** 2 + session)
    total_se = np.sqrt(se**2 + extra)
    # Where nothing differs and nothing varies there is no evidence: 0, not 0/0.
    t = np.abs(np.divide(delta, total_se, out=np.where(delta == 0, 0.0, np.inf), where=total_se > 0))
    matters = np.maximum(values[:, :n_base].mean(axis=1), values[:, n_base:].mean(axis=1)) >= floor
    largest = np.sort(t[:, matters].max(axis=1)) if matters.any() else np.full(len(labels), np.inf)
    observed = np.asarray(t[0], np.float64)
    below = np.asarray(np.searchsorted(largest, observed * (1 - 1e-9), side="left"), np.float64)
    q: Floats = 1.0 - below / float(len(largest))
    if seen is not None:
        q = np.maximum(q, family_p(observed, PRIOR_DF + n_runs - 2, max(int(matters.sum()), 1)))
    low, high = bootstrap_t(own, n_base, delta[0], se[0], prior, seed)
    half = np.sqrt(extra) * NORMAL.inv_cdf(0.975)
    centre = delta[0]
    low, high = centre - np.hypot(centre - low, half), centre + np.hypot(high - centre, half)
    machine = np.where(probe_part > 0, probe_part * shift, 0.0) + (1 - probe_part) * together
    return Tested(centre, total_se[0], q, machine, low, high, together)


NORMAL = NormalDist()


def _level_shift(level: Floats, labels: Mask) -> Floats:
    """Mean of the new runs minus that of the base runs for every row of labels; a run that was interrupted counts as less far out."""
    middle = float(np.median(level))
    far = max(3 * float(np.median(np.abs(level - middle))), 0.1)
    clipped = np.clip(level, middle - far, middle + far)
    n_new = int(labels[0].sum())
    new = labels @ clipped
    return np.asarray(new / n_new - (clipped.sum() - new) / (len(level) - n_new), np.float64)


def family_p(t: Floats, df: float, n_tests: int) -> Floats:
    """Two-sided p of Student's t for the largest of `n_tests` (Šidák); t is made normal by Wallace's approximation."""
    z = (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(t**2 / df))
    p = np.array([2 * NORMAL.cdf(-float(value)) for value in z], np.float64)
    return 1 - np.power(1 - np.minimum(p, 1.0), float(n_tests))


def bootstrap_t(values: Floats, n_base: int, delta: Floats, se: Floats, prior: Floats, seed: int) -> tuple[Floats, Floats]:
    """95 % intervals of the difference of means: quantiles of the studentised difference among resampled runs."""
    sides = (values[:, :n_base], values[:, n_base:])
    means: list[Floats] = []
    sums: list[Floats] = []
    for side in sides:
        # Each side draws by its own content, so that swapping the sides mirrors the interval; to six digits, the last ones depend
        # on the order of sums.
        n = side.shape[1]
        rng = np.random.default_rng([seed, crc32(f"{side.sum():.6e}".encode())])
        weight = rng.multinomial(n, np.full(n, 1 / n), N_BOOTSTRAP).astype(float)
        mean = weight @ side.T / n
        means.append(mean)
        sums.append(np.maximum(weight @ (side**2).T - n * mean**2, 0))
    n_base, n_new = (side.shape[1] for side in sides)
    variance = (PRIOR_DF * prior + sums[0] + sums[1]) / (PRIOR_DF + n_base + n_new - 2)
    t = (means[1] - means[0] - delta) / (np.sqrt(variance * (1 / n_base + 1 / n_new)) + 1e-300)
    cut = np.sort(t, axis=0)
    at = round(0.025 * (N_BOOTSTRAP - 1))
    lowest, highest = cut[at], cut[N_BOOTSTRAP - 1 - at]
    return delta - highest * se, delta - lowest * se


def compare_counts(
    base: Floats, new: Floats, variance_base: Floats, variance_new: Floats, between: float, floor: float, seen: Witness
) -> Tested:
    """
    One run a side (or few): the variance of each value comes from within its run, and `between` is the coefficient of variation that
    functions of one program have from run to run beyond that and that one run cannot show. p is adjusted for the number of
    functions above the floor.
    """
    values = np.stack([base, new], axis=1)
    size = values.mean(axis=1)
    held = np.maximum(seen.others.mean(axis=1), 1e-300)
    whole = max(float(seen.totals.mean()), 1e-300)
    p_own = np.minimum(size / whole, 1.0)
    # A share's noise falls on the others too: what a function has too much, they have too little.
    noise = (variance_base + variance_new) * (1 - p_own)
    falls = np.minimum(size / np.maximum(held, 1e-6 * whole), 1e6)
    of_others = 2 * between**2 * seen.unequal
    # The weight of the others that leaves the least variance of all that follows; theirs is 0 where they are no witness.
    part = np.divide(noise, size**2, out=np.zeros_like(size), where=size > 0)
    best = (seen.sd**2 - part * falls) / np.maximum(seen.sd**2 + of_others + part * falls**2, 1e-300)
    weight = np.where(seen.can_tell, np.clip(best, 0.0, 1.0), 0.0)
    seen = replace(seen, weight=weight)
    own, level = relative(values, seen)
    probe_part = np.where(seen.steady, 1 - weight, 0.0)
    remains = np.clip(level[1] - level[0] - seen.shift, -1.0, 1.0) * probe_part
    delta = own[:, 1] - own[:, 0] + size * 2 * np.sinh(remains / 2)
    session = (SHIFT_CV * max(abs(seen.together), abs(seen.shift))) ** 2
    spread = 2 * between**2 + weight**2 * of_others + session + (probe_part * seen.sd) ** 2
    se = np.sqrt(noise * (1 + weight * falls) ** 2 + spread * size**2) + 1e-300
    m = max(int((np.maximum(base, new) >= floor).sum()), 1)
    q = np.maximum(family_p(np.abs(delta / se), 1e6, m), LEAST_WEAK_Q)
    half = NORMAL.inv_cdf(0.975) * se
    machine = probe_part * seen.shift + (1 - probe_part) * seen.together
    return Tested(delta, se, q, machine, delta - half, delta + half, seen.together)
