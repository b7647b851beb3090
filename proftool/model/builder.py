"""The one way to grow a profile frame by frame: interns everything, adds up cells, and freezes.

A reader that already holds whole columns (a million nodes) builds the tables itself and calls `finish`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

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
    Int64Array,
    Intervals,
    Kind,
    Lanes,
    Markers,
    Metric,
    Nodes,
    Profile,
    Samples,
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
        """The finished profile."""
        functions = _columns(list(self._functions), 9)
        frames = _columns(list(self._frames), 2)
        nodes = _columns(list(self._nodes), 2)
        lanes = _columns(self._lanes, 9)
        cells = _columns([(*key, value) for key, value in self._cells.items() if value], 4)
        order = np.lexsort((cells[2], cells[1], cells[0]))
        samples = _columns(self._samples, 5)
        by_time = np.argsort(samples[0], kind="stable")
        edges = _columns(self._edges, 7)
        intervals = _columns(self._intervals, 6)
        counters = _columns(self._counters, 4)
        markers = _columns(self._markers, 4)
        return finish(
            Profile(
                strings=tuple(self._strings),
                functions=Functions(**dict(zip(Functions.__dataclass_fields__, functions, strict=True))),
                frames=Frames(function=frames[0], line=frames[1]),
                nodes=Nodes(parent=nodes[0], frame=nodes[1]),
                lanes=Lanes(**dict(zip(Lanes.__dataclass_fields__, lanes, strict=True))),
                metrics=self._metrics,
                cells=Cells(metric=cells[0][order], node=cells[1][order], lane=cells[2][order], value=cells[3][order]),
                samples=Samples(**{n: c[by_time] for n, c in zip(Samples.__dataclass_fields__, samples, strict=True)}),
                edges=Edges(**dict(zip(Edges.__dataclass_fields__, edges, strict=True))),
                intervals=Intervals(**dict(zip(Intervals.__dataclass_fields__, intervals, strict=True))),
                counters=Counters(**dict(zip(Counters.__dataclass_fields__, counters, strict=True))),
                markers=Markers(**dict(zip(Markers.__dataclass_fields__, markers, strict=True))),
                meta=meta or self._meta,
            )
        )


def _columns(rows: Sequence[Sequence[int]], width: int) -> list[Int64Array]:
    table = np.array(rows, np.int64).reshape(len(rows), width)
    return [np.ascontiguousarray(table[:, column]) for column in range(width)]


def finish(profile: Profile) -> Profile:
    """Cast every column to its declared type, make it contiguous and read-only."""
    tables = {}
    for name, kind in TABLES.items():
        table, empty = getattr(profile, name), kind()
        cast = {n: np.array(c, dtype=empty.columns()[n].dtype, order="C") for n, c in table.columns().items()}
        tables[name] = freeze(kind(**cast))
    return replace(profile, **tables)


def sum_cells(cells: Cells) -> Cells:
    """Cells sorted by (metric, node, lane) with equal keys added up and zeros dropped."""
    if not len(cells):
        return cells
    order = np.lexsort((cells.lane, cells.node, cells.metric))
    metric, node, lane, value = (c[order] for c in (cells.metric, cells.node, cells.lane, cells.value))
    fresh = np.empty(len(order), bool)
    fresh[0] = True
    fresh[1:] = (metric[1:] != metric[:-1]) | (node[1:] != node[:-1]) | (lane[1:] != lane[:-1])
    starts = np.flatnonzero(fresh)
    summed = np.add.reduceat(value, starts)
    keep = summed != 0
    starts, summed = starts[keep], summed[keep]
    return Cells(node=node[starts], lane=lane[starts], metric=metric[starts], value=summed)
