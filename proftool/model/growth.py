"""How a function's cost grows with the size of the input: the exponent of n, from runs at several sizes.

On logarithmic axes a power law is a line, so the exponent is a slope: the median of the slopes between all pairs of sizes (Theil–Sen),
which one disturbed run does not bend. Slopes between neighbours give its range.

Source: Goldsmith, Aiken, Wilkerson, "Measuring Empirical Computational Complexity", ESEC/FSE 2007.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from proftool.model.profile import FunctionKey, Profile, function_keys
from proftool.model.tree import function_self

SUPERLINEAR = 1.5
"""From here on a function is said to grow faster than its input."""
_MIN_NS = 1_000_000
"""A function with less time of its own at the largest size is not looked at: its exponent would be that of the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponent:
    """Value ~ n ** estimate."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """One function over the sizes; time and calls are its own, not its callees'."""

    key: FunctionKey
    line: int
    self_ns: tuple[int, ...]
    calls: tuple[int, ...]
    time: Exponent
    call_count: Exponent | None
    """None where the number of calls does not change with the size."""


def fit(sizes: Sequence[float], values: Sequence[int]) -> Exponent | None:
    """The exponent over the sizes with a value; None with fewer than two of them."""
    points = [(math.log(n), math.log(v)) for n, v in zip(sizes, values, strict=True) if n > 0 and v > 0]
    if len(points) < 2:
        return None
    pairs = [(y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(points) for x2, y2 in points[i + 1 :]]
    near = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairwise(points)]
    ordered = sorted(pairs)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Exponent(estimate=median, low=min(near), high=max(near))


def growth(sizes: Sequence[float], profiles: Sequence[Sequence[Profile]]) -> tuple[Growth, ...]:
    """Every function with time of its own at the largest size, that with the most expected at ten times the size first.

    Profiles are traced (`wall_time` and `calls`), one or more a size, in ascending order. Of several the least time of a function counts:
    what else a machine does only ever adds to it.
    """
    times = [_least([_by_key(profile, "wall_time") for profile in same]) for same in profiles]
    calls = [_least([_by_key(profile, "calls") for profile in same]) for same in profiles]
    largest = profiles[-1][0]
    lines = {key: int(largest.functions.first_line[i]) for i, key in enumerate(function_keys(largest))}
    found: list[Growth] = []
    for key, last in times[-1].items():
        if last < _MIN_NS:
            continue
        own = tuple(one.get(key, 0) for one in times)
        count = tuple(one.get(key, 0) for one in calls)
        time = fit(sizes, own)
        if time is not None:
            counted = fit(sizes, count) if len(set(count)) > 1 else None
            found.append(Growth(key=key, line=lines[key], self_ns=own, calls=count, time=time, call_count=counted))
    return tuple(sorted(found, key=lambda one: -one.self_ns[-1] * 10**one.time.estimate))


def _least(same: Sequence[Mapping[FunctionKey, int]]) -> Mapping[FunctionKey, int]:
    return {key: min(one.get(key, value) for one in same) for key, value in same[0].items()}


def _by_key(profile: Profile, metric: str) -> Mapping[FunctionKey, int]:
    own = function_self(profile, profile.metric_index(metric)).tolist()
    return {key: value for key, value in zip(function_keys(profile), own, strict=True) if value}
