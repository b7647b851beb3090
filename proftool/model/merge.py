"""Several profiles as one: lanes stand side by side, trees fall together where they are the same frames.

`merge` is for parts of one recording or runs of one kind: metrics of the same name are the same metric. `lenses` is for passes of
one target in several modes: each pass keeps metrics and lanes of its own, so that every total stays exactly that of its pass.
Merging is associative and commutative up to the order of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from proftool.model.align import align
from proftool.model.builder import finish, sum_cells
from proftool.model.meta import Meta, Pass
from proftool.model.profile import ROOT, TABLES, Int32Array, Metric, Profile, Table
from proftool.model.tree import Tree

T = TypeVar("T")

_FUNCTION_TEXTS = ("name", "qualname", "module", "file", "code_hash")


def merge(profiles: Sequence[Profile]) -> Profile:
    """One profile of all lanes; times of samples are put on one axis by when each recording started."""
    return _combined(profiles, [list(p.metrics) for p in profiles], _merged_meta([p.meta for p in profiles]))


def lenses(profiles: Sequence[Profile]) -> Profile:
    """One profile of several passes; a metric name that is taken gets the later pass's mode as prefix: `trace.wall_time`."""
    taken: set[str] = set()
    renamed: list[list[Metric]] = []
    for profile in profiles:
        own = [replace(m, name=m.name if m.name not in taken else f"{m.mode}.{m.name}") for m in profile.metrics]
        taken |= {m.name for m in own}
        renamed.append(own)
    meta = replace(profiles[0].meta, passes=tuple(p for profile in profiles for p in profile.meta.passes))
    return _combined(profiles, renamed, replace(meta, lost=_unique([text for p in profiles for text in p.meta.lost])))


def _combined(profiles: Sequence[Profile], metrics: Sequence[Sequence[Metric]], meta: Meta) -> Profile:
    strings, texts = _common([p.strings for p in profiles])
    text_maps = [np.array(column, np.int32) for column in texts]
    function_rows = [_recoded(p.functions, text_map, _FUNCTION_TEXTS) for p, text_map in zip(profiles, text_maps, strict=True)]
    functions, function_maps = _distinct(function_rows)
    frame_rows = [np.column_stack([fm[p.frames.function], p.frames.line]) for p, fm in zip(profiles, function_maps, strict=True)]
    frames, frame_maps = _distinct(frame_rows)
    union = align([Tree.of(p) for p in profiles], [fm[p.nodes.frame] for p, fm in zip(profiles, frame_maps, strict=True)])
    all_metrics, metric_maps = _common(metrics)
    lane_starts = np.cumsum([0, *(len(p.lanes) for p in profiles)])
    begin = min((p.meta.started_ns for p in profiles if p.meta.started_ns is not None), default=0)
    tables: dict[str, list[Table]] = {name: [] for name in ("lanes", "cells", "samples", "edges", "intervals", "counters", "markers")}
    for at, p in enumerate(profiles):
        place, lane_start, text, metric = union.places[at], int(lane_starts[at]), text_maps[at], np.array(metric_maps[at], np.int32)
        later = max((p.meta.started_ns or begin) - begin, 0)
        lift = lambda lane, start=lane_start: np.where(lane == ROOT, ROOT, lane + start).astype(np.int32)  # noqa: E731
        fmap = function_maps[at]
        tables["lanes"].append(
            replace(p.lanes, process_name=text[p.lanes.process_name], thread_name=text[p.lanes.thread_name], task=text[p.lanes.task])
        )
        tables["cells"].append(replace(p.cells, node=place[p.cells.node], lane=lift(p.cells.lane), metric=metric[p.cells.metric]))
        tables["samples"].append(
            replace(p.samples, node=place[p.samples.node], lane=lift(p.samples.lane), time_ns=p.samples.time_ns + later)
        )
        callers = np.where(p.edges.caller == ROOT, ROOT, fmap[p.edges.caller]) if len(p.edges) else p.edges.caller
        tables["edges"].append(replace(p.edges, caller=callers.astype(np.int32), callee=fmap[p.edges.callee], lane=lift(p.edges.lane)))
        i = p.intervals
        ends = np.where(i.end_ns < 0, i.end_ns, i.end_ns + later)
        tables["intervals"].append(replace(i, node=place[i.node], lane=lift(i.lane), start_ns=i.start_ns + later, end_ns=ends))
        tables["counters"].append(
            replace(p.counters, name=text[p.counters.name], lane=lift(p.counters.lane), time_ns=p.counters.time_ns + later)
        )
        m = p.markers
        tables["markers"].append(
            replace(
                m,
                name=text[m.name],
                lane=lift(m.lane),
                start_ns=m.start_ns + later,
                end_ns=np.where(m.end_ns < 0, m.end_ns, m.end_ns + later),
            )
        )
    joined = {name: _concatenated(name, parts) for name, parts in tables.items()}
    samples = joined["samples"].columns()
    by_time = np.argsort(samples["time_ns"], kind="stable")
    joined["samples"] = TABLES["samples"](**{name: column[by_time] for name, column in samples.items()})
    names = list(profiles[0].functions.columns()) if profiles else []
    return finish(
        Profile(
            strings=tuple(strings),
            functions=TABLES["functions"](**{name: functions[:, at] for at, name in enumerate(names)}),  # pyright: ignore[reportArgumentType]
            frames=TABLES["frames"](function=frames[:, 0], line=frames[:, 1]),  # pyright: ignore[reportArgumentType, reportCallIssue]
            nodes=TABLES["nodes"](parent=union.parent, frame=union.label),  # pyright: ignore[reportArgumentType, reportCallIssue]
            metrics=tuple(all_metrics),
            meta=meta,
            **(joined | {"cells": sum_cells(joined["cells"])}),  # pyright: ignore[reportArgumentType]
        )
    )


def _common(rows: Sequence[Sequence[T]]) -> tuple[list[T], list[list[int]]]:
    known: dict[T, int] = {}
    maps = [[known.setdefault(item, len(known)) for item in row] for row in rows]
    return list(known), maps


def _recoded(table: Table, texts: Int32Array, columns: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.column_stack([texts[c] if name in columns else c for name, c in table.columns().items()]).astype(np.int64)


def _distinct(
    rows: Sequence[np.ndarray[tuple[int, int], np.dtype[np.int64]]],
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], list[Int32Array]]:
    """Different rows once, and per block the place of each of its rows."""
    unique, inverse = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    ends = np.cumsum([len(block) for block in rows])
    return unique, [part.astype(np.int32) for part in np.split(inverse.reshape(-1), ends[:-1])]


def _concatenated(name: str, parts: Sequence[Table]) -> Table:
    columns = {column: np.concatenate([part.columns()[column] for part in parts]) for column in TABLES[name]().columns()}
    return TABLES[name](**columns)


def _merged_meta(metas: Sequence[Meta]) -> Meta:
    groups: dict[tuple[str, str], list[Pass]] = {}
    for meta in metas:
        for one in meta.passes:
            groups.setdefault((one.mode, one.backend), []).append(one)
    passes = tuple(_merged_pass(group) for group in groups.values())
    first = metas[0] if metas else Meta()
    return replace(
        first,
        passes=passes,
        quality=None,
        lost=_unique([text for meta in metas for text in meta.lost]),
        sources=tuple(dict(source for meta in reversed(metas) for source in meta.sources).items()),
        reconstructed=any(meta.reconstructed for meta in metas),
    )


def _merged_pass(group: Sequence[Pass]) -> Pass:
    def total(name: str) -> int | None:
        known = [getattr(one, name) for one in group if getattr(one, name) is not None]
        return sum(known) if known else None

    known_ends = [one.started_ns + one.duration_ns for one in group if one.started_ns is not None and one.duration_ns is not None]
    started = min((one.started_ns for one in group if one.started_ns is not None), default=None)
    return replace(
        group[0],
        samples=total("samples"),
        missed=total("missed"),
        errors=total("errors"),
        overhead_ns=total("overhead_ns"),
        cpu_ns=total("cpu_ns"),
        started_ns=started,
        duration_ns=max(known_ends) - started if started is not None and known_ends else group[0].duration_ns,
        unseen=_unique([text for one in group for text in one.unseen]),
        notes=_unique([text for one in group for text in one.notes]),
        complete=None if any(one.complete is None for one in group) else all(one.complete for one in group),
    )


def _unique(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
