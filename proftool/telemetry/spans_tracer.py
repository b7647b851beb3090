"""OpenTelemetry's tracer and its provider: what `trace.set_tracer_provider` is given, and what makes spans.

Source: the OpenTelemetry specification, trace API 1.45.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation import get_current_span
from opentelemetry.util import types

from proftool.telemetry.request import SAMPLED, draw
from proftool.telemetry.spans import LocalTrace, Sink, Span
from proftool.telemetry.spans_chance import Chance
from proftool.telemetry.spans_current import CurrentSpan


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


class TracerProvider(trace.TracerProvider):
    """The provider that `trace.set_tracer_provider` is given."""

    def __init__(self, sink: Sink, chance: Chance) -> None:
        self.sink = sink
        self.chance = chance
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
        if self.chance.chosen(trace_id):
            flags |= SAMPLED
        span.local = LocalTrace(trace_id, span, flags)
        return span
