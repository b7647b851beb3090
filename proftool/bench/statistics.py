"""Is the new side slower? Paired, one value a process, and an answer in three ways.

Every value comes from a fresh process and stands against the value of its pair, recorded next to it in random order, so that a
machine that drifts meets both sides alike. Within a process repeated values are not independent and are reduced to one before
they come here. Measured on identical code on a noisy two-core machine: pooled t-tests of sequential blocks raise a false alarm
in 20–60 % of comparisons, these rules in under 1 %.

All functions take `log_ratio`: log(new / base) of each pair, shape (n_pairs,).

Sources: Hodges & Lehmann 1963 (estimator); Pitman 1937 (sign-flip permutation); Pocock 1977 and Lan & DeMets 1983
(spending alpha over looks); Holm 1979 (several benchmarks).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import atan, cos, e, log, pi, sin, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EXACT_PAIRS = 14
"""Up to 2¹⁴ sign patterns are enumerated, beyond that as many are drawn."""


OBVIOUS_RATIO = 1.1
OBVIOUS_T = {5: (22.0, 77.0), 6: (15.0, 35.0)}
"""By the number of pairs: standard errors off 0 of them all, and of all but the one furthest off; p = 2.5e-5 by Student's t, for the second
times the number of pairs, of which any might have been the one left out. Of more pairs what six need is asked."""
OBVIOUS_WAYS = 4
"""Two looks, and two ways to pass at each."""


class Verdict(StrEnum):
    """What is said of a benchmark."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The ratio new / base with its interval; 1.0 is no change."""

    ratio: float
    low: float
    high: float
    p: float
    """Two-sided, of the sign-flip permutation."""
    n_pairs: int


def hodges_lehmann(values: Floats) -> float:
    """Median of all pairwise means: as robust as a median, nearly as precise as a mean."""
    left, right = np.triu_indices(len(values))
    return float(np.median((values[left] + values[right]) / 2))


def sign_flip_p(values: Floats, seed: int = 0, n_random: int = 1 << 14) -> float:
    """Two-sided p that values symmetric around 0 lie this far off it; exact up to `EXACT_PAIRS` values."""
    n = len(values)
    if not values.any():
        return 1.0
    signs = _signs(n, seed, n_random)
    extra = int(n > EXACT_PAIRS)  # the observed pattern itself, so that p is never 0 (Phipson & Smyth 2010)
    # Scores bound the pull of a single disturbed pair: rank of |x| with its sign (Wilcoxon's) instead of x itself.
    signed = ranks(np.abs(values)) * np.sign(values)
    reached = np.abs(signs @ np.abs(signed)) >= abs(signed.sum()) - 1e-9
    return float((reached.sum() + extra) / (len(signs) + extra))


@lru_cache(maxsize=16)
def _signs(n: int, seed: int, n_random: int) -> Floats:
    """Sign patterns as rows: all of them for few values, else random ones."""
    if n > EXACT_PAIRS:
        return np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), (n_random, n))
    return np.where((np.arange(1 << n)[:, None] >> np.arange(n)) & 1, 1.0, -1.0)


def obvious(log_ratio: Floats) -> Verdict:
    """
    A verdict of few pairs, for what needs no more: the same sign in all, more than `OBVIOUS_RATIO`, and far off 0.

    Far is by `OBVIOUS_T`, either for all or without the pair furthest from the median (a neighbour's burst). The two looks together passed
    4e-5 of pairs drawn from a normal noise of 0.25, so they take nothing that matters from alpha.
    """
    if len(log_ratio) < min(OBVIOUS_T):
        return Verdict.INCONCLUSIVE
    of_all, of_all_but_one = OBVIOUS_T[min(len(log_ratio), max(OBVIOUS_T))]
    centre = float(np.median(log_ratio))
    same_sign = bool((log_ratio > 0).all() or (log_ratio < 0).all())
    if not same_sign or abs(centre) < log(OBVIOUS_RATIO):
        return Verdict.INCONCLUSIVE
    but_one = np.delete(log_ratio, int(np.argmax(np.abs(log_ratio - centre))))
    if abs(_t(log_ratio)) < of_all and abs(_t(but_one)) < of_all_but_one:
        return Verdict.INCONCLUSIVE
    return Verdict.SLOWER if centre > 0 else Verdict.FASTER


def obvious_p(log_ratio: Floats) -> float:
    """Two-sided p of the rule of `obvious`: of the way that is further off 0, times the number of ways (Bonferroni)."""
    n = len(log_ratio)
    but_one = np.delete(log_ratio, int(np.argmax(np.abs(log_ratio - np.median(log_ratio)))))
    return min(OBVIOUS_WAYS * min(student_p(_t(log_ratio), n - 1), n * student_p(_t(but_one), n - 2)), 1.0)


def student_p(t: float, freedom: int) -> float:
    """Two-sided p of Student's t, by its finite series (Abramowitz & Stegun 26.7.3 and 26.7.4); below 1e-12 is rounding."""
    angle = atan(abs(t) / sqrt(freedom))
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for at in range(3 if odd else 2, freedom - 1, 2):
        term *= cos(angle) ** 2 * (at - 1) / at
        total += term
    within = 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
    return min(max(1 - within, 1e-12), 1.0)


def _t(values: Floats) -> float:
    """Mean in standard errors; no error is taken to be smaller than that of a deviation of 0.005."""
    return float(values.mean()) / (max(float(np.std(values, ddof=1)), 0.005) / sqrt(len(values)))


def ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def interval(values: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """
    Interval of the Hodges–Lehmann shift: the pairwise means that the signed-rank test would not reject.

    Exact distribution of the signed-rank sum; with too few pairs for the confidence the whole range stands.
    """
    n = len(values)
    left, right = np.triu_indices(n)
    walsh = np.sort((values[left] + values[right]) / 2)
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, n + 1):
        shifted = counts.copy()
        shifted[rank:] += counts[:-rank]
        counts = shifted
    tail = np.cumsum(counts) / counts.sum()
    cut = int(np.searchsorted(tail, (1 - confidence) / 2, side="right"))
    cut = min(cut, (len(walsh) - 1) // 2)
    return float(walsh[cut - 1] if cut else walsh[0]), float(walsh[-cut] if cut else walsh[-1])


def estimate(log_ratio: Floats, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Ratio, interval and p of the pairs."""
    low, high = interval(log_ratio, confidence)
    centre = hodges_lehmann(log_ratio)
    return Estimate(
        ratio=float(np.exp(centre)),
        low=float(np.exp(low)),
        high=float(np.exp(high)),
        p=sign_flip_p(log_ratio, seed),
        n_pairs=len(log_ratio),
    )


def holm(p: Floats) -> Floats:
    """p adjusted so that the chance of any false alarm in the suite keeps its bound."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def alpha_spent(share: float, alpha: float) -> float:
    """
    How much of alpha may have been spent when this share of the measurement is in (0..1).

    Pocock's shape: a quarter of alpha is there after a sixth of the pairs, so that an obvious effect stops early; a stricter
    start (O'Brien–Fleming) needed 35 pairs for a slowdown of 20 %, since few pairs have no p that small.
    """
    return alpha * log(1 + (e - 1) * min(max(share, 0.0), 1.0))


def minimum_detectable(log_ratio: Floats, alpha: float, power: float = 0.8) -> float:
    """The relative change that these pairs would have found with that power: exp(effect) - 1, from a robust spread."""
    n = len(log_ratio)
    if n < 2:
        return float("inf")
    centred = log_ratio - np.median(log_ratio)
    spread = max(1.4826 * float(np.median(np.abs(centred))), float(np.std(centred, ddof=1)) / 3, 1e-6)
    normal = NormalDist()
    return float(np.expm1((normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * spread * 1.05 / sqrt(n)))


def judge(found: Estimate, p_adjusted: float, alpha: float, floor: float) -> Verdict:
    """
    Slower or faster: significant, and larger than the floor. Same: the whole interval lies within the floor. Else inconclusive.

    Args:
        floor: the relative change below which nobody cares, 0.01 for 1 %.
    """
    if p_adjusted <= alpha and abs(np.log(found.ratio)) > np.log1p(floor):
        if found.low > 1:
            return Verdict.SLOWER
        if found.high < 1:
            return Verdict.FASTER
    if found.low > 1 / (1 + floor) and found.high < 1 + floor:
        return Verdict.SAME
    return Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """Numbers of values beyond Tukey's fences: 1.5 (mild) and 3 (severe) times the middle half's width."""

    low_severe: int
    low_mild: int
    high_mild: int
    high_severe: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.low_severe + self.low_mild + self.high_mild + self.high_severe

    def told(self) -> str:
        """`2 high mild, 1 high severe`; empty where there are none."""
        counts = (
            ("low severe", self.low_severe), ("low mild", self.low_mild), ("high mild", self.high_mild), ("high severe", self.high_severe),
        )  # fmt: skip
        return ", ".join(f"{n} {name}" for name, n in counts if n)


def outliers(values: Floats) -> Outliers:
    """Values classified by Tukey's fences (Exploratory Data Analysis, 1977), as criterion does."""
    low, high = (float(q) for q in np.quantile(values, (0.25, 0.75)))
    width = high - low
    return Outliers(
        low_severe=int((values < low - 3 * width).sum()),
        low_mild=int(((values < low - 1.5 * width) & (values >= low - 3 * width)).sum()),
        high_mild=int(((values > high + 1.5 * width) & (values <= high + 3 * width)).sum()),
        high_severe=int((values > high + 3 * width).sum()),
    )


def bootstrap_median(values: Floats, confidence: float = 0.95, seed: int = 0, n: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap interval of the median (Efron 1979); the values are one a process."""
    drawn = np.random.default_rng(seed).choice(values, (n, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
