"""Several profiles as one: `merge` for processes, threads and repeats of one kind, `lenses` for different passes of a run.

Both append lanes and keep every value in its own lane, so nothing is added up that was measured apart: flows may be summed
over lanes afterwards, stocks (peaks) stay one a process. The union tree is built at the level of frames, and a function is
the same only if its whole row is (name, file, first line, ...): two that cannot be told apart are never joined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.errors import NotComparable
from proftool.model.align import align
from proftool.model.builder import rows_table, sum_cells, table
from proftool.model.circumstances import merged_meta, side_by_side
from proftool.model.joined_cells import joined_cells
from proftool.model.keys import unique_rows
from proftool.model.profile import (
    ROOT,
    UNKNOWN,
    Cells,
    Counters,
    Edges,
    Frames,
    FunctionKey,
    Functions,
    Int32Array,
    Intervals,
    Lanes,
    Markers,
    Metric,
    Nodes,
    Profile,
    Samples,
    T,
    function_keys,
)
from proftool.model.tree import Tree

FunctionMap = tuple[list[tuple[int, ...]], list[Int32Array]]
_TEXTS = ("name", "qualname", "module", "file", "code_hash")
_IDENTIFIED = list(Functions().columns()).index("identified")
_FIRST_LINE = list(Functions().columns()).index("first_line")


def merge(profiles: Sequence[Profile]) -> Profile:
    """
    Recordings of one kind as one profile: lanes appended, one tree, each lane with its own values.

    Time axes are brought together by the passes' `started_ns`; a profile that does not know when it started begins with the
    earliest. Passes of the same mode and backend become one (counts add up, duration is the longest, notes follow each
    other). Associative and commutative up to the order of rows and notes.

    Raises:
        NotComparable: a metric of one name means different things; `lenses` sets such profiles side by side.
    """
    if not profiles:
        return Profile()
    if len(profiles) == 1:
        return profiles[0]
    metrics: dict[str, Metric] = {}
    for metric in (metric for profile in profiles for metric in profile.metrics):
        if metrics.setdefault(metric.name, metric) != metric:
            raise NotComparable(
                f"`{metric.name}` means different things in the recordings to merge",
                cause=f"one is {_described(metrics[metric.name])}, another {_described(metric)}",
                fix="merge recordings of one mode; passes of different modes are shown side by side in one run",
            )
    places = list(metrics)
    started = [profile.meta.started_ns for profile in profiles]
    first = min((at for at in started if at is not None), default=0)
    joined = _joined(
        profiles,
        tuple(metrics.values()),
        [np.array([places.index(metric.name) for metric in profile.metrics], np.int32) for profile in profiles],
        [0 if at is None else at - first for at in started],
        _exact,
    )
    return joined.with_meta(merged_meta([profile.meta for profile in profiles]))


def lenses(profiles: Sequence[Profile]) -> Profile:
    """
    The passes of one run (sample, trace, memory) as one profile: a union tree with all their metrics side by side.

    A metric whose name is taken gets the prefix `<mode>.` (`trace.wall_time`; `waiting_time` and `preempted_time` go with theirs).
    Functions are one where their rows are equal, else where their keys are, and never two of one pass. Lanes stay apart and
    every pass keeps its totals and its own time axis, since the passes ran one after another.
    """
    if len(profiles) == 1:
        return profiles[0]
    metrics: list[Metric] = []
    columns: list[Int32Array] = []
    parts = {"wall_time", "waiting_time", "preempted_time"}
    for profile in profiles:
        own = _moded(profile)
        taken = {metric.name for metric in metrics}
        clashes = {metric.name for metric in own} & taken
        if clashes & parts:
            clashes |= parts
        columns.append(np.arange(len(metrics), len(metrics) + len(own), dtype=np.int32))
        for metric in own:
            metrics.append(replace(metric, name=_free_name(metric, taken)) if metric.name in clashes else metric)
    joined = _joined(profiles, tuple(metrics), columns, [0] * len(profiles), _by_key)
    return joined.with_meta(side_by_side([profile.meta for profile in profiles]))


def _moded(profile: Profile) -> list[Metric]:
    mode = profile.meta.passes[0].mode if len(profile.meta.passes) == 1 else ""
    return [metric if metric.mode else replace(metric, mode=mode) for metric in profile.metrics]


def _free_name(metric: Metric, taken: set[str]) -> str:
    prefix = metric.mode or "other"
    names = (f"{prefix}{'' if n == 1 else n}.{metric.name}" for n in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _described(metric: Metric) -> str:
    return f"a {metric.kind} in {metric.unit}" + (f" of the mode {metric.mode}" if metric.mode else "")


def _joined(
    profiles: Sequence[Profile],
    metrics: tuple[Metric, ...],
    columns: Sequence[Int32Array],
    shifts: Sequence[int],
    unify: Callable[[Sequence[Profile], Sequence[Int32Array]], FunctionMap],
) -> Profile:
    """The union; `columns` maps metrics, `shifts` (ns) moves time axes, `unify` says which functions are one."""
    known: dict[str, int] = {"": 0}
    texts = [np.array([known.setdefault(text, len(known)) for text in p.strings], np.int32) for p in profiles]
    rows, functions = unify(profiles, texts)
    frames, frame_maps = _frames(profiles, functions)
    union = align([Tree.of(p) for p in profiles], [m[p.nodes.frame] for p, m in zip(profiles, frame_maps, strict=True)])
    starts = np.cumsum([0, *(len(p.lanes) for p in profiles)]).tolist()
    lanes = [
        np.append(np.arange(start, start + len(p.lanes), dtype=np.int32), np.int32(ROOT))
        for p, start in zip(profiles, starts, strict=False)
    ]
    maps: dict[str, Sequence[Int32Array]] = {
        "node": union.places,
        "lane": lanes,
        "metric": columns,
        "caller": [np.append(m, np.int32(ROOT)) for m in functions],
        "callee": functions,
        **dict.fromkeys((*_TEXTS, "process_name", "thread_name", "task"), texts),
    }
    cells = joined_cells(
        [p.cells for p in profiles],
        nodes=union.places,
        lanes=starts[:-1],
        metrics=columns,
        n_nodes=len(union.parent),
        n_metrics=len(metrics),
    )
    samples = _appended(Samples, [p.samples for p in profiles], maps, shifts)
    by_time = np.argsort(samples.time_ns, kind="stable")
    return Profile(
        strings=tuple(known),
        functions=rows_table(Functions, rows),
        frames=frames,
        nodes=table(Nodes, {"parent": union.parent, "frame": union.label}),
        lanes=_appended(Lanes, [p.lanes for p in profiles], maps),
        metrics=metrics,
        cells=sum_cells(_appended(Cells, [p.cells for p in profiles], maps)) if cells is None else cells,
        samples=table(Samples, {name: column[by_time] for name, column in samples.columns().items()}),
        edges=_appended(Edges, [p.edges for p in profiles], maps),
        intervals=_appended(Intervals, [p.intervals for p in profiles], maps, shifts),
        counters=_appended(Counters, [p.counters for p in profiles], maps, shifts),
        markers=_appended(Markers, [p.markers for p in profiles], maps, shifts),
    )


def _appended(kind: type[T], tables: Sequence[T], maps: dict[str, Sequence[Int32Array]], shifts: Sequence[int] | None = None) -> T:
    columns: dict[str, NDArray[np.integer]] = {}
    for name in kind().columns():
        parts = [table.columns()[name] for table in tables]
        if name in maps:
            parts = [to[part] for to, part in zip(maps[name], parts, strict=True)]
        elif shifts is not None and name in ("time_ns", "start_ns", "end_ns"):
            parts = [np.where(part == UNKNOWN, UNKNOWN, part + shift) if shift else part for part, shift in zip(parts, shifts, strict=True)]
        columns[name] = np.concatenate(parts)
    return table(kind, columns)


def _frames(profiles: Sequence[Profile], functions: Sequence[Int32Array]) -> tuple[Frames, list[Int32Array]]:
    function = np.concatenate([to[p.frames.function] for p, to in zip(profiles, functions, strict=True)])
    line = np.concatenate([p.frames.line for p in profiles])
    first, group = unique_rows((function, line))
    ends = np.cumsum([len(p.frames) for p in profiles])[:-1]
    return table(Frames, {"function": function[first], "line": line[first]}), np.split(group, ends)


def _function_rows(profile: Profile, texts: Int32Array) -> list[tuple[int, ...]]:
    columns = {name: texts[c] if name in _TEXTS else c for name, c in profile.functions.columns().items()}
    return list(zip(*(column.tolist() for column in columns.values()), strict=True))


def _exact(profiles: Sequence[Profile], texts: Sequence[Int32Array]) -> FunctionMap:
    known: dict[tuple[int, ...], int] = {}
    maps = [
        np.array([known.setdefault(row, len(known)) for row in _function_rows(p, text)], np.int32)
        for p, text in zip(profiles, texts, strict=True)
    ]
    return list(known), maps


def _by_key(profiles: Sequence[Profile], texts: Sequence[Int32Array]) -> FunctionMap:
    """Equal rows first, then equal keys, one to one within each pass; of two rows with one key the better identified stands."""
    rows: list[tuple[int, ...]] = []
    by_row: dict[tuple[int, ...], int] = {}
    by_key: dict[FunctionKey, int] = {}
    maps: list[Int32Array] = []
    for profile, text in zip(profiles, texts, strict=True):
        own = _function_rows(profile, text)
        keys = function_keys(profile)
        place: list[int | None] = []
        used: set[int] = set()
        for row in own:
            at = by_row.get(row)
            at = None if at in used else at
            place.append(at)
            if at is not None:
                used.add(at)
        final = np.zeros(len(own), np.int32)
        for index, (at, row, key) in enumerate(zip(place, own, keys, strict=True)):
            if at is None:
                at = by_key.get(key)
                if at is None or at in used or _apart(row, rows[at]):
                    at = len(rows)
                    rows.append(row)
                elif row[_IDENTIFIED] < rows[at][_IDENTIFIED]:
                    rows[at] = row
                used.add(at)
            final[index] = at
        for at, row, key in zip(final.tolist(), own, keys, strict=True):
            by_row.setdefault(row, at)
            by_key.setdefault(key, at)
        maps.append(final)
    return rows, maps


def _apart(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Both lines of `def` are known and differ: passes of one run read one source, so these are two functions."""
    return 0 not in (a[_FIRST_LINE], b[_FIRST_LINE]) and a[_FIRST_LINE] != b[_FIRST_LINE]
