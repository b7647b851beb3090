"""A folded profile without the frames, functions and strings that only its folded nodes named: they would fill the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from proftool.model.builder import table, with_tables
from proftool.model.profile import ROOT, Counters, Edges, Frames, Functions, Int32Array, Lanes, Markers, Nodes, Profile

_TEXTS = {
    "functions": ("name", "qualname", "module", "file", "code_hash"),
    "lanes": ("process_name", "thread_name", "task"),
    "counters": ("name",),
    "markers": ("name",),
}
"""Columns that index the strings."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows that stay, and where each old row went; `ROOT` stays `ROOT`."""

    kept: NDArray[np.intp]
    place: Int32Array

    @staticmethod
    def of(used: NDArray[np.bool_]) -> _Rows:
        place = np.full(len(used) + 1, ROOT, np.int32)
        kept = np.flatnonzero(used)
        place[kept] = np.arange(len(kept), dtype=np.int32)
        return _Rows(kept, place)


def compact(profile: Profile, also: Sequence[int] = ()) -> tuple[Profile, Int32Array]:
    """
    The same nodes and values; frames, functions and strings that nothing refers to are gone, the others keep their order.

    Args:
        also: functions that stay because something else than the profile refers to them.

    Returns:
        the profile, and where each function went: shape (n_functions + 1,), `ROOT` for those that are gone and for `ROOT`.
    """
    frames = _Rows.of(_used(len(profile.frames), profile.nodes.frame))
    e = profile.edges
    functions = _Rows.of(_used(len(profile.functions), profile.frames.function[frames.kept], e.caller, e.callee, np.array(also, np.int32)))
    tables = {
        "nodes": table(Nodes, profile.nodes.columns() | {"frame": frames.place[profile.nodes.frame]}),
        "frames": table(
            Frames, {"function": functions.place[profile.frames.function[frames.kept]], "line": profile.frames.line[frames.kept]}
        ),
        "edges": table(Edges, e.columns() | {"caller": functions.place[e.caller], "callee": functions.place[e.callee]}),
        "functions": table(Functions, {name: column[functions.kept] for name, column in profile.functions.columns().items()}),
        "lanes": profile.lanes,
        "counters": profile.counters,
        "markers": profile.markers,
    }
    texts = [tables[name].columns()[column] for name, columns in _TEXTS.items() for column in columns]
    strings = _Rows.of(_used(len(profile.strings), np.zeros(1, np.int32), *texts))
    kinds = {"functions": Functions, "lanes": Lanes, "counters": Counters, "markers": Markers}
    for name, columns in _TEXTS.items():
        old = tables[name].columns()
        tables[name] = table(kinds[name], old | {column: strings.place[old[column]] for column in columns})
    texts_kept = tuple(profile.strings[index] for index in cast(list[int], strings.kept.tolist()))
    return with_tables(profile, tables, strings=texts_kept), functions.place


def _used(n: int, *columns: NDArray[np.integer]) -> NDArray[np.bool_]:
    used = np.zeros(n + 1, bool)
    for column in columns:
        used[column] = True
    return used[:n]
