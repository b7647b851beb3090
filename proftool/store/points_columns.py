"""Points as columns: how they are packed, how cumulative values become increases, how they are made coarser. numpy alone, no I/O.

A row is one series at one time: its number, time, start of counting (-1: unknown), value, and for histograms one count a bucket. Rows
are sorted by series, then time. *Cumulative* rows are what services send; *increases* are what is kept, so that adding rows up is exact
whatever was restarted, made coarser or forgotten around them. A gauge's rows are its readings.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from proftool.units import NS_PER_S

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_MARKS = 200
"""Exemplars of a block."""
UNKNOWN = -1
"""A start that is not known."""
_LEVEL = 1
_HEAD = struct.Struct("<cBI")
_WIDTHS = ((1, np.int8), (2, np.int16), (4, np.int32))
_EXACT = float(1 << 53)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of one metric."""

    ids: Int64s
    times: Int64s
    starts: Int64s
    values: Float64s
    counts: Int64s
    """(rows, buckets); no buckets of what is no histogram."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: Int64s | Bools) -> Rows:
        """Some of the rows."""
        return Rows(self.ids[chosen], self.times[chosen], self.starts[chosen], self.values[chosen], self.counts[chosen])


def rows(columns: Sequence[Sequence[float]], counts: Sequence[int], buckets: int) -> Rows:
    """Rows of (ids, times, starts, values) and the counts of each, one row after the other."""
    ids, times, starts, values = columns
    return Rows(
        np.asarray(ids, np.int64),
        np.asarray(times, np.int64),
        np.asarray(starts, np.int64),
        np.asarray(values, np.float64),
        np.asarray(counts, np.int64).reshape(len(ids), buckets),
    )


def empty(buckets: int) -> Rows:
    """No rows."""
    return rows(([], [], [], []), [], buckets)


def joined(parts: Sequence[Rows], buckets: int) -> Rows:
    """All rows, sorted by series and time; those that came first stand first."""
    some = [part for part in parts if len(part)]
    if not some:
        return empty(buckets)
    ids, times, starts, values, counts = (
        np.concatenate(column) for column in zip(*((p.ids, p.times, p.starts, p.values, p.counts) for p in some), strict=True)
    )
    return Rows(ids, times, starts, values, counts).take(np.lexsort((times, ids)))


# --- packed -----------------------------------------------------------------------------------------------------------------


def pack(some: Rows) -> bytes:
    """As bytes: each column in the narrowest integers that hold it, ids and times by their differences, deflated."""
    parts = [_packed(some.ids, differ=True), _packed(some.times, differ=True), _packed(some.starts), _packed_floats(some.values)]
    return zlib.compress(b"".join([*parts, _packed(some.counts.reshape(-1))]), _LEVEL)


def unpack(data: bytes, buckets: int) -> Rows:
    """What `pack` made."""
    columns = list(_columns(zlib.decompress(data)))
    ids, times, starts, values, counts = columns
    return Rows(
        ids.astype(np.int64), times.astype(np.int64), starts.astype(np.int64), values.astype(np.float64),
        counts.astype(np.int64).reshape(len(ids), buckets),
    )  # fmt: skip


def _packed(column: Int64s, *, differ: bool = False, code: bytes = b"i") -> bytes:
    if differ:
        column, code = np.diff(column, prepend=np.int64(0)), b"d"
    if len(column) and column.min() == column.max():  # one value for all of them: the starts of a process, a bucket that nothing fell into
        one = _HEAD.pack(code.upper(), 8, len(column))
        return one + column[:1].tobytes()
    low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
    for width, dtype in _WIDTHS:
        if -(1 << (8 * width - 1)) <= low and high < 1 << (8 * width - 1):
            return _HEAD.pack(code, width, len(column)) + column.astype(dtype).tobytes()
    return _HEAD.pack(code, 8, len(column)) + column.tobytes()


def _packed_floats(column: Float64s) -> bytes:
    if len(column) and np.abs(column).max() < _EXACT and not np.signbit(column[column == 0]).any() and (column == np.trunc(column)).all():
        return _packed(column.astype(np.int64))
    return _HEAD.pack(b"f", 8, len(column)) + column.tobytes()


def _columns(data: bytes) -> Iterator[NDArray[np.generic]]:
    at = 0
    while at < len(data):
        code, width, n = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        one = code.isupper()
        held = 1 if one else n
        found = np.frombuffer(data, np.float64 if code == b"f" else f"<i{width}", held, at)
        at += width * held
        if one:
            found = np.full(n, found[0])
        yield np.cumsum(found, dtype=np.int64) if code in b"dD" else found


Marked = tuple[int, int, str, str, float]
"""An exemplar: series, time, trace, span, value."""


class Section(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """
    A metric's part of a batch, as plain lists: making arrays of a few rows each would cost more than all the rest of taking them in.

    `rows`: (ids, times, starts, values, counts one row after the other), decoded where they are asked for.
    """

    metric: int
    buckets: int
    rows: msgspec.Raw
    marks: list[Marked]

    def load(self) -> Rows:
        """Its rows."""
        ids, times, starts, values, counts = _ROWS.decode(self.rows)
        return rows((ids, times, starts, values), counts, self.buckets)


Lists = tuple[list[int], list[int], list[int], list[float], list[int]]
_SECTIONS = msgspec.msgpack.Decoder(list[Section])
_ROWS = msgspec.msgpack.Decoder(Lists)
_BLOCK = msgspec.msgpack.Decoder(tuple[bytes, list[Marked]])


def section(metric: int, buckets: int, lists: Lists, marks: list[Marked]) -> Section:
    """A metric's rows and exemplars for a batch."""
    return Section(metric, buckets, msgspec.Raw(msgspec.msgpack.encode(lists)), marks)


def dump_batch(sections: Sequence[Section]) -> bytes:
    """The content of a batch."""
    return zlib.compress(msgspec.msgpack.encode(sections), _LEVEL)


def load_batch(content: bytes) -> list[Section]:
    """What `dump_batch` made."""
    return _SECTIONS.decode(zlib.decompress(content))


def dump_block(some: Rows, marks: Sequence[Marked]) -> bytes:
    """The content of a block; of the exemplars the newest `MAX_MARKS`."""
    return msgspec.msgpack.encode((pack(some), sorted(set(marks), key=lambda mark: mark[1])[-MAX_MARKS:]))


def load_block(content: bytes, buckets: int) -> tuple[Rows, list[Marked]]:
    """What `dump_block` made."""
    packed, marks = _BLOCK.decode(content)
    return unpack(packed, buckets), marks


# --- cumulative values to increases -----------------------------------------------------------------------------------------


def increases(last: Rows, new: Rows, *, kind: str, from_zero: Int64s) -> tuple[Rows, Rows]:
    """
    What each row adds to the row before it, and the last row of every series.

    A row that is not newer than the last of its series is a repetition and is left out. A value that went down, and one that was
    counted from after the row before, begins from zero. The first row of a series of `from_zero` adds all of its value; of
    another series it is where counting starts, and is left out.

    Args:
        last: rows before these, one a series, sorted.
        new: sorted, as `joined` gives them.
    """
    new = new.take(_is_newer(last, new))
    if not len(new):
        return new, last
    before = last.take(np.isin(last.ids, new.ids))
    both = joined([before, new], new.counts.shape[1])
    is_row = np.ones(len(both), bool)
    # A series' row of before comes first of its rows: it is older than all of them.
    heads = np.flatnonzero(np.diff(both.ids, prepend=np.int64(-1)))
    is_row[heads[np.isin(both.ids[heads], before.ids)]] = False
    follows = np.ones(len(both), bool)
    follows[heads] = False
    rest = last.take(~np.isin(last.ids, new.ids))
    tails = np.append(heads[1:] - 1, len(both) - 1)
    newest = joined([rest, both.take(tails)], new.counts.shape[1])
    if kind == "gauge":
        return both.take(is_row), newest
    previous = np.maximum(np.arange(len(both)) - 1, 0)
    if kind == "histogram":
        anew = (both.counts < both.counts[previous]).any(axis=1)
    else:
        anew = both.values < both.values[previous]
    anew |= (both.starts >= 0) & (both.starts >= both.times[previous])
    goes_on = follows & ~anew
    added = Rows(
        both.ids, both.times, np.full(len(both), UNKNOWN, np.int64),
        both.values - np.where(goes_on, both.values[previous], 0.0),
        both.counts - np.where(goes_on[:, None], both.counts[previous], 0),
    )  # fmt: skip
    return added.take(is_row & (follows | np.isin(both.ids, from_zero))), newest


def _is_newer(last: Rows, new: Rows) -> Bools:
    newer = np.ones(len(new), bool)
    if len(last) and len(new):
        at = np.minimum(np.searchsorted(last.ids, new.ids), len(last) - 1)
        newer = (last.ids[at] != new.ids) | (new.times > last.times[at])
    newer[1:] &= (new.ids[1:] != new.ids[:-1]) | (new.times[1:] != new.times[:-1])
    return newer


# --- coarser ----------------------------------------------------------------------------------------------------------------


def coarser(some: Rows, *, kind: str, resolution_s: int) -> Rows:
    """One row for each series and stretch of time, at the time of the last that is in it: increases summed, a gauge's last reading."""
    if not len(some):
        return some
    stretch = some.times // (resolution_s * NS_PER_S)
    starts = np.flatnonzero((np.diff(some.ids, prepend=np.int64(-1)) != 0) | (np.diff(stretch, prepend=stretch[0]) != 0))
    ends = np.append(starts[1:] - 1, len(some) - 1)
    if kind == "gauge":
        return some.take(ends)
    values, counts = np.add.reduceat(some.values, starts), np.add.reduceat(some.counts, starts, axis=0)
    return Rows(some.ids[ends], some.times[ends], some.starts[ends], values, counts)


def split(some: Rows, stretch_s: int) -> Iterator[Rows]:
    """The rows of each stretch of time that there are."""
    stretch = some.times // (stretch_s * NS_PER_S)
    for one in np.unique(stretch):
        yield some.take(stretch == one)
