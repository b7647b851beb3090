"""A profile's time as one row a lane, for formats that draw it: which node ran from when to when.

Where the profile has a timeline that adds up to its time, it is that, equal neighbours made one; else every node stands once, as wide
as its total, the children behind the time of its own: an arrangement, not a history, and said so by `is_history`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proftool.model.builder import sum_cells
from proftool.model.profile import ROOT, Cells, Int32Array, Int64Array, Profile, ints
from proftool.model.tree import lane_total
from proftool.units import Unit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretches:
    """Stretches of time without overlap within a lane, sorted by lane and time; ns since the start."""

    lane: Int32Array
    node: Int32Array
    start_ns: Int64Array
    length_ns: Int64Array
    metric: int
    """Column of the metric whose time it is."""
    is_history: bool


def time_metric(profile: Profile) -> int | None:
    """Column of the metric that is drawn: wall time, else the first that is a time; None where nothing measured time."""
    times = [at for at, metric in enumerate(profile.metrics) if metric.unit is Unit.NANOSECONDS]
    return next((at for at in times if profile.metrics[at].name == "wall_time"), times[0] if times else None)


def stretches(profile: Profile) -> Stretches | None:
    """The time of a profile; None where nothing measured time."""
    metric = time_metric(profile)
    if metric is None:
        return None
    t = profile.samples
    if len(t) and metric == 0 and int(t.weight.sum()) == int(lane_total(profile, 0).sum()) and _is_apart(profile):
        order = np.lexsort((t.time_ns, t.lane))
        lane, node, start, length = t.lane[order], t.node[order], t.time_ns[order], t.weight[order]
        fresh = np.ones(len(lane), bool)
        fresh[1:] = (lane[1:] != lane[:-1]) | (node[1:] != node[:-1]) | (start[1:] != start[:-1] + length[:-1])
        first = np.flatnonzero(fresh)
        return Stretches(
            lane=lane[first], node=node[first], start_ns=start[first], length_ns=np.add.reduceat(length, first), metric=0, is_history=True
        )
    return _arranged(profile, metric)


def _is_apart(profile: Profile) -> bool:
    """Do no two samples of a lane overlap?"""
    t = profile.samples
    order = np.lexsort((t.time_ns, t.lane))
    lane, start, end = t.lane[order], t.time_ns[order], (t.time_ns + t.weight)[order]
    return bool(((lane[1:] != lane[:-1]) | (start[1:] >= end[:-1])).all())


def _arranged(profile: Profile, metric: int) -> Stretches:
    c = profile.cells
    rows = (c.metric == metric) & (c.value > 0)
    own = sum_cells(Cells(node=c.node[rows], lane=c.lane[rows], metric=c.metric[rows], value=c.value[rows]))
    place = depth_first(profile)
    order = np.lexsort((place[own.node], own.lane))
    lane, node, length = own.lane[order], own.node[order], own.value[order]
    ends = np.cumsum(length)
    start = ends - length
    begins = np.flatnonzero(np.append(True, lane[1:] != lane[:-1])) if len(lane) else np.zeros(0, np.int64)
    start -= np.repeat(start[begins], np.diff(np.append(begins, len(lane))))
    return Stretches(lane=lane, node=node, start_ns=start, length_ns=length, metric=metric, is_history=False)


def depth_first(profile: Profile) -> Int64Array:
    """Place of every node in a walk that meets a node before its children, and these before its next sibling."""
    n = len(profile.nodes)
    size = np.ones(n, np.int64)
    parent = ints(profile.nodes.parent)
    for node in range(n - 1, -1, -1):
        if parent[node] != ROOT:
            size[parent[node]] += size[node]
    place, free = np.zeros(n, np.int64), [0] * (n + 1)
    sizes = ints(size)
    for node in range(n):
        up = parent[node]
        at = free[up]  # free[-1] is that of the roots
        place[node] = at
        free[up] = at + sizes[node]
        free[node] = at + 1
    return place
