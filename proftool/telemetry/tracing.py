"""Tracing of a service: who makes the spans, which requests become entries, and where kept traces go.

`start` once a process: it sets OpenTelemetry's provider where the program has none, follows the requests of the middleware
(request.py) and begins to write. The request's ids are those of the middleware, so that logs, exemplars, `Server-Timing` and the trace
agree.

Of a request that nobody keeps and nobody asked for, its span is one object that says which request it is (`Entry`): names, times, ids
and the trace are made when somebody reads one of them, or when the request's end says that it is kept.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Sequence
from contextvars import Token
from dataclasses import dataclass
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode, TraceState
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.util import types

from proftool.contracts_telemetry import TelemetryStore
from proftool.telemetry import request as requests
from proftool.telemetry.request import SAMPLED, Request, draw
from proftool.telemetry.spans import Keep, LocalTrace, Span, TracerProvider, span_key, span_variable
from proftool.telemetry.spans_writer import Exporter, Writer

_new = object.__new__
_LOG = logging.getLogger("proftool.telemetry")


@dataclass(slots=True)
class _Current:
    tracing: Tracing | None = None


CURRENT: Final = _Current()


class Entry(Span):
    """The span of a request. What it is made of is found out when somebody asks for any of it."""

    request: Request
    tracing: Tracing
    token: Token[Context]
    """How its context is left."""

    @property
    def is_made(self) -> bool:
        """Did somebody ask?"""
        return "local" in self.__dict__

    def __getattr__(self, name: str) -> object:
        # Called for what is not there yet, and so at most once an entry but for names that no span has.
        if name not in _MADE:
            raise AttributeError(f"a span has no {name}")
        with _MAKING:
            if not self.is_made:
                self._make()
        return self.__dict__[name]

    def _make(self) -> None:
        request, tracing = self.request, self.tracing
        trace_id = request.trace_id
        self.name = request.method
        self.kind = SpanKind.SERVER
        self.span_id, self.parent_id = request.span_id, request.parent_id
        self.start_ns = requests.wall_ns(request.started_ns)
        self.sink = tracing.writer
        self.attributes = {}
        if request.tracestate:
            self.trace_state = TraceState.from_header([request.tracestate])
        flags = request.flags | SAMPLED if tracing.keep.chosen(trace_id) else request.flags
        local = LocalTrace(trace_id, self, flags)
        # One that was let go stays so: what is opened below it is late, and of a trace that is not kept.
        local.is_over = bool(self.end_ns)
        request.kept = bool(flags & SAMPLED)
        self.local = local  # last: it says that all is there


_MADE = frozenset(("name", "kind", "span_id", "parent_id", "start_ns", "sink", "attributes", "local"))
_MAKING = threading.RLock()  # a signal handler may ask while it is being made
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_MAKING.acquire, after_in_parent=_MAKING.release, after_in_child=_MAKING.release)
_LET_GO = 1
"""`end_ns` of an entry that nobody asked for and nobody keeps."""


def span_of(request: Request) -> Span | None:
    """The span of a request under way; None where it is not traced."""
    return request.span if isinstance(request.span, Span) else None


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
        self._variable, self._key = span_variable(), span_key()

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
        entry = _new(Entry)
        entry.request = request
        entry.tracing = self
        variable = self._variable
        if variable is None or variable.get():
            entry.token = contexts.attach(set_span_in_context(entry))
        else:
            # The same, where there is nothing in the context yet; by the API's own functions it costs a microsecond.
            entry.token = variable.set(Context({self._key: entry}))
        request.span = entry

    def _end(self, request: Request) -> None:
        entry = request.span
        if not isinstance(entry, Entry) or entry.end_ns:
            return
        self._detach(entry.token)
        request.span = None  # each holds the other: without the cycle both are gone at once
        if not entry.is_made and not self._is_kept(request):
            entry.end_ns = _LET_GO
            request.kept = False
            return
        local = entry.local
        local.finish = functools.partial(_finish, entry, request)
        if request.error is not None or (request.status or 0) >= 500:
            entry.set_status(StatusCode.ERROR)
        entry.end(requests.wall_ns(request.ended_ns) if request.ended_ns else None)
        request.kept = local.reason is not None

    def _is_kept(self, request: Request) -> bool:
        """May the trace of a request be kept, or joined, of which nobody asked for anything?"""
        keep = self.keep
        if request.error is not None or (request.status or 0) >= 500 or request.has_parent:
            return True
        if request.ended_ns is None or request.ended_ns - request.started_ns >= keep.slow_ns:
            return True
        if request.trace_id_drawn:
            return keep.chosen(request.trace_id_drawn)
        # Not drawn yet: the part of the id that decides on it is, and the rest only if it is kept.
        low = draw(56)
        if not keep.chosen(low):
            return False
        request.draw_id(low)
        return True

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
