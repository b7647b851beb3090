"""The lives of allocations in a memray recording, between its snapshots of memory, in few enough rows to keep.

memray looks at memory every 10 ms, so a minute has 6,000 moments, and a busy line one row for every pair of them. The moments are merged
until the rows fit; bytes and counts add up whatever the step, and what lives at a kept moment stays exact.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from proftool.model.builder import ProfileBuilder
from proftool.model.profile import UNKNOWN

MOST_ROWS = 100_000
MOST_MOMENTS = 2048
_OPEN = 1 << 30
"""The end of what was never freed, after every moment."""


class Spans:
    """Collects lives as (node, lane, first snapshot, snapshot before which it was freed, bytes, count)."""

    def __init__(self, times_ns: Sequence[int]) -> None:
        self._times = np.array(times_ns or [0], np.int64)
        self._rows = array("q")

    def add(self, node: int, lane: int, start: int, end: int | None, n_bytes: int, count: int) -> None:
        """One life; `end` None: never freed."""
        self._rows.extend((node, lane, start, _OPEN if end is None else end, n_bytes, count))

    def into(self, builder: ProfileBuilder) -> None:
        """Add them to a builder, merged until they are few enough."""
        if not self._rows:
            return
        rows = np.frombuffer(self._rows, np.int64).reshape(-1, 6)
        step = max(-(-len(self._times) // MOST_MOMENTS), 1)
        merged = _merged(rows, step)
        while len(merged) > MOST_ROWS and step < len(self._times):
            step *= 2
            merged = _merged(merged, step)
        last = len(self._times) - 1
        for node, lane, start, end, n_bytes, count in merged.tolist():
            ends = UNKNOWN if end == _OPEN else int(self._times[min(end, last)])
            builder.interval(node, lane, int(self._times[min(start, last)]), ends, n_bytes, count)


def _merged(rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]], step: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Moments rounded up to a multiple of the step; lives that begin and end at one moment are seen at none and go."""
    keys = rows[:, :4].copy()
    keys[:, 2] = -(-keys[:, 2] // step) * step
    closed = keys[:, 3] != _OPEN
    keys[closed, 3] = -(-keys[closed, 3] // step) * step
    seen = keys[:, 2] < keys[:, 3]
    found, at = np.unique(keys[seen], axis=0, return_inverse=True)
    sums = np.zeros((len(found), 2), np.int64)
    np.add.at(sums, at.ravel(), rows[seen, 4:])
    return np.hstack([found, sums])
