"""The one way to grow a profile frame by frame: interns everything, adds up cells, and freezes.

A reader that already holds whole columns (a million nodes) builds the tables itself and calls `finish`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.errors import ModelError
from proftool.model.keys import sort_order, sorted_keys
from proftool.model.meta import Meta
from proftool.model.profile import (
    ROOT,
    TABLES,
    UNKNOWN,
    Category,
    Cells,
    Counters,
    Edges,
    Frames,
    Functions,
    Identified,
    Intervals,
    Kind,
    Lanes,
    Markers,
    Metric,
    Nodes,
    Profile,
    Samples,
    T,
    Table,
    freeze,
)


class ProfileBuilder:
    """Collects rows; `build()` gives the frozen profile. Indices returned here are rows of the finished tables."""

    def __init__(self, metrics: Sequence[Metric], meta: Meta | None = None) -> None:
        self._metrics = tuple(metrics)
        self._meta = meta or Meta()
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[int, ...], int] = {}
        self._frames: dict[tuple[int, int], int] = {}
        self._nodes: dict[tuple[int, int], int] = {}
        self._lanes: list[tuple[int, ...]] = []
        self._cells: dict[tuple[int, int, int], int] = {}
        self._samples: list[tuple[int, int, int, int, int]] = []
        self._edges: list[tuple[int, ...]] = []
        self._intervals: list[tuple[int, ...]] = []
        self._counters: list[tuple[int, int, int, int]] = []
        self._markers: list[tuple[int, int, int, int]] = []

    def string(self, text: str) -> int:
        """Index of an interned string."""
        return self._strings.setdefault(text, len(self._strings))

    def function(
        self,
        qualname: str,
        *,
        module: str = "",
        file: str = "",
        first_line: int = 0,
        name: str | None = None,
        code_hash: str = "",
        identified: Identified = Identified.BARE,
        kind: Kind = Kind.PYTHON,
        category: Category = Category.LIBRARY,
    ) -> int:
        """Row of a function; the same identity gives the same row, and functions on other lines stay apart."""
        bare = name if name is not None else qualname.rpartition(".")[2]
        texts = tuple(self.string(text) for text in (bare, qualname, module, file))
        row = (*texts, first_line, self.string(code_hash), int(identified), int(kind), int(category))
        return self._functions.setdefault(row, len(self._functions))

    def frame(self, function: int, line: int = 0) -> int:
        """Row of a line of a function."""
        return self._frames.setdefault((function, max(line, 0)), len(self._frames))

    def node(self, parent: int, frame: int) -> int:
        """Row of the calling context that runs `frame` below `parent` (`ROOT` for none)."""
        return self._nodes.setdefault((parent, frame), len(self._nodes))

    def stack(self, frames: Iterable[int], parent: int = ROOT) -> int:
        """Row of the innermost context of a stack given outermost first; `parent` where it is empty."""
        for frame in frames:
            parent = self.node(parent, frame)
        return parent

    def lane(
        self,
        *,
        pid: int = UNKNOWN,
        ppid: int = UNKNOWN,
        tid: int = UNKNOWN,
        process_name: str = "",
        thread_name: str = "",
        task: str = "",
        is_main: bool = False,
        start_ns: int = UNKNOWN,
        end_ns: int = UNKNOWN,
    ) -> int:
        """A new lane."""
        texts = tuple(self.string(text) for text in (process_name, thread_name, task))
        self._lanes.append((pid, ppid, tid, *texts, int(is_main), start_ns, end_ns))
        return len(self._lanes) - 1

    def add(self, node: int, lane: int, metric: int, value: int) -> None:
        """Add to a node's self value."""
        if value:
            key = (metric, node, lane)
            self._cells[key] = self._cells.get(key, 0) + value

    def sample(self, time_ns: int, lane: int, node: int, weight: int, status: int = 0) -> None:
        """One observation of the timeline; cells are the caller's business."""
        self._samples.append((time_ns, lane, node, weight, status))

    def edge(self, caller: int, callee: int, lane: int, *, calls: int, primitive_calls: int, self_ns: int, total_ns: int) -> None:
        """A caller-callee pair; caller `ROOT` for the callee's own total over all callers."""
        self._edges.append((caller, callee, lane, calls, primitive_calls, self_ns, total_ns))

    def interval(self, node: int, lane: int, start_ns: int, end_ns: int, bytes_: int, count: int) -> None:
        """Allocations that lived from start to end."""
        self._intervals.append((node, lane, start_ns, end_ns, bytes_, count))

    def counter(self, name: str, time_ns: int, value: int, lane: int = ROOT) -> None:
        """One point of a counter."""
        self._counters.append((self.string(name), lane, time_ns, value))

    def marker(self, name: str, start_ns: int, end_ns: int, lane: int = ROOT) -> None:
        """A named span of time."""
        self._markers.append((self.string(name), lane, start_ns, end_ns))

    def build(self, meta: Meta | None = None) -> Profile:
        """The finished profile; ModelError where a number does not fit its column."""
        cells = [(*key, value) for key, value in self._cells.items() if value]
        return Profile(
            strings=tuple(self._strings),
            functions=rows_table(Functions, list(self._functions)),
            frames=rows_table(Frames, list(self._frames)),
            nodes=rows_table(Nodes, list(self._nodes)),
            lanes=rows_table(Lanes, self._lanes),
            metrics=self._metrics,
            cells=sum_cells(rows_table(Cells, cells, ("metric", "node", "lane", "value"))),
            samples=rows_table(Samples, sorted(self._samples, key=lambda row: row[0])),
            edges=rows_table(Edges, self._edges),
            intervals=rows_table(Intervals, self._intervals),
            counters=rows_table(Counters, self._counters),
            markers=rows_table(Markers, self._markers),
            meta=meta or self._meta,
        )


def rows_table(kind: type[T], rows: Sequence[Sequence[int]], order: Sequence[str] | None = None) -> T:
    """Rows as a frozen table; `order` names the values of a row where they do not stand in declared order."""
    names = tuple(order) if order else tuple(kind().columns())
    try:
        block = np.array(rows, np.int64).reshape(len(rows), len(names))
    except OverflowError as error:
        raise _too_large(kind.__name__.lower(), "a value") from error
    return table(kind, {name: np.ascontiguousarray(block[:, column]) for column, name in enumerate(names)})


def table(kind: type[T], columns: Mapping[str, NDArray[np.integer]]) -> T:
    """
    Columns as a frozen table: each of its declared type, contiguous and read-only.

    Takes the arrays over where they already fit and own their memory, else copies. ModelError where a value does not fit
    the declared type (a silent wrap would give another node, line or function).
    """
    declared = kind().columns()
    fitted: dict[str, NDArray[np.integer]] = {}
    for name, like in declared.items():
        column = columns[name]
        if column.dtype != like.dtype and len(column):
            limits = np.iinfo(like.dtype)
            if int(column.min()) < limits.min or int(column.max()) > limits.max:
                raise _too_large(kind.__name__.lower(), name)
        cast = np.ascontiguousarray(column, like.dtype)
        if cast.base is not None and cast.flags.writeable:
            cast = cast.copy()
        fitted[name] = cast
    return freeze(kind(**fitted))


def finish(profile: Profile) -> Profile:
    """Cast every column to its declared type, make it contiguous and read-only; ModelError where a value does not fit."""
    tables: dict[str, Table] = {}
    for name, kind in TABLES.items():
        given: Table = getattr(profile, name)
        tables[name] = table(kind, given.columns())
    return with_tables(profile, tables)


def with_tables(
    profile: Profile, tables: Mapping[str, Table], *, strings: tuple[str, ...] | None = None, metrics: tuple[Metric, ...] | None = None
) -> Profile:
    """The profile with the tables of those names, and the strings and metrics if given, in place of its own."""
    kept = replace(
        profile,
        strings=profile.strings if strings is None else strings,
        metrics=profile.metrics if metrics is None else metrics,
    )
    return replace(kept, **tables)  # pyright: ignore[reportArgumentType]  # names are those of TABLES


def sum_cells(cells: Cells) -> Cells:
    """Cells sorted by (metric, node, lane) with equal keys added up and zeros dropped."""
    if not len(cells):
        return cells
    n_nodes, n_lanes = int(cells.node.max()) + 1, int(cells.lane.max()) + 1
    size = (int(cells.metric.max()) + 1) * n_nodes * n_lanes
    if size <= len(cells):
        # Few keys for many rows (a folded tree): adding up in place takes a third of the time of sorting.
        key = (cells.metric.astype(np.int64) * n_nodes + cells.node) * n_lanes + cells.lane
        dense = np.zeros(size, np.int64)
        np.add.at(dense, key, cells.value)
        key = np.flatnonzero(dense)
        rest, lane = np.divmod(key, n_lanes)
        metric, node = np.divmod(rest, n_nodes)
        return table(Cells, {"node": node, "lane": lane, "metric": metric, "value": dense[key]})
    found = sorted_keys((cells.metric, cells.node, cells.lane))
    if found is not None:
        # Columns are cut out of the keys in order: gathering each by row number took twice the time of sorting.
        key, order, (_, node_bits, lane_bits) = found
        value = cells.value[order]
        fresh = np.ones(len(key), bool)
        np.not_equal(key[1:], key[:-1], out=fresh[1:])
        if not fresh.all():
            starts = np.flatnonzero(fresh)
            key, value = key[starts], np.add.reduceat(value, starts)
        lane = (key & ((1 << lane_bits) - 1)).astype(np.int32)
        key >>= lane_bits
        node = (key & ((1 << node_bits) - 1)).astype(np.int32)
        key >>= node_bits
        metric = key.astype(np.int32)
    else:
        order = sort_order((cells.metric, cells.node, cells.lane))
        metric, node, lane, value = cells.metric[order], cells.node[order], cells.lane[order], cells.value[order]
        fresh = np.empty(len(order), bool)
        fresh[0] = True
        fresh[1:] = (metric[1:] != metric[:-1]) | (node[1:] != node[:-1]) | (lane[1:] != lane[:-1])
        if not fresh.all():
            starts = np.flatnonzero(fresh)
            value = np.add.reduceat(value, starts)
            metric, node, lane = metric[starts], node[starts], lane[starts]
    keep = value != 0
    if not keep.all():
        metric, node, lane, value = metric[keep], node[keep], lane[keep], value[keep]
    return table(Cells, {"node": node, "lane": lane, "metric": metric, "value": value})


def _too_large(name: str, column: str) -> ModelError:
    return ModelError(
        f"{column} of the table `{name}` does not fit its column",
        cause="a number is larger than the model can hold",
        fix="check the recording; if proftool wrote it, please report this",
    )
