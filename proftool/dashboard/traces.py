"""The views of traces: search, one as a waterfall, two compared, and the flame graph of a trace or of its spans."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from proftool.contracts import ReportOptions
from proftool.contracts_telemetry import SpanQuery, TelemetryStore
from proftool.dashboard.ask import Asked, asked, flag, number, text
from proftool.dashboard.runs import report
from proftool.errors import RunNotFound
from proftool.workflows.slices import flame_of_trace
from proftool.workflows.trace_compare import TracesCompared, compare_traces
from proftool.workflows.traces import Found, SpanDetail, Waterfall, search, span_detail, waterfall

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was asked, and what was found."""

    time: Asked
    service: str | None
    route: str | None
    text: str
    is_failed: bool
    min_ms: int | None
    order: str
    """`newest` or `slowest`."""
    found: Found


class TraceViews:
    """Each takes a request and gives a document, off the event loop."""

    def __init__(self, telemetry: TelemetryStore, options: ReportOptions) -> None:
        self._telemetry, self._options = telemetry, options

    def search(self, request: Request) -> Search:
        """By service, route, words of the name, failure, duration and time."""
        when, min_ms = asked(request, default="1d"), number(request, "min_ms")
        query = SpanQuery(
            service=text(request, "service"),
            route=text(request, "route"),
            failed=flag(request, "failed"),
            since_ns=when.since_ns,
            until_ns=when.until_ns,
            min_duration_ns=None if min_ms is None else min(min_ms * 1_000_000, 2**63 - 1),
        )
        order = "slowest" if request.query_params.get("order") == "slowest" else "newest"
        words = request.query_params.get("text", "")
        return Search(
            time=when,
            service=query.service,
            route=query.route,
            text=words,
            is_failed=query.failed,
            min_ms=min_ms,
            order=order,
            found=search(self._telemetry, query, slowest=order == "slowest", text=words),
        )

    def trace(self, request: Request) -> Waterfall:
        """One, whole."""
        return waterfall(self._telemetry, _trace_id(request.path_params["id"]))

    def span(self, request: Request) -> SpanDetail:
        """What one span carries."""
        return span_detail(self._telemetry, _trace_id(request.path_params["id"]), _span_id(request.path_params["span"]))

    def compare(self, request: Request) -> TracesCompared:
        """The second against the first."""
        base, new = (_trace_id(request.query_params.get(name, "").strip().lower()) for name in ("base", "new"))
        return compare_traces(self._telemetry, base, new)

    def flame(self, request: Request) -> Response:
        """The viewer on what was sampled in a trace, or in those of its spans that are named, and below them."""
        trace_id = _trace_id(request.path_params["id"])
        span, of = text(request, "span"), waterfall(self._telemetry, trace_id)
        spans, row = None, 0
        if span is not None:
            spans = _below(of, _span_id(span))
            row = next((row for row, name in enumerate(of.span_id) if name == span), 0)
        from proftool.reports.flamegraph import report as flame_graph

        shown = replace(self._options, title=f"{of.names[of.name[row]]} of trace {trace_id[:8]}")
        return report(flame_graph.render(flame_of_trace(self._telemetry, trace_id, spans), shown))


def _below(of: Waterfall, span_id: str) -> frozenset[str]:
    """The span and all below it."""
    found: set[int] = set()
    for row, name in enumerate(of.span_id):
        if name == span_id or of.parent[row] in found:
            found.add(row)
    return frozenset(of.span_id[row] for row in found)


def _trace_id(given: str) -> str:
    if not _TRACE_ID.fullmatch(given):
        raise RunNotFound("that names no trace", cause="an id of a trace has 32 hexadecimal digits", fix="choose one in the list of traces")
    return given


def _span_id(given: str) -> str:
    if not _SPAN_ID.fullmatch(given):
        raise RunNotFound("that names no span", cause="an id of a span has 16 hexadecimal digits", fix="choose one in its trace")
    return given
