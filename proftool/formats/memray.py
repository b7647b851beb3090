"""memray recordings: every allocation with its stack, read through memray's own reader; not written.

Values are exactly those that memray's reader reports for the same file: total and number of allocations, what lived at the high-water
mark, what was left at the end, and temporary allocations (freed before the thread made another). All but the totals are memray's own
aggregates; the totals of a large file are summed up by a second process meanwhile (memray_sums.py). A file that memray aggregated
while it recorded holds the peak and what leaked, and nothing else.

Source: memray's `FileReader` and the format's magic (`memray`, then a version byte).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proftool.formats import memray_sums
from proftool.formats.identity import Identifier
from proftool.formats.limits import corrupt, entered
from proftool.formats.memray_spans import Spans
from proftool.formats.memray_sums import NATIVE, Site
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import (
    ALLOCATED_BYTES,
    ALLOCATIONS,
    LEAKED_BYTES,
    OUTSIDE,
    PEAK_BYTES,
    TEMPORARY_ALLOCATIONS,
    UNKNOWN,
    Category,
    Identified,
    Kind,
    Metric,
    Profile,
)
from proftool.units import NS_PER_MS

if TYPE_CHECKING:
    from memray import AllocationRecord, FileReader

MAGIC = b"memray\0"
LZ4 = b"\x04\x22\x4d\x18"
MODE = "memory"
METRICS: tuple[Metric, ...] = tuple(
    replace(metric, mode=MODE) for metric in (PEAK_BYTES, ALLOCATED_BYTES, ALLOCATIONS, LEAKED_BYTES, TEMPORARY_ALLOCATIONS)
)
AGGREGATED: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.name in (PEAK_BYTES.name, LEAKED_BYTES.name))
"""What a file aggregated by memray holds."""
_COUNTER_POINTS = 4096
"""Resident and heap bytes are kept at this many moments at most, the largest of each stretch."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process's recording."""

    path: Path
    pid: int = UNKNOWN
    ppid: int = UNKNOWN
    process_name: str = ""
    thread_names: Mapping[int, str] | None = None
    main_tid: int | None = None
    is_own: bool = False
    """Recorded by proftool, whose tracker starts below the program. `memray run` starts it above frames of its own and notes how many to
    leave out, and its reader leaves so many out unless it is asked for a number of frames."""


class Memray:
    """The format object; `add` is for the backend, which knows more of the process."""

    name = "memray"
    suffixes = (".bin", ".memray")

    def matches(self, head: bytes) -> bool:
        """memray's magic, plain or at the start of an LZ4 frame, as `memray run` leaves it."""
        return head.startswith(MAGIC) or (head.startswith(LZ4) and MAGIC[:6] in head[:64])

    def read(self, path: Path) -> Profile:
        """The file as a profile of one process."""
        with _opened(path) as reader:
            aggregated = _is_aggregated(reader)
            builder = ProfileBuilder(AGGREGATED if aggregated else METRICS)
            started_ns, duration_ns, command = _Part(builder, Identifier(None), Part(path)).read(reader)
        one = Pass(mode=MODE, backend="memray", started_ns=started_ns, duration_ns=duration_ns)
        lost = ("memray aggregated the recording while it ran: total and temporary allocations are not in it",) if aggregated else ()
        return entered(builder.build(Meta(passes=(one,), command=command, source=self.name, lost=lost)), self.name, path)


def add(builder: ProfileBuilder, who: Identifier, part: Part, hidden: Iterable[str] = (), dropped: Iterable[str] = ()) -> bool:
    """
    Add the allocations of one file to a builder with `METRICS`; did Python keep arenas of which memray saw no more than the taking?

    `hidden` are endings of files whose frames do not show: what they called hangs below their callers. `dropped` are endings of files
    below whose frames nothing is the program's, so that it is left out altogether.

    Raises:
        CorruptProfile: the file is cut short before its first records, or no memray recording.
    """
    with _opened(part.path) as reader:
        _Part(builder, who, part, tuple(hidden), tuple(dropped)).read(reader)
        return reader.metadata.python_allocator == "pymalloc" and not reader.metadata.trace_python_allocators


@contextmanager
def _opened(path: Path) -> Generator[FileReader]:
    """memray's reader; what it or the system says against the file is why it is corrupt."""
    from memray import FileReader

    try:
        with FileReader(str(path)) as reader:
            yield reader
    except (OSError, RuntimeError, ValueError, EOFError) as problem:
        raise corrupt("memray", str(problem) or type(problem).__name__, path) from problem


def _is_aggregated(reader: FileReader) -> bool:
    from memray import FileFormat

    return reader.metadata.file_format == FileFormat.AGGREGATED_ALLOCATIONS


class _Part:
    def __init__(
        self, builder: ProfileBuilder, who: Identifier, part: Part, hidden: tuple[str, ...] = (), dropped: tuple[str, ...] = ()
    ) -> None:
        self.builder, self.who, self.part, self.hidden, self.dropped = builder, who, part, hidden, dropped
        self.lanes: dict[int, int] = {}
        self.nodes: dict[tuple[int, ...] | int, int] = {}
        self.frames: dict[Site, int | None] = {}
        self.native = False

    def read(self, reader: FileReader) -> tuple[int, int, tuple[str, ...]]:
        """Adds the file to the builder; started_ns since the epoch, duration_ns, and the command line."""
        told = reader.metadata
        self.native = told.has_native_traces
        if _is_aggregated(reader):
            self.peak(reader, AGGREGATED)
            for record in reader.get_leaked_allocation_records(merge_threads=False):
                self.add_record(record, _index(AGGREGATED, LEAKED_BYTES), record.size)
        else:
            self.everything(reader)
        started_ns = int(told.start_time.timestamp() * 1e9)
        duration_ns = max(int((told.end_time - told.start_time).total_seconds() * 1e9), 0)
        self.counters(reader, started_ns)
        return started_ns, duration_ns, tuple(told.command_line.split())

    def everything(self, reader: FileReader) -> None:
        """memray's aggregates here, the totals beside, so that on two cores the one hides the other.

        A file from elsewhere is first read through by the other process alone: memray's reader crashes on some damaged files.
        """
        beside = memray_sums.begin(self.part.path, is_own=self.part.is_own)
        foreign = None if beside is None or self.part.is_own else beside.rows()
        try:
            self.peak(reader, METRICS)
            self.lives(reader)
            temporary = _index(METRICS, TEMPORARY_ALLOCATIONS)
            for record in reader.get_temporary_allocation_records(threshold=1, merge_threads=False):
                self.add_record(record, temporary, record.n_allocations)
            rows = foreign or (memray_sums.sums(reader, is_own=self.part.is_own) if beside is None else beside.rows())
        finally:
            if beside is not None:
                beside.abandon()
        allocated, count = _index(METRICS, ALLOCATED_BYTES), _index(METRICS, ALLOCATIONS)
        for tid, thread_name, sites, size, number in rows:
            self.add(tid, thread_name, sites, {allocated: size, count: number})

    def peak(self, reader: FileReader, metrics: Sequence[Metric]) -> None:
        """What lived at the high-water mark. Merging threads off: the thread is the lane."""
        for record in reader.get_high_watermark_allocation_records(merge_threads=False):
            self.add_record(record, _index(metrics, PEAK_BYTES), record.size)

    def lives(self, reader: FileReader) -> None:
        """What lived from one of memray's snapshots to another, and so what was left at the end.

        memray leaves out what was freed before the next snapshot (every 10 ms).
        """
        leaked = _index(METRICS, LEAKED_BYTES)
        started_ns = int(reader.metadata.start_time.timestamp() * 1e9)
        spans = Spans([max(shot.time * NS_PER_MS - started_ns, 0) for shot in reader.get_memory_snapshots()])
        for record in reader.get_temporal_allocation_records(merge_threads=False):
            sites = memray_sums.sites(record, is_own=self.part.is_own, native=self.native)
            place = self.place(record.tid, str(record.thread_name or ""), sites)
            if place is None:
                continue
            kept = 0
            for life in record.intervals:
                end = life.deallocated_before_snapshot
                if end is None:
                    kept += life.n_bytes
                spans.add(*place, life.allocated_before_snapshot, end, life.n_bytes, life.n_allocations)
            if kept:
                self.builder.add(*place, leaked, kept)
        spans.into(self.builder)

    def add_record(self, record: AllocationRecord, metric: int, value: int) -> None:
        sites = memray_sums.sites(record, is_own=self.part.is_own, native=self.native)
        self.add(record.tid, str(record.thread_name or ""), sites, {metric: value})

    def add(self, tid: int, thread_name: str, sites: Sequence[Site], values: Mapping[int, int]) -> None:
        place = self.place(tid, thread_name, sites)
        if place is not None:
            for metric, value in values.items():
                self.builder.add(*place, metric, value)

    def place(self, tid: int, thread_name: str, sites: Sequence[Site]) -> tuple[int, int] | None:
        """(node, lane) of a stack; None where nothing of it is the program's."""
        if self.dropped and any(site[1].endswith(self.dropped) for site in sites):
            return None
        return self.node(sites), self.lane(tid, thread_name)

    def lane(self, tid: int, thread_name: str) -> int:
        row = self.lanes.get(tid)
        if row is None:
            main = tid == self.part.main_tid if self.part.main_tid is not None else not self.lanes
            row = self.lanes[tid] = self.builder.lane(
                pid=self.part.pid,
                ppid=self.part.ppid,
                tid=tid,
                process_name=self.part.process_name,
                thread_name=thread_name or (self.part.thread_names or {}).get(tid, ""),
                is_main=main,
            )
        return row

    def node(self, sites: Sequence[Site]) -> int:
        rows = tuple(row for site in reversed(sites) if (row := self.frame(site)) is not None)
        found = self.nodes.get(rows)
        if found is None:
            # What is allocated where no Python frame is (a thread's start, the interpreter itself) still belongs to the total.
            found = self.nodes[rows] = self.builder.stack(rows or (self.outside(),))
        return found

    def outside(self) -> int:
        """The frame of allocations made outside of any Python code."""
        return self.builder.frame(self.builder.function(OUTSIDE, kind=Kind.SYNTHETIC))

    def frame(self, site: Site) -> int | None:
        if site in self.frames:
            return self.frames[site]
        name, file, line = site
        if file.startswith(NATIVE):
            file = file.removeprefix(NATIVE).replace("<unknown>", "")
            function = self.builder.function(name, file=file, identified=Identified.TOOL, kind=Kind.NATIVE, category=Category.NATIVE)
            row = self.frames[site] = self.builder.frame(function, line)
            return row
        hides = bool(self.hidden) and file.endswith(self.hidden)
        row = None if hides else self.builder.frame(self.who.function(self.builder, file=file, line=line, name=name), line)
        self.frames[site] = row
        return row

    def counters(self, reader: FileReader, started_ns: int) -> None:
        points = [(shot.time, shot.rss, shot.heap) for shot in reader.get_memory_snapshots()]
        if not points:
            return
        table = np.array(points, np.int64)
        step = -(-len(table) // _COUNTER_POINTS)
        for at in range(0, len(table), step):
            block = table[at : at + step]
            time_ns = max(int(block[0, 0]) * NS_PER_MS - started_ns, 0)
            self.builder.counter("resident_bytes", time_ns, int(block[:, 1].max()))
            self.builder.counter("heap_bytes", time_ns, int(block[:, 2].max()))


def _index(metrics: Sequence[Metric], metric: Metric) -> int:
    return next(index for index, one in enumerate(metrics) if one.name == metric.name)


format = Memray()
