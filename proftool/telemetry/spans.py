"""Spans and the traces that they are parts of: every request can be recorded, and few are kept.

What users and libraries call is `opentelemetry.trace`, and nothing else. Behind it stand these in place of the SDK's, since
keeping slow and failed requests means recording all of them until they end, and a span may then cost no more than some
microseconds (`python tests/perf/telemetry` compares both). `spans_tracer.py` makes spans, `spans_current.py` says which one is current;
where a program has set up the SDK, `spans_sdk.py` feeds from it.

A `LocalTrace` is one trace's part in this process: its entry (the request, the message: a span whose parent is none or elsewhere)
and what ended below it. When the entry ends, `Keep` decides on the whole; what is not kept is garbage a moment later.
Ids are integers, times ns since the epoch. Nothing here locks, waits or writes: `append` of a list and `popleft` of a deque are atomic.
Source: the OpenTelemetry specification, trace API and SDK 1.45; W3C trace context for the flags.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Protocol

from opentelemetry import trace
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util import types

from proftool.telemetry.raised import text_of, told
from proftool.telemetry.request import SAMPLED

MAX_SPANS = 1000
"""Of one trace in one process; a loop that opens more loses the rest, which is counted."""
MAX_ATTRIBUTES = 128
MAX_TEXT = 4096

_KINDS = {SpanKind.INTERNAL: "internal", SpanKind.SERVER: "server", SpanKind.CLIENT: "client", SpanKind.PRODUCER: "producer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Which traces are kept, decided when their entry ends."""

    slow_ns: int = 500_000_000
    """The entry took at least that long."""
    share: float = 0.01
    """Of all traces, by their id: every service chooses the same ones (spans_chance.py). 1 = all of them, however many."""
    most_per_s: float = 10.0
    """By chance in one process, about; a service that is busy enough keeps less than the share."""

    def reason(self, local: LocalTrace) -> str | None:
        """Why it is kept, None where it is not."""
        entry = local.entry
        if local.wanted == "asked":
            return "asked"
        if entry.code is StatusCode.ERROR:
            return "failed"
        if entry.end_ns - entry.start_ns >= self.slow_ns:
            return "slow"
        return local.wanted or ("chosen" if local.flags & SAMPLED else None)


class LocalTrace:
    """One trace's part in this process."""

    is_over: bool = False
    """Has its entry ended?"""
    lost: int = 0
    wanted: str | None = None
    """Why it is kept whatever becomes of it: `asked` for, or what a `finding` points to."""
    is_served: bool = False
    """Is its entry that of a request of the middleware, put above the framework's own?"""
    called_out: bool = False
    """Did it call another service, which may want to join it?"""
    route: str | None = None
    reason: str | None = None
    queries: dict[tuple[str, tuple[CodeType, int]], int] | None = None
    """For queries.py: what was asked (its shape) from where, how often."""
    finish: Callable[[], None] | None = None
    """Fills in the entry's attributes, before it is written and only then."""

    def __init__(self, trace_id: int, entry: Span, flags: int) -> None:
        self.trace_id = trace_id
        self.entry = entry
        """Gone once it is let go."""
        self.flags = flags
        self.spans: list[Span] = []
        """Ended ones, the entry last."""

    def is_of(self, span: Span) -> bool:
        """Is that its entry? Of one that is let go none is."""
        return self.__dict__.get("entry") is span

    def complete(self) -> None:
        """It is kept: fill in what is left to be."""
        if self.finish is not None:
            self.finish()
            self.finish = None

    def let_go(self) -> None:
        """It is written, or nobody wants it: without its cycles it is gone at once, and the collector has nothing to do for it."""
        self.spans.clear()
        self.finish = None
        self.__dict__.pop("entry", None)


class Sink(Protocol):
    """Where ended traces go."""

    def ended(self, local: LocalTrace) -> None:
        """The entry ended; `reason` says whether it is kept."""
        ...

    def late(self, span: Span) -> None:
        """A span ended after its entry."""
        ...


class Span(trace.Span):
    """One operation; OpenTelemetry's span, always recording. Fields are read when it is written, so they may still move until then."""

    # Defaults of the class for what few spans have: a span is made for every request, and each store counts.
    code: StatusCode = StatusCode.UNSET
    message: str = ""
    events: list[tuple[str, int, dict[str, types.AttributeValue]]] | None = None
    links: list[tuple[int, int]] | None = None
    trace_state: TraceState | None = None
    own_context: SpanContext | None = None
    end_ns: int = 0
    """0 = under way."""
    local: LocalTrace

    def __init__(self, name: str, kind: SpanKind, span_id: int, parent_id: int, start_ns: int, sink: Sink) -> None:
        self.name = name
        self.kind = kind
        self.span_id = span_id
        self.parent_id = parent_id
        """0 = it begins the trace."""
        self.start_ns = start_ns
        self.sink = sink
        self.attributes: dict[str, types.AttributeValue] = {}

    @property
    def kind_name(self) -> str:
        """`server`, `client`…"""
        return _KINDS.get(self.kind, "consumer")

    def get_span_context(self) -> SpanContext:
        """Made when somebody asks: it costs as much as the span itself."""
        found = self.own_context
        if found is None:
            local = self.local
            found = self.own_context = SpanContext(local.trace_id, self.span_id, False, TraceFlags(local.flags), self.trace_state)
        return found

    def is_recording(self) -> bool:
        """Until it has ended."""
        return not self.end_ns

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Kept up to `MAX_ATTRIBUTES`; a long text is cut."""
        if self.end_ns or (len(self.attributes) >= MAX_ATTRIBUTES and key not in self.attributes):
            return
        self.attributes[key] = value[:MAX_TEXT] if isinstance(value, str) else value

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Each of them."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Kept up to `MAX_ATTRIBUTES` events."""
        if self.end_ns:
            return
        if self.events is None:
            self.events = []
        if len(self.events) < MAX_ATTRIBUTES:
            cut = {key: value[:MAX_TEXT] if isinstance(value, str) else value for key, value in (attributes or {}).items()}
            self.events.append((name, timestamp or time.time_ns(), cut))

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        """A span that this one follows from."""
        if self.links is None:
            self.links = []
        if context.is_valid and len(self.links) < MAX_ATTRIBUTES:
            self.links.append((context.trace_id, context.span_id))

    def update_name(self, name: str) -> None:
        """A better name, known only later."""
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """By the specification: OK is final, UNSET changes nothing."""
        code = status.status_code if isinstance(status, Status) else status
        if self.end_ns or self.code is StatusCode.OK or code is StatusCode.UNSET:
            return
        self.code = code
        text = status.description if isinstance(status, Status) else description
        self.message = text[:MAX_TEXT] if text and code is StatusCode.ERROR else ""

    def record_exception(
        self, exception: BaseException, attributes: types.Attributes = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """As an event, by the conventions, with its traceback."""
        self.add_event("exception", {**told(exception).attributes, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """Over; an entry's end decides on its trace."""
        if self.end_ns:
            return
        self.end_ns = end_time or time.time_ns()
        local = self.local
        if local.is_over:
            self.sink.late(self)
        elif local.is_of(self):
            local.is_over = True
            local.spans.append(self)
            self.sink.ended(local)
        elif len(local.spans) < MAX_SPANS:
            local.spans.append(self)
        else:
            local.lost += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            failed(self, error)
        self.end()


def failed(span: trace.Span, error: BaseException) -> None:
    """The operation raised: as an event and as its status."""
    if isinstance(error, Exception):
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}")
