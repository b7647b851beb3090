"""A full recording when somebody asks: one request by an authorised header, or ten seconds of the whole process by `kill -USR2`.

`X-Proftool-Record: TOKEN` on a request records that request alone with pyinstrument at 1,000 samples a second, its awaits followed, other
requests on the same loop left out; its trace is kept. There is no token unless one was set, and then it is compared in constant time.
`kill -USR2 PID` lets the always-on sampler look 1,000 times a second at every thread for ten seconds.
Both are stored as runs with a label, so that `proftool list`, `open` and `diff` find them. One recording at a time.
"""

from __future__ import annotations

import hmac
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

from proftool.contracts_store import RunStore
from proftool.errors import ProftoolError
from proftool.telemetry import request as requests
from proftool.telemetry import tracing
from proftool.telemetry.request import Request
from proftool.telemetry.sampler import Sampler
from proftool.telemetry.sampler_slices import Slicer
from proftool.telemetry.spans_writer import Writer

if TYPE_CHECKING:
    from pyinstrument import Profiler
    from pyinstrument.session import Session

_LOG = logging.getLogger("proftool.telemetry")
HEADER = "x-proftool-record"
RATE_HZ = 1000.0
BURST_S = 10.0
_SWITCH_S = 0.0005
"""How long a busy thread may keep the GIL from the sampler during a burst; Python's own 5 ms would make it 200 Hz."""


class OnDemand:
    """Recordings on demand in this process."""

    def __init__(
        self,
        service: str,
        runs: RunStore,
        writer: Writer,
        *,
        token: str | None = None,
        sampler: Sampler | None = None,
        slicer: Slicer | None = None,
        burst_s: float = BURST_S,
    ) -> None:
        self._service, self._runs, self._writer = service, runs, writer
        self._token = token.encode() if token else None
        self._sampler, self._slicer, self._burst_s = sampler, slicer, burst_s
        self._busy = threading.Lock()
        self._profilers: dict[int, Profiler] = {}
        self._sessions: deque[tuple[Session, str]] = deque()
        self._asked = False
        self._until: float | None = None
        self._switch_s = 0.0
        self._before: object = None

    def start(self) -> None:
        """Listen to the header and to the signal. The signal is left alone where the program has a handler of its own."""
        if self._token is not None:
            requests.on_start(self._begin)
            requests.on_end(self._end)
        self._writer.beats.append(self.beat)
        if self._sampler is not None and hasattr(signal, "SIGUSR2") and threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL:
                self._before = signal.signal(signal.SIGUSR2, self._signalled)
            else:
                _LOG.info("`kill -USR2` keeps the handler that this program has for it; no recording is bound to it")

    def stop(self) -> None:
        """Listen no more; what was recorded is stored."""
        requests.forget(self._begin)
        requests.forget(self._end)
        if self._before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR2, signal.SIG_DFL)
            self._before = None
        if self._until is not None:
            self._finish_burst()
        self.beat()

    def authorised(self, request: Request) -> bool:
        """Does the request bear the token?"""
        given = _header(request.carrier)
        return self._token is not None and given is not None and hmac.compare_digest(given, self._token)

    # --- one request ------------------------------------------------------------------------------------------------------

    def _begin(self, request: Request) -> None:
        if not self.authorised(request) or not self._busy.acquire(blocking=False):
            return
        try:
            from pyinstrument import Profiler

            profiler = Profiler(interval=1 / RATE_HZ, async_mode="enabled")
            profiler.start()
        except BaseException:
            self._busy.release()
            raise
        self._profilers[id(request)] = profiler
        span = tracing.span_of(request)
        if span is not None:
            span.local.wanted = "asked"

    def _end(self, request: Request) -> None:
        profiler = self._profilers.pop(id(request), None)
        if profiler is None:
            return
        try:
            session = profiler.stop()
        finally:
            self._busy.release()
        label = f"{self._service} {request.method} {request.route_now() or request.path} {request.trace_id_hex[:8]}"
        self._sessions.append((session, label))

    # --- ten seconds ------------------------------------------------------------------------------------------------------

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True

    def beat(self) -> None:
        """In the writer's thread: begin, end and store."""
        if self._asked:
            self._asked = False
            self._begin_burst()
        if self._until is not None and time.monotonic() >= self._until:
            self._finish_burst()
        while self._sessions:
            session, label = self._sessions.popleft()
            self._store_session(session, label)

    def _begin_burst(self) -> None:
        if self._sampler is None or self._slicer is None or not self._busy.acquire(blocking=False):
            return
        self._slicer.store_slice()
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(min(self._switch_s, _SWITCH_S))
        self._sampler.burst(RATE_HZ, self._burst_s)
        self._until = time.monotonic() + self._burst_s

    def _finish_burst(self) -> None:
        assert self._sampler is not None
        assert self._slicer is not None
        self._until = None
        sys.setswitchinterval(self._switch_s)
        try:
            gathered = self._sampler.take()
            if gathered.samples:
                profile = self._slicer.slice(gathered).profile
                self._add(profile, f"{self._service} {os.getpid()} {time.strftime('%H:%M:%S')}")
        finally:
            self._busy.release()

    def _store_session(self, session: Session, label: str) -> None:
        from proftool.formats import pyinstrument

        with tempfile.TemporaryDirectory(prefix="proftool-") as folder:
            file = Path(folder) / "request.pyisession"
            session.save(file)
            try:
                profile = pyinstrument.format.read(file)
            except ProftoolError as error:
                _LOG.warning("a request was recorded and cannot be read: %s", error)
                return
        self._add(profile, label)

    def _add(self, profile: object, label: str) -> None:
        from dataclasses import replace

        from proftool.model.profile import Profile

        made = cast(Profile, profile)
        # What pyinstrument says of a profiler that was started by hand is a line of this file.
        made = made.with_meta(replace(made.meta, command=tuple(sys.orig_argv)))
        try:
            # A label is short and printable; a route may be neither.
            self._runs.add(made, label="".join(c if c.isprintable() else "?" for c in label)[:200].strip())
        except ProftoolError as error:
            _LOG.warning("a recording cannot be stored: %s", error)


def _header(carrier: dict[str, object]) -> bytes | None:
    headers = carrier.get("headers")
    if isinstance(headers, list | tuple):
        for name, value in cast(list[tuple[bytes, bytes]], headers):
            if name == HEADER.encode():
                return value
        return None
    value = carrier.get("HTTP_" + HEADER.upper().replace("-", "_"))
    return value.encode("latin-1", "replace") if isinstance(value, str) else None
