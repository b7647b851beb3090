"""Private folders for the raw parts of recordings under way.

`recordings/NAME/` belongs to the process that holds the lock on `recordings/NAME.lock`. The kernel drops the lock however that
process ends, also by SIGKILL, and it is seen across PID namespaces, where a stored PID would lie. A folder whose lock is free
was left by a killed proftool; repair finds it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from proftool.store.place import Place, unwritable


class Recordings:
    """The folders of one store, and the locks that this process holds."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._folder = place.folder / "recordings"
        self._locks: dict[Path, int] = {}

    def open(self) -> Path:
        """A new folder, 0700, held by this process."""
        self._place.make()
        folder = self._folder / secrets.token_hex(5)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            # Locked before it exists: a repair in between must not take it for a leftover.
            lock = os.open(_lock_file(folder), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _lock(lock)
                folder.mkdir(mode=0o700)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise unwritable(self._place.folder, error) from error
        self._locks[folder] = lock
        return folder

    def close(self, folder: Path) -> None:
        """Remove a folder and let go of it; what cannot be removed is left to repair."""
        shutil.rmtree(folder, ignore_errors=True)
        if (lock := self._locks.pop(folder, None)) is not None:
            os.close(lock)
        if not folder.exists():
            _lock_file(folder).unlink(missing_ok=True)

    def leftovers(self) -> Iterator[Path]:
        """Folders whose process is gone."""
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir()):
            if folder.is_dir() and folder not in self._locks and not _is_held(_lock_file(folder)):
                yield folder

    def under_way(self) -> Iterator[Path]:
        """Folders whose process is alive."""
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir()):
            if folder.is_dir() and (folder in self._locks or _is_held(_lock_file(folder))):
                yield folder


def _lock_file(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _lock(file: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_held(owner: Path) -> bool:
    try:
        file = os.open(owner, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        _lock(file)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
