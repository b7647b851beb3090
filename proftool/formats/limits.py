"""How much of a file is read before it is refused, and how a reader says that a file is broken.

A file comes from anywhere: each reader stays within these bounds whatever the content says of itself, and ends in one of
CorruptProfile, NewerVersion and LimitExceeded. The bounds lie far above what real recordings need (the largest seen: 5
million nodes, 200 MB of collapsed stacks) and far below what takes a laptop down.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NoReturn, TypeVar

from proftool.errors import CorruptProfile, LimitExceeded, ModelError
from proftool.model.check import checked
from proftool.model.profile import Profile

T = TypeVar("T")

MAX_FILE_BYTES = 4 << 30
"""Of any file."""
MAX_DOCUMENT_BYTES = 1 << 30
"""Of a file that is parsed as a whole (JSON, marshal)."""
MAX_DECODED_BYTES = 2 << 30
"""Of columns once unpacked, however small the file."""
MAX_NODES = 50_000_000
"""Calling contexts of one profile."""
MAX_STACK_DEPTH = 100_000
"""Frames of one stack."""
MAX_TEXT_BYTES = 512 << 20
"""Of the strings of one file."""
MAX_VALUE = 1 << 53
"""Of one value and of one total of a foreign file: above it, browsers and doubles no longer tell integers apart."""

GZIP = b"\x1f\x8b"
"""How a gzip stream begins."""
_FREE_BYTES = 256 << 20
_MAX_RATIO = 10_000


def decoded_limit(packed_bytes: int) -> int:
    """Bytes that `packed_bytes` of compressed columns may unpack to: deflate makes at most 1:1032, byte planes widen by 8."""
    return min(MAX_DECODED_BYTES, _FREE_BYTES + _MAX_RATIO * packed_bytes)


def corrupt(format: str, cause: str, path: Path | None = None) -> CorruptProfile:
    """The error for content that breaks the format's own rules; `cause` says where."""
    return CorruptProfile(
        f"cannot read {_named(path)} as {format}",
        cause=cause,
        fix="record it again, or copy the whole file once more from where it was written",
    )


def too_large(format: str, cause: str, path: Path | None = None) -> LimitExceeded:
    """The error for content that is larger, deeper or longer than is safe to read."""
    return LimitExceeded(
        f"will not read {_named(path)} as {format}", cause=cause, fix="export a shorter or coarser recording from the tool that wrote it"
    )


def read_bytes(path: Path, format: str, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """A file's content, refused before it is read where it is larger than `limit`; a file that cannot be opened is corrupt."""
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1) if path.stat().st_size <= limit else None
    except OSError as error:
        refuse_unreadable(path, format, error)
    if data is None or len(data) > limit:
        raise too_large(format, f"it has more than {limit >> 20} MiB", path)
    return data


def decode_json(path: Path, format: str, type: type[T]) -> T:
    """A JSON file as the declared type, wherever it is broken or too deep the format's own error; what is not declared is passed over."""
    import msgspec

    data = unzipped(read_bytes(path, format), format, path)
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise corrupt(format, str(error) or error.__class__.__name__, path) from error


def unzipped_head(head: bytes) -> bytes:
    """The first bytes of a file, of what it holds where it is gzipped; empty where that is broken."""
    if head[:2] != GZIP:
        return head
    try:
        return zlib.decompressobj(31).decompress(head, 4096)
    except zlib.error:
        return b""


def unzipped(data: bytes, format: str, path: Path | None) -> bytes:
    """The content, unpacked where it is gzipped; bounded whatever it says of itself."""
    if data[:2] != GZIP:
        return data
    stream = zlib.decompressobj(31)
    try:
        found = stream.decompress(data, MAX_DECODED_BYTES)
    except zlib.error as error:
        raise corrupt(format, f"its gzip stream is broken: {error}", path) from error
    if stream.unconsumed_tail:
        raise too_large(format, f"it unpacks to more than {MAX_DECODED_BYTES >> 20} MiB", path)
    if not stream.eof or stream.unused_data:
        raise corrupt(format, "its gzip stream is cut short, or something stands behind it", path)
    return found


def refuse_unreadable(path: Path, format: str, error: OSError) -> NoReturn:
    """Say that the system would not let the file be read."""
    raise CorruptProfile(
        f"cannot read {_named(path)} as {format}",
        cause=error.strerror or type(error).__name__,
        fix="check the file's name and permissions",
    ) from error


def inflate(data: bytes | memoryview, size: int) -> bytes:
    """Exactly `size` bytes out of a zlib stream; ValueError where it holds more, less or other things. Never makes more."""
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(plain) != size or not stream.eof or stream.unused_data:
        raise ValueError(f"the compressed data does not hold exactly {size} bytes")
    return plain


def _named(path: Path | None) -> str:
    return f"`{path}`" if path is not None else "the content"


def entered(profile: Profile, format: str, path: Path | None = None) -> Profile:
    """The profile, every rule of the model holding; what a file says against them makes the file corrupt."""
    try:
        return checked(profile)
    except ModelError as error:
        raise corrupt(format, f"{error.what}", path) from error
