"""Cells of one process in a shared, memory-mapped file that describes itself: a record is a store to memory, and a kill keeps it.

A file is a row of regions of `REGION_BYTES`, each a row of blocks of 8-byte slots:

    slot 0     length of the block in slots, written last; negative: unused rest of the region; 0: nothing more here
    slot 1     length of the description in bytes
    slots 2…   description, JSON (`Description`), padded
    then       values: float64 for counters and gauges; histograms: int64 counts of the buckets, float64 sum,
               and five slots an exemplar: time in ns (0 = being written), trace id (high, low), span id, value

A block has one writer, a thread; who reads sums the blocks of one series. Slots are aligned and written whole, so a reader in another
process sees the old number or the new one. A region's pages are reserved when it is made: a full `/dev/shm` is an error then and
not a SIGBUS later. Idea: prometheus_client's multiprocess mode; one file for all threads and metrics is the answer to its
scrape that takes 40 s over 6,800 files (prometheus/client_python issue 367).
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

REGION_BYTES = 1 << 18
_SLOT = 8
_REGION_SLOTS = REGION_BYTES // _SLOT
EXEMPLAR_SLOTS = 5

EXPONENTIAL_SCALE = 3
"""Buckets of an exponential histogram grow by 2 ** (1 / 2 ** scale) = 9 %."""
EXPONENTIAL_FIRST = -240
EXPONENTIAL_BOUNDS = tuple(2.0 ** (index / (1 << EXPONENTIAL_SCALE)) for index in range(EXPONENTIAL_FIRST, -EXPONENTIAL_FIRST + 1))
"""From 1 ns to 34 years, if it is seconds; what is below counts as zero, what is above as the last."""

Kind = Literal["counter", "updown", "gauge", "histogram", "exponential"]
Combine = Literal["sum", "max", "min", "latest", "each"]
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What a block holds: which series of which metric."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: Labels
    bounds: tuple[float, ...] = ()
    """Upper bounds of a fixed histogram's buckets, inclusive; one more bucket is above the last. Use `edges` to read them."""
    exemplars: bool = False
    combine: Combine = "sum"
    """How the gauges of several processes become one; `each` keeps them apart by `process.pid`."""

    @property
    def buckets(self) -> int:
        """Slots of counts; 0 of what is no histogram."""
        return len(self.edges) + 1 if self.kind in ("histogram", "exponential") else 0

    @property
    def edges(self) -> tuple[float, ...]:
        """Upper bounds of the buckets, of either kind of histogram."""
        return EXPONENTIAL_BOUNDS if self.kind == "exponential" else self.bounds

    @property
    def slots(self) -> int:
        """Slots of values."""
        if not self.buckets:
            return 2 if self.kind == "gauge" else 1
        return self.buckets + 1 + (self.buckets * EXEMPLAR_SLOTS if self.exemplars else 0)

    def write(self) -> bytes:
        """As JSON."""
        labels = [list(pair) for pair in self.labels]
        return json.dumps([self.name, self.kind, self.unit, self.help, labels, self.bounds, self.exemplars, self.combine]).encode()


def read_description(text: bytes) -> Description:
    """The description that `write` wrote."""
    name, kind, unit, help, labels, bounds, exemplars, combine = json.loads(text)
    return Description(name, kind, unit, help, tuple((k, v) for k, v in labels), tuple(bounds), exemplars, combine)


class Cell(NamedTuple):
    """The values of a block, under both of their types."""

    ints: memoryview[int]
    floats: memoryview[float]


class Segment:
    """Where one process allocates; without a descriptor, in memory that nobody else reads. Not thread-safe: the caller locks."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor
        self._views: list[Cell] = []
        self._free = _REGION_SLOTS

    def allocate(self, description: Description) -> Cell:
        """A new block, all zero; OSError where there is no more room, ValueError for a description that no region can hold."""
        text = description.write()
        head = 2 + (len(text) + _SLOT - 1) // _SLOT
        length = head + description.slots
        if length > _REGION_SLOTS:
            raise ValueError(f"a series of {description.name} takes more than {REGION_BYTES} bytes")
        if self._free + length > _REGION_SLOTS:
            self._grow()
        ints, floats = self._views[-1]
        start = self._free
        ints.cast("B")[(start + 2) * _SLOT : (start + 2) * _SLOT + len(text)] = text
        ints[start + 1] = len(text)
        ints[start] = length
        self._free = start + length
        return Cell(ints[start + head : start + length], floats[start + head : start + length])

    def _grow(self) -> None:
        if self._descriptor is None:
            region = mmap.mmap(-1, REGION_BYTES)
        else:
            offset = len(self._views) * REGION_BYTES
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._descriptor, offset, REGION_BYTES)
            else:
                os.ftruncate(self._descriptor, offset + REGION_BYTES)
            region = mmap.mmap(self._descriptor, REGION_BYTES, offset=offset)
        if self._views and self._free < _REGION_SLOTS:
            self._views[-1].ints[self._free] = self._free - _REGION_SLOTS
        view = memoryview(region)
        self._views.append(Cell(view.cast("q"), view.cast("d")))
        self._free = 0

    def blocks(self) -> Iterator[tuple[Description, Cell]]:
        """Every block there is."""
        for view in tuple(self._views):
            yield from _blocks(view)


def blocks_of(descriptor: int) -> Iterator[tuple[Description, Cell]]:
    """Every block of a file, live: the values are those of the moment they are read."""
    size = os.fstat(descriptor).st_size
    for offset in range(0, size - REGION_BYTES + 1, REGION_BYTES):
        view = memoryview(mmap.mmap(descriptor, REGION_BYTES, offset=offset, access=mmap.ACCESS_READ))
        yield from _blocks(Cell(view.cast("q"), view.cast("d")))


def _blocks(view: Cell) -> Iterator[tuple[Description, Cell]]:
    ints, floats = view
    at = 0
    while at < _REGION_SLOTS and (length := ints[at]) > 0:
        size = ints[at + 1]
        head = 2 + (size + _SLOT - 1) // _SLOT
        text = bytes(ints.cast("B")[(at + 2) * _SLOT : (at + 2) * _SLOT + size])
        yield read_description(text), Cell(ints[at + head : at + length], floats[at + head : at + length])
        at += length
