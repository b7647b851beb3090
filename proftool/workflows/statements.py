"""Database statements by shape, with what they cost, whose line asks, for which route; and shapes that one request asks again and again.

Counted over the spans of kept traces: slow ones, failed ones and a share of all. Numbers are of these, never of everything that the service
asked; `per trace` is what can be compared.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from proftool.contracts_telemetry import Outline, SpanQuery, TelemetryStore
from proftool.telemetry.queries import REPEATED

LOOKED_AT = 20_000
"""Spans, newest first."""
SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One shape of one service."""

    service: str
    system: str
    shape: str
    summary: str
    n: int
    n_traces: int
    total_ns: int
    p50_ns: int
    max_ns: int
    rows: int | None
    """Returned or changed; None where no driver said."""
    n_failed: int
    callers: tuple[tuple[str, str, int, int], ...]
    """(function, file, line, times), most first."""
    routes: tuple[tuple[str, int], ...]
    slowest_trace: str
    slowest_span: str
    most_in_a_trace: int
    """Times that one line asked it within one trace."""
    most_trace: str
    is_repeated: bool
    """Asked by one line, within one trace, as often as `repeated-query` calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """What was asked in a range."""

    statements: tuple[Statement, ...]
    """By the time that they took together."""
    n_spans: int
    n_traces: int
    is_cut: bool


@dataclass(slots=True)
class _Gathered:
    first: Outline
    durations: list[int] = field(default_factory=list[int])
    traces: set[str] = field(default_factory=set[str])
    rows: int | None = None
    n_failed: int = 0
    callers: Counter[tuple[str, str, int]] = field(default_factory=Counter[tuple[str, str, int]])
    routes: Counter[str] = field(default_factory=Counter[str])
    repeats: Counter[tuple[str, tuple[str, str, int]]] = field(default_factory=Counter[tuple[str, tuple[str, str, int]]])
    slowest: Outline | None = None


def statements(telemetry: TelemetryStore, *, service: str | None, since_ns: int, until_ns: int) -> Statements:
    """Shapes of statements, of one service or of all."""
    asked = SpanQuery(service=service, since_ns=since_ns, until_ns=until_ns, kind="client", limit=LOOKED_AT)
    spans = telemetry.find_outlines(asked, attributes=True)
    entries = telemetry.find_outlines(SpanQuery(service=service, since_ns=since_ns, until_ns=until_ns, entries=True, limit=LOOKED_AT))
    routes = {(span.trace_id, span.service): span.route or span.name for span in entries}
    found: dict[tuple[str, str, str], _Gathered] = {}
    n_spans, traces = 0, set[str]()
    for span in spans:
        text = span.attributes.get("db.query.text")
        if text is None:
            continue
        n_spans += 1
        traces.add(span.trace_id)
        of = found.setdefault((span.service, str(span.attributes.get("db.system.name", "")), str(text)), _Gathered(span))
        of.durations.append(span.duration_ns)
        of.traces.add(span.trace_id)
        of.n_failed += span.status == "error"
        for key in ("db.response.returned_rows", "db.response.affected_rows"):
            rows = span.attributes.get(key)
            if isinstance(rows, int):
                of.rows = (of.rows or 0) + rows
        caller = _caller(span)
        of.callers[caller] += 1
        of.repeats[span.trace_id, caller] += 1
        route = routes.get((span.trace_id, span.service))
        if route is not None:
            of.routes[route] += 1
        if of.slowest is None or span.duration_ns > of.slowest.duration_ns:
            of.slowest = span
    rows_of = sorted((_statement(key, of) for key, of in found.items()), key=lambda one: -one.total_ns)
    return Statements(statements=tuple(rows_of[:SHOWN]), n_spans=n_spans, n_traces=len(traces), is_cut=len(spans) == LOOKED_AT)


def _statement(key: tuple[str, str, str], of: _Gathered) -> Statement:
    service, system, shape = key
    slowest = of.slowest or of.first
    ((most_trace, _), most), *_ = of.repeats.most_common(1)
    durations = sorted(of.durations)
    return Statement(
        service=service,
        system=system,
        shape=shape,
        summary=str(of.first.attributes.get("db.query.summary", of.first.name)),
        n=len(durations),
        n_traces=len(of.traces),
        total_ns=sum(durations),
        p50_ns=durations[len(durations) // 2],
        max_ns=durations[-1],
        rows=of.rows,
        n_failed=of.n_failed,
        callers=tuple((*place, n) for place, n in of.callers.most_common(5)),
        routes=tuple(of.routes.most_common(5)),
        slowest_trace=slowest.trace_id,
        slowest_span=slowest.span_id,
        most_in_a_trace=most,
        most_trace=most_trace,
        is_repeated=most >= REPEATED,
    )


def _caller(span: Outline) -> tuple[str, str, int]:
    a = span.attributes
    line = a.get("code.line.number")
    return str(a.get("code.function.name", "")), str(a.get("code.file.path", "")), line if isinstance(line, int) else 0
