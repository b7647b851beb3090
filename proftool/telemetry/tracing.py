"""Tracing of a service: who makes the spans, which requests become entries, and where kept traces go.

`start` once a process: it sets OpenTelemetry's provider where the program has none, follows the requests of the middleware
(request.py) and begins to write. The request's ids are those of the middleware, so that logs, exemplars, `Server-Timing` and the trace
agree.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from contextvars import Token
from dataclasses import dataclass
from typing import Final, NamedTuple

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, TraceState
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.util import types

from proftool.contracts_telemetry import TelemetryStore
from proftool.telemetry import request as requests
from proftool.telemetry.request import Request
from proftool.telemetry.spans import Keep, Span, TracerProvider
from proftool.telemetry.spans_writer import Exporter, Writer

_LOG = logging.getLogger("proftool.telemetry")


@dataclass(slots=True)
class _Current:
    tracing: Tracing | None = None


CURRENT: Final = _Current()


class _Open(NamedTuple):
    """A request's span, and how its context is left."""

    span: Span
    token: Token[Context]


def span_of(request: Request) -> Span | None:
    """The span of a request under way or over; None where it was not traced."""
    held = request.span
    return held.span if isinstance(held, _Open) else held if isinstance(held, Span) else None


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
    ) -> None:
        self.keep = keep or Keep()
        self.writer = Writer(service, store, self.keep, exporters=exporters, every_s=every_s, hold_s=hold_s)
        self.provider = TracerProvider(self.writer, self.keep)

    def start(self) -> None:
        """Follow requests and write."""
        found = trace.get_tracer_provider()
        if isinstance(found, Follower):
            found.tracing = self
        elif isinstance(found, trace.ProxyTracerProvider):
            trace.set_tracer_provider(Follower(self))
        elif callable(add := getattr(found, "add_span_processor", None)):
            from proftool.telemetry.spans_sdk import StoreSpanProcessor

            add(StoreSpanProcessor(self.writer, self.keep))
        else:
            _LOG.warning("spans of this program are not kept: its tracer provider is %r, which takes no span processor", type(found))
        requests.on_start(self._begin)
        requests.on_end(self._end)
        self.writer.start()
        CURRENT.tracing = self

    def stop(self) -> None:
        """Write what waits and follow requests no more."""
        requests.forget(self._begin)
        requests.forget(self._end)
        self.writer.close()
        if CURRENT.tracing is self:
            CURRENT.tracing = None

    def _begin(self, request: Request) -> None:
        span = self.provider.entry(
            request.method,
            SpanKind.SERVER,
            request.trace_id,
            request.span_id,
            request.parent_id,
            request.flags,
            requests.wall_ns(request.started_ns),
        )
        if request.tracestate:
            span.trace_state = TraceState.from_header([request.tracestate])
        request.kept = bool(span.local.flags & requests.SAMPLED)
        request.span = _Open(span, contexts.attach(set_span_in_context(span)))

    def _end(self, request: Request) -> None:
        held = request.span
        if not isinstance(held, _Open):
            return
        span = held.span
        self._detach(held.token)
        local = span.local
        local.finish = functools.partial(_finish, span, request)
        if request.error is not None or (request.status or 0) >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(requests.wall_ns(request.ended_ns) if request.ended_ns else None)
        request.kept = local.reason is not None
        request.span = span

    @staticmethod
    def _detach(token: Token[Context]) -> None:
        try:
            token.var.reset(token)
        except ValueError:
            # A WSGI response may be closed in another context than it was begun in; that context goes with its request.
            return


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


def start(service: str, store: TelemetryStore | None, *, keep: Keep | None = None, exporters: Sequence[Exporter] = ()) -> Tracing:
    """Trace this process; a tracing that was started before is stopped."""
    if CURRENT.tracing is not None:
        CURRENT.tracing.stop()
    tracing = Tracing(service, store, keep=keep, exporters=exporters)
    tracing.start()
    return tracing
