"""One codec of integer columns for the store, the reports and the viewer: named arrays -> compressed bytes + JSON header.

The body is the columns' zlib streams one after the other; the header is a list with one entry a column, in that order:

    {"name": "nodes.parent", "dtype": "i4", "rows": n, "filter": "index", "base": b, "scale": s, "width": w, "size": z}

`size` is the length of the column's stream in the body (0: no stream, all u are 0). To decode:

1. inflate the `size` bytes (zlib; `DecompressionStream("deflate")` in browsers) to `width * rows` bytes: byte planes, first
   the lowest byte of every row, then the second lowest of every row, ...; u[i] = sum over k of plane[k][i] * 256**k, unsigned
2. x[i] = base + scale * u[i]
3. by `filter`: "none": value[i] = x[i]; "delta": value[i] = value[i-1] + x[i], value[-1] = 0; "index": value[i] = i - x[i]

`dtype` is that of the result: "u1", "i4" or "i8". Values, bases and scales below 2**53 are exact in a browser's doubles.
Strings (`pack_strings`) are one column of lengths in UTF-8 bytes and one zlib stream of all bytes.

Why so: planes put equal bytes side by side, which makes deflate both smaller and faster than on interleaved integers
(values of 1M nodes, level 6: 3.9 MB in 0.79 s -> 3.0 MB in 0.14 s); `index` is the prefix-offset coding of parents
(1M nodes: 0.55 MB); `scale` takes out the sampling interval. Filters are chosen by trial on a block of the column.
1M nodes with parent, frame and a value of 64 bits: 4.5 MB.

Source: the byte shuffle of HDF5 and Blosc; the prefix offsets of the Firefox Profiler's stack table.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from proftool.formats.limits import MAX_TEXT_BYTES, decoded_limit, inflate

IntegerArray = NDArray[np.integer]
Filter = Literal["none", "delta", "index"]
Dtype = Literal["u1", "i4", "i8"]

LEVEL = 6
"""Of deflate; on byte planes level 9 takes four times as long for 1 % less."""
_BLOCK = 16_384
"""Rows that a filter is tried on."""
_SAFE = 1 << 61
"""Values within ± this may be subtracted from one another in 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """How one column is stored; see the module's docstring."""

    name: str
    dtype: Dtype
    rows: int
    filter: Filter
    base: int
    scale: int
    width: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """How strings are stored: the column of their byte lengths, then a zlib stream of `size` bytes that holds `bytes`."""

    lengths: Column
    bytes: int
    size: int


def pack(columns: Mapping[str, IntegerArray], level: int = LEVEL) -> tuple[tuple[Column, ...], bytes]:
    """The columns as header and body, in the mapping's order. Columns are 1-D of dtype uint8, int32 or int64."""
    entries: list[Column] = []
    body: list[bytes] = []
    for name, values in columns.items():
        entry, stream = _pack(name, values, level)
        entries.append(entry)
        body.append(stream)
    return tuple(entries), b"".join(body)


def unpack(header: Iterable[Column], body: bytes | memoryview) -> dict[str, IntegerArray]:
    """The columns by name; ValueError where header and body do not fit each other, with the offset in the body."""
    view = memoryview(body)
    entries = tuple(header)
    wanted = sum(max(entry.rows, 0) * np.dtype(entry.dtype).itemsize for entry in entries)
    if wanted > decoded_limit(len(view)):
        raise ValueError(f"the columns claim {wanted:,} bytes, more than {len(view):,} compressed bytes may hold")
    result: dict[str, IntegerArray] = {}
    at = 0
    for entry in entries:
        if entry.rows < 0 or not 0 <= entry.width <= 8 or not 0 <= entry.size <= len(view) - at:
            raise ValueError(f"column {entry.name} at byte {at} has an impossible size")
        if entry.name in result:
            raise ValueError(f"column {entry.name} occurs twice")
        try:
            result[entry.name] = _unpack(entry, view[at : at + entry.size])
        except (ValueError, OverflowError) as error:
            raise ValueError(f"column {entry.name} at byte {at}: {error}") from error
        at += entry.size
    if at != len(view):
        raise ValueError(f"{len(view) - at} bytes behind the last column")
    return result


def pack_strings(strings: Sequence[str], level: int = LEVEL) -> tuple[Text, bytes]:
    """Strings as header and body. Lone surrogates (undecodable file names) survive in Python and become U+FFFD in browsers."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in strings]
    lengths, stream = _pack("lengths", np.fromiter(map(len, encoded), np.int32, len(encoded)), level)
    plain = b"".join(encoded)
    packed = zlib.compress(plain, level)
    return Text(lengths=lengths, bytes=len(plain), size=len(packed)), stream + packed


def unpack_strings(header: Text, body: bytes | memoryview) -> tuple[str, ...]:
    """The strings; ValueError where header and body do not fit each other."""
    view = memoryview(body)
    if (
        not 0 <= header.bytes <= MAX_TEXT_BYTES
        or header.lengths.size + header.size != len(view)
        or min(header.size, header.lengths.size) < 0
    ):
        raise ValueError("the strings have an impossible size")
    lengths = unpack((header.lengths,), view[: header.lengths.size])[header.lengths.name].astype(np.int64)
    plain = inflate(view[header.lengths.size :], header.bytes)
    if (lengths < 0).any() or int(lengths.sum()) != len(plain):
        raise ValueError("the strings' lengths do not add up")
    ends = np.cumsum(lengths).tolist()
    starts = [0, *ends][: len(ends)]
    return tuple(plain[start:end].decode("utf-8", "surrogatepass") for start, end in zip(starts, ends, strict=True))


def _pack(name: str, values: IntegerArray, level: int) -> tuple[Column, bytes]:
    dtype: Dtype = "u1" if values.dtype == np.uint8 else "i4" if values.dtype == np.int32 else "i8"
    if dtype == "i8" and values.dtype != np.int64:
        raise TypeError(f"column {name} has dtype {values.dtype}, not uint8, int32 or int64")
    wide = values.astype(np.int64)
    filter = _choose(wide)
    x = _filtered(wide, filter)
    base = int(x.min()) if len(x) else 0
    u = (x - np.int64(base)).view(np.uint64)
    top = int(u.max()) if len(u) else 0
    scale = _divisor(u) if top > 1 else 1
    if scale > 1:
        u = u // np.uint64(scale)
        top //= scale
    width = (top.bit_length() + 7) // 8
    stream = zlib.compress(_planes(u, width), level) if width else b""
    return Column(name=name, dtype=dtype, rows=len(values), filter=filter, base=base, scale=scale, width=width, size=len(stream)), stream


def _unpack(entry: Column, stream: memoryview) -> IntegerArray:
    rows, width = entry.rows, entry.width
    if width:
        planes = np.frombuffer(inflate(stream, width * rows), np.uint8).reshape(width, rows)
        wide = np.zeros((rows, 8), np.uint8)
        wide[:, :width] = planes.T
        u = wide.view("<u8").reshape(rows)
    elif len(stream):
        raise ValueError("a constant column has a stream")
    else:
        u = np.zeros(rows, np.uint64)
    base, scale = np.int64(entry.base), np.uint64(entry.scale)
    x = u.view(np.int64)
    if scale != 1:
        x *= scale.astype(np.int64)
    if base:
        x += base
    match entry.filter:
        case "none":
            pass
        case "delta":
            np.cumsum(x, out=x)
        case "index":
            np.subtract(np.arange(rows, dtype=np.int64), x, out=x)
    target = np.dtype(entry.dtype)
    if target.itemsize == 8:
        return x
    info = np.iinfo(target)
    if rows and not (int(x.min()) >= info.min and int(x.max()) <= info.max):
        raise ValueError(f"a value does not fit {entry.dtype}")
    return x.astype(target)


def _choose(wide: NDArray[np.int64]) -> Filter:
    """The filter that makes a block from the middle of the column smallest; "none" where differences could overflow."""
    if len(wide) < 2 or int(wide.min()) < -_SAFE or int(wide.max()) > _SAFE:
        return "none"
    first = max(0, (len(wide) - _BLOCK) // 2)
    best: Filter = "none"
    best_size = -1
    for filter in ("none", "delta", "index"):
        # One row more in front, so that the first difference of the block is a difference and not a whole value.
        x = _filtered(wide[max(first - 1, 0) : first + _BLOCK], filter, max(first - 1, 0))[1:]
        u = x - x.min()
        size = len(zlib.compress(_planes(u.view(np.uint64), (int(u.max()).bit_length() + 7) // 8), 1))
        if best_size < 0 or size < best_size:
            best, best_size = filter, size
    return best


def _filtered(wide: NDArray[np.int64], filter: Filter, first: int = 0) -> NDArray[np.int64]:
    match filter:
        case "none":
            return wide
        case "delta":
            return np.diff(wide, prepend=np.int64(0))
        case "index":
            return np.arange(first, first + len(wide), dtype=np.int64) - wide


def _divisor(u: NDArray[np.uint64]) -> int:
    """The greatest common divisor of all values; a block decides first, since most columns have none."""
    if int(np.gcd.reduce(u[:_BLOCK])) == 1:
        return 1
    return max(int(np.gcd.reduce(u)), 1)


def _planes(u: NDArray[np.uint64], width: int) -> bytes:
    return np.ascontiguousarray(u.astype("<u8", copy=False).view(np.uint8).reshape(len(u), 8)[:, :width].T).tobytes()
