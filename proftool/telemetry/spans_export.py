"""Kept spans over OTLP, by OpenTelemetry's own exporter (`pip install proftool[otel]`): its retries, headers and `OTEL_EXPORTER_…` hold.

Called in the writer's thread; the exporter's failure is its own log's affair and keeps nothing from the store.
"""

from __future__ import annotations

from collections.abc import Sequence

from proftool import contracts_telemetry as contracts
from proftool.errors import UsageError


class OtlpExporter:
    """Sends spans to a collector: `endpoint` is its whole URL, None what the environment says."""

    def __init__(self, endpoint: str | None = None) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise UsageError("spans cannot be sent over OTLP", cause=str(error), fix="`pip install 'proftool[otel]'`") from error
        self._exporter = OTLPSpanExporter(endpoint=endpoint)

    def export(self, spans: Sequence[contracts.Span]) -> None:
        """Send them."""
        from opentelemetry import context
        from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as suppressed  # pyright: ignore[reportPrivateUsage]

        # The exporter's own request must not become a span, which would be exported, and so on.
        token = context.attach(context.set_value(suppressed, True))
        try:
            self._exporter.export([readable(span) for span in spans])
        finally:
            context.detach(token)

    def shutdown(self) -> None:
        """Send what the exporter still holds."""
        self._exporter.shutdown()


def readable(span: contracts.Span):  # type stands in the SDK, which is optional
    """The span as OpenTelemetry's SDK knows it."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

    def context(trace_id: str, span_id: str) -> SpanContext:
        return SpanContext(int(trace_id, 16), int(span_id, 16), False, TraceFlags(TraceFlags.SAMPLED))

    status = StatusCode[span.status.upper()]
    return ReadableSpan(
        name=span.name,
        context=context(span.trace_id, span.span_id),
        parent=context(span.trace_id, span.parent_id) if span.parent_id else None,
        resource=Resource({"service.name": span.service}),
        attributes=dict(span.attributes),
        events=[Event(event.name, dict(event.attributes), event.time_ns) for event in span.events],
        links=[Link(context(link.trace_id, link.span_id)) for link in span.links],
        kind=SpanKind[span.kind.upper()],
        status=Status(status, span.message or None) if status is StatusCode.ERROR else Status(status),
        start_time=span.start_ns,
        end_time=span.start_ns + span.duration_ns,
    )
