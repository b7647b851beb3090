"""What a reader sees: samples, merged from the cells of threads and processes; and what an exemplar is.

A sample is one series at one moment, cumulative since the first record. Histograms are integer counts a bucket, so that their count
is always the sum of their buckets, whatever was recorded while they were read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proftool.telemetry.quantiles import quantile
from proftool.telemetry.segments import EXEMPLAR_SLOTS, Cell, Description, Labels, read_description

_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One measurement, and the trace that it belongs to."""

    time_ns: int
    trace_id: int
    span_id: int
    value: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A series at one moment."""

    description: Description
    labels: Labels
    """Those of the description, and `process.pid` where the processes are kept apart."""
    value: float
    """Of a counter or gauge; a histogram's sum."""
    counts: tuple[int, ...] = ()
    exemplars: tuple[tuple[int, Exemplar], ...] = ()
    """(bucket, newest exemplar in it)."""

    @property
    def count(self) -> int:
        """Measurements of a histogram."""
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """An estimate inside its bucket (quantiles.py); None of an empty histogram."""
        return quantile(self.description.edges, self.counts, self.value, q)


class _Sum:
    __slots__ = ("counts", "exemplars", "time", "value")

    def __init__(self, buckets: int) -> None:
        self.value = 0.0
        self.time = -1.0
        self.counts = [0] * buckets
        self.exemplars: dict[int, Exemplar] = {}


class Merge:
    """Adds up cells of many threads and processes."""

    def __init__(self, *, keep_gauges: bool = True) -> None:
        self._keep_gauges = keep_gauges
        self._sums: dict[tuple[Description, Labels], _Sum] = {}

    def add_cell(self, description: Description, cell: Cell, *, pid: str) -> None:
        """Add the values of one block."""
        kind = description.kind
        if kind in ("gauge", "updown") and not self._keep_gauges:
            return
        if kind == "gauge":
            # Slot 1 holds the time of the last `set`; 0: never set.
            if cell.floats[1]:
                labels = description.labels
                if description.combine == "each":
                    labels = (*labels, ("process.pid", pid))
                self._gauge(description, labels, cell.floats[0], cell.floats[1])
            return
        found = self._of(description, description.labels)
        if kind in ("counter", "updown"):
            found.value += cell.floats[0]
            return
        buckets = description.buckets
        for index, count in enumerate(cell.ints[:buckets].tolist()):
            if count:
                found.counts[index] += count
                if description.exemplars:
                    _take(found, index, cell, buckets + 1 + index * EXEMPLAR_SLOTS)
        found.value += cell.floats[buckets]

    def _of(self, description: Description, labels: Labels) -> _Sum:
        key = (description, labels)
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = _Sum(description.buckets)
        return found

    def _gauge(self, description: Description, labels: Labels, value: float, time: float) -> None:
        new = (description, labels) not in self._sums
        found = self._of(description, labels)
        match description.combine:
            case "sum":
                found.value += value
            case "max":
                found.value = value if new else max(found.value, value)
            case "min":
                found.value = value if new else min(found.value, value)
            case "latest" | "each":
                if time >= found.time:
                    found.value, found.time = value, time

    def samples(self) -> list[Sample]:
        """What was added, ordered by name and labels."""
        found = [
            Sample(description, labels, s.value, tuple(s.counts), tuple(sorted(s.exemplars.items(), key=lambda pair: pair[0])))
            for (description, labels), s in self._sums.items()
        ]
        return sorted(found, key=lambda sample: (sample.description.name, sample.labels))

    def dump(self) -> list[list[object]]:
        """For JSON; exemplars, which are of the moment, are left out."""
        return [[d.write().decode(), s.value, s.counts] for (d, _), s in self._sums.items()]

    def load(self, rows: Sequence[tuple[str, float, Sequence[int]]]) -> None:
        """Add what `dump` gave."""
        for text, value, counts in rows:
            description = read_description(text.encode())
            found = self._of(description, description.labels)
            found.value += value
            for index, count in enumerate(counts):
                found.counts[index] += count


def _take(found: _Sum, index: int, cell: Cell, at: int) -> None:
    ints = cell.ints
    time_ns = ints[at]
    if not time_ns or (index in found.exemplars and found.exemplars[index].time_ns >= time_ns):
        return
    high, low, span, value = ints[at + 1] & _64, ints[at + 2] & _64, ints[at + 3] & _64, cell.floats[at + 4]
    if ints[at] == time_ns:
        found.exemplars[index] = Exemplar(time_ns, high << 64 | low, span, value)
