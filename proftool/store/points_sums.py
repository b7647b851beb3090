"""What blocks add to the steps of a question, kept in the process: who asks again reads only the blocks that are new.

A dashboard asks the same few questions over and over, over times that move on by a step. A block is never changed, only replaced by
another, and what it adds to a line and a step, counted from the epoch and not from the question's begin, is the same in all of them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from proftool.store.points_columns import Float64s, Int64s, Marked, Rows

MAX_BYTES = 64 << 20
"""Of all sums that are kept."""


class Block(NamedTuple):
    """Which block: SQLite gives the number of one that is gone to another, which differs in time or size."""

    id: int
    from_ns: int
    until_ns: int
    n_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Rows added up: one for each line and step that has any, sorted by both."""

    line: Int64s
    step: Int64s
    values: Float64s
    times: Int64s
    """Of the last row."""
    counts: Int64s
    marks: Sequence[Marked]

    @property
    def n_bytes(self) -> int:
        """What keeping it takes, about."""
        arrays = (self.line, self.step, self.values, self.times, self.counts)
        return 500 + sum(one.nbytes for one in arrays) + 300 * len(self.marks)


def sums(rows: Rows, line: Int64s, step_ns: int, marks: Sequence[Marked], since_ns: int = 0) -> Sums:
    """
    Rows into their lines and steps.

    Rows are sorted by series and time, so that those of a series and a step stand together and are added up where they stand;
    only the sums are put in order.

    Args:
        line: of each row.
        marks: of the lines.
        since_ns: steps are counted from here.
    """
    if not len(rows):
        none: Int64s = np.zeros(0, np.int64)
        return Sums(none, none, np.zeros(0), none, rows.counts[:0], marks)
    step = (rows.times - since_ns) // step_ns
    begins = _begins(line, step, rows.ids)
    line, step = line[begins], step[begins]
    values, times = np.add.reduceat(rows.values, begins), np.maximum.reduceat(rows.times, begins)
    counts = np.add.reduceat(rows.counts, begins, axis=0) if len(begins) < len(rows) else rows.counts
    order: Int64s = np.lexsort((step, line))
    line, step = line[order], step[order]
    begins = _begins(line, step)
    if len(begins) == len(line):
        return Sums(line, step, values[order], times[order], counts[order], marks)
    return Sums(
        line[begins], step[begins], np.add.reduceat(values[order], begins), np.maximum.reduceat(times[order], begins),
        np.add.reduceat(counts[order], begins, axis=0), marks,
    )  # fmt: skip


def _begins(*columns: Int64s) -> Int64s:
    differs = np.zeros(len(columns[0]), bool)
    differs[0] = True
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(differs)


class Kept:
    """Sums by question and block, those that were used last, up to `MAX_BYTES`; for any number of threads."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._found: OrderedDict[tuple[object, Block], Sums] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def get(self, question: object, block: Block) -> Sums | None:
        """What is kept of the block for that kind of question."""
        with self._lock:
            found = self._found.get((question, block))
            if found is not None:
                self._found.move_to_end((question, block))
            return found

    def put(self, question: object, block: Block, found: Sums) -> None:
        """Keep it, and let go what was not used for longest."""
        with self._lock:
            before = self._found.pop((question, block), None)
            self._n_bytes += found.n_bytes - (before.n_bytes if before else 0)
            self._found[question, block] = found
            while self._n_bytes > self._max_bytes:
                self._n_bytes -= self._found.popitem(last=False)[1].n_bytes
