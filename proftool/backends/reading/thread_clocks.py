"""What each watched thread ran, stood in line and stood still, as the launcher's clocks kept it (launch/clocks.py).

Times are of the monotonic clock, all columns are ns so far. Rule: what ran, stood in line and stood still never exceeds the time
that passed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proftool.backends.reading.sample_places import COARSE, Places, Taken, blended, nearest, strided, taken
from proftool.launch import clocks


def _spread(n: int, values: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each value evenly over its range of n places, the first of them one more where it does not go up; linear, however they overlap."""
    steps = np.zeros(n + 1, np.int64)
    share, rest = np.divmod(values, high - low)
    for begin, end, height in ((low, high, share), (low, low + rest, np.ones_like(share))):
        np.add.at(steps, begin, height)
        np.subtract.at(steps, end, height)
    return np.cumsum(steps[:-1])


@dataclass(frozen=True, slots=True)
class ThreadClock:
    """One thread's time so far on a processor, and wanting one, at each `time_ns` of the monotonic clock."""

    time_ns: list[int]
    run_ns: list[int]
    queued_ns: list[int]
    stopped_ns: list[int]
    """At most so long it stood still while py-spy read it: what py-spy ran, and waited to run, out of the time left."""

    def in_line_share(self, places: Places) -> NDArray[np.float64]:
        """Of the time that it wanted a processor, the part in which it stood in line or was stopped, around each sample."""
        begin, end = self.time_ns[0], self.time_ns[-1]
        sides = [np.clip(places.at_ns + way * places.most_off_ns, begin, end) for way in (-1, 1)]

        def spent(column: list[int]) -> NDArray[np.float64]:
            after = np.asarray(np.interp(sides[1], self.time_ns, column), np.float64)
            before = np.asarray(np.interp(sides[0], self.time_ns, column), np.float64)
            return after - before

        hindered = spent(self.queued_ns) + spent(self.stopped_ns)
        wanted = spent(self.run_ns) + hindered
        share = np.zeros(len(places.at_ns))
        np.divide(hindered, wanted, out=share, where=wanted > 0)
        return share

    def cpu_ns(
        self, places: Places, running: NDArray[np.bool_], at_a_wait: NDArray[np.bool_], persistent: float = 1.0
    ) -> NDArray[np.int64]:
        """
        What it ran, on its samples: to the ns what the kernel counted.

        Args:
            running: was so judged.
            at_a_wait: its line calls what waits.
            persistent: how far stacks last from one sample to the next (model/within.py): where they do not, longer spans are shared out.
        """
        looks = np.arange(len(self.time_ns))
        fine, coarse = (self._cpu_ns(strided(looks, stride), places, running, at_a_wait) for stride in (1, COARSE))
        return blended(fine, coarse, persistent)

    def _cpu_ns(
        self, looks: NDArray[np.int64], places: Places, running: NDArray[np.bool_], at_a_wait: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """
        The same, by those of its looks.

        What it ran between two looks belongs to the samples between them that were running; where there are none, to those within
        reach, which is as far as the places of samples are off. A running sample at a call that waits comes after the others, as it is
        more likely off. Only what no running sample is in reach of is that of waiting ones: to wake and lie down again takes time too. No
        sample is cut to its length: a few stand for all that ran between them, and what is cut off would be missing from the sum.
        """
        n = len(running)
        found = np.zeros(n, np.int64)
        times, ran = np.array(self.time_ns)[looks], np.diff(np.array(self.run_ns)[looks])
        at = np.arange(n)
        reach = places.off_ns((times[1:] + times[:-1]) / 2)
        left = np.flatnonzero(ran > 0)
        for pool in (at[running & ~at_a_wait], at[running], at):
            for far in (np.zeros(len(ran)), reach):
                low = np.searchsorted(places.at_ns[pool], times[left] - far[left])
                high = np.searchsorted(places.at_ns[pool], times[left + 1] + far[left])
                met = low < high
                found[pool] += _spread(len(pool), ran[left[met]], low[met], high[met])
                left = left[~met]
        if len(left):  # where the sampler itself stood still: to what ran before it or after
            pool = at[running] if running.any() else at
            np.add.at(found, pool[nearest(places.at_ns[pool], (times[left] + times[left + 1]) / 2)], ran[left])
        return found

    def shares(self, low_ns: int, high_ns: int) -> tuple[float, float] | None:
        """The parts of a span in which it ran, and in which it ran or could not; None where it was not watched."""
        left, right = max(bisect_right(self.time_ns, low_ns) - 1, 0), bisect_right(self.time_ns, high_ns)
        right = min(right, len(self.time_ns) - 1)
        if right <= left:
            return None
        span = self.time_ns[right] - self.time_ns[left]
        ran = self.run_ns[right] - self.run_ns[left]
        hindered = self.queued_ns[right] - self.queued_ns[left] + self.stopped_ns[right] - self.stopped_ns[left]
        return ran / span, (ran + hindered) / span


@dataclass(frozen=True, slots=True, eq=False)
class Clocks:
    """Of a recording, or of a segment of it."""

    threads: Mapping[int, ThreadClock]
    """By native id."""
    processes: Mapping[int, tuple[NDArray[np.int64], NDArray[np.int64]]]
    """When each thread of a process was seen first and last."""
    reads: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
    """Of each of the profiler's threads, times and how many files it had read by then."""

    def taken(self, pid: int, n: int) -> Taken | None:
        """When a process's `n` samples were taken, where that is known."""
        return taken(self.reads, *self.processes[pid], n) if pid in self.processes else None


NO_CLOCKS = Clocks({}, {}, ())


def read_clocks(folder: Path, duration_ns: int, stopped_ns: int | None = None) -> Clocks:
    """What was watched. `stopped_ns`: how long the launcher's looks found the target stopped in all, where it looked."""
    try:
        rows = np.fromfile(folder / clocks.FILE, dtype=np.int64)
    except OSError:
        return NO_CLOCKS
    rows = rows[: len(rows) // clocks.COLUMNS * clocks.COLUMNS].reshape(-1, clocks.COLUMNS)  # a full disk takes part of the last one
    if not rows.size:
        return NO_CLOCKS
    # A process that has ended stands in /proc until proftool has asked for its status: that is no time of the program's.
    rows[:, 0] = np.minimum(rows[:, 0], rows[:, 0].min() + duration_ns)
    profiler = rows[rows[:, 1] == 0]
    threads: dict[int, ThreadClock] = {}
    seen: dict[int, list[tuple[int, int]]] = {}
    for tid in np.unique(rows[rows[:, 1] != 0, 2]):
        own = rows[rows[:, 2] == tid]
        own = own[np.diff(own[:, 0], prepend=-1) > 0]
        queued = _as_it_passed(own)
        threads[int(tid)] = ThreadClock(
            own[:, 0].tolist(), own[:, 3].tolist(), queued.tolist(), _stopped(own, queued, profiler, stopped_ns).tolist()
        )
        seen.setdefault(int(own[0, 1]), []).append((int(own[0, 0]), int(own[-1, 0])))
    processes = {pid: (np.array([first for first, _ in of]), np.array([last for _, last in of])) for pid, of in seen.items()}
    reads = [(own[:, 0], own[:, 5]) for own in (profiler[profiler[:, 2] == tid] for tid in np.unique(profiler[:, 2]))]
    return Clocks(threads, processes, reads)


def _stopped(own: NDArray[np.int64], queued: NDArray[np.int64], profiler: NDArray[np.int64], stopped_ns: int | None) -> NDArray[np.int64]:
    """
    At most how long py-spy kept a thread stopped so far, at each row of the thread's clock.

    py-spy stops a thread to read its stack, for as long as that takes and as long as py-spy itself stands in line meanwhile.
    On a busy machine it also stands in line between two samples, where the thread is free: what it worked is scaled to the time for
    which the target was found stopped.
    """
    worked = np.zeros(len(own))
    for tid in np.unique(profiler[:, 2]):
        rows = profiler[profiler[:, 2] == tid]
        worked += np.interp(own[:, 0], rows[:, 0], rows[:, 3] + rows[:, 4])
    worked_ns = float(worked[-1] - worked[0]) if len(worked) else 0.0
    if stopped_ns is not None and worked_ns > stopped_ns:
        worked *= stopped_ns / worked_ns
    left = np.diff(own[:, 0]) - np.diff(own[:, 3]) - np.diff(queued)
    return np.concatenate([[0], np.cumsum(np.clip(np.diff(worked), 0, np.maximum(left, 0)))]).astype(np.int64)


def _as_it_passed(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """
    Time in line so far at each row of a thread's clock.

    The kernel adds a wait up when it ends, so a long one stands in one row and the rows before it seem to be spent asleep: what
    does not fit between two rows goes to those before.
    """
    room = np.diff(rows[:, 0]) - np.diff(rows[:, 3])
    queued = np.diff(rows[:, 4])
    over = 0
    for at in range(len(queued) - 1, -1, -1):
        wanted = int(queued[at]) + over
        queued[at] = min(wanted, max(int(room[at]), 0))
        over = wanted - int(queued[at])
    return np.concatenate([rows[:1, 4], rows[0, 4] + np.cumsum(queued)])
