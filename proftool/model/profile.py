"""The one model: a calling-context tree in parent-first columns, and what was measured on it.

A `Profile` is frozen and its arrays are read-only, integers in base units (ns, bytes, counts). Nodes are calling contexts;
`parent[i] < i` always, so totals are one reverse pass without recursion and without an object per node. Values are stored
as *self* values in the sparse `cells`; totals are derived (tree.py). The tree is kept at line level: the function tree is a
projection of it (transform.py), grouped first, values attached after, so that no line counts twice.

Only `builder.py` and readers that hold whole columns make profiles, and `check.py` tests every rule once where one enters.

Source: the processed format of the Firefox Profiler (struct of arrays, topological stack table) and memray's frame tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import IntEnum, IntFlag, StrEnum
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from proftool.model.meta import Meta
from proftool.units import Unit

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]

ROOT = -1
"""Parent of a node that has none."""
UNKNOWN = -1
"""A time, id or line that nobody measured, in columns that cannot hold null."""


class Kind(IntEnum):
    """What a function is made of."""

    PYTHON = 0
    NATIVE = 1
    BUILTIN = 2
    GC = 3
    SYNTHETIC = 4
    """Made by proftool: `(n others)`, `[root]`."""


class Category(IntEnum):
    """Whose code a function is."""

    PROJECT = 0
    LIBRARY = 1
    STDLIB = 2
    NATIVE = 3


class Identified(IntEnum):
    """How the qualified name came to be known, best first."""

    SOURCE = 0
    """From the source file's syntax tree, by (file, line)."""
    TOOL = 1
    """The profiler itself gave a qualified name."""
    BARE = 2
    """Only a bare name; there was no source to look into."""


class MetricKind(StrEnum):
    """How values of a metric combine."""

    FLOW = "flow"
    """Adds up over time and processes: time, samples, calls, allocated bytes."""
    STOCK = "stock"
    """State at an instant: peak, leaked bytes. Never scaled, never summed over time."""


class Status(IntFlag):
    """What a sampled thread was doing."""

    RUNNING = 0
    WAITING = 1
    HOLDS_GIL = 2
    STATUS_UNKNOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named quantity. Names are those of `docs/reference/metrics.md`; `mode` says which pass of a run measured it."""

    name: str
    unit: Unit
    kind: MetricKind
    mode: str = ""


WALL_TIME = Metric(name="wall_time", unit=Unit.NANOSECONDS, kind=MetricKind.FLOW)
CPU_TIME = Metric(name="cpu_time", unit=Unit.NANOSECONDS, kind=MetricKind.FLOW)
WAITING_TIME = Metric(name="waiting_time", unit=Unit.NANOSECONDS, kind=MetricKind.FLOW)
"""The part of `wall_time` in which the thread waited; always <= wall_time of the same node."""
PREEMPTED_TIME = Metric(name="preempted_time", unit=Unit.NANOSECONDS, kind=MetricKind.FLOW)
"""The part of `wall_time` in which the thread could have run but stood in line for a processor, or was stopped by the
profiler; no part of `waiting_time`."""
SAMPLES = Metric(name="samples", unit=Unit.COUNT, kind=MetricKind.FLOW)
CALLS = Metric(name="calls", unit=Unit.COUNT, kind=MetricKind.FLOW)
ALLOCATED_BYTES = Metric(name="allocated_bytes", unit=Unit.BYTES, kind=MetricKind.FLOW)
ALLOCATIONS = Metric(name="allocations", unit=Unit.COUNT, kind=MetricKind.FLOW)
TEMPORARY_ALLOCATIONS = Metric(name="temporary_allocations", unit=Unit.COUNT, kind=MetricKind.FLOW)
PEAK_BYTES = Metric(name="peak_bytes", unit=Unit.BYTES, kind=MetricKind.STOCK)
LEAKED_BYTES = Metric(name="leaked_bytes", unit=Unit.BYTES, kind=MetricKind.STOCK)


OUTSIDE = "[outside Python]"
"""The function, of kind synthetic, of what was recorded while no Python code ran."""


def _no_int32() -> Int32Array:
    return np.zeros(0, np.int32)


def _no_int64() -> Int64Array:
    return np.zeros(0, np.int64)


def _no_uint8() -> UInt8Array:
    return np.zeros(0, np.uint8)


T = TypeVar("T", bound="Table")


class Table:
    """Columns of equal length."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # pyright: ignore[reportArgumentType]

    def columns(self) -> dict[str, NDArray[np.integer]]:
        """Column name -> array, in declared order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Functions(Table):
    """What people aggregate by. `name`, `qualname`, `module`, `file`, `code_hash` index `strings` (0 is the empty string)."""

    name: Int32Array = field(default_factory=_no_int32)
    qualname: Int32Array = field(default_factory=_no_int32)
    module: Int32Array = field(default_factory=_no_int32)
    file: Int32Array = field(default_factory=_no_int32)
    """Project-relative with `/` where the file lies in the project, else as short as stays unambiguous."""
    first_line: Int32Array = field(default_factory=_no_int32)
    """Line of `def`, 0 where unknown."""
    code_hash: Int32Array = field(default_factory=_no_int32)
    """Hash of the function's syntax tree without names of its own and lines; empty where there was no source."""
    identified: UInt8Array = field(default_factory=_no_uint8)
    kind: UInt8Array = field(default_factory=_no_uint8)
    category: UInt8Array = field(default_factory=_no_uint8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frames(Table):
    """Where exactly: a line of a function (0 where unknown)."""

    function: Int32Array = field(default_factory=_no_int32)
    line: Int32Array = field(default_factory=_no_int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nodes(Table):
    """Calling contexts. `parent[i] < i`; roots have `ROOT`. Siblings never share a frame."""

    parent: Int32Array = field(default_factory=_no_int32)
    frame: Int32Array = field(default_factory=_no_int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lanes(Table):
    """A thread or task of a process; merged children are just lanes. Times since the epoch, `UNKNOWN` where not known."""

    pid: Int64Array = field(default_factory=_no_int64)
    ppid: Int64Array = field(default_factory=_no_int64)
    tid: Int64Array = field(default_factory=_no_int64)
    process_name: Int32Array = field(default_factory=_no_int32)
    thread_name: Int32Array = field(default_factory=_no_int32)
    task: Int32Array = field(default_factory=_no_int32)
    is_main: UInt8Array = field(default_factory=_no_uint8)
    start_ns: Int64Array = field(default_factory=_no_int64)
    end_ns: Int64Array = field(default_factory=_no_int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells(Table):
    """Self values, sparse, sorted by (metric, node, lane), one row for each of these that has a value."""

    node: Int32Array = field(default_factory=_no_int32)
    lane: Int32Array = field(default_factory=_no_int32)
    metric: Int32Array = field(default_factory=_no_int32)
    value: Int64Array = field(default_factory=_no_int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples(Table):
    """The timeline, where the backend has one, sorted by time. `weight` is in the unit of the first metric (ns for time)."""

    time_ns: Int64Array = field(default_factory=_no_int64)
    """Since the start of the recording."""
    lane: Int32Array = field(default_factory=_no_int32)
    node: Int32Array = field(default_factory=_no_int32)
    weight: Int64Array = field(default_factory=_no_int64)
    status: UInt8Array = field(default_factory=_no_uint8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges(Table):
    """Caller-callee pairs, for profilers that record these and no stacks (cProfile).

    `caller` and `callee` are functions. A row with caller `ROOT` is the callee's own measured total over all callers.
    The tree of such a profile is flat: one root node a function, carrying its self time and calls.
    """

    caller: Int32Array = field(default_factory=_no_int32)
    callee: Int32Array = field(default_factory=_no_int32)
    lane: Int32Array = field(default_factory=_no_int32)
    calls: Int64Array = field(default_factory=_no_int64)
    primitive_calls: Int64Array = field(default_factory=_no_int64)
    self_ns: Int64Array = field(default_factory=_no_int64)
    total_ns: Int64Array = field(default_factory=_no_int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intervals(Table):
    """Memory over time: allocations of one node with the same life. Times since the start; `end_ns` UNKNOWN = never freed."""

    node: Int32Array = field(default_factory=_no_int32)
    lane: Int32Array = field(default_factory=_no_int32)
    start_ns: Int64Array = field(default_factory=_no_int64)
    end_ns: Int64Array = field(default_factory=_no_int64)
    bytes: Int64Array = field(default_factory=_no_int64)
    count: Int64Array = field(default_factory=_no_int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counters(Table):
    """A quantity over time beside the stacks: resident bytes, CPU ns so far. `name` indexes strings; lane may be ROOT."""

    name: Int32Array = field(default_factory=_no_int32)
    lane: Int32Array = field(default_factory=_no_int32)
    time_ns: Int64Array = field(default_factory=_no_int64)
    value: Int64Array = field(default_factory=_no_int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Markers(Table):
    """Named spans of time: GC, a request, a test."""

    name: Int32Array = field(default_factory=_no_int32)
    lane: Int32Array = field(default_factory=_no_int32)
    start_ns: Int64Array = field(default_factory=_no_int64)
    end_ns: Int64Array = field(default_factory=_no_int64)


TABLES: dict[str, type[Table]] = {
    "functions": Functions,
    "frames": Frames,
    "nodes": Nodes,
    "lanes": Lanes,
    "cells": Cells,
    "samples": Samples,
    "edges": Edges,
    "intervals": Intervals,
    "counters": Counters,
    "markers": Markers,
}
"""Every table of columns, in the order of `Profile`'s fields; codecs and the viewer's schema walk this."""


class FunctionKey(NamedTuple):
    """Who a function is across recordings, free of paths of the checkout and of line numbers."""

    module: str
    qualname: str
    file: str
    kind: int
    ordinal: int
    """Which of several functions with the same rest of the key (two lambdas of one line's owner), by first line."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """What one run, or one side of a comparison, recorded."""

    strings: tuple[str, ...] = ("",)
    functions: Functions = field(default_factory=Functions)
    frames: Frames = field(default_factory=Frames)
    nodes: Nodes = field(default_factory=Nodes)
    lanes: Lanes = field(default_factory=Lanes)
    metrics: tuple[Metric, ...] = ()
    cells: Cells = field(default_factory=Cells)
    samples: Samples = field(default_factory=Samples)
    edges: Edges = field(default_factory=Edges)
    intervals: Intervals = field(default_factory=Intervals)
    counters: Counters = field(default_factory=Counters)
    markers: Markers = field(default_factory=Markers)
    meta: Meta = field(default_factory=Meta)

    def metric_index(self, name: str) -> int:
        """Column of the metric of that name; KeyError where there is none."""
        for index, metric in enumerate(self.metrics):
            if metric.name == name:
                return index
        raise KeyError(name)

    def has_metric(self, name: str) -> bool:
        """Is a metric of that name recorded?"""
        return any(metric.name == name for metric in self.metrics)

    @property
    def is_edges(self) -> bool:
        """Caller-callee pairs instead of stacks: a flame graph of it would be a guess."""
        return len(self.edges) > 0 and not np.any(self.nodes.parent != ROOT)

    def text(self, index: int) -> str:
        """The string at an index."""
        return self.strings[index]

    def with_meta(self, meta: Meta) -> Profile:
        """The same columns under other circumstances."""
        return replace(self, meta=meta)


def function_keys(profile: Profile) -> list[FunctionKey]:
    """The key of every function; all are different within one profile."""
    f, s = profile.functions, profile.strings
    order = np.lexsort((np.arange(len(f)), f.first_line))
    seen: dict[tuple[str, str, str, int], int] = {}
    keys: list[FunctionKey | None] = [None] * len(f)
    for index in order.tolist():
        rest = (s[f.module[index]], s[f.qualname[index]], s[f.file[index]], int(f.kind[index]))
        ordinal = seen.get(rest, 0)
        seen[rest] = ordinal + 1
        keys[index] = FunctionKey(*rest, ordinal)
    return [key for key in keys if key is not None]


def ints(column: NDArray[np.integer]) -> list[int]:
    """A column as Python's own integers, for loops that make text."""
    return column.tolist()


def freeze(table: T) -> T:
    """Make every column read-only and C-contiguous."""
    for column in table.columns().values():
        column.flags.writeable = False
    return table
