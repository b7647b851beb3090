"""Tracing of a service: who makes the spans, which requests become entries, and where kept traces go.

`start` once a process: it sets OpenTelemetry's provider where the program has none, follows the requests of the middleware
(request.py) and begins to write. The request's ids are those of the middleware, so that logs, exemplars, `Server-Timing` and the trace
agree.

A request has no span until somebody asks for the current one (`RequestContexts`), or its end says that it is kept: docs/decisions/0012.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import threading
import time
from collections.abc import Sequence
from contextvars import Token
from dataclasses import dataclass
from typing import Final, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, TraceState
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.util import types

from proftool.contracts_telemetry import TelemetryStore
from proftool.telemetry import request as requests
from proftool.telemetry.failures import is_failure
from proftool.telemetry.raised import told
from proftool.telemetry.request import RANDOM_BITS, SAMPLED, Request, draw
from proftool.telemetry.spans import Keep, LocalTrace, Span
from proftool.telemetry.spans_current import RequestContext, span_key
from proftool.telemetry.spans_frameworks import QUIET, quieten
from proftool.telemetry.spans_tracer import TracerProvider
from proftool.telemetry.spans_writer import Exporter, Writer

_LOG = logging.getLogger("proftool.telemetry")


@dataclass(slots=True)
class _Current:
    tracing: Tracing | None = None


CURRENT: Final = _Current()


_MAKING = threading.RLock()  # a signal handler may ask while it is being made
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_MAKING.acquire, after_in_parent=_MAKING.release, after_in_child=_MAKING.release)
_LET_GO = 1
"""`end_ns` of a span that somebody asked for after its request ended, and was not kept."""


def span_of(request: Request) -> Span | None:
    """The span of a request, made now where there is none; None where it is not traced."""
    span = request.span
    if span is None:
        now = CURRENT.tracing
        if now is None:
            return None
        with _MAKING:
            span = request.span
            if span is None:
                span = request.span = now.entry(request, is_over=request.ended_ns is not None)
    return span if isinstance(span, Span) else None


class RuntimeContext(Protocol):
    """What OpenTelemetry's API asks for the current context."""

    def attach(self, context: Context, /) -> Token[Context]: ...

    def get_current(self) -> Context: ...

    def detach(self, token: Token[Context], /) -> None: ...


class RequestContexts:
    """
    OpenTelemetry's runtime context, in which the span of a request is current though nobody has put it there.

    To set a context variable for every request, and to make a span for it, cost as much as all that is measured of a request, and of most
    requests nobody asks for it. The request itself stands in a context variable already; what it is asked for is made of it.
    """

    def __init__(self, inner: RuntimeContext) -> None:
        self.inner = inner
        self._nothing = contextvars.Context().run(inner.get_current)
        self._key = span_key()

    def attach(self, context: Context) -> Token[Context]:
        return self.inner.attach(context)

    def detach(self, token: Token[Context]) -> None:
        self.inner.detach(token)

    def get_current(self) -> Context:
        found = self.inner.get_current()
        request = requests.CURRENT.get()
        if request is None or (found is not self._nothing and not self._is_around(found, request)):
            return found
        if found is self._nothing and request.span is None:
            return RequestContext(request, span_of) if CURRENT.tracing is not None else found
        entry = span_of(request)
        if entry is None or _is_within(found.get(self._key), entry):
            return found
        # The first is what the second does where there is nothing; the API's own functions take a microsecond for it.
        return Context({self._key: entry}) if found is self._nothing else set_span_in_context(entry, found)

    def _is_around(self, context: Context, request: Request) -> bool:
        """Was it attached by whom the request came through, and not within the request?"""
        span = context.get(self._key)
        if span is None:
            return bool(context)  # baggage; an empty one was attached so that nothing is current
        entry = request.span
        if isinstance(entry, Span) and _is_within(span, entry):
            return False
        start_ns = span.start_ns if isinstance(span, Span) else getattr(span, "start_time", None)
        if isinstance(start_ns, int):
            return start_ns < requests.wall_ns(request.started_ns)
        # The caller's, out of the request's own headers.
        above = span.get_span_context() if isinstance(span, trace.Span) else None
        return above is not None and above.is_valid and (above.trace_id, above.span_id) == (request.trace_id, request.parent_id)


def _is_within(span: object, entry: Span) -> bool:
    return isinstance(span, Span) and span.local is entry.local


def _framework_span(request: Request) -> Span | None:
    """What a framework has opened for this request before it came to the middleware: FastAPI does, from 0.165 on."""
    if requests.CURRENT.get() is not request:
        return None  # asked from another thread, whose context this is not
    runtime: object = getattr(contexts, "_RUNTIME_CONTEXT", None)
    span = runtime.inner.get_current().get(span_key()) if isinstance(runtime, RequestContexts) else None
    if not isinstance(span, Span) or span.kind is not SpanKind.SERVER or span.end_ns or span.local.is_served:
        return None
    return span if span.local.is_of(span) and span.start_ns <= requests.wall_ns(request.started_ns) else None


def _trace_around(request: Request) -> int:
    span = _framework_span(request)
    return span.local.trace_id if span is not None else 0


def _served(parent: trace.Span) -> Span | None:
    request = requests.CURRENT.get()
    if request is None or request.ended_ns is not None:
        return None
    above = parent.get_span_context()
    if above.is_valid and (above.trace_id, above.span_id) != (request.trace_id, request.parent_id):
        return None
    return span_of(request)


def _finish(span: Span, request: Request) -> None:
    """What the request was; only for a span that is written."""
    attributes = span.attributes
    attributes["http.request.method"] = request.method
    attributes["url.scheme"] = request.scheme
    attributes["url.path"] = request.path
    route = request.route_now()
    if route:
        attributes["http.route"] = route
        span.name = span.local.route = f"{request.method} {route}"
    if request.status is not None:
        attributes["http.response.status_code"] = request.status
    if request.error is not None:
        attributes["error.type"] = request.error


class Tracing:
    """The tracing of this process."""

    def __init__(
        self,
        service: str,
        store: TelemetryStore | None,
        *,
        keep: Keep | None = None,
        exporters: Sequence[Exporter] = (),
        every_s: float = 1.0,
        hold_s: float = 10.0,
        framework_spans: bool = False,
    ) -> None:
        self.keep = keep or Keep()
        self._framework_spans = framework_spans
        self._slow_ns = self.keep.slow_ns
        self.writer = Writer(service, store, self.keep, exporters=exporters, every_s=every_s, hold_s=hold_s)
        self.chance = self.writer.chance
        self.provider = TracerProvider(self.writer, self.chance)
        self.provider.served = _served

    def start(self) -> None:
        """Follow requests and write."""
        found = trace.get_tracer_provider()
        if isinstance(found, Follower):
            found.tracing = self
        elif isinstance(found, trace.ProxyTracerProvider):
            trace.set_tracer_provider(Follower(self))
        elif callable(add := getattr(found, "add_span_processor", None)):
            from proftool.telemetry.spans_sdk import StoreSpanProcessor

            add(StoreSpanProcessor(self.writer, self.chance))
        else:
            _LOG.warning("spans of this program are not kept: its tracer provider is %r, which takes no span processor", type(found))
        requests.on_asked(self._asked)
        requests.on_raised(self._raised)
        requests.on_end(self._end)
        self._spare()
        self.writer.beats.append(self._settle)
        requests.HOOKS.around = _trace_around
        _follow_requests()
        self.writer.start()
        CURRENT.tracing = self
        QUIET.is_on = not self._framework_spans and isinstance(trace.get_tracer_provider(), Follower)
        quieten()

    def _spare(self) -> None:
        """Say of which requests tracing need not hear."""
        hooks = requests.HOOKS
        if self._end in hooks.end:
            hooks.spare = (hooks.end[hooks.end.index(self._end)], self._slow_ns, self.chance.below)

    def _settle(self) -> None:
        if self.chance.settle(time.monotonic_ns()):
            self._spare()
        quieten()

    def stop(self) -> None:
        """Write what waits and follow requests no more."""
        requests.forget(self._asked)
        requests.forget(self._raised)
        requests.forget(self._end)
        self.writer.close()
        if CURRENT.tracing is self:
            CURRENT.tracing = requests.HOOKS.around = None
            QUIET.is_on = False

    def entry(self, request: Request, *, is_over: bool) -> Span:
        """The span of a request; of one that is over and was not kept, what is opened below it is late, and goes too."""
        if not is_over and (own := _framework_span(request)) is not None:
            return self._above(own, request)
        trace_id = request.trace_id
        entry = Span(
            request.method,
            SpanKind.SERVER,
            request.span_id,
            request.parent_id,
            requests.wall_ns(request.started_ns),
            self.writer,
        )
        if request.tracestate:
            entry.trace_state = TraceState.from_header([request.tracestate])
        flags = request.flags | SAMPLED if self.chance.chosen(trace_id) else request.flags
        local = entry.local = LocalTrace(trace_id, entry, flags)
        if is_over:
            local.is_over, entry.end_ns = True, _LET_GO
            local.let_go()
        else:
            request.kept = bool(flags & SAMPLED)
        return entry

    def _above(self, own: Span, request: Request) -> Span:
        """The entry in the framework's place, whose span goes below it: it ends later, and by rules of its own."""
        local = own.local
        request.begin()
        request.trace_id_drawn = local.trace_id
        entry = Span(request.method, SpanKind.SERVER, request.span_id, own.parent_id, own.start_ns, self.writer)
        entry.trace_state = own.trace_state
        entry.local, local.entry, local.is_served = local, entry, True
        own.parent_id = entry.span_id
        request.kept = bool(local.flags & SAMPLED)
        return entry

    def _asked(self, request: Request) -> None:
        span_of(request)

    def _raised(self, request: Request, error: BaseException) -> None:
        """Told at once, although it is the end that decides: what failed is kept, and until then nobody holds the exception."""
        known = request.raised
        if isinstance(error, Exception) and (known is None or known.of != id(error)):
            request.raised = told(error)

    def _end(self, request: Request) -> None:
        entry = request.span
        if entry is None:
            if not self._is_kept(request):
                return
            entry = request.span = self.entry(request, is_over=False)
        if not isinstance(entry, Span) or entry.end_ns:
            return
        local = entry.local
        local.finish = functools.partial(_finish, entry, request)
        if is_failure(request.status, request.error):
            raised = request.raised
            entry.set_status(StatusCode.ERROR, raised.summary if raised else None)
            if raised is not None:
                entry.add_event("exception", raised.attributes, raised.time_ns)
        entry.end(requests.wall_ns(request.ended_ns) if request.ended_ns else None)
        request.kept = local.reason is not None

    def _is_kept(self, request: Request) -> bool:
        """May the trace of a request be kept, or joined, of which nobody asked for anything?"""
        ended_ns, status = request.ended_ns, request.status
        if ended_ns is None or ended_ns - request.started_ns >= self._slow_ns or (status is not None and status >= 500):
            return True
        if request.error is not None or request.has_parent:
            return True
        if request.trace_id_drawn:
            return self.chance.chosen(request.trace_id_drawn)
        # Not drawn yet: the part of the id that decides on it is, and the rest only if it is kept.
        low = draw(RANDOM_BITS)
        if low >= self.chance.below:
            return False
        request.draw_id(low)
        return True


def _follow_requests() -> None:
    contexts.get_current()  # some versions make the runtime context with the first use
    runtime: RuntimeContext | None = getattr(contexts, "_RUNTIME_CONTEXT", None)
    if runtime is None:
        _LOG.warning(
            "this version of opentelemetry-api keeps its current context elsewhere: spans do not find the request that they are of"
        )
    elif not isinstance(runtime, RequestContexts):
        contexts._RUNTIME_CONTEXT = RequestContexts(runtime)  # pyright: ignore


class Follower(trace.TracerProvider):
    """The provider that the program sees; OpenTelemetry lets it be set once, and tracing may be started again."""

    def __init__(self, tracing: Tracing) -> None:
        self.tracing = tracing

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: types.Attributes = None,
    ) -> trace.Tracer:
        """That of the tracing of now."""
        return self.tracing.provider.get_tracer(instrumenting_module_name)


def start(
    service: str,
    store: TelemetryStore | None,
    *,
    keep: Keep | None = None,
    exporters: Sequence[Exporter] = (),
    framework_spans: bool = False,
) -> Tracing:
    """Trace this process; a tracing that was started before is stopped."""
    if CURRENT.tracing is not None:
        CURRENT.tracing.stop()
    tracing = Tracing(service, store, keep=keep, exporters=exporters, framework_spans=framework_spans)
    tracing.start()
    return tracing
