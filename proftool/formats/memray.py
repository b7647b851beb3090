"""memray recordings: every allocation with its stack, read through memray's own reader; not written.

Values are exactly those that memray's reader reports for the same file: total and number of allocations, what lived at the high-water
mark, what was left at the end, and temporary allocations (freed before the thread made another). Reading takes one pass of the file
for each of these.

Source: memray's `FileReader` and the format's magic (`memray`, then a version byte).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from proftool.errors import CorruptProfile
from proftool.formats.identity import Identifier
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import (
    ALLOCATED_BYTES,
    ALLOCATIONS,
    LEAKED_BYTES,
    PEAK_BYTES,
    TEMPORARY_ALLOCATIONS,
    UNKNOWN,
    Metric,
    Profile,
)
from proftool.units import NS_PER_MS

if TYPE_CHECKING:
    from memray import FileReader

MAGIC = b"memray\0"
LZ4 = b"\x04\x22\x4d\x18"
MODE = "memory"
METRICS: tuple[Metric, ...] = tuple(
    replace(metric, mode=MODE) for metric in (PEAK_BYTES, ALLOCATED_BYTES, ALLOCATIONS, LEAKED_BYTES, TEMPORARY_ALLOCATIONS)
)
_PEAK, _ALLOCATED, _COUNT, _LEAKED, _TEMPORARY = range(5)
_DEEPEST = 1 << 20
_COUNTER_POINTS = 4096
"""Resident and heap bytes are kept at this many moments at most, the largest of each stretch."""

Site = tuple[str, str, int]
"""(bare name, file, executing line), as memray gives a frame."""


class Record(Protocol):
    """What is used of memray's AllocationRecord."""

    @property
    def tid(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def n_allocations(self) -> int: ...
    @property
    def stack_id(self) -> int: ...
    @property
    def thread_name(self) -> str: ...

    def stack_trace(self, max_stacks: int | None = None) -> list[Site]: ...


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
        builder = ProfileBuilder(METRICS)
        who = Identifier(None)
        started_ns, duration_ns, command, python = add(builder, who, Part(path))
        one = Pass(
            mode=MODE,
            backend="memray",
            started_ns=started_ns,
            duration_ns=duration_ns,
        )
        return builder.build(Meta(passes=(one,), command=command, python=python, source=self.name))


def add(
    builder: ProfileBuilder, who: Identifier, part: Part, hidden: Iterable[str] = (), dropped: Iterable[str] = ()
) -> tuple[int, int, tuple[str, ...], str]:
    """
    Add the allocations of one file to a builder with `METRICS`.

    `hidden` are endings of files whose frames do not show: what they called hangs below their callers. `dropped` are endings of files
    below whose frames nothing is the program's, so that it is left out altogether.

    Returns:
        started_ns since the epoch, duration_ns, the command line, the Python version.

    Raises:
        CorruptProfile: the file is cut short before its first records, or no memray recording.
    """
    from memray import FileReader

    try:
        reader = FileReader(str(part.path))
        try:
            return _Part(builder, who, part, tuple(hidden), tuple(dropped)).read(reader)
        finally:
            reader.close()
    except (OSError, RuntimeError, ValueError, EOFError) as problem:
        raise CorruptProfile(
            "the memray recording cannot be read",
            cause=str(problem) or type(problem).__name__,
            fix="record anew; a file that was cut off early holds nothing",
        ) from problem


class _Part:
    def __init__(self, builder: ProfileBuilder, who: Identifier, part: Part, hidden: tuple[str, ...], dropped: tuple[str, ...]) -> None:
        self.builder, self.who, self.part, self.hidden, self.dropped = builder, who, part, hidden, dropped
        self.lanes: dict[int, int] = {}
        self.nodes: dict[tuple[int, ...] | int, int] = {}
        self.frames: dict[Site, int | None] = {}

    def read(self, reader: FileReader) -> tuple[int, int, tuple[str, ...], str]:
        """Four passes, each adding its own metrics."""
        told = reader.metadata
        # Merging threads off: the thread is the lane.
        for record in reader.get_high_watermark_allocation_records(merge_threads=False):
            self.add(record, {_PEAK: record.size})
        for record in reader.get_leaked_allocation_records(merge_threads=False):
            self.add(record, {_LEAKED: record.size})
        for record in reader.get_temporary_allocation_records(threshold=1, merge_threads=False):
            self.add(record, {_TEMPORARY: record.n_allocations})
        self.totals(reader)
        started_ns = int(told.start_time.timestamp() * 1e9)
        duration_ns = max(int((told.end_time - told.start_time).total_seconds() * 1e9), 0)
        self.counters(reader, started_ns)
        return started_ns, duration_ns, tuple(told.command_line.split()), told.python_allocator

    def totals(self, reader: FileReader) -> None:
        """Every allocation, added up by stack before a node is looked for: most of millions of records share a few stacks."""
        sums: dict[tuple[int, int], list[int]] = {}
        samples: dict[tuple[int, int], Record] = {}
        frees = _freeing()
        for record in reader.get_allocation_records():
            if record.allocator in frees:
                continue
            key = (record.tid, record.stack_id)
            found = sums.get(key)
            if found is None:
                sums[key] = [record.size, 1]
                samples[key] = record
            else:
                found[0] += record.size
                found[1] += 1
        for key, (size, count) in sums.items():
            self.add(samples[key], {_ALLOCATED: size, _COUNT: count})

    def add(self, record: Record, values: Mapping[int, int]) -> None:
        sites = record.stack_trace(max_stacks=_DEEPEST) if self.part.is_own else record.stack_trace()
        if self.dropped and any(site[1].endswith(self.dropped) for site in sites):
            return
        node = self.node(sites)
        lane = self.lane(record)
        for metric, value in values.items():
            self.builder.add(node, lane, metric, value)

    def lane(self, record: Record) -> int:
        row = self.lanes.get(record.tid)
        if row is None:
            name = str(record.thread_name or "")
            main = record.tid == self.part.main_tid if self.part.main_tid is not None else not self.lanes
            row = self.lanes[record.tid] = self.builder.lane(
                pid=self.part.pid,
                ppid=self.part.ppid,
                tid=record.tid,
                process_name=self.part.process_name,
                thread_name=name or (self.part.thread_names or {}).get(record.tid, ""),
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
        from proftool.model.profile import Kind

        return self.builder.frame(self.builder.function("[outside Python]", kind=Kind.SYNTHETIC))

    def frame(self, site: Site) -> int | None:
        if site in self.frames:
            return self.frames[site]
        name, file, line = site
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


def _freeing() -> frozenset[int]:
    from memray import AllocatorType

    return frozenset(int(kind) for kind in (AllocatorType.FREE, AllocatorType.MUNMAP, AllocatorType.PYMALLOC_FREE))


format = Memray()
