"""Parts of a profile: some lanes, or some time. What remains is a profile of its own; nothing is added or scaled."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import numpy as np

from proftool.errors import ReportError
from proftool.model.builder import sum_cells, table, with_tables
from proftool.model.profile import (
    ROOT,
    TABLES,
    UNKNOWN,
    Cells,
    Int32Array,
    Int64Array,
    Intervals,
    Markers,
    Metric,
    Profile,
    Samples,
    Status,
    Table,
)
from proftool.model.regroup import Mask, moved, reshape

R = TypeVar("R", bound=Table)


def only_lanes(profile: Profile, lanes: Collection[int]) -> Profile:
    """What these lanes did: other lanes and the nodes that only they reached are gone; counters and markers of all lanes stay."""
    chosen = np.zeros(len(profile.lanes) + 1, bool)
    chosen[list(lanes)] = True
    chosen[ROOT] = True
    row = (np.cumsum(chosen, dtype=np.int32) - 1).astype(np.int32)
    row[ROOT] = ROOT
    tables: dict[str, Table] = {"lanes": _rows(profile.lanes, chosen[:-1])}
    for name in TABLES:
        rows: Table = getattr(profile, name)
        columns = rows.columns()
        if "lane" in columns:
            kept = chosen[columns["lane"]]
            tables[name] = table(type(rows), {n: row[c[kept]] if n == "lane" else c[kept] for n, c in columns.items()})
    return _pruned(with_tables(profile, tables))


def time_range(profile: Profile, start_ns: int, end_ns: int) -> Profile:
    """
    What was sampled from `start_ns` until before `end_ns`, in time since the start of the recording.

    The first metric, `waiting_time` and `samples` are added up from the samples of the range; other metrics have no time and
    go. Intervals and markers that reach into the range stay whole, counters by their point in time.

    Raises:
        ReportError: the profile has no samples.
    """
    s = profile.samples
    if not len(s):
        raise ReportError(
            "this profile cannot be cut by time",
            cause="it holds sums only; its backend or format keeps no timeline",
            fix="record with a backend that does: `proftool run --backend pyinstrument`",
        )
    low, high = np.searchsorted(s.time_ns, (start_ns, end_ns))
    inside = table(Samples, {name: column[low:high] for name, column in s.columns().items()})
    metrics: list[Metric] = []
    parts: list[tuple[Int32Array, Int32Array, Int64Array]] = []
    waiting = (inside.status & int(Status.WAITING)) != 0
    for index, metric in enumerate(profile.metrics):
        if index == 0 and metric.name != "samples":
            parts.append((inside.node, inside.lane, inside.weight))
        elif metric.name == "waiting_time" and profile.metrics[0].name == "wall_time":
            parts.append((inside.node[waiting], inside.lane[waiting], inside.weight[waiting]))
        elif metric.name == "samples":
            parts.append((inside.node, inside.lane, np.ones(len(inside), np.int64)))
        else:
            continue
        metrics.append(metric)
    cells = {
        "node": np.concatenate([node for node, _, _ in parts]),
        "lane": np.concatenate([lane for _, lane, _ in parts]),
        "metric": np.repeat(np.arange(len(parts), dtype=np.int32), [len(node) for node, _, _ in parts]),
        "value": np.concatenate([value for _, _, value in parts]),
    }
    i, c, m = profile.intervals, profile.counters, profile.markers
    tables: dict[str, Table] = {
        "samples": inside,
        "cells": sum_cells(table(Cells, cells)),
        "intervals": _rows(i, _overlaps(i, start_ns, end_ns)),
        "counters": _rows(c, (c.time_ns >= start_ns) & (c.time_ns < end_ns)),
        "markers": _rows(m, _overlaps(m, start_ns, end_ns)),
        "edges": _rows(profile.edges, np.zeros(len(profile.edges), bool)),
    }
    return _pruned(with_tables(profile, tables, metrics=tuple(metrics)))


def _overlaps(spans: Intervals | Markers, start_ns: int, end_ns: int) -> Mask:
    return (spans.start_ns < end_ns) & ((spans.end_ns >= start_ns) | (spans.end_ns == UNKNOWN))


def _pruned(profile: Profile) -> Profile:
    """Without the nodes below which nothing has a value."""
    parent = profile.nodes.parent
    used = np.zeros(len(parent), bool)
    for rows in (profile.cells.node, profile.samples.node, profile.intervals.node):
        used[rows] = True
    fresh = np.flatnonzero(used)
    while len(fresh):
        up = parent[fresh]
        up = np.unique(up[up != ROOT])
        fresh = up[~used[up]]
        used[fresh] = True
    nodes, place = reshape(profile, used, profile.nodes.frame)
    return moved(profile, nodes, place)


def _rows(rows: R, keep: Mask) -> R:
    return table(type(rows), {name: column[keep] for name, column in rows.columns().items()})
