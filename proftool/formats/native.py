"""proftool's own format: what the store keeps as a blob and `.proftool` files hold; every column of every table, nothing lost.

    offset  size
    0       10   magic, b"\\x89proftool\\n" (a first byte that is no text, a line end that text transfer would change)
    10      2    version, little-endian like all integers here
    12      4    size of the header
    16      8    size of the body
    24      4    CRC-32 of header and body
    28           header: zlib of JSON (`Header`), then the body: strings, then columns (formats/columns.py)

A file of an older version is brought up step by step (`UPGRADES`), one of a newer version is refused with NewerVersion.
tests/golden/native keeps a file of every version. Names of tables and columns are those of `model.profile.TABLES`; a table
that a file does not have is empty.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from proftool.errors import NewerVersion
from proftool.formats.columns import Column, IntegerArray, Text, pack, pack_strings, unpack, unpack_strings
from proftool.formats.limits import MAX_FILE_BYTES, MAX_TEXT_BYTES, corrupt, decoded_limit, entered, read_bytes
from proftool.model.meta import Meta
from proftool.model.profile import TABLES, Metric, Profile, Table, freeze

MAGIC = b"\x89proftool\n"
VERSION = 1
_PREFIX = struct.Struct("<10sHIQI")

UPGRADES: dict[int, Callable[[bytes], bytes]] = {}
"""Version -> how to turn the JSON header of that version into one of the next; version 1 is the first."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the numbers."""

    strings: Text
    metrics: tuple[Metric, ...]
    meta: Meta
    columns: tuple[Column, ...]


class Native:
    """The format object; `dumps` and `loads` are for callers that hold the bytes, as the store does."""

    name = "native"
    suffixes = (".proftool",)

    def matches(self, head: bytes) -> bool:
        """Does it begin with the magic?"""
        return head.startswith(MAGIC)

    def read(self, path: Path) -> Profile:
        """The file as a profile."""
        return loads(read_bytes(path, self.name, MAX_FILE_BYTES), path)

    def write(self, profile: Profile) -> bytes:
        """The whole profile."""
        return dumps(profile)

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """Nothing is lost."""
        return ()


format = Native()


def dumps(profile: Profile) -> bytes:
    """The profile as bytes; the same profile gives the same bytes."""
    text, strings = pack_strings(profile.strings)
    columns, body = pack({f"{table}.{name}": column for table in TABLES for name, column in getattr(profile, table).columns().items()})
    header = zlib.compress(_json(Header(strings=text, metrics=profile.metrics, meta=profile.meta, columns=columns)), 6)
    rest = header + strings + body
    return _PREFIX.pack(MAGIC, VERSION, len(header), len(strings) + len(body), zlib.crc32(rest)) + rest


def loads(data: bytes, path: Path | None = None) -> Profile:
    """The profile in those bytes; CorruptProfile, NewerVersion or LimitExceeded, nothing else. `path` is for messages."""
    if len(data) < _PREFIX.size:
        raise corrupt("native", f"it ends at byte {len(data)}, within the first {_PREFIX.size} bytes", path)
    magic, version, header_size, body_size, checksum = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise corrupt("native", "it does not begin with proftool's magic bytes", path)
    if version > VERSION:
        raise NewerVersion(
            f"`{path or 'the content'}` was written by a newer proftool",
            cause=f"its version is {version}, this proftool reads up to {VERSION}",
            fix="`pip install --upgrade proftool`",
        )
    start = _PREFIX.size + header_size
    if start + body_size != len(data):
        raise corrupt("native", f"it has {len(data)} bytes where {start + body_size} are announced", path)
    view = memoryview(data)
    if zlib.crc32(view[_PREFIX.size :]) != checksum:
        raise corrupt("native", f"the checksum of the bytes from {_PREFIX.size} to {len(data)} is wrong", path)
    try:
        header = _header(view[_PREFIX.size : start], version)
        middle = start + header.strings.lengths.size + header.strings.size
        strings = unpack_strings(header.strings, view[start:middle])
        columns = unpack(header.columns, view[middle:])
        profile = _profile(header, strings, columns)
    except (ValueError, RecursionError, zlib.error) as error:
        raise corrupt("native", f"behind byte {_PREFIX.size}: {error or type(error).__name__}", path) from error
    return entered(profile, "native", path)


def _header(data: memoryview, version: int) -> Header:
    stream = zlib.decompressobj()
    plain = stream.decompress(data, min(MAX_TEXT_BYTES, decoded_limit(len(data))))
    if not stream.eof or stream.unused_data:
        raise ValueError("the header is no whole zlib stream")
    for step in range(version, VERSION):
        if step not in UPGRADES:
            raise ValueError(f"version {step} never existed")
        plain = UPGRADES[step](plain)
    if version < 1:
        raise ValueError(f"version {version} never existed")
    return msgspec.json.decode(plain, type=Header)


def _profile(header: Header, strings: tuple[str, ...], columns: dict[str, IntegerArray]) -> Profile:
    tables: dict[str, Table] = {}
    known: set[str] = set()
    for name, kind in TABLES.items():
        empty = kind()
        found = {column: columns.get(f"{name}.{column}") for column in empty.columns()}
        known |= {f"{name}.{column}" for column in found}
        if all(column is None for column in found.values()):
            tables[name] = empty
            continue
        rows = {len(column) for column in found.values() if column is not None}
        if len(rows) != 1 or any(column is None or column.dtype != empty.columns()[n].dtype for n, column in found.items()):
            raise ValueError(f"table {name} lacks columns, or they differ in length or type")
        tables[name] = freeze(kind(**{n: np.ascontiguousarray(column) for n, column in found.items() if column is not None}))
    if unknown := columns.keys() - known:
        raise ValueError(f"unknown columns {', '.join(sorted(unknown))}")
    return replace(Profile(strings=strings, metrics=header.metrics, meta=header.meta), **tables)


def _json(header: Header) -> bytes:
    try:
        return msgspec.json.encode(header)
    except UnicodeEncodeError:
        # JSON knows no lone surrogate (an undecodable byte of a command line); it is written as `\\udc80`, readable.
        return msgspec.json.encode(_escaped(msgspec.to_builtins(header)))


def _escaped(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {_escaped(k): _escaped(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case list() | tuple():
            return [_escaped(item) for item in value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return value
