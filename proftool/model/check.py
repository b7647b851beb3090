"""Every rule of the model, tested once where a profile enters.

A broken rule is a ModelError that names table, row and rule; readers of foreign files turn it into CorruptProfile.
A million nodes take about 0.1 s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proftool.errors import ModelError
from proftool.model.profile import ROOT, TABLES, UNKNOWN, Category, Identified, Kind, Profile

_INDEX_RULES = (
    # table, column, table that it points into (strings: None), lowest value
    ("functions", "name", "strings", 0),
    ("functions", "qualname", "strings", 0),
    ("functions", "module", "strings", 0),
    ("functions", "file", "strings", 0),
    ("functions", "code_hash", "strings", 0),
    ("frames", "function", "functions", 0),
    ("nodes", "parent", "nodes", ROOT),
    ("nodes", "frame", "frames", 0),
    ("lanes", "process_name", "strings", 0),
    ("lanes", "thread_name", "strings", 0),
    ("lanes", "task", "strings", 0),
    ("cells", "node", "nodes", 0),
    ("cells", "lane", "lanes", 0),
    ("cells", "metric", "metrics", 0),
    ("samples", "lane", "lanes", 0),
    ("samples", "node", "nodes", 0),
    ("edges", "caller", "functions", ROOT),
    ("edges", "callee", "functions", 0),
    ("edges", "lane", "lanes", 0),
    ("intervals", "node", "nodes", 0),
    ("intervals", "lane", "lanes", 0),
    ("counters", "name", "strings", 0),
    ("counters", "lane", "lanes", ROOT),
    ("markers", "name", "strings", 0),
    ("markers", "lane", "lanes", ROOT),
)
_NOT_NEGATIVE = (
    ("functions", "first_line"),
    ("frames", "line"),
    ("samples", "weight"),
    ("edges", "calls"),
    ("edges", "primitive_calls"),
    ("edges", "self_ns"),
    ("edges", "total_ns"),
    ("intervals", "bytes"),
    ("intervals", "count"),
)


def checked(profile: Profile) -> Profile:
    """The same profile, every rule of it holding; ModelError otherwise."""
    _shapes(profile)
    if not profile.strings or profile.strings[0] != "":
        raise _broken("strings", 0, "the first string is empty")
    if len({metric.name for metric in profile.metrics}) != len(profile.metrics):
        raise _broken("metrics", 0, "names are unique")
    for table, column, target, low in _INDEX_RULES:
        values = getattr(getattr(profile, table), column)
        _require((values >= low) & (values < len(getattr(profile, target))), table, f"`{column}` points into `{target}`")
    for table, column in _NOT_NEGATIVE:
        _require(getattr(getattr(profile, table), column) >= 0, table, f"`{column}` is not negative")
    f = profile.functions
    for column, kind in ((f.kind, Kind), (f.category, Category), (f.identified, Identified)):
        _require(column <= max(kind), "functions", f"`{kind.__name__.lower()}` is a known value")
    _tree(profile)
    _cells(profile)
    s, i = profile.samples, profile.intervals
    _require(np.diff(s.time_ns, prepend=s.time_ns[:1]) >= 0, "samples", "rows are sorted by time")
    _require((i.end_ns == UNKNOWN) | (i.end_ns >= i.start_ns), "intervals", "no allocation ends before it starts")
    return profile


def _shapes(profile: Profile) -> None:
    for name, kind in TABLES.items():
        table, empty = getattr(profile, name), kind()
        lengths = {len(column) for column in table.columns().values()}
        if len(lengths) > 1:
            raise _broken(name, min(lengths), "its columns are of equal length")
        for column, values in table.columns().items():
            if values.ndim != 1 or values.dtype != empty.columns()[column].dtype:
                raise _broken(name, 0, f"`{column}` is one row of {empty.columns()[column].dtype}")
            if values.flags.writeable:
                raise _broken(name, 0, f"`{column}` is read-only")


def _tree(profile: Profile) -> None:
    parent, frame = profile.nodes.parent, profile.nodes.frame
    _require(parent < np.arange(len(parent)), "nodes", "a parent comes before its children")
    # Sorting one 64-bit key is three times as fast as lexsort on two columns.
    key = (parent.astype(np.int64) + 1) * (len(profile.frames) + 1) + frame
    ordered = np.sort(key)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise _broken("nodes", int(np.flatnonzero(key == ordered[twice[0]])[1]), "siblings never share a frame")


def _cells(profile: Profile) -> None:
    c = profile.cells
    same_metric = c.metric[1:] == c.metric[:-1]
    same_node = same_metric & (c.node[1:] == c.node[:-1])
    rising = (c.metric[1:] > c.metric[:-1]) | (same_metric & (c.node[1:] > c.node[:-1])) | (same_node & (c.lane[1:] > c.lane[:-1]))
    _require(np.concatenate([[True], rising])[: len(c)], "cells", "rows are sorted by metric, node, lane, and unique")
    # A diff's pairs hold what each side measured, so they are never negative either.
    _require(c.value >= 0, "cells", "values are not negative")
    names = {metric.name: index for index, metric in enumerate(profile.metrics)}
    if "waiting_time" in names and "wall_time" in names:
        waiting, wall = (_keyed(profile, names[name]) for name in ("waiting_time", "wall_time"))
        place = np.searchsorted(wall[0], waiting[0])
        found = (
            (place < len(wall[0])) & (wall[0][np.minimum(place, max(len(wall[0]) - 1, 0))] == waiting[0])
            if len(wall[0])
            else np.zeros(len(waiting[0]), bool)
        )
        _require(found, "cells", "who waits spends wall time")
        _require(waiting[1] <= wall[1][place], "cells", "waiting_time is a part of wall_time")


def _keyed(profile: Profile, metric: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    c = profile.cells
    low, high = np.searchsorted(c.metric, (metric, metric + 1))
    return c.node[low:high].astype(np.int64) * (len(profile.lanes) + 1) + c.lane[low:high], c.value[low:high]


def _require(holds: NDArray[np.bool_], table: str, rule: str) -> None:
    if not holds.all():
        raise _broken(table, int(np.flatnonzero(~holds)[0]), rule)


def _broken(table: str, row: int, rule: str) -> ModelError:
    return ModelError(
        f"table `{table}`, row {row}: broken rule: {rule}",
        cause="a reader or a transform made a profile that the model does not allow",
        fix="report it with the file that was read",
    )
