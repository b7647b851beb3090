"""Spans: OpenTelemetry's tracing API, implemented so that every request can be recorded and few are kept.

What users and libraries call is `opentelemetry.trace`, and nothing else. Behind it stands this provider in place of the SDK's, since
keeping slow and failed requests means recording all of them until they end, and a span may then cost no more than some
microseconds (`python tests/perf/telemetry` compares both). Where a program has set up the SDK, `spans_sdk.py` feeds from it.

A `LocalTrace` is one trace's part in this process: its entry (the request, the message: a span whose parent is none or elsewhere)
and what ended below it. When the entry ends, `Keep` decides on the whole; what is not kept is garbage a moment later.
Ids are integers, times ns since the epoch. Nothing here locks, waits or writes: `append` of a list and `popleft` of a deque are atomic.
Source: the OpenTelemetry specification, trace API and SDK 1.45; W3C trace context for the flags.
"""

from __future__ import annotations

import functools
import inspect
import time
from _thread import get_ident
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Final, Protocol, TypeVar, cast

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation import get_current_span, set_span_in_context
from opentelemetry.util import types

from proftool.telemetry.raised import text_of, told
from proftool.telemetry.request import SAMPLED, THREADS, draw

MAX_SPANS = 1000
"""Of one trace in one process; a loop that opens more loses the rest, which is counted."""
MAX_ATTRIBUTES = 128
MAX_TEXT = 4096

_KINDS = {SpanKind.INTERNAL: "internal", SpanKind.SERVER: "server", SpanKind.CLIENT: "client", SpanKind.PRODUCER: "producer"}
ACTIVE: Final[dict[int, Span]] = {}
"""Ident of a thread that serves a WSGI request -> the span that is current in it: the sampler cannot read its context variables."""
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Which traces are kept, decided when their entry ends."""

    slow_ns: int = 500_000_000
    """The entry took at least that long."""
    share: float = 0.01
    """Of all traces, by their id: every service chooses the same ones."""

    @property
    def below(self) -> int:
        """The low 56 bits of a chosen id are less: the part that W3C trace context asks to be random."""
        return int(self.share * (1 << 56))

    def chosen(self, trace_id: int) -> bool:
        """Is it one of the share?"""
        return (trace_id & 0xFFFFFFFFFFFFFF) < self.below

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
        self.flags = flags
        self.spans: list[Span] = []
        """Ended ones, the entry last."""

    def let_go(self) -> None:
        """Nobody wants it: without its cycles it is gone at once, and the collector has nothing to do for it."""
        self.spans.clear()
        self.finish = None
        del self.entry


@functools.cache
def span_variable() -> ContextVar[Context] | None:
    """OpenTelemetry's context variable, where its default runtime context is in use."""
    contexts.get_current()
    runtime = getattr(contexts, "_RUNTIME_CONTEXT", None)
    found = getattr(getattr(runtime, "inner", runtime), "_current_context", None)  # `inner`: tracing.RequestContexts
    return cast("ContextVar[Context]", found) if isinstance(found, ContextVar) else None


@functools.cache
def span_key() -> str:
    """What the span stands under in OpenTelemetry's context."""
    from opentelemetry.trace import propagation

    return propagation._SPAN_KEY  # pyright: ignore[reportPrivateUsage]


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
        elif local.entry is self:
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


class Tracer(trace.Tracer):
    """Makes spans; one for all instrumentation scopes of a name."""

    def __init__(self, provider: TracerProvider, scope: str) -> None:
        self._provider = provider
        self.scope = scope

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """A span below the current one of the context; below none, or one of another process, it is an entry."""
        parent = get_current_span(context)
        provider = self._provider
        if kind is SpanKind.SERVER and not isinstance(parent, Span) and provider.served is not None:
            parent = provider.served(parent) or parent
        if isinstance(parent, Span):
            span = Span(name, kind, draw(64), parent.span_id, start_time or time.time_ns(), provider.sink)
            span.local = parent.local
            span.trace_state = parent.trace_state
        else:
            above = parent.get_span_context()
            if above.is_valid:
                span = provider.entry(name, kind, above.trace_id, draw(64), above.span_id, above.trace_flags, start_time)
                span.trace_state = above.trace_state
            else:
                span = provider.entry(name, kind, draw(128), draw(64), 0, 0, start_time)
        if attributes:
            span.set_attributes(attributes)
        if links:
            for link in links:
                span.add_link(link.context)
        return span

    def start_as_current_span(  # pyright: ignore[reportIncompatibleMethodOverride]  # the API's private decorator type; the same use
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> CurrentSpan:
        """A context manager, and a decorator of functions and coroutine functions, within which the span is the current one."""

        def start() -> trace.Span:
            return self.start_span(name, context, kind, attributes, links, start_time)

        return CurrentSpan(start, record_exception, set_status_on_exception, end_on_exit)


class CurrentSpan:
    """A span that is current within a block or a function."""

    __slots__ = ("_above", "_end", "_record", "_span", "_start", "_status", "_token")

    def __init__(self, start: Callable[[], trace.Span], record: bool, status: bool, end: bool) -> None:
        self._start, self._record, self._status, self._end = start, record, status, end

    def __enter__(self) -> trace.Span:
        span = self._span = self._start()
        self._token = contexts.attach(set_span_in_context(span))
        if THREADS and (thread := get_ident()) in THREADS and isinstance(span, Span):
            self._above = (thread, ACTIVE.get(thread))
            ACTIVE[thread] = span
        else:
            self._above = None
        return span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        contexts.detach(self._token)
        if self._above is not None:
            thread, above = self._above
            if above is None:
                ACTIVE.pop(thread, None)
            else:
                ACTIVE[thread] = above
        span = self._span
        if isinstance(error, Exception):
            if self._record:
                span.record_exception(error)
            if self._status:
                span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}")
        if self._end:
            span.end()

    def __call__(self, function: F) -> F:
        settings = (self._start, self._record, self._status, self._end)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: object, **kwargs: object) -> object:
                with CurrentSpan(*settings):
                    return await function(*args, **kwargs)

            return cast(F, awaited)

        @functools.wraps(function)
        def called(*args: object, **kwargs: object) -> object:
            with CurrentSpan(*settings):
                return function(*args, **kwargs)

        return cast(F, called)


class TracerProvider(trace.TracerProvider):
    """The provider that `trace.set_tracer_provider` is given."""

    def __init__(self, sink: Sink, keep: Keep) -> None:
        self.sink = sink
        self.keep = keep
        self.served: Callable[[trace.Span], Span | None] | None = None
        """The span of the request that is served now, where it has that parent: a framework's own span of it goes below it."""
        self._tracers: dict[str, Tracer] = {}

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: types.Attributes = None,
    ) -> Tracer:
        """The tracer of a module."""
        found = self._tracers.get(instrumenting_module_name)
        if found is None:
            found = self._tracers[instrumenting_module_name] = Tracer(self, instrumenting_module_name)
        return found

    def entry(self, name: str, kind: SpanKind, trace_id: int, span_id: int, parent_id: int, flags: int, start_ns: int | None) -> Span:
        """The first span of a trace in this process."""
        span = Span(name, kind, span_id, parent_id, start_ns or time.time_ns(), self.sink)
        if self.keep.chosen(trace_id):
            flags |= SAMPLED
        span.local = LocalTrace(trace_id, span, flags)
        return span
