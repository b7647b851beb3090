"""A timeline in fewer rows: time in equal steps, rows of one step that differ in nothing else added up.

Sums stay exact; what goes is when within a step something happened. Counters keep their highest value of a step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.model.builder import table
from proftool.model.keys import unique_rows
from proftool.model.profile import UNKNOWN, Counters, Int32Array, Int64Array, Intervals, Profile, Samples


def n_rows(profile: Profile) -> int:
    """Rows of the timeline."""
    return len(profile.samples) + len(profile.intervals) + len(profile.counters)


def thin(profile: Profile, most: int) -> tuple[Profile, int]:
    """
    The profile with at most about `most` rows of timeline, and the step, ns; steps double from a quarter of the room up.

    A step is never longer than the recording, so as many rows as there are different nodes and lanes may stay.
    """
    end = _end(profile)
    step = max(1, end // (4 * max(1, most)))
    while True:
        s, i, c = _samples(profile.samples, step), _intervals(profile.intervals, step), _counters(profile.counters, step)
        if len(s) + len(i) + len(c) <= most or step > end:
            return replace(profile, samples=s, intervals=i, counters=c), step
        step *= 2


def _end(profile: Profile) -> int:
    times = (profile.samples.time_ns, profile.intervals.start_ns, profile.intervals.end_ns, profile.counters.time_ns)
    return max((int(column.max()) for column in times if len(column)), default=0)


def _codes(column: NDArray[np.integer]) -> Int32Array:
    """Places among the different values, in their order: columns of a key are not negative and short."""
    return np.unique(column, return_inverse=True)[1].astype(np.int32)


def _sums(values: Int64Array, group: Int32Array, n: int) -> Int64Array:
    result = np.zeros(n, np.int64)
    np.add.at(result, group, values)
    return result


def _samples(s: Samples, step: int) -> Samples:
    if not len(s):
        return s
    first, group = unique_rows((_codes(s.time_ns // step), s.lane + 1, s.node, s.status))
    columns = {name: column[first] for name, column in s.columns().items()}
    return table(Samples, columns | {"time_ns": s.time_ns[first] // step * step, "weight": _sums(s.weight, group, len(first))})


def _intervals(v: Intervals, step: int) -> Intervals:
    if not len(v):
        return v
    start, end = v.start_ns // step * step, np.where(v.end_ns == UNKNOWN, UNKNOWN, v.end_ns // step * step)
    first, group = unique_rows((_codes(start), _codes(end), v.lane + 1, v.node))
    sums = {"bytes": _sums(v.bytes, group, len(first)), "count": _sums(v.count, group, len(first))}
    return table(Intervals, {"node": v.node[first], "lane": v.lane[first], "start_ns": start[first], "end_ns": end[first]} | sums)


def _counters(c: Counters, step: int) -> Counters:
    if not len(c):
        return c
    first, group = unique_rows((_codes(c.time_ns // step), c.name, c.lane + 1))
    highest = np.full(len(first), np.iinfo(np.int64).min)
    np.maximum.at(highest, group, c.value)
    return table(Counters, {"name": c.name[first], "lane": c.lane[first], "time_ns": c.time_ns[first] // step * step, "value": highest})
