"""Every rule of the model, tested once where a profile enters: from a reader, from the store, from a file of a stranger.

`checked` returns the profile itself or raises ModelError that names table, row and rule. A reader of untrusted data turns
that into CorruptProfile. Vectorised: a million nodes with a million cells take about 0.1 s.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from proftool.errors import ModelError
from proftool.model.keys import sort_order
from proftool.model.profile import (
    ROOT,
    TABLES,
    UNKNOWN,
    Category,
    Identified,
    Kind,
    MetricKind,
    Profile,
    Table,
)

_REFERENCES: dict[str, dict[str, str]] = {
    "functions": dict.fromkeys(("name", "qualname", "module", "file", "code_hash"), "strings"),
    "frames": {"function": "functions"},
    "nodes": {"frame": "frames"},
    "lanes": dict.fromkeys(("process_name", "thread_name", "task"), "strings"),
    "cells": {"node": "nodes", "lane": "lanes", "metric": "metrics"},
    "samples": {"node": "nodes", "lane": "lanes"},
    "edges": {"callee": "functions", "lane": "lanes"},
    "intervals": {"node": "nodes", "lane": "lanes"},
    "counters": {"name": "strings"},
    "markers": {"name": "strings"},
}
"""Table -> column -> what its values index."""

_REFERENCES_OR_ROOT = {"edges": {"caller": "functions"}, "counters": {"lane": "lanes"}, "markers": {"lane": "lanes"}}
"""The same for columns that may also hold `ROOT`."""

_NOT_NEGATIVE = {
    "functions": ("first_line",),
    "frames": ("line",),
    "samples": ("weight",),
    "edges": ("calls", "primitive_calls", "self_ns", "total_ns"),
    "intervals": ("bytes", "count"),
}


def checked(profile: Profile) -> Profile:
    """
    The profile, every invariant of `profile.py` tested.

    Raises:
        ModelError: names the table, the row and the rule that is broken.
    """
    if not profile.strings or profile.strings[0] != "":
        _broken("strings", 0, "the first string is the empty one")
    names = [metric.name for metric in profile.metrics]
    for index, name in enumerate(names):
        if name in names[:index]:
            _broken("metrics", index, f"names are unique, `{name}` stands twice")
    tables = {name: _table(profile, name) for name in TABLES}
    for name, table in tables.items():
        _shape(name, table)
    sizes = {name: len(table) for name, table in tables.items()} | {"strings": len(profile.strings), "metrics": len(names)}
    for low, references in ((0, _REFERENCES), (ROOT, _REFERENCES_OR_ROOT)):
        for name, columns in references.items():
            for column, other in columns.items():
                _within(name, column, tables[name], low, sizes[other], f"{column} is a row of {other}")
    for name, columns in _NOT_NEGATIVE.items():
        for column in columns:
            _all(name, tables[name].columns()[column] >= 0, f"{column} is not negative")
    f = tables["functions"].columns()
    for column, choices in (("identified", Identified), ("kind", Kind), ("category", Category)):
        _all("functions", f[column] <= max(choices), f"{column} is one of {', '.join(choice.name for choice in choices)}")
    _nodes(profile)
    _cells(profile)
    _times(profile)
    _all("edges", profile.edges.primitive_calls <= profile.edges.calls, "primitive calls are calls")
    return profile


def _table(profile: Profile, name: str) -> Table:
    table: Table = getattr(profile, name)
    return table


def _shape(name: str, table: Table) -> None:
    declared = TABLES[name]().columns()
    n = len(table)
    for column, values in table.columns().items():
        if values.dtype != declared[column].dtype or values.ndim != 1:
            _broken(name, 0, f"{column} is a {declared[column].dtype} column, not {values.dtype} of {values.ndim} dimensions")
        if len(values) != n:
            _broken(name, min(n, len(values)), f"columns are equally long, {column} has {len(values)} rows of {n}")
        if n and values.flags.writeable:
            _broken(name, 0, f"{column} is read-only")


def _nodes(profile: Profile) -> None:
    parent, frame = profile.nodes.parent, profile.nodes.frame
    _all("nodes", parent >= ROOT, "parent is a node or ROOT")
    _all("nodes", parent < np.arange(len(parent), dtype=np.int32), "a parent stands before its children")
    if len(parent) > 1:
        order = sort_order((parent + np.int32(1), frame))
        up, label = parent[order], frame[order]
        twin = (up[1:] == up[:-1]) & (label[1:] == label[:-1])
        if twin.any():
            _broken("nodes", int(order[1:][twin][0]), "siblings never share a frame")


def _cells(profile: Profile) -> None:
    c = profile.cells
    if not len(c):
        return
    metric, node, lane = c.metric, c.node, c.lane
    d_node, d_lane = np.diff(node), np.diff(lane)
    rising = (d_node > 0) | ((d_node == 0) & (d_lane > 0))
    if not rising.all():
        rising |= np.diff(metric) > 0
    rising &= np.diff(metric) >= 0
    if not rising.all():
        _broken("cells", int(np.flatnonzero(~rising)[0]) + 1, "rows are sorted by (metric, node, lane) and unique")
    bounds = np.searchsorted(metric, np.arange(len(profile.metrics) + 1))
    spans = {m.name: (int(bounds[i]), int(bounds[i + 1])) for i, m in enumerate(profile.metrics)}
    for index, described in enumerate(profile.metrics):
        if described.kind is MetricKind.FLOW:
            low, high = int(bounds[index]), int(bounds[index + 1])
            negative = c.value[low:high] < 0
            if negative.any():
                _broken("cells", low + int(np.flatnonzero(negative)[0]), f"values of the flow `{described.name}` are not negative")
    for name, (low, high) in spans.items():
        if name.endswith("waiting_time") and low < high:
            start, end = spans.get(name.removesuffix("waiting_time") + "wall_time", (0, 0))
            _waiting(profile, low, high, start, end)


def _waiting(profile: Profile, low: int, high: int, start: int, end: int) -> None:
    """Cells low:high hold waiting time, start:end the wall time that it is part of."""
    c, n_lanes = profile.cells, len(profile.lanes)
    part = c.node[low:high].astype(np.int64) * n_lanes + c.lane[low:high]
    whole = c.node[start:end].astype(np.int64) * n_lanes + c.lane[start:end]
    if len(part) == len(whole) and np.array_equal(part, whole):
        wall = c.value[start:end]
    else:
        place = np.searchsorted(whole, part)
        found = place < len(whole)
        found[found] = whole[place[found]] == part[found]
        wall = np.zeros(len(part), np.int64)
        wall[found] = c.value[start:end][place[found]]
    over = c.value[low:high] > wall
    if over.any():
        _broken("cells", low + int(np.flatnonzero(over)[0]), "waiting_time is part of the wall_time of its node and lane")


def _times(profile: Profile) -> None:
    lanes, intervals, markers = profile.lanes, profile.intervals, profile.markers
    _all("lanes", lanes.is_main <= 1, "is_main is 0 or 1")
    _all("lanes", (lanes.end_ns >= lanes.start_ns) | (lanes.end_ns == UNKNOWN), "a lane ends after its start")
    later = np.diff(profile.samples.time_ns) >= 0
    if not later.all():
        _broken("samples", int(np.flatnonzero(~later)[0]) + 1, "rows are sorted by time")
    _all("intervals", (intervals.end_ns >= intervals.start_ns) | (intervals.end_ns == UNKNOWN), "an interval ends after its start")
    _all("markers", (markers.end_ns >= markers.start_ns) | (markers.end_ns == UNKNOWN), "a marker ends after its start")


def _within(name: str, column: str, table: Table, low: int, high: int, rule: str) -> None:
    values = table.columns()[column]
    if len(values) and (int(values.min()) < low or int(values.max()) >= high):
        _all(name, (values >= low) & (values < high), rule)


def _all(name: str, holds: NDArray[np.bool_], rule: str) -> None:
    if not holds.all():
        _broken(name, int(np.flatnonzero(~holds)[0]), rule)


def _broken(table: str, row: int, rule: str) -> NoReturn:
    raise ModelError(
        f"the profile is inconsistent at row {row} of `{table}`",
        cause=f"broken rule: {rule}",
        fix="record it again; if proftool wrote this profile, please report it",
    )
