"""Wall time without the time in line for a processor: what a diff compares where a recording knows both.

A thread that could run but stands in line waits for other programs' work. How long depends on the machine's load at the time of the
recording: on two cores with twelve jobs, 0.2 s of computing took 0.7 to 1.2 s of wall time, while CPU time stayed within a few percent.
`wall_time` of a recording keeps it, as the clock on the wall does; between recordings it says nothing of the program.
Rule: a value is only ever lowered, by what `preempted_time` holds for the same node and lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.model.profile import ROOT, Cells, Edges, Profile
from proftool.model.tree import lane_total, metric_total

WALL, PREEMPTED = "wall_time", "preempted_time"


def preempted_metric(profiles: Sequence[Profile], name: str) -> str | None:
    """The metric to take off metric `name`; None where `name` is no wall time or a profile does not know it."""
    if name != WALL and not name.endswith("." + WALL):
        return None
    part = name.removesuffix(WALL) + PREEMPTED
    return part if all(p.has_metric(part) for p in profiles) else None


def preempted_share(profile: Profile, name: str, part: str) -> float:
    """What part of a profile's wall time its threads stood in line, 0..1."""
    return metric_total(profile, profile.metric_index(part)) / max(metric_total(profile, profile.metric_index(name)), 1)


def without_preempted(profile: Profile, name: str, part: str) -> Profile:
    """The profile with metric `name` lowered by metric `part`; its other metrics stand."""
    c, wall, taken = profile.cells, profile.metric_index(name), profile.metric_index(part)
    low, high = np.searchsorted(c.metric, (wall, wall + 1))
    start, end = np.searchsorted(c.metric, (taken, taken + 1))
    if start == end:
        return profile
    n_lanes = max(len(profile.lanes), 1)
    whole = c.node[low:high].astype(np.int64) * n_lanes + c.lane[low:high]
    own = c.node[start:end].astype(np.int64) * n_lanes + c.lane[start:end]
    place = np.searchsorted(whole, own)
    held = place < len(whole)
    held[held] = whole[place[held]] == own[held]
    value = c.value.copy()
    value[low + place[held]] -= c.value[start:end][held]
    cells = Cells(node=c.node, lane=c.lane, metric=c.metric, value=value)
    return replace(profile, cells=cells, edges=_edges(profile, wall, taken, value[low:high]))


def _edges(profile: Profile, wall: int, taken: int, lowered: NDArray[np.int64]) -> Edges:
    """Totals of caller-callee pairs know no parts, so each goes down by its lane's share, but not below the callee's own time."""
    e = profile.edges
    if not len(e) or profile.metrics[wall].mode != "trace":
        return e
    share = lane_total(profile, taken) / np.maximum(lane_total(profile, wall), 1)
    total_ns = np.rint(e.total_ns * (1 - share[e.lane])).astype(np.int64)
    c, n_lanes = profile.cells, len(profile.lanes)
    low, high = np.searchsorted(c.metric, (wall, wall + 1))
    function = profile.frames.function[profile.nodes.frame[c.node[low:high]]].astype(np.int64)
    own = np.bincount(function * n_lanes + c.lane[low:high], lowered, len(profile.functions) * n_lanes)
    least = np.where(e.caller == ROOT, own[e.callee.astype(np.int64) * n_lanes + e.lane], 0).astype(np.int64)
    return Edges(**{**e.columns(), "total_ns": np.minimum(np.maximum(total_ns, least), e.total_ns)})  # pyright: ignore[reportArgumentType]
