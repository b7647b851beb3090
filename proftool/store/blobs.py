"""Profiles as files, named by the SHA-256 of their content: written once, never changed, found again by anybody who has the name.

A blob is a file in proftool's own format (compressed, with a checksum of its own), so each can be read by path without the
database. A writer makes a temporary file in the same folder, syncs it and renames it: a name that exists is whole.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from proftool.errors import CorruptProfile, StoreError
from proftool.store.place import Place, unwritable

SUFFIX = ".proftool"
_TEMPORARY = ".part-"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobInfo:
    """One blob as it lies there."""

    name: str
    size_bytes: int
    touched_ns: int


class Blobs(Protocol):
    """Content by name: a folder, or a bucket (bucket.py)."""

    def put(self, data: bytes) -> str:
        """Keep the content, durably; its name. Content that is there already is marked as wanted again."""
        ...

    def get(self, name: str) -> bytes:
        """The content; StoreError where it is gone, CorruptProfile where it is not what its name says."""
        ...

    def has(self, name: str) -> bool: ...

    def remove(self, names: Sequence[str]) -> None:
        """Forget the contents; nothing happens where one is gone already."""
        ...

    def infos(self) -> Iterator[BlobInfo]: ...

    def path(self, name: str) -> Path:
        """Where the blob of that name lies; for messages, unless it is a folder's."""
        ...

    def sweep_temporary(self, grace_ns: int) -> int:
        """Remove what killed writers left half written; how many."""
        ...


def blobs_of(place: Place) -> Blobs:
    """The blobs of a place; nothing is created or reached."""
    if place.bucket is not None:
        from proftool.store.bucket import BucketBlobs

        return BucketBlobs(place.bucket)
    return FolderBlobs(place.blobs)


class FolderBlobs:
    """Blobs in a folder: `ab/abcd….proftool`, private."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where the blob of that name lies."""
        return self.folder / name[:2] / (name + SUFFIX)

    def put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = self.path(name)
        try:
            if self._is_whole(path, data):
                os.utime(path)
                return name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, data)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        return name

    def get(self, name: str) -> bytes:
        path = self.path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise StoreError(
                "the recording of this run is gone",
                cause=f"`{path}` does not exist",
                fix="`proftool doctor --repair` takes the run off the list",
            ) from error
        except OSError as error:
            raise StoreError(
                "the recording of this run cannot be read", cause=f"`{path}`: {error.strerror}", fix="make it readable"
            ) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise CorruptProfile(
                "the recording of this run is damaged",
                cause=f"`{path}` is not what was written",
                fix="`proftool doctor --repair` puts it aside",
            )
        return data

    def has(self, name: str) -> bool:
        return self.path(name).is_file()

    def remove(self, names: Sequence[str]) -> None:
        try:
            for name in names:
                self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def infos(self) -> Iterator[BlobInfo]:
        for path in self.folder.glob(f"??/*{SUFFIX}"):
            if not path.name.startswith(_TEMPORARY):
                yield from self._info(path)

    def sweep_temporary(self, grace_ns: int) -> int:
        """Remove temporary files that no living writer can own; how many."""
        removed = 0
        for path in self.folder.glob(f"??/{_TEMPORARY}*"):
            for info in self._info(path):
                if info.touched_ns < time.time_ns() - grace_ns:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    @staticmethod
    def _info(path: Path) -> Iterator[BlobInfo]:
        try:
            stat = path.stat()
        except FileNotFoundError:  # removed by another process since the folder was read
            return
        yield BlobInfo(name=path.name.removesuffix(SUFFIX), size_bytes=stat.st_size, touched_ns=stat.st_mtime_ns)

    @staticmethod
    def _is_whole(path: Path, data: bytes) -> bool:
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}{SUFFIX}"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view[:_CHUNK]) :]
                os.fsync(file)
            finally:
                os.close(file)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be synced there; NTFS keeps renames in its own journal
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
