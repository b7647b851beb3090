"""When py-spy took each sample, and what time that stands for: it writes the order of a thread's samples, and not their times.

For each sample py-spy reads one file of /proc for each thread of the process, in a thread of its own for each process (0.4:
`thread.active()` in python_spy.rs), and the kernel counts what a thread reads. So between two looks of launch/clocks.py as many samples
were taken as that thread read files, over the number of threads that there were. Measured on a program that changes its function every
10 to 60 ms, looks 10 ms apart: 83 % of the samples are placed within their function, 1 ms off on average; evenly 35 %, and 13 ms.

py-spy draws the times between samples from an exponential distribution: a function that ran for n samples' time has √n samples more or
less. With the samples between two looks known, what passed there is shared out among them. That leaves half of that noise where stacks
stay for longer, and would add a quarter to it where they change with each sample: which is which, model/within.py says (`persistence`).

Where the kernel does not tell, samples lie evenly, and sample i of n is off by √(i (n - i) / n) steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COARSE = 8
"""So many spans between looks are one where stacks change with each sample."""
_OFF_STEPS = 2.0
"""Nine of ten counted places are off by less."""
_FITS, _FEW = (0.8, 1.25), 3
"""What a thread of py-spy's read, as a multiple of what a process's samples took to read, where that may be its sampler; or so many off."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """How many samples of a process had been taken at which time."""

    time_ns: Ints
    count: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """When the samples of a thread were taken, in their order."""

    at_ns: Floats
    step_ns: float
    """Between two of them, on average."""
    is_counted: bool
    """Else they lie evenly."""

    def off_ns(self, time_ns: Floats) -> Floats:
        """How far a sample that is placed at that time may be off."""
        n = len(self.at_ns)
        if self.is_counted or not self.step_ns:
            return np.full(len(time_ns), _OFF_STEPS * self.step_ns)
        middle = np.clip((time_ns - self.at_ns[0]) / self.step_ns + 0.5, 0, n)
        return np.asarray(np.maximum(np.sqrt(middle * (n - middle) / n), 1.0) * self.step_ns, np.float64)

    @property
    def most_off_ns(self) -> float:
        """How far any of them may be off."""
        return (_OFF_STEPS if self.is_counted else max(len(self.at_ns) ** 0.5, 1.0) / 2) * self.step_ns

    def of(self, kept: Ints) -> Places:
        """Some of them."""
        return Places(self.at_ns[kept], self.step_ns, self.is_counted)


def taken(reads: Sequence[tuple[Ints, Ints]], firsts_ns: Ints, lasts_ns: Ints, n: int) -> Taken | None:
    """
    How many samples a process had at which time; None where nothing fits.

    Args:
        reads: of each of py-spy's threads, times and how many files it had read by then.
        firsts_ns, lasts_ns: when each thread of the process was seen first and last.
        n: samples of the process in all.
    """
    firsts_ns, lasts_ns = np.sort(firsts_ns), np.sort(lasts_ns)
    best, found = np.inf, None
    for time_ns, count in reads:
        n_threads = np.searchsorted(firsts_ns, time_ns[1:], side="right") - np.searchsorted(lasts_ns, time_ns[1:], side="left")
        samples = np.concatenate([[0.0], np.cumsum(np.diff(count) / np.maximum(n_threads, 1))])
        whole = float(samples[-1])
        fits = _FITS[0] * n <= whole <= _FITS[1] * n or abs(whole - n) <= _FEW
        if whole > 0 and fits and abs(whole - n) < best:
            best, found = abs(whole - n), Taken(time_ns, samples)
    return found


def placed(n: int, begin_ns: int, end_ns: int, counted: Taken | None) -> Places:
    """The n samples of a thread that was seen from `begin_ns` to `end_ns`."""
    step_ns = (end_ns - begin_ns) / n
    if counted is not None:
        inside = (counted.time_ns > begin_ns) & (counted.time_ns < end_ns)
        times = np.concatenate([[begin_ns], counted.time_ns[inside], [end_ns]]).astype(np.float64)
        counts = np.asarray(np.interp(times, counted.time_ns, counted.count), np.float64)
        if counts[-1] - counts[0] >= 1:
            wanted = counts[0] + (np.arange(n) + 0.5) / n * (counts[-1] - counts[0])
            rising = counts + np.arange(len(counts)) * 1e-9  # where nothing was taken the count stands still
            return Places(np.asarray(np.interp(wanted, rising, times), np.float64), step_ns, is_counted=True)
    return Places(np.asarray(begin_ns + (np.arange(n) + 0.5) * step_ns, np.float64), step_ns, is_counted=False)


def blended(fine: Floats | Ints, coarse: Floats | Ints, persistent: float) -> Ints:
    """What samples hold, between what they do by short and by long spans; the sum stays, to the unit."""
    mixed = np.cumsum(persistent * fine + (1 - persistent) * coarse)
    return np.diff(np.rint(mixed).astype(np.int64), prepend=0)


def passed_ns(places: Places, kept: Ints, edges_ns: Ints, persistent: float, whole_ns: int) -> Ints:
    """The time that each of the kept samples stands for; together `whole_ns`. `edges_ns`: when it was looked."""
    parts = [_shared(places.at_ns, strided(edges_ns, stride))[kept] for stride in (1, COARSE)]
    fine, coarse = (part * (whole_ns / max(float(part.sum()), 1.0)) for part in parts)
    return blended(fine, coarse, persistent)


def strided(edges: Ints, stride: int) -> Ints:
    """Every so manieth of them, and the last."""
    return np.unique(np.append(edges[::stride], edges[-1:]))


def nearest(ordered: Floats | Ints, wanted: Floats | Ints) -> Ints:
    """For each that is wanted the place of the nearest of those in order."""
    after = np.clip(np.searchsorted(ordered, wanted), 0, len(ordered) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(np.abs(ordered[before] - wanted) < np.abs(ordered[after] - wanted), before, after)


def _shared(at_ns: Floats, edges_ns: Ints) -> Floats:
    """Each span between two edges, among the samples in it; that of none goes to the nearest with some."""
    if len(edges_ns) < 2:
        return np.ones(len(at_ns))
    n_spans = len(edges_ns) - 1
    where = np.clip(np.searchsorted(edges_ns, at_ns, side="right") - 1, 0, n_spans - 1)
    count = np.bincount(where, minlength=n_spans)
    filled = np.flatnonzero(count)
    takers = filled[nearest(filled, np.arange(n_spans))]
    held = np.bincount(takers, weights=np.diff(edges_ns).astype(np.float64), minlength=n_spans)
    return np.asarray(held[where] / count[where], np.float64)
