"""Piped input for several passes of one target: what the first reads is kept and given again to the next.

Only what a target may read is taken from the pipe (a pipe's own buffer ahead), so a writer that never ends does not hold up a target
that never reads.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import tempfile
import threading
from collections.abc import Generator
from types import TracebackType
from typing import IO

_CHUNK_BYTES = 1 << 16


class Replay:
    """Gives `fd` for each of `n_passes`; None where the target may simply inherit it."""

    def __init__(self, fd: int, n_passes: int) -> None:
        self._fd = fd
        self._spool: IO[bytes] | None = None
        self._start = 0
        self._is_file = self._ended = False
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            return
        if n_passes > 1 and stat.S_ISREG(mode):
            self._is_file, self._start = True, os.lseek(fd, 0, os.SEEK_CUR)
        elif n_passes > 1 and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._spool is not None:
            self._spool.close()

    @contextlib.contextmanager
    def one(self) -> Generator[int | None]:
        """The descriptor for one pass."""
        if self._is_file:
            os.lseek(self._fd, self._start, os.SEEK_SET)
        if self._spool is None:
            yield None
            return
        read, write = os.pipe()
        stop_read, stop = os.pipe()
        feeder = threading.Thread(target=self._feed, args=(write, stop_read), name="stdin-replay", daemon=True)
        feeder.start()
        try:
            yield read
        finally:
            os.close(read)
            os.close(stop)
            feeder.join()
            os.close(stop_read)

    def _feed(self, write: int, stop: int) -> None:
        spool = self._spool
        assert spool is not None
        os.set_blocking(write, False)
        try:
            spool.seek(0)
            while chunk := spool.read(_CHUNK_BYTES):
                if not self._put(write, stop, chunk):
                    return
            while not self._ended:
                if stop in select.select([self._fd, stop], [], [])[0]:
                    return
                chunk = os.read(self._fd, _CHUNK_BYTES)
                self._ended = not chunk
                spool.write(chunk)
                if chunk and not self._put(write, stop, chunk):
                    return
        finally:
            os.close(write)

    def _put(self, write: int, stop: int, chunk: bytes) -> bool:
        """Write all of it; False where the target has gone."""
        view = memoryview(chunk)
        while view:
            if stop in select.select([stop], [write], [])[0]:
                return False
            try:
                view = view[os.write(write, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return False
        return True
