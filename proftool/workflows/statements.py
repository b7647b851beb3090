"""Database statements by shape, with what they cost, whose line asks, for which route; and shapes that one request asks again and again.

Counted over the spans of kept traces: slow ones, failed ones and a share of all. Numbers are of these, never of everything that the service
asked; `per trace` is what can be compared.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

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


Place = tuple[str, str, int]
"""Function, file, line."""


@dataclass(slots=True)
class _Gathered:
    first: Outline
    durations: list[int] = field(default_factory=list[int])
    traces: set[str] = field(default_factory=set[str])
    rows: int | None = None
    n_failed: int = 0
    callers: dict[Place, int] = field(default_factory=dict[Place, int])
    routes: dict[str, int] = field(default_factory=dict[str, int])
    repeats: dict[tuple[str, Place], int] = field(default_factory=dict[tuple[str, Place], int])
    slowest: Outline | None = None


class _Shape(NamedTuple):
    """What spans with the same attributes have in common."""

    system: str
    text: str
    rows: int | None
    caller: Place


def statements(telemetry: TelemetryStore, *, service: str | None, since_ns: int, until_ns: int) -> Statements:
    """Shapes of statements, of one service or of all."""
    asked = SpanQuery(service=service, since_ns=since_ns, until_ns=until_ns, kind="client", limit=LOOKED_AT)
    spans = telemetry.find_outlines(asked, attributes=True)
    entries = telemetry.find_outlines(SpanQuery(service=service, since_ns=since_ns, until_ns=until_ns, entries=True, limit=LOOKED_AT))
    routes = {(span.trace_id, span.service): span.route or span.name for span in entries}
    found: dict[tuple[str, str, str], _Gathered] = {}
    shapes: dict[int, _Shape | None] = {}  # of attributes by identity, for equal ones are shared and all are held until the end
    traces, n_spans = set[str](), 0
    for span in spans:
        key = id(span.attributes)
        shape = shapes[key] if key in shapes else shapes.setdefault(key, _shape(span))
        if shape is None:
            continue
        n_spans += 1
        traces.add(span.trace_id)
        kind = span.service, shape.system, shape.text
        of = found.get(kind)
        if of is None:
            of = found[kind] = _Gathered(span)
        of.durations.append(span.duration_ns)
        of.traces.add(span.trace_id)
        of.n_failed += span.status == "error"
        if shape.rows is not None:
            of.rows = (of.rows or 0) + shape.rows
        caller, route = shape.caller, routes.get((span.trace_id, span.service))
        of.callers[caller] = of.callers.get(caller, 0) + 1
        repeat = span.trace_id, caller
        of.repeats[repeat] = of.repeats.get(repeat, 0) + 1
        if route is not None:
            of.routes[route] = of.routes.get(route, 0) + 1
        if of.slowest is None or span.duration_ns > of.slowest.duration_ns:
            of.slowest = span
    rows_of = sorted((_statement(key, of) for key, of in found.items()), key=lambda one: -one.total_ns)
    return Statements(statements=tuple(rows_of[:SHOWN]), n_spans=n_spans, n_traces=len(traces), is_cut=len(spans) == LOOKED_AT)


def _shape(span: Outline) -> _Shape | None:
    a = span.attributes
    text, line = a.get("db.query.text"), a.get("code.line.number")
    if text is None:
        return None
    known = [n for key in ("db.response.returned_rows", "db.response.affected_rows") if isinstance(n := a.get(key), int)]
    caller = (str(a.get("code.function.name", "")), str(a.get("code.file.path", "")), line if isinstance(line, int) else 0)
    return _Shape(str(a.get("db.system.name", "")), str(text), sum(known) if known else None, caller)


def _statement(key: tuple[str, str, str], of: _Gathered) -> Statement:
    service, system, shape = key
    slowest = of.slowest or of.first
    (most_trace, _), most = max(of.repeats.items(), key=lambda pair: pair[1])
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
        callers=tuple((*place, n) for place, n in Counter(of.callers).most_common(5)),
        routes=tuple(Counter(of.routes).most_common(5)),
        slowest_trace=slowest.trace_id,
        slowest_span=slowest.span_id,
        most_in_a_trace=most,
        most_trace=most_trace,
        is_repeated=most >= REPEATED,
    )
