"""Counters, gauges, histograms and timers: what a service counts, recorded in memory and folded when it is read.

    requests = counter("shop.orders", unit="{order}", description="Orders placed")
    requests.add(1, country="DE")
    with timer("shop.checkout.duration"): ...

A record is a few stores to this thread's own cell (segments.py): no lock, no file, no allocation once the series exists. Cells are
read, and summed over threads and processes, when somebody asks. Names and units are OpenTelemetry's; a name means one instrument,
asking for it again returns it. Series of an instrument are bounded by `SERIES_LIMIT`: what comes after is counted under
`otel.metric.overflow="true"`, so that a label of unbounded values costs neither memory nor a measurement.
"""

from __future__ import annotations

import os
import re
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Final, cast

from proftool.errors import UsageError
from proftool.telemetry.points import Merge, Sample
from proftool.telemetry.request import CURRENT, Request
from proftool.telemetry.segments import EXEMPLAR_SLOTS, Cell, Combine, Description, Kind, Labels, Segment
from proftool.telemetry.timers import Timer

SERIES_LIMIT = 2000
"""OpenTelemetry's default cardinality limit."""
OVERFLOW: Labels = (("otel.metric.overflow", "true"),)
LABEL_CHARS = 200
"""Longer label values are cut."""
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Buckets that the semantic conventions advise for durations of requests, s."""
BYTES: Final = (0.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0, 67108864.0)
"""Buckets for sizes of bodies, By; the conventions advise none."""

_GAUGE_LANE = -1


class _Lanes:
    """Numbers for threads: one thread a number at a time, a dead thread's number goes to the next."""

    def __init__(self) -> None:
        self.free: list[int] = []
        self.count = 0

    def take(self) -> int:
        try:
            return self.free.pop()
        except IndexError:
            self.count += 1
            return self.count


_LANES = _Lanes()


class _Lease:
    __slots__ = ("lane",)

    def __init__(self) -> None:
        self.lane = _LANES.take()

    def __del__(self, free: list[int] = _LANES.free) -> None:  # bound here: the module may be gone when the last thread ends
        free.append(self.lane)


class _Here(threading.local):
    def __init__(self) -> None:
        self.lease = _Lease()
        self.lane = self.lease.lane


HERE: Final = _Here()
"""`HERE.lane` is this thread's number."""


class Registry:
    """Every instrument of this process, and the segment that their cells are in."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.segment = Segment()
        self.instruments: dict[str, Instrument] = {}
        self.moved: list[Callable[[], None]] = []
        """Called when cells were replaced: who kept some looks them up again."""
        self.awake: Callable[[], None] | None = None
        """Called when a series begins: the first record after a fork starts there what a fork stopped."""

    def cell(self, description: Description) -> Cell:
        """A new cell."""
        if self.awake is not None:
            self.awake()
        with self.lock:
            try:
                return self.segment.allocate(description)
            except OSError:
                # No room in shared memory: this process counts on for itself rather than fail the request.
                self.segment = Segment()
                return self.segment.allocate(description)

    def move(self, segment: Segment) -> None:
        """Record in another segment from now on, and take along what was recorded."""
        with self.lock:
            for instrument in list(self.instruments.values()):
                for series in instrument.every():
                    moved: dict[int, Cell] = {}
                    for lane, old in series.cells.items():
                        moved[lane] = segment.allocate(series.description)
                        moved[lane].ints[:] = old.ints
                    series.cells = moved
            self.segment = segment
        for forget in self.moved:
            forget()

    def forget(self) -> None:
        """Begin again with nothing, in a forked child: what there is, is the parent's."""
        self.lock = threading.Lock()
        self.segment = Segment()
        for instrument in self.instruments.values():
            for series in instrument.every():
                series.cells = {}
        for forget in self.moved:
            forget()

    def own(self) -> list[Sample]:
        """What this process recorded."""
        merge = Merge()
        for description, cell in self.segment.blocks():
            merge.add_cell(description, cell, pid=str(os.getpid()))
        return merge.samples()


REGISTRY: Final = Registry()


class Series:
    """One instrument with one set of label values."""

    __slots__ = ("bounds", "cells", "description", "last")

    def __init__(self, description: Description) -> None:
        self.description = description
        self.cells: dict[int, Cell] = {}
        """Lane -> the cell that only its thread writes."""
        self.bounds = description.edges
        self.last = len(self.bounds) + 1

    def at(self, lane: int) -> Cell:
        """The lane's cell."""
        return self.cells.get(lane) or self.cell(lane)

    def cell(self, lane: int) -> Cell:
        """The lane's cell, made now."""
        found = self.cells[lane] = REGISTRY.cell(self.description)
        return found

    def add(self, value: float) -> None:
        """Add to a counter."""
        lane = HERE.lane
        floats = (self.cells.get(lane) or self.cell(lane)).floats
        floats[0] += value

    def record(self, value: float) -> None:
        """Count a measurement in its bucket."""
        lane = HERE.lane
        ints, floats = self.cells.get(lane) or self.cell(lane)
        ints[bisect_left(self.bounds, value)] += 1
        floats[self.last] += value

    def exemplify(self, value: float, request: Request) -> None:
        """Point from the value's bucket to the trace of the request; a reader never sees half of it."""
        if not self.description.exemplars:
            return
        lane = HERE.lane
        ints, floats = self.cells.get(lane) or self.cell(lane)
        at = self.last + 1 + bisect_left(self.bounds, value) * EXEMPLAR_SLOTS
        ints[at] = 0
        ints[at + 1] = _signed(request.trace_id >> 64)
        ints[at + 2] = _signed(request.trace_id & (1 << 64) - 1)
        ints[at + 3] = _signed(request.span_id)
        floats[at + 4] = value
        ints[at] = time.time_ns()


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


class Instrument:
    """A metric: its name, and its series."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self._series: dict[Labels, Series] = {}
        self._seen: dict[tuple[tuple[str, object], ...], Series] = {}

    def series(self, labels: dict[str, object]) -> Series:
        """The series of these label values; keep it where they are the same every time."""
        key = tuple(labels.items())
        try:
            found = self._seen.get(key)
        except TypeError:  # a value that cannot be a key is labelled by its text
            return self._canonical(labels)
        if found is None:
            found = self._canonical(labels)
            if len(self._seen) < 2 * SERIES_LIMIT:
                self._seen[key] = found
        return found

    def _canonical(self, labels: dict[str, object]) -> Series:
        canonical = tuple(sorted((name, _label(value)) for name, value in labels.items()))
        found = self._series.get(canonical)
        if found is None:
            if len(self._series) >= SERIES_LIMIT:
                canonical = OVERFLOW
            of = self.description
            made = Series(Description(of.name, of.kind, of.unit, of.help, canonical, of.bounds, of.exemplars, of.combine))
            found = self._series.setdefault(canonical, made)
        return found

    def every(self) -> list[Series]:
        """The series there are."""
        return list(self._series.values())


def _label(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:LABEL_CHARS]


class Counter(Instrument):
    """A sum that only grows."""

    def add(self, value: float = 1, /, **labels: object) -> None:
        """Add to the sum; ValueError for less than zero."""
        if not value >= 0:
            raise ValueError(f"the counter {self.description.name} cannot go down by {value}")
        self.series(labels).add(value)


class UpDownCounter(Instrument):
    """A sum that grows and shrinks, over the processes that live: requests under way, connections open."""

    def add(self, value: float = 1, /, **labels: object) -> None:
        """Add to the sum; a negative value takes away."""
        self.series(labels).add(value)


class Gauge(Instrument):
    """A value of now. Several processes' values become one by `combine`."""

    def set(self, value: float, /, **labels: object) -> None:
        """The value from now on."""
        series = self.series(labels)
        with _gauges:
            floats = _gauge(series)
            floats[0] = value
            floats[1] = time.time()

    def add(self, value: float = 1, /, **labels: object) -> None:
        """Change the value by so much."""
        series = self.series(labels)
        with _gauges:
            floats = _gauge(series)
            floats[0] += value
            floats[1] = time.time()


_gauges = threading.Lock()
"""Gauges are set, not summed, so all threads of a process share one cell of each."""


def after_fork() -> None:
    """In a forked child: nothing is recorded yet, and no lock is held."""
    global _gauges
    _gauges = threading.Lock()
    REGISTRY.forget()


def _gauge(series: Series) -> memoryview[float]:
    return (series.cells.get(_GAUGE_LANE) or series.cell(_GAUGE_LANE)).floats


class Histogram(Instrument):
    """How measurements are distributed: counts in buckets, and their sum."""

    def record(self, value: float, /, **labels: object) -> None:
        """Count one measurement, in the instrument's unit; what is no number is not one. A kept request leaves an exemplar."""
        if value != value:
            return
        series = self.series(labels)
        series.record(value)
        request = CURRENT.get()
        if request is not None and request.kept:
            series.exemplify(value, request)

    def time(self, **labels: object) -> Timer:
        """A timer that records here, in seconds."""
        return Timer(self, labels)


# --- what users call --------------------------------------------------------------------------------------------------------

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-/]{0,254}\Z")
_CLASSES: Final[dict[Kind, type[Instrument]]] = {
    "counter": Counter,
    "updown": UpDownCounter,
    "gauge": Gauge,
    "histogram": Histogram,
    "exponential": Histogram,
}


def instrument(description: Description) -> Instrument:
    """
    The instrument of that description, made if it is new.

    Raises:
        UsageError: no name by OpenTelemetry's rules, or one that another kind, unit or set of buckets has.
    """
    known = REGISTRY.instruments.get(description.name)
    if known is None:
        if not _NAME.match(description.name):
            raise UsageError(
                f"`{description.name}` is no name for a metric",
                cause="it begins with a letter and has letters, digits, `_`, `.`, `-` and `/`, 255 at most",
                fix="a name such as `shop.orders`; what varies goes into labels",
            )
        known = REGISTRY.instruments.setdefault(description.name, _CLASSES[description.kind](description))
    was = known.description
    if (was.kind, was.unit, was.bounds, was.combine) != (description.kind, description.unit, description.bounds, description.combine):
        raise UsageError(
            f"the metric `{description.name}` exists with another kind, unit or buckets",
            cause=f"it is a {was.kind} in `{was.unit}`",
            fix="give the two measurements two names",
        )
    return known


def counter(name: str, *, unit: str = "", description: str = "") -> Counter:
    """A sum that only grows, over all workers and beyond the end of each."""
    return cast(Counter, instrument(Description(name, "counter", unit, description, ())))


def updown(name: str, *, unit: str = "", description: str = "") -> UpDownCounter:
    """A sum that grows and shrinks; a worker that dies takes its part along."""
    return cast(UpDownCounter, instrument(Description(name, "updown", unit, description, ())))


def gauge(name: str, *, unit: str = "", description: str = "", combine: Combine = "sum") -> Gauge:
    """A value of now; `combine` says how several workers' values become one (`each` keeps them apart)."""
    return cast(Gauge, instrument(Description(name, "gauge", unit, description, (), combine=combine)))


def histogram(
    name: str, *, unit: str = "s", description: str = "", buckets: Sequence[float] = SECONDS, exponential: bool = False
) -> Histogram:
    """
    A distribution, with exemplars.

    Args:
        buckets: upper bounds, inclusive, ascending.
        exponential: bounds 9 % apart from 1e-9 to 1e9 instead, for quantiles within 5 % whatever the range; 3.9 kB a series and thread.
    """
    bounds = () if exponential else tuple(float(bound) for bound in buckets)
    if not exponential and (not bounds or any(low >= high for low, high in pairwise(bounds)) or not all(map(isfinite, bounds))):
        raise UsageError(
            f"the buckets of `{name}` do not ascend", cause=f"they are {list(buckets)}", fix="finite bounds, each above the last"
        )
    kind: Kind = "exponential" if exponential else "histogram"
    return cast(Histogram, instrument(Description(name, kind, unit, description, (), bounds, exemplars=not exponential)))


def timer(name: str, **labels: object) -> Timer:
    """A timer that records into the histogram of that name, in seconds."""
    known = REGISTRY.instruments.get(name)
    return (known if isinstance(known, Histogram) else histogram(name)).time(**labels)
