"""Protocol Buffers' wire format, read and written without generated classes: many small messages at once, as columns.

`scan` walks one message and gives the place of every field; `Columns` reads thousands of equal messages in lockstep, one numpy
step a field, so that a sample costs a share of an array operation and no object. Unknown fields are passed over, as the format
demands. Everything broken is a ValueError that says at which byte.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proftool.model.profile import Int32Array, Int64Array, UInt8Array

UInt64Array = NDArray[np.uint64]
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
PADDING = bytes(16)
"""Stands behind the data, so that reading a number never leaves it."""
MAX_FIELDS = 300_000
"""Of one message that is read in lockstep: unpacked lists of the deepest stack there may be."""
_WINDOW = 1 << 17
"""Bytes of lists that are unpacked at a time: what is made of them stays in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Places of one field's values: message, first byte, byte behind the last. In order of messages, then of the file."""

    row: Int64Array
    start: Int64Array
    end: Int64Array

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Numbers of one field: message and value, in order of messages, then of the file."""

    row: Int64Array
    value: UInt64Array

    def __len__(self) -> int:
        return len(self.row)

    def signed(self) -> Int64Array:
        """As int64, two's complement."""
        return self.value.view(np.int64)


def scan(data: bytes, start: int, end: int) -> dict[tuple[int, int], Spans]:
    """
    Fields of one message by (number, wire type). Spans of varints and fixed numbers cover their bytes; `row` is 0.

    `data` ends in PADDING behind `end`.
    """
    begins = array("q")
    add = begins.append
    at = start
    while at < end:  # the one loop over every message of a file: 0.3 µs each
        add(at)
        if data[at] & 0x87 != BYTES:
            at = _behind(data, at, end)
        elif (size := data[at + 1]) < 0x80:
            at += size + 2
        elif (more := data[at + 2]) < 0x80:
            at += (size & 0x7F) + (more << 7) + 3
        else:
            at = _behind(data, at, end)
    if at > end:
        raise ValueError(f"the field at byte {begins[-1]} reaches beyond its message")
    if not begins:
        return {}
    content = np.frombuffer(data, np.uint8)
    place = np.frombuffer(begins, np.int64)
    limit = np.append(place[1:], end)
    tag, body = varints(content, place, limit)
    if int(tag.min()) < 8:
        raise ValueError("a field has the number 0")
    is_bytes = tag & np.uint64(7) == BYTES
    _, body[is_bytes] = varints(content, body[is_bytes], limit[is_bytes])
    result: dict[tuple[int, int], Spans] = {}
    for code in _distinct(tag):
        here = np.flatnonzero(tag == np.uint64(code))
        result[code >> 3, code & 7] = Spans(np.zeros(len(here), np.int64), body[here], limit[here])
    return result


def _behind(data: bytes, at: int, end: int) -> int:
    """The byte behind the field at `at`."""
    tag, body = varint(data, at, end)
    if not tag >> 3:
        raise ValueError(f"field number 0 at byte {at}")
    match tag & 7:
        case 2:
            size, body = varint(data, body, end)
            return body + size
        case 0:
            return varint(data, body, end)[1]
        case 1 | 5:
            return body + (8 if tag & 7 == FIXED64 else 4)
        case kind:
            raise ValueError(f"byte {at} begins no field: wire type {kind}")


def _distinct(tags: UInt64Array) -> list[int]:
    # Sorting what has a handful of values costs more than the rest of a scan.
    return np.flatnonzero(np.bincount(tags.astype(np.int64))).tolist() if int(tags.max()) < 1 << 12 else np.unique(tags).tolist()


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number and the byte behind it."""
    value = shift = 0
    while True:
        if at >= end or shift > 63:
            raise ValueError(f"a number is cut short or too long at byte {at}")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7


class Columns:
    """Equal messages, read in lockstep."""

    def __init__(self, data: bytes, spans: Spans) -> None:
        """`data` ends in PADDING behind the last message."""
        self._data = data
        self._bytes: UInt8Array = np.frombuffer(data, np.uint8)
        self._spans: dict[int, list[Spans]] = {}
        self._numbers: dict[int, list[Numbers]] = {}
        self.rows = len(spans)
        self._read(spans)

    def spans(self, field: int) -> Spans:
        """Every value of a field of bytes, text or messages."""
        parts = self._spans.get(field, [])
        if len(parts) == 1:
            return parts[0]
        joined = Spans(*(_cat([getattr(part, name) for part in parts]) for name in ("row", "start", "end")))
        order = _in_order(joined.row)
        return joined if order is None else Spans(joined.row[order], joined.start[order], joined.end[order])

    def number(self, field: int) -> Int64Array:
        """One number a message, the last that is told, 0 where none is."""
        result = np.zeros(self.rows, np.int64)
        for part in self._numbers.get(field, []):
            result[part.row] = part.signed()
        return result

    def numbers(self, field: int) -> Numbers:
        """Every value of a repeated number, packed or not."""
        parts = list(self._numbers.get(field, []))
        for packed in self._spans.get(field, []):
            parts.append(unpack(self._bytes, packed))
        if len(parts) == 1:
            return parts[0]
        row = _cat([part.row for part in parts])
        value = np.concatenate([part.value for part in parts]) if parts else np.zeros(0, np.uint64)
        order = _in_order(row)
        return Numbers(row, value) if order is None else Numbers(row[order], value[order])

    def lists(self, field: int, translate: Callable[[UInt64Array], Int32Array]) -> tuple[Int64Array, Int32Array]:
        """How many values of a repeated number each message has, and all of them, translated a few at a time."""
        spans = self._spans.get(field, [])
        if field in self._numbers or len(spans) != 1:
            found = self.numbers(field)
            return np.bincount(found.row, minlength=self.rows), translate(found.value)
        counts = np.zeros(self.rows, np.int64)
        values: list[Int32Array] = []
        for row, n, some in _windows(self._bytes, spans[0]):
            counts[row] = n
            values.append(translate(some))
        return counts, np.concatenate(values) if values else np.zeros(0, np.int32)

    def fixed64s(self, field: int) -> Numbers:
        """Every value of a repeated fixed64, packed or not."""
        parts = list(self._numbers.get(field, []))
        for packed in self._spans.get(field, []):
            sizes = packed.end - packed.start
            if (sizes % 8).any():
                raise ValueError(f"a list of numbers of 8 bytes has {int(sizes[sizes % 8 > 0][0])} bytes")
            at = _ramp(packed.start, sizes // 8, 8)
            parts.append(Numbers(np.repeat(packed.row, sizes // 8), _words(self._bytes, at)))
        row = _cat([part.row for part in parts])
        value = np.concatenate([part.value for part in parts]) if parts else np.zeros(0, np.uint64)
        order = _in_order(row)
        return Numbers(row, value) if order is None else Numbers(row[order], value[order])

    def texts(self, field: int) -> list[str]:
        """One text a message, empty where none is told."""
        result = [""] * self.rows
        spans = self.spans(field)
        for row, start, end in zip(spans.row.tolist(), spans.start.tolist(), spans.end.tolist(), strict=True):
            result[row] = self._data[start:end].decode("utf-8", "surrogateescape")
        return result

    def _read(self, spans: Spans) -> None:
        data = self._bytes
        row, at, end = np.arange(len(spans)), spans.start.copy(), spans.end
        steps = 0
        while len(at := at[alive := at < end]):
            row, end = row[alive], end[alive]
            tag, body = varints(data, at, end)
            after = body.copy()
            for code in _distinct(tag):
                number, wire = code >> 3, code & 7
                here = np.flatnonzero(tag == np.uint64(code))
                place, limit = body[here], end[here]
                if wire == VARINT:
                    value, stop = varints(data, place, limit)
                    self._numbers.setdefault(number, []).append(Numbers(row[here], value))
                elif wire == BYTES:
                    size, place = varints(data, place, limit)
                    if (size > np.uint64(len(data))).any():
                        raise ValueError(f"a field before byte {int(place[0])} is longer than the file")
                    stop = place + size.astype(np.int64)
                    self._spans.setdefault(number, []).append(Spans(row[here], place, stop))
                elif wire == FIXED64:
                    stop = place + 8
                    if (stop > limit).any():
                        raise ValueError(f"a number is cut short at byte {int(place[0])}")
                    self._numbers.setdefault(number, []).append(Numbers(row[here], _words(data, place)))
                elif wire == FIXED32:
                    stop = place + 4
                else:
                    raise ValueError(f"byte {int(place[0]) - 1} begins no field: wire type {wire}")
                if not number or (stop > limit).any():
                    raise ValueError(f"a field at byte {int(place[0])} reaches beyond its message or has no number")
                after[here] = stop
            at = after
            steps += 1
            if steps > MAX_FIELDS:
                raise ValueError(f"a message before byte {int(at[0])} has more than {MAX_FIELDS:,} fields")


def unpack(data: UInt8Array, spans: Spans) -> Numbers:
    """The numbers of packed lists."""
    rows: list[Int64Array] = []
    values: list[UInt64Array] = []
    for row, counts, some in _windows(data, spans):
        rows.append(np.repeat(row, counts))
        values.append(some)
    return Numbers(_cat(rows), np.concatenate(values) if values else np.zeros(0, np.uint64))


def _windows(data: UInt8Array, spans: Spans) -> Iterator[tuple[Int64Array, Int64Array, UInt64Array]]:
    """Messages, how many numbers each has, and these, some lists at a time; empty lists are left out."""
    some = spans.end > spans.start
    row, start, end = spans.row[some], spans.start[some], spans.end[some]
    reached = np.cumsum(end - start)
    low = 0
    while low < len(row):
        high = int(np.searchsorted(reached, (reached[low - 1] if low else 0) + _WINDOW)) + 1
        counts, found = _unpack(data, start[low:high], end[low:high])
        yield row[low:high], counts, found
        low = high


def _unpack(data: UInt8Array, start: Int64Array, end: Int64Array) -> tuple[Int64Array, UInt64Array]:
    sizes = end - start
    first, last = int(start[0]), int(end[-1])
    if last - first <= 4 * int(sizes.sum()) and bool((start[1:] >= end[:-1]).all()):
        # Lists that lie one behind the other with little between: a mask costs one byte a byte, an index eight.
        inside = np.zeros(last - first + 1, np.int8)
        inside[start - first] = 1
        np.add.at(inside, end - first, -1)
        content = data[first:last][np.cumsum(inside[:-1], dtype=np.int8).view(bool)]
    else:
        content = data[_ramp(start, sizes, 1)]
    is_last = content < 0x80
    begins = np.cumsum(sizes) - sizes
    counts = np.add.reduceat(is_last, begins, dtype=np.int64)
    if not is_last[begins + sizes - 1].all():
        raise ValueError(f"a list of numbers is cut short between bytes {first} and {last}")
    stops = np.flatnonzero(is_last)
    if len(stops) == len(content):
        return counts, content.astype(np.uint64)
    lengths = np.diff(stops, prepend=-1)
    longest = int(lengths.max())
    if longest > 10:
        raise ValueError(f"a number of more than 64 bits between bytes {first} and {last}")
    at = stops - lengths + 1
    # Half as much to move where all numbers are short, and no list of rows where most of them go on.
    width = np.uint32 if longest < 5 else np.uint64
    part = content & np.uint8(0x7F)
    value = part[at].astype(width)
    for k in range(1, longest):
        longer = lengths > k
        if np.count_nonzero(longer) * 4 > len(longer):
            value |= (part[np.minimum(at + k, len(part) - 1)] * longer).astype(width) << width(7 * k)
        else:
            rows = np.flatnonzero(longer)
            value[rows] |= part[at[rows] + k].astype(width) << width(7 * k)
    return counts, value.astype(np.uint64)


def varints(data: UInt8Array, at: Int64Array, end: Int64Array | int) -> tuple[UInt64Array, Int64Array]:
    """A number at each place, and the bytes behind them."""
    byte = data[at]
    value = (byte & np.uint8(0x7F)).astype(np.uint64)
    stop = at + 1
    longer = np.flatnonzero(byte >= 0x80)
    k = 1
    while len(longer):
        if k > 9:
            raise ValueError(f"a number of more than 64 bits at byte {int(at[longer[0]])}")
        byte = data[np.minimum(at[longer] + k, len(data) - 1)]
        value[longer] |= (byte & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * k)
        stop[longer] += 1
        longer = longer[byte >= 0x80]
        k += 1
    over = np.flatnonzero(stop > end)
    if len(over):
        raise ValueError(f"a number is cut short at byte {int(at[over[0]])}")
    return value, stop


def _words(data: UInt8Array, at: Int64Array) -> UInt64Array:
    return data[at[:, None] + np.arange(8)].view("<u8").reshape(len(at)).astype(np.uint64)


def _ramp(start: Int64Array, counts: Int64Array, step: int) -> Int64Array:
    """start, start + step, ... `counts` times, for each."""
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(start, counts) + step * within


def _in_order(row: Int64Array) -> Int64Array | None:
    """Places by message; None where they are in order."""
    return None if bool((row[1:] >= row[:-1]).all()) else np.argsort(row, kind="stable")


def _cat(parts: list[Int64Array]) -> Int64Array:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


# --- writing --------------------------------------------------------------------------------------------------------------


def put_varint(value: int) -> bytes:
    """A number; negative ones as two's complement of 64 bits."""
    value &= (1 << 64) - 1
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_number(field: int, value: int) -> bytes:
    """A field with a number; nothing where it is 0, the default."""
    return put_varint(field << 3) + put_varint(value) if value else b""


def put_bytes(field: int, content: bytes) -> bytes:
    """A field with bytes, text or a message."""
    return put_varint(field << 3 | BYTES) + put_varint(len(content)) + content


def put_packed(field: int, values: Iterable[int]) -> bytes:
    """A packed list of numbers; nothing where it is empty."""
    content = b"".join(map(put_varint, values))
    return put_bytes(field, content) if content else b""
