"""A span processor for programs that set up OpenTelemetry's SDK themselves: their spans into the store, kept by the same rule.

    provider.add_span_processor(StoreSpanProcessor(writer, chance))

The SDK's own sampler decides what is recorded at all; of that, whole traces are kept when their entry ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind

from proftool.telemetry.spans import LocalTrace, Sink, Span
from proftool.telemetry.spans_chance import Chance

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk import trace as sdk

MAX_OPEN = 5000
"""Traces under way; beyond that the oldest is forgotten (its entry never ended)."""


class StoreSpanProcessor(SpanProcessor):
    """Gathers the spans of a trace until its entry ends."""

    def __init__(self, sink: Sink, chance: Chance) -> None:
        self._sink, self._chance = sink, chance
        self._open: dict[int, list[Span]] = {}

    def on_start(self, span: sdk.Span, parent_context: Context | None = None) -> None:
        """Nothing: all that is needed is there at the end."""

    def on_end(self, span: ReadableSpan) -> None:
        """One of a trace's spans, or its entry."""
        own, parent = span.context, span.parent
        if own is None:
            return
        one = _span(span, self._sink)
        if parent is not None and not parent.is_remote:
            self._open.setdefault(own.trace_id, []).append(one)
            while len(self._open) > MAX_OPEN:
                del self._open[next(iter(self._open))]
            return
        local = LocalTrace(own.trace_id, one, int(own.trace_flags) if self._chance.chosen(own.trace_id) else 0)
        local.called_out = True
        route = one.attributes.get("http.route")
        local.route = f"{one.attributes.get('http.request.method', '')} {route}".strip() if route else None
        local.spans = [*self._open.pop(own.trace_id, ()), one]
        for each in local.spans:
            each.local = local
        self._sink.ended(local)

    def shutdown(self) -> None:
        """The writer is closed by who began it."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """The writer flushes by itself."""
        return True


def _span(span: ReadableSpan, sink: Sink) -> Span:
    assert span.context is not None
    one = Span(
        span.name,
        span.kind or SpanKind.INTERNAL,
        span.context.span_id,
        span.parent.span_id if span.parent else 0,
        span.start_time or 0,
        sink,
    )
    one.attributes = dict(span.attributes or {})
    one.code, one.message = span.status.status_code, span.status.description or ""
    one.events = [(event.name, event.timestamp, dict(event.attributes or {})) for event in span.events]
    one.links = [(link.context.trace_id, link.context.span_id) for link in span.links]
    one.end_ns = span.end_time or one.start_ns
    return one
