"""The background half of tracing: what was kept goes to the store and to exporters, a batch a second, off the request path.

The queue is bounded by spans; what does not fit is dropped and counted, a request never waits. A trace that is not kept but reaches
into other services is held back for some seconds: if another service of the same store keeps its part, ours joins it.
After a fork the child has an empty queue and a thread of its own, begun with its first trace.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from opentelemetry.trace import StatusCode

from proftool import contracts_telemetry as contracts
from proftool.contracts_telemetry import Attribute, Finding, SpanEvent, SpanLink, TelemetryStore
from proftool.errors import ProftoolError
from proftool.telemetry import forked
from proftool.telemetry.examples import Examples
from proftool.telemetry.spans import MAX_SPANS, Keep, LocalTrace, Span
from proftool.telemetry.spans_chance import Chance
from proftool.units import NS_PER_S

_LOG = logging.getLogger("proftool.telemetry")
MAX_QUEUED = 20_000
"""Spans that wait to be written: some 20 MB."""
MAX_HELD = 2000
"""Traces that wait for another service's decision."""
KEPT_IDS = 10_000
T = TypeVar("T")


class Exporter(Protocol):
    """Where kept spans go beside the store."""

    def export(self, spans: Sequence[contracts.Span]) -> None: ...

    def shutdown(self) -> None: ...


@dataclass(slots=True)
class Counts:
    """What became of the spans; read by anybody, written by the writer and, under the GIL, by `ended`."""

    written: int = 0
    dropped: int = 0
    """Did not fit into the queue, or into their trace."""
    failed: int = 0
    """Could not be written to the store."""


class Writer:
    """The sink of all spans of a process."""

    def __init__(
        self,
        service: str,
        store: TelemetryStore | None,
        keep: Keep,
        *,
        exporters: Sequence[Exporter] = (),
        every_s: float = 1.0,
        hold_s: float = 10.0,
    ) -> None:
        self.service = service
        self.store = store
        self.keep = keep
        self.chance = Chance(keep)
        self.counts = Counts()
        self.beats: list[Callable[[], None]] = []
        """Called at every beat, in the writer's thread, before it writes: the sampler's and the watchers' turn."""
        self.on_kept: list[Callable[[LocalTrace], None]] = []
        """Called in the writer's thread for every trace that is kept."""
        self._exporters = tuple(exporters)
        self._every_s, self._hold_ns = every_s, int(hold_s * NS_PER_S)
        self._begin()
        forked.follow(self)

    def after_fork(self) -> None:
        """Nothing of the parent's, and a thread of its own."""
        self._begin()

    def _begin(self) -> None:
        self._queue: deque[LocalTrace] = deque()
        self._late: deque[Span] = deque()
        self._findings: deque[Finding] = deque(maxlen=1000)
        self._held: deque[tuple[int, LocalTrace]] = deque()
        self.examples = Examples()
        self._kept: dict[int, None] = {}
        self._queued = 0
        self._wake = threading.Event()
        self._closing = False
        self._flushing = threading.RLock()  # a signal handler may stop what is just being stopped
        self.quiet: set[int] = set()
        """Idents of threads that write just now: what they do is no part of the service."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._store_failed = False

    # --- the request path -----------------------------------------------------------------------------------------------

    def ended(self, local: LocalTrace) -> None:
        """Decide, and queue what is kept or may be yet."""
        reason = local.reason = self.keep.reason(local)
        may_be_joined = self.store is not None and len(self._held) < MAX_HELD and (local.entry.parent_id or local.called_out)
        if reason is None and not may_be_joined:
            local.let_go()
            return
        if reason is not None:
            if reason == "chosen":
                self.chance.chosen_count += 1
            if self._queued + len(local.spans) > MAX_QUEUED:
                self.counts.dropped += len(local.spans)
                local.let_go()
                return
            local.complete()  # now: a request that waits here would keep memory cold that the next ones get
            self._queued += len(local.spans)
            self._queue.append(local)
        else:
            self._held.append((time.monotonic_ns(), local))
        if self._thread is None:
            self.start()

    def late(self, span: Span) -> None:
        """A span that outlived its entry is written if the trace was kept, and may be held back with it."""
        local = span.local
        if local.reason is None:
            # Held back, or let go: then its list is empty and nobody looks into it.
            if local.spans and len(local.spans) < MAX_SPANS:
                local.spans.append(span)
        elif self._queued < MAX_QUEUED:
            self._queued += 1
            self._late.append(span)
        else:
            self.counts.dropped += 1

    def found(self, finding: Finding) -> None:
        """Something to be told; written with the next batch."""
        self._findings.append(finding)
        if self._thread is None:
            self.start()

    # --- the thread -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write; again changes nothing."""
        with self._starting:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="proftool-writer", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)
        self.flush(last=True)
        for exporter in self._exporters:
            exporter.shutdown()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._every_s)
            self.flush()

    def flush(self, *, last: bool = False) -> None:
        """Write what waits, now; `last` gives up on what is held back."""
        with self._flushing, self.quietly():
            for beat in tuple(self.beats):
                try:
                    beat()
                except Exception:
                    self.beats.remove(beat)
                    _LOG.exception("a part of proftool's telemetry failed and was taken off: %r", beat)
            traces = [*_drained(self._queue), *self._joined(last)]
            spans: list[contracts.Span] = []
            for local in traces:
                self.counts.dropped += local.lost
                local.complete()
                if local.route is None:
                    local.route = _route(local.entry)
                for tell in tuple(self.on_kept):
                    try:
                        tell(local)
                    except Exception:
                        self.on_kept.remove(tell)
                        _LOG.exception("a part of proftool's telemetry failed and was taken off: %r", tell)
                self._kept[local.trace_id] = None
                # Beyond the reason, `late` gets the rest; those that came before are here.
                spans += [record(span, self.service) for span in tuple(local.spans)]
                local.let_go()
            spans += [record(span, self.service) for span in _drained(self._late)]
            while len(self._kept) > KEPT_IDS:
                del self._kept[next(iter(self._kept))]
            self._queued = 0
            self._write(spans, list(_drained(self._findings)))

    @contextmanager
    def quietly(self) -> Generator[None, None, None]:
        """What this thread asks of the store within the block is no part of the service: it makes no spans."""
        thread = threading.get_ident()
        if thread in self.quiet:
            yield
            return
        self.quiet.add(thread)
        try:
            yield
        finally:
            self.quiet.discard(thread)

    def _joined(self, last: bool) -> list[LocalTrace]:
        """Traces held back that another service has kept."""
        if not self._held or self.store is None:
            return []
        held = list(_drained(self._held))
        try:
            kept = self.store.kept_traces([f"{local.trace_id:032x}" for _, local in held])
        except ProftoolError as error:
            self._complain(error)
            return []
        joined: list[LocalTrace] = []
        now_ns = time.monotonic_ns()
        for ended_ns, local in held:
            if f"{local.trace_id:032x}" in kept:
                local.reason = "joined"
                joined.append(local)
            elif not last and now_ns - ended_ns < self._hold_ns:
                self._held.append((ended_ns, local))
        return joined

    def _write(self, spans: list[contracts.Span], findings: list[Finding]) -> None:
        if self.store is not None and (spans or findings):
            try:
                self.store.add_spans(spans)
                self.store.add_findings(findings)
                self.counts.written += len(spans)
                self._store_failed = False
            except ProftoolError as error:
                self.counts.failed += len(spans)
                self._complain(error)
        for exporter in self._exporters:
            if spans:
                exporter.export(spans)

    def _complain(self, error: ProftoolError) -> None:
        if not self._store_failed:  # once, until it works again: a full disk would fill the log as well
            _LOG.warning("what this service does cannot be stored: %s", error)
        self._store_failed = True


def _route(entry: Span) -> str | None:
    """Of an entry that another instrumentation made: FastAPI's own of a request."""
    route = entry.attributes.get("http.route")
    return f"{entry.attributes.get('http.request.method', '')} {route}".strip() if route else None


def record(span: Span, service: str) -> contracts.Span:
    """A span as it is stored."""
    local = span.local
    is_entry = local.is_of(span)
    return contracts.Span(
        trace_id=f"{local.trace_id:032x}",
        span_id=f"{span.span_id:016x}",
        parent_id=f"{span.parent_id:016x}" if span.parent_id else None,
        service=service,
        name=span.name,
        kind=span.kind_name,
        start_ns=span.start_ns,
        duration_ns=max(span.end_ns - span.start_ns, 0),
        status={StatusCode.UNSET: "unset", StatusCode.OK: "ok", StatusCode.ERROR: "error"}[span.code],
        message=span.message,
        is_entry=is_entry,
        route=local.route if is_entry else None,
        kept=local.reason if is_entry else None,
        attributes=plain(span.attributes),
        events=tuple(SpanEvent(name=name, time_ns=at, attributes=plain(attributes)) for name, at, attributes in span.events or ()),
        links=tuple(SpanLink(trace_id=f"{t:032x}", span_id=f"{s:016x}") for t, s in span.links or ()),
    )


def plain(attributes: Mapping[str, object]) -> dict[str, Attribute]:
    """Attributes as plain values; what OpenTelemetry does not allow is told as text."""
    found: dict[str, Attribute] = {}
    for key, value in attributes.items():
        if isinstance(value, str | bool | int | float):
            found[key] = value
        elif isinstance(value, list | tuple):
            found[key] = tuple(str(one) for one in cast(Sequence[object], value))
        else:
            found[key] = str(value)
    return found


def _drained(queue: deque[T]) -> Iterator[T]:
    while queue:
        yield queue.popleft()
