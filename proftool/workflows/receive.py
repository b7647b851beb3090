"""What exporters send over OTLP comes into the store: a bounded queue, one writer, and an answer only when it is committed.

The writer takes all requests that wait, up to `GROUP_BYTES`, decodes them one after the other, and writes what they hold in one transaction
a store: under load a disk's sync is shared by many requests. Nobody is told *accepted* before that, so a kill loses nothing that was
acknowledged, and an exporter that hears nothing sends again, which changes nothing (the stores know what they have). Memory is bounded
by `MAX_HELD_BYTES` of bodies: beyond that `hold` raises Overloaded, and the exporter is asked to come again.

Every so often the writer ages the points and forgets what is old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proftool.contracts_telemetry import LogStore, MetricStore, TelemetryStore
from proftool.errors import ProftoolError, StoreBusy
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from proftool.settings import Settings
    from proftool.workflows.otlp_values import Found

_LOG = logging.getLogger("proftool.receive")
MAX_BODY_BYTES: Final = 16 << 20
"""Of a request, unpacked; OpenTelemetry's exporters send some hundred kilobytes."""
MAX_HELD_BYTES: Final = 64 << 20
"""Of all bodies that are being read or wait."""
MAX_WAITING: Final = 1000
"""Requests that wait."""
GROUP_BYTES: Final = 8 << 20
RETRY_S: Final = 1
"""An exporter that was turned away is asked to wait so long."""
AGE_S: Final = 15.0
FORGET_S: Final = 600.0


class Overloaded(Exception):
    """There is no room for a request now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a request."""

    rejected: int = 0
    reason: str = ""
    malformed: bool = False
    """Nothing of it was taken: `reason` says why."""
    retry: bool = False
    """Nothing of it was taken, for a reason that may pass."""
    failed: bool = False
    """Nothing of it was taken, and it will not be."""


@dataclass(slots=True, eq=False)
class _Job:
    signal: str
    content: bytes
    is_json: bool
    answer: Future[Outcome] = field(default_factory=Future[Outcome])
    found: Found | None = None


class Receiver:
    """Takes requests from any thread; the writer's thread begins with the first."""

    def __init__(self, spans: TelemetryStore, metrics: MetricStore, logs: LogStore, *, keep_s: float) -> None:
        """`keep_s` is of spans, slices, findings and logs; points have a retention of their own."""
        self._spans, self._metrics, self._logs, self._keep_s = spans, metrics, logs, keep_s
        self._waiting: deque[_Job] = deque()
        self._held = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._aged_s = self._forgot_s = time.monotonic()

    # --- any thread ---------------------------------------------------------------------------------------------------------

    def hold(self, n_bytes: int) -> None:
        """Count bytes of a body that is being read; Overloaded where there is no room. Whoever holds lets go."""
        with self._changed:
            if self._is_over or self._held + n_bytes > MAX_HELD_BYTES:
                raise Overloaded
            self._held += n_bytes

    def let_go(self, n_bytes: int) -> None:
        """Those bytes are gone."""
        with self._changed:
            self._held -= n_bytes

    def take(self, signal: str, content: bytes, *, is_json: bool) -> Future[Outcome]:
        """Queue a body, unpacked, whose bytes are held; its outcome comes when it is committed. Overloaded where too many wait."""
        job = _Job(signal, content, is_json)
        with self._changed:
            if self._is_over or len(self._waiting) >= MAX_WAITING:
                raise Overloaded
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="proftool-receiver", daemon=True)
                self._thread.start()
            self._changed.notify()
        return job.answer

    def refuse(self) -> None:
        """Take nothing more. What waits was never acknowledged: its senders are asked to come again."""
        with self._changed:
            self._is_over = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify()
        _tell_all(waiting, Outcome(retry=True, reason="the server ends"))

    def close(self) -> None:
        """Refuse, and finish what is being written."""
        self.refuse()
        if self._thread is not None:
            self._thread.join()

    # --- the writer ---------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._is_over:
                    self._changed.wait(AGE_S)
                if self._is_over:
                    return
                group = self._group()
            if group:
                self._write(group)
            self._maintain()

    def _group(self) -> list[_Job]:
        group: list[_Job] = []
        size = 0
        while self._waiting and (not group or size + len(self._waiting[0].content) <= GROUP_BYTES):
            group.append(self._waiting.popleft())
            size += len(group[-1].content)
        return group

    def _write(self, group: Sequence[_Job]) -> None:
        from proftool.workflows.otlp import Malformed, decode

        good: list[_Job] = []
        for job in group:
            try:
                job.found = decode(job.signal, job.content, is_json=job.is_json, now_ns=time.time_ns())
                good.append(job)
            except Malformed as error:
                _tell(job, Outcome(malformed=True, reason=str(error)))
            except Exception as error:  # one body must not end the writer
                _LOG.exception("a request of %s could not be decoded", job.signal)
                _tell(job, Outcome(failed=True, reason=type(error).__name__))
        try:
            self._commit(good)
        except StoreBusy as error:
            _tell_all(good, Outcome(retry=True, reason=error.what))
        except Exception as error:
            if len(good) > 1:  # whose fault is it?
                for job in good:
                    self._write([job])
                return
            _LOG.warning("what was sent cannot be stored: %s", error)
            # A disk that is full may be emptied; what breaks the database by itself will do so again.
            reason = error.what if isinstance(error, ProftoolError) else type(error).__name__
            _tell_all(good, Outcome(retry=isinstance(error, ProftoolError), failed=not isinstance(error, ProftoolError), reason=reason))

    def _commit(self, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        found = [job.found for job in jobs if job.found is not None]
        self._spans.add_spans([span for one in found for span in one.spans])
        self._spans.add_slices([part for one in found for part in one.slices])
        self._logs.add_logs([record for one in found for record in one.records])
        points = [point for one in found for point in one.points]
        refused = self._metrics.add_points(points) if points else 0
        for job in jobs:
            one = job.found
            if one is None:
                continue
            # Several requests are one batch for the store: the number stands with the first that can hold it.
            here = min(refused, len(one.points))
            refused -= here
            reason = "series beyond the bound of a service" if here else one.reason
            _tell(job, Outcome(rejected=one.rejected + here, reason=reason))

    def _maintain(self) -> None:
        now = time.monotonic()
        try:
            if now - self._aged_s >= AGE_S:
                self._aged_s = now
                self._metrics.roll_up(time.time_ns())
            if now - self._forgot_s >= FORGET_S:
                self._forgot_s = now
                before_ns = time.time_ns() - int(self._keep_s * NS_PER_S)
                self._spans.forget(before_ns)
                self._logs.forget(before_ns)
        except Exception as error:  # tried again; what is received matters more
            _LOG.warning("what is old stays in the store: %s", error)


def _tell(job: _Job, outcome: Outcome) -> None:
    if not job.answer.done():
        job.answer.set_result(outcome)


def _tell_all(jobs: Sequence[_Job], outcome: Outcome) -> None:
    for job in jobs:
        _tell(job, outcome)


def open_receiver(settings: Settings) -> Receiver:
    """A receiver into the store of these settings; StoreError where there is no place for one."""
    from proftool.store import open_logs, open_metrics, open_telemetry

    keep_s = settings.trace_days * 86_400
    return Receiver(open_telemetry(settings), open_metrics(settings), open_logs(settings), keep_s=keep_s)
