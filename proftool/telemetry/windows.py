"""What happened in a stretch of time: differences of cumulative samples.

A `Window` sums, over the series that a filter names, what was counted between two readings: requests, failed ones, buckets of the
duration. A counter that went back (a service that began anew) counts from zero, as Prometheus's `increase` does.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import sub

from proftool.telemetry.failures import counts_failures
from proftool.telemetry.points import Sample
from proftool.telemetry.quantiles import quantile

REQUESTS = "http.server.request.duration"


@dataclass(frozen=True, slots=True)
class Reading:
    """Sums of a metric's series at one time, cumulative."""

    time_s: float
    value: float = 0.0
    """Of counters and gauges; of a histogram its sum."""
    counts: tuple[int, ...] = ()
    failed: int = 0
    """Of `counts`, those that the service failed."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was counted in so many seconds."""

    seconds: float
    value: float
    counts: tuple[int, ...]
    failed: int
    bounds: tuple[float, ...]

    @property
    def total(self) -> int:
        """Measurements."""
        return sum(self.counts)

    def slow(self, bound: float) -> int:
        """Measurements above the bound, which is taken to the nearest bucket below."""
        return sum(count for edge, count in zip((*self.bounds, float("inf")), self.counts, strict=True) if edge > bound)

    def quantile(self, q: float) -> float | None:
        """Of the measurements."""
        return quantile(self.bounds, self.counts, self.value, q)


def read(samples: Sequence[Sample], metric: str, labels: Mapping[str, str], time_s: float) -> tuple[Reading, tuple[float, ...]]:
    """The metric's series with these labels, summed, and the bounds of its buckets."""
    value, failed, counts, bounds = 0.0, 0, [0] * 0, ()
    for sample in samples:
        if sample.description.name != metric:
            continue
        have = dict(sample.labels)
        if any(have.get(name) != wanted for name, wanted in labels.items()):
            continue
        value += sample.value
        if sample.counts:
            bounds = sample.description.edges
            counts = counts or [0] * len(sample.counts)
            for index, count in enumerate(sample.counts):
                counts[index] += count
            if counts_failures(have):
                failed += sample.count
    return Reading(time_s, value, tuple(counts), failed), bounds


class History:
    """Readings of one metric, as far back as the longest window asks."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._readings: list[Reading] = []
        self._times: list[float] = []
        self._bounds: tuple[float, ...] = ()
        self._windows: dict[float, Window | None] = {}
        """Up to the newest reading: a rule asks for the same one as value and as verdict."""

    def add(self, reading: Reading, bounds: tuple[float, ...]) -> None:
        """The newest reading."""
        self._bounds = bounds or self._bounds
        self._windows.clear()
        self._readings.append(reading)
        self._times.append(reading.time_s)
        # The newest reading that is old enough for the longest window stays, all before it go.
        old = bisect_right(self._times, reading.time_s - self._keep_s) - 1
        if old > 0:
            del self._readings[:old], self._times[:old]

    @property
    def latest(self) -> Reading | None:
        """The newest reading."""
        return self._readings[-1] if self._readings else None

    def window(self, seconds: float) -> Window | None:
        """The last so many seconds, or as many as there are; None of fewer than two readings."""
        if seconds not in self._windows:
            self._windows[seconds] = self._window(seconds)
        return self._windows[seconds]

    def _window(self, seconds: float) -> Window | None:
        if len(self._readings) < 2:
            return None
        new = self._readings[-1]
        old = self._readings[min(max(0, bisect_right(self._times, new.time_s - seconds) - 1), len(self._readings) - 2)]
        value, failed = new.value - old.value, new.failed - old.failed
        before = old.counts or (0,) * len(new.counts)
        if len(before) != len(new.counts) or sum(new.counts) < sum(before) or value < 0 or failed < 0:
            value, failed, before = new.value, new.failed, (0,) * len(new.counts)
        counts = tuple(map(sub, new.counts, before))
        if counts and min(counts) < 0:
            counts = tuple(max(0, count) for count in counts)
        return Window(new.time_s - old.time_s, value, counts, failed, self._bounds)
