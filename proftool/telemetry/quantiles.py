"""Quantiles of a histogram, of which the buckets' counts and the sum of all measurements are known.

Within its bucket a measurement may be anywhere, but all of them together are the sum. Linear interpolation, as of Prometheus's
`histogram_quantile`, forgets that: of one request of 0.46 ms in a bucket of 5 ms it says that half are below 2.5 ms. Of all distributions
that have these counts and that sum, the one of greatest entropy is taken, which assumes nothing else: within each bucket the density is
exponential, with one rate for all (Jaynes 1957; a rate of zero is linear interpolation). What n measurements of that sum cannot be at all
is cut off: the k-th smallest of them is at most (sum - least of those below) / (n - k + 1), Markov's inequality with the buckets known.

Without a sum, or with one that contradicts the buckets (both are read while requests are counted), interpolation is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, expm1, isfinite, log1p
from typing import NamedTuple

_STEPS = 60
_CLOSE = 1e-6
_SLACK = 0.01
"""So far, in parts of what is possible, a sum may be out of it: a request was counted whose time was not added yet."""


class _Bucket(NamedTuple):
    low: float
    width: float
    n: int
    before: int
    """Measurements in lower buckets."""


def quantiles(bounds: Sequence[float], counts: Sequence[int], total: float | None, qs: Sequence[float]) -> list[float | None]:
    """Each q-quantile (0..1); what lies above the last bound is given as that bound, nothing of an empty histogram."""
    n = sum(counts)
    if not n or not bounds:
        return [None] * len(qs)
    buckets: list[_Bucket] = []
    before = 0
    for index, count in enumerate(counts[:-1]):
        if count:
            low = bounds[index - 1] if index else min(0.0, bounds[0])
            buckets.append(_Bucket(low, bounds[index] - low, count, before))
        before += count
    above = counts[-1]
    rate = _rate(buckets, above, bounds[-1], total) if total is not None and isfinite(total) else None
    found: list[float | None] = []
    for q in qs:
        rank = max(0.0, q * n)
        bucket = next((one for one in buckets if one.before + one.n >= rank), None)
        if bucket is None:
            found.append(bounds[-1])
        elif rate is None or total is None:
            found.append(bucket.low + bucket.width * (rank - bucket.before) / bucket.n)
        else:
            value = bucket.low + bucket.width * _within((rank - bucket.before) / bucket.n, rate * bucket.width)
            least, most = _possible(buckets, above, bounds[-1], total, bucket, min(max(ceil(rank), bucket.before + 1), n))
            found.append(max(least, min(value, most)))
    return found


def quantile(bounds: Sequence[float], counts: Sequence[int], total: float | None, q: float) -> float | None:
    """One of them."""
    return quantiles(bounds, counts, total, (q,))[0]


def _rate(buckets: Sequence[_Bucket], above: int, last: float, total: float) -> float | None:
    """The rate with which the means of the buckets make the sum; None where nothing does."""
    if not buckets:
        return None
    least = sum(one.n * one.low for one in buckets)
    most = least + sum(one.n * one.width for one in buckets)
    rest = total - above * last  # of those above the last bound no more is known than that they are above
    slack = _SLACK * (most - least)
    if rest < least - slack or (rest > most + slack and not above):
        return None
    if above and rest >= (least + most) / 2:
        return 0.0
    wanted = min(max(rest, least + _CLOSE * (most - least)), most - _CLOSE * (most - least))
    width = max(one.width for one in buckets)
    low, high = -1.0 / width, 1.0 / width
    while (over := _sum(buckets, low) - wanted) < 0:
        low *= 2
    while (under := _sum(buckets, high) - wanted) > 0:
        high *= 2
    # The Illinois variant of regula falsi: about six evaluations where halving takes twenty-five, and a page asks for hundreds of rates.
    kept = 0
    middle = (low + high) / 2
    for _ in range(_STEPS):
        middle = low + (high - low) * over / (over - under) if over > under else (low + high) / 2
        found = _sum(buckets, middle) - wanted
        if abs(found) <= _CLOSE / 10 * (most - least):
            break
        if found > 0:
            low, over = middle, found
            under, kept = (under / 2 if kept > 0 else under), 1
        else:
            high, under = middle, found
            over, kept = (over / 2 if kept < 0 else over), -1
    return middle


def _sum(buckets: Sequence[_Bucket], rate: float) -> float:
    return sum(one.n * (one.low + one.width * _mean(rate * one.width)) for one in buckets)


def _mean(t: float) -> float:
    """Of a density exp(-t x) on 0..1."""
    if abs(t) < 1e-4:
        return 0.5 - t / 12
    if t < 0:
        return 1 - _mean(-t)
    fallen = exp(-t)
    return 1 / t - fallen / (1 - fallen)


def _within(share: float, t: float) -> float:
    """Below which part of 0..1 that share of the density exp(-t x) lies."""
    if abs(t) < 1e-4:
        return share
    if share >= 1:
        return 1.0  # whose logarithm is none, where exp(-t) is lost beside 1
    if t < 0:
        return 1 - _within(1 - share, -t)
    return min(1.0, -log1p(share * expm1(-t)) / t)


def _possible(buckets: Sequence[_Bucket], above: int, last: float, total: float, at: _Bucket, k: int) -> tuple[float, float]:
    """Between what the k-th smallest measurement, which is in the bucket `at`, must be."""
    n = at.before + at.n - k + 1
    others = sum(one.n * one.low for one in buckets if one is not at) + above * last
    most = (total - others - (at.n - n) * at.low) / n  # all others are as small as they can be
    least = at.low
    if not above:
        upper = sum(one.n * (one.low + one.width) for one in buckets if one is not at)
        least = (total - upper - (n - 1) * (at.low + at.width)) / (at.n - n + 1)
    return max(least, at.low), min(max(most, at.low), at.low + at.width)
