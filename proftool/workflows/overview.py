"""All services at a glance: requests, errors and latency of a range, what was found, and when each was last seen."""

from __future__ import annotations

from dataclasses import dataclass

from proftool.contracts_telemetry import MetricStore, SpanQuery, TelemetryStore
from proftool.workflows.requests import RouteRow, TimeRange, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """One service."""

    name: str
    whole: RouteRow | None
    """All of its requests; None where it left no metrics in the range."""
    n_findings: int
    n_traces: int
    """Kept, at most COUNTED."""
    n_failed_traces: int
    last_ms: float | None


COUNTED = 1000


def overview(telemetry: TelemetryStore, metrics: MetricStore, when: TimeRange) -> tuple[ServiceRow, ...]:
    """The services that left spans or metrics, at any time, by name."""
    rows: list[ServiceRow] = []
    for name in sorted({*telemetry.services(), *metrics.services()}):
        entries = telemetry.find_outlines(
            SpanQuery(service=name, entries=True, since_ns=when.since_ns, until_ns=when.until_ns, limit=COUNTED)
        )  # fmt: skip
        last = entries[0] if entries else next(iter(telemetry.find_outlines(SpanQuery(service=name, entries=True, limit=1))), None)
        rows.append(
            ServiceRow(
                name=name,
                whole=whole(metrics, name, when),
                n_findings=len(telemetry.find_findings(service=name, since_ns=when.since_ns)),
                n_traces=len({span.trace_id for span in entries}),
                n_failed_traces=len({span.trace_id for span in entries if span.status == "error"}),
                last_ms=None if last is None else (last.start_ns + last.duration_ns) / 1e6,
            )
        )
    return tuple(rows)
