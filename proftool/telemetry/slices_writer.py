"""Slices of the always-on sampler on their way to somewhere else than the store: a fleet, a company's own profiler backend.

A thread of its own sends them, so that neither a request nor the writer of spans waits for a network. The queue is bounded: what does not
fit is dropped, the oldest first, and counted; the count travels with the next batch. A target that fails is tried again, later and
later, with the same batch under the same name, so that a batch whose answer was lost counts once. After a fork the child begins anew.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from proftool.contracts_telemetry import Slice, SliceTarget
from proftool.errors import ProftoolError
from proftool.telemetry import forked

_LOG = logging.getLogger("proftool.telemetry")
MAX_QUEUED = 60
"""Slices: an hour of a process that makes one a minute, some 100 kB each."""
MAX_BATCH = 10
RETRY_S = (1.0, 60.0)
"""The first wait after a failure and the longest; each is twice the one before."""
CLOSE_S = 5.0


@dataclass(slots=True)
class Sent:
    """What became of the slices."""

    sent: int = 0
    lost: int = 0
    """Did not fit into the queue, or were left when the process ended."""
    failures: int = 0
    """Attempts that failed."""


class SliceWriter:
    """Sends slices to a target, one thread a process; `make` gives the target, in that thread and again after a fork."""

    def __init__(self, make: Callable[[], SliceTarget], *, max_queued: int = MAX_QUEUED, retry_s: tuple[float, float] = RETRY_S) -> None:
        self._make, self._max_queued, self._retry_s = make, max_queued, retry_s
        self._begin()
        forked.follow(self)

    def after_fork(self) -> None:
        """Nothing of the parent's, and a thread of its own."""
        self._begin()

    def _begin(self) -> None:
        self.counts = Sent()
        self._queue: deque[Slice] = deque()
        self._untold = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._target: SliceTarget | None = None  # a connection of the parent's is no connection of the child's

    def put(self, one: Slice) -> None:
        """Queue a slice; never waits for the target."""
        with self._lock:
            if self._closing:
                self.counts.lost += 1
                return
            if len(self._queue) >= self._max_queued:
                self._queue.popleft()
                self.counts.lost += 1
                self._untold += 1
            self._queue.append(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="proftool-slices", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Send what waits, if that takes no longer than the timeout; what is left is lost, and said."""
        self._closing = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        with self._lock:
            left = len(self._queue)
            self._queue.clear()
            self.counts.lost += left
        if left:
            _LOG.warning("%d profiles of this process were not sent before its end", left)

    def _run(self) -> None:
        try:
            while not self._closing or self._queue:
                self._wake.wait()
                self._wake.clear()
                while self._queue:
                    if not self._send():
                        return
        finally:
            if self._target is not None:
                self._target.close()

    def _send(self) -> bool:
        """The next batch, until it is there; False where the process ends first."""
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
            lost, self._untold = self._untold, 0
        name, wait_s = secrets.token_hex(8), self._retry_s[0]
        while True:
            try:
                if self._target is None:
                    self._target = self._make()
                self._target.send(batch, batch=name, lost=lost)
            except ProftoolError as error:
                self.counts.failures += 1
                if wait_s == self._retry_s[0]:  # once, until it works again
                    _LOG.warning("profiles of this process cannot be sent, and wait: %s", error)
            except Exception:
                with self._lock:
                    self.counts.lost += len(batch)
                    self._untold += lost + len(batch)
                _LOG.exception("%d profiles of this process are lost: they cannot be sent", len(batch))
                return True
            else:
                self.counts.sent += len(batch)
                return True
            if self._closing:
                with self._lock:
                    self._queue.extendleft(reversed(batch))
                return False
            self._pause(wait_s)
            wait_s = min(wait_s * 2, self._retry_s[1])

    def _pause(self, seconds: float) -> None:
        """Wait, but not through the end of the process."""
        end = time.monotonic() + seconds
        while not self._closing and (left := end - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
