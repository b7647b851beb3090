"""How sure is a difference? Values of functions (rows) in runs (columns) in, statistics per function out.

The run is the unit. A machine whose speed drifts moves all functions of a run by one factor, so each run is measured against the
weighted median of the *other* functions before it is tested; the reported values are not touched. Variances are shrunk towards
the trend over functions (limma), and the p of a function is that of the largest statistic over all functions among relabelled runs
(Westfall and Young's max-T), which does not grow with the number of functions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from statistics import NormalDist
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALPHA = 0.025
"""Chance that a report on identical programs flags anything."""
SPLITS_MAX = 4000
"""All relabellings up to so many, else so many random ones."""
PRIOR_DF = 8.0
SUSPECT_T = 2.0
"""A function that moved by more standard errors against the median has no say in the pooled common factor."""
ANCHOR_CAP = 0.2
"""No function has more than this part of the vote on a run's common factor."""
ANCHORS_MAX = 200
"""Only the largest functions vote: more of them cost time and know nothing."""
MACHINE_MAX = 4.0
"""A machine that is slower or faster by more than this factor between the sides is not believed: it is the program that changed."""
MIN_CV = 0.003
"""Two runs are never taken to agree better than this."""
N_BOOTSTRAP = 999


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """All arrays of shape (n_functions,); deltas are new minus base at the machine's common speed."""

    delta: Floats
    se: Floats
    q: Floats
    drift: Floats
    """Natural logarithm of the factor by which the other functions moved from base to new."""
    low: Floats
    """Of the delta, without the drift."""
    high: Floats


def common_factor(values: Floats, weights: Floats | None = None) -> Floats:
    """
    By what factor the other functions of a run are above their mean; shape of `values` (n_functions, n_runs).

    The weighted median over all functions but the row's own; 1 where there are no others.
    """
    n, n_runs = values.shape
    mean = values.mean(axis=1)
    # What one side lacks tells of the program and not of the machine.
    everywhere = np.flatnonzero((values > 0).all(axis=1))
    used = everywhere if len(everywhere) >= 2 else np.flatnonzero(mean > 0)
    result = np.ones((n, n_runs))
    if len(used) < 2:
        return result
    weight = (mean if weights is None else weights)[used].astype(float)
    weight = np.minimum(weight, ANCHOR_CAP * weight.sum())
    keep = np.sort(np.argsort(-weight, kind="stable")[:ANCHORS_MAX])
    keep = keep[weight[keep] > 0]
    if len(keep) < 2:
        return result
    used, weight = used[keep], weight[keep]
    ratio = values[used] / mean[used, None]
    place = {int(row): at for at, row in enumerate(used)}
    for run in range(n_runs):
        order = np.argsort(ratio[:, run], kind="stable")
        ordered, w = ratio[order, run], weight[order]
        cumulated = np.cumsum(w)
        every = _weighted_median(ordered, cumulated)
        result[:, run] = every
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        for row, at in place.items():
            without = cumulated - np.where(np.arange(len(w)) >= rank[at], w[rank[at]], 0.0)
            result[row, run] = _weighted_median(ordered, without)
    return np.where(result > 0, result, 1.0)


def _weighted_median(ordered: Floats, cumulated: Floats) -> float:
    half = float(cumulated[-1]) / 2
    low = int(np.searchsorted(cumulated, half * (1 - 1e-12)))
    high = int(np.searchsorted(cumulated, half * (1 + 1e-12)))
    return float((ordered[min(low, len(ordered) - 1)] + ordered[min(high, len(ordered) - 1)]) / 2)


def refined_factor(values: Floats, n_base: int, factor: Floats, weights: Floats | None = None, quantum: float = 0.0) -> Floats:
    """
    The common factor from the sum of the others instead of their median: far less noise, after those that changed were left out.

    Args:
        factor: the robust first estimate, shape of `values`.
    """
    mean = values.mean(axis=1)
    relative = values / factor
    labels = np.zeros((1, values.shape[1]), bool)
    labels[0, n_base:] = True
    n_new = values.shape[1] - n_base
    if min(n_base, n_new) >= 2:
        delta, se = statistics(relative, labels, prior_variance(relative, n_base, quantum))
        suspect = np.abs(delta[0] / se[0]) > SUSPECT_T
    else:
        delta = relative[:, 1:].mean(axis=1) - relative[:, 0]
        suspect = np.abs(delta) > np.maximum(0.1 * mean, 3 * np.sqrt(np.maximum(mean, 0) * quantum))
    usable = (mean > 0) & ~suspect if weights is None else (mean > 0) & ~suspect & (weights > 0)
    share = np.where(usable, mean, 0.0)
    whole, parts = share.sum(), np.where(usable[:, None], values, 0.0)
    others = whole - share
    refined = (parts.sum(axis=0)[None] - parts) / np.maximum(others, 1e-300)[:, None]
    # Where little is left to measure by, the median of all others is the better witness.
    thin = others < 0.2 * mean.sum()
    result = np.where(thin[:, None] | (refined <= 0), factor, refined)
    level = np.log(result)
    drift = level[:, n_base:].mean(axis=1) - level[:, :n_base].mean(axis=1)
    # Where one function was nearly the whole program and is cured, it is what the others are measured by: that is no machine.
    return np.where((np.abs(drift) > np.log(MACHINE_MAX))[:, None], 1.0, result)


def n_anchors(values: Floats) -> int:
    """How many functions have a say in the common factor."""
    mean = values.mean(axis=1)
    return int((mean >= 0.02 * mean.sum()).sum()) if mean.sum() else 0


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


def prior_variance(values: Floats, n_base: int, quantum: float) -> Floats:
    """What variance a function of that size has in this experiment: the trend over functions, never below the sampling's own."""
    sides = (values[:, :n_base], values[:, n_base:])
    df = values.shape[1] - 2
    squares: list[Floats] = [((side - side.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for side in sides]
    within = (squares[0] + squares[1]) / df
    mean = values.mean(axis=1)
    floor = np.maximum((MIN_CV * mean) ** 2, quantum * quantum / 12)
    big = (mean > 0) & (mean >= 0.005 * mean.sum())
    if not big.any():
        return floor
    # Relative variance falls with size as counting noise does, down to a part that all functions share.
    noise = np.maximum(within, floor)[big]
    per_value = float(np.median(noise / mean[big]))
    per_square = float(np.median(noise / mean[big] ** 2))
    return np.maximum(floor, np.sqrt(per_value * mean * per_square * mean**2))


def compare_runs(
    values: Floats, n_base: int, *, floor: float = 0.0, quantum: float = 0.0, seed: int = 0, factor: Floats | None = None
) -> Tested:
    """
    The max-T test of base runs (the first columns) against new ones.

    Args:
        values: self values, shape (n_functions, n_runs), four runs a side or more.
        floor: functions smaller than this on both sides cannot be flagged and do not count among the tests.
        quantum: weight of one sample in the same unit, 0 where values are not counted.
        factor: common factors to use in place of those of `values` itself.
    """
    n_runs = values.shape[1]
    factors = refined_factor(values, n_base, common_factor(values), None, quantum) if factor is None else factor
    level = np.log(factors)
    drift = level[:, n_base:].mean(axis=1) - level[:, :n_base].mean(axis=1)
    relative = values / factors
    labels = splits(n_base, n_runs - n_base, seed)
    prior = prior_variance(relative, n_base, quantum)
    delta, se = statistics(relative, labels, prior)
    t = np.abs(delta / se)
    if n_anchors(values) <= 2:
        # One or two others cannot tell whether they moved or the function did: its own values must say the same.
        raw_delta, raw_se = statistics(values, labels, prior_variance(values, n_base, quantum))
        t = np.where(np.sign(raw_delta) == np.sign(delta), np.minimum(t, np.abs(raw_delta / raw_se)), 0.0)
    matters = np.maximum(values[:, :n_base].mean(axis=1), values[:, n_base:].mean(axis=1)) >= floor
    largest = np.sort(t[:, matters].max(axis=1)) if matters.any() else np.full(len(labels), np.inf)
    observed = np.asarray(t[0], np.float64)
    below = np.asarray(np.searchsorted(largest, observed * (1 - 1e-9), side="left"), np.float64)
    q: Floats = 1.0 - below / float(len(largest))
    low, high = bootstrap_t(relative, n_base, delta[0], se[0], prior, seed)
    return Tested(delta[0], se[0], q, drift, low, high)


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
    base: Floats, new: Floats, variance_base: Floats, variance_new: Floats, between: float, floor: float, factors: Floats
) -> Tested:
    """
    One run a side (or few): the variance of each value comes from within its run, and `between` is the coefficient of variation that
    runs of one program have beyond that and that one run cannot show. p is adjusted for the number of functions above the floor.
    """
    values = np.stack([base, new], axis=1)
    drift = np.log(factors[:, 1]) - np.log(factors[:, 0])
    scaled = values / factors
    delta = scaled[:, 1] - scaled[:, 0]
    spread = between**2 + (0.15 * drift) ** 2
    variance = variance_base / factors[:, 0] ** 2 + variance_new / factors[:, 1] ** 2 + spread * (scaled**2).sum(axis=1)
    se = np.sqrt(variance) + 1e-300
    z = np.abs(delta / se)
    if n_anchors(values) <= 2:
        raw = new - base
        z = np.where(np.sign(raw) == np.sign(delta), np.minimum(z, np.abs(raw / se)), 0.0)
    m = max(int((np.maximum(base, new) >= floor).sum()), 1)
    normal = NormalDist()
    p = np.array([2 * normal.cdf(-float(value)) for value in z], np.float64)
    q: Floats = 1 - np.power(1 - np.minimum(p, 1.0), float(m))
    half = normal.inv_cdf(0.975) * se
    return Tested(delta, se, q, drift, delta - half, delta + half)


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
