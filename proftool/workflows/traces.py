"""Traces as the dashboard shows them: found by their entries, and one whole, with what each span did itself and the critical path.

A trace may run through several services whose clocks differ, may lack spans (a service that kept nothing, a parent that is still under
way), and its parent links come from strangers: spans without a known parent are roots, a loop of parents is cut. Rows are in the order of
a depth-first walk, children by start, and stand in columns: a trace of 100,000 spans is one small document.

The critical path: what has to become faster for the whole to become faster. Walking back from the end of a span, the child that ended last
was waited for, up to its start; then the one that ended last before that; what no child covers is the span's own. As in Jaeger and in
Zhang et al., "CRISP: Critical Path Analysis of Large-Scale Microservice Architectures", USENIX ATC 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from proftool.contracts_telemetry import Attribute, Outline, SliceQuery, Span, SpanQuery, TelemetryStore
from proftool.errors import RunNotFound
from proftool.units import NS_PER_MS

PER_PAGE = 100
LOOKED_AT = 2000
"""Entries among which the slowest are chosen."""
_Span = TypeVar("_Span", Span, Outline)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRow:
    """One trace in a list, by its first entry that was asked for."""

    trace_id: str
    service: str
    name: str
    started_ms: float
    duration_ns: int
    is_failed: bool
    kept: str | None
    services: tuple[str, ...]
    """Of the entries that were found, the row's own first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search gave."""

    traces: tuple[TraceRow, ...]
    services: tuple[str, ...]
    """All that there are, for the form."""
    routes: tuple[str, ...]
    looked_at: int
    is_cut: bool
    """Were there more entries than were looked at?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """
    One trace. Columns have a value a span, in walking order; times in ns from `started_ms` on.

    Attributes:
        parent: row of the parent, -1 of a root; always before the row.
        own_ns: duration without what its children cover.
        critical: (row, start, end) in order of time; together they cover the trace where a span was open.
        sampled: rows of which the service's sampler saw something.
    """

    trace_id: str
    started_ms: float
    duration_ns: int
    services: tuple[str, ...]
    names: tuple[str, ...]
    span_id: tuple[str, ...]
    parent: tuple[int, ...]
    depth: tuple[int, ...]
    service: tuple[int, ...]
    name: tuple[int, ...]
    kind: tuple[str, ...]
    start_ns: tuple[int, ...]
    duration: tuple[int, ...]
    own_ns: tuple[int, ...]
    is_failed: tuple[bool, ...]
    critical: tuple[tuple[int, int, int], ...]
    sampled: tuple[int, ...]
    entry_route: str | None
    """Of its first entry."""
    n_missing: int
    """Spans whose parent is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanDetail:
    """What one span carries."""

    span_id: str
    attributes: Mapping[str, Attribute]
    message: str
    events: tuple[tuple[str, float, Mapping[str, Attribute]], ...]
    """(name, ms from the span's start on, attributes)."""
    links: tuple[str, ...]
    """Ids of the traces that it follows from."""


def search(telemetry: TelemetryStore, query: SpanQuery, *, slowest: bool = False, text: str = "") -> Found:
    """Traces whose entry fits, newest or slowest first; `text` must be part of its name."""
    entries = telemetry.find_outlines(replace(query, entries=True, limit=LOOKED_AT))
    routes = sorted({span.route for span in entries if span.route})
    chosen: dict[str, Outline] = {}
    services: dict[str, dict[str, None]] = {}
    for span in entries:
        if text and text.lower() not in _title(span).lower():
            continue
        known = chosen.get(span.trace_id)
        if known is None or span.start_ns < known.start_ns:
            chosen[span.trace_id] = span
        services.setdefault(span.trace_id, {})[span.service] = None
    order = sorted(chosen.values(), key=lambda span: -span.duration_ns if slowest else -span.start_ns)
    rows = tuple(
        TraceRow(
            trace_id=span.trace_id,
            service=span.service,
            name=_title(span),
            started_ms=span.start_ns / NS_PER_MS,
            duration_ns=span.duration_ns,
            is_failed=span.status == "error",
            kept=span.kept,
            services=(span.service, *(name for name in services[span.trace_id] if name != span.service)),
        )
        for span in order[:PER_PAGE]
    )
    return Found(
        traces=rows,
        services=tuple(telemetry.services()),
        routes=tuple(routes),
        looked_at=len(entries),
        is_cut=len(entries) == LOOKED_AT or len(order) > PER_PAGE,
    )


def waterfall(telemetry: TelemetryStore, trace_id: str) -> Waterfall:
    """The trace; RunNotFound where no span of it is kept."""
    spans = telemetry.find_outlines(SpanQuery(trace_id=trace_id, limit=None))
    if not spans:
        raise RunNotFound(
            "no such trace",
            cause=f"no span of `{trace_id}` is kept here: of fast requests only a share is",
            fix="search for another; `X-Proftool-Record` keeps the one that you send",
        )
    order, parents, depths, n_missing = walk(spans)
    begin = min(span.start_ns for span in spans)
    services, names = list(dict.fromkeys(s.service for s in order)), list(dict.fromkeys(_title(s) for s in order))
    service_of, name_of = {name: i for i, name in enumerate(services)}, {name: i for i, name in enumerate(names)}
    tasks = {
        one.profile.text(int(index)) for one in telemetry.find_slices(SliceQuery(trace_id=trace_id)) for index in one.profile.lanes.task
    }
    entry = next((span for span in order if span.is_entry), None)
    return Waterfall(
        trace_id=trace_id,
        started_ms=begin / NS_PER_MS,
        duration_ns=max(span.start_ns + span.duration_ns for span in spans) - begin,
        services=tuple(services),
        names=tuple(names),
        span_id=tuple(span.span_id for span in order),
        parent=tuple(parents),
        depth=tuple(depths),
        service=tuple(service_of[span.service] for span in order),
        name=tuple(name_of[_title(span)] for span in order),
        kind=tuple(span.kind for span in order),
        start_ns=tuple(span.start_ns - begin for span in order),
        duration=tuple(span.duration_ns for span in order),
        own_ns=tuple(own_times(order, parents)),
        is_failed=tuple(span.status == "error" for span in order),
        critical=tuple((row, start - begin, end - begin) for row, start, end in critical_path(order, parents)),
        sampled=tuple(row for row, span in enumerate(order) if span.span_id in tasks),
        entry_route=entry.route if entry else None,
        n_missing=n_missing,
    )


def span_detail(telemetry: TelemetryStore, trace_id: str, span_id: str) -> SpanDetail:
    """What the span carries; RunNotFound where it is not kept."""
    found = telemetry.find_spans(SpanQuery(trace_id=trace_id, span_id=span_id, limit=1))
    if not found:
        raise RunNotFound("no such span", cause=f"`{span_id}` is not kept in this trace", fix="choose one of the trace")
    span = found[0]
    return SpanDetail(
        span_id=span.span_id,
        attributes=dict(sorted(span.attributes.items())),
        message=span.message,
        events=tuple((e.name, (e.time_ns - span.start_ns) / NS_PER_MS, e.attributes) for e in span.events),
        links=tuple(link.trace_id for link in span.links),
    )


def walk(spans: Sequence[_Span]) -> tuple[list[_Span], list[int], list[int], int]:
    """Spans depth first, row of each one's parent (-1: none known), its depth, and how many name a parent that is not there."""
    known = {span.span_id: span for span in spans}
    children: dict[str | None, list[_Span]] = {}
    n_missing = 0
    for span in known.values():
        parent = span.parent_id if span.parent_id in known and span.parent_id != span.span_id else None
        n_missing += span.parent_id is not None and parent is None
        children.setdefault(parent, []).append(span)
    for below in children.values():
        below.sort(key=lambda span: (span.start_ns, -span.duration_ns, span.span_id))
    order, parents, depths, seen = list[_Span](), list[int](), list[int](), set[str]()

    def visit(roots: Sequence[_Span]) -> None:
        waiting = [(span, -1, 0) for span in reversed(roots)]
        while waiting:
            span, parent, depth = waiting.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            row = len(order)
            order.append(span)
            parents.append(parent)
            depths.append(depth)
            waiting.extend((child, row, depth + 1) for child in reversed(children.get(span.span_id, ())))

    visit(children.get(None, ()))
    for span in sorted(known.values(), key=lambda span: span.start_ns):
        if span.span_id not in seen:  # in a loop of parents, or below one
            visit([span])
    return order, parents, depths, n_missing


def own_times(order: Sequence[_Span], parents: Sequence[int]) -> list[int]:
    """Of every row its duration without the part in which some child was open, ns."""
    covered_to = [span.start_ns for span in order]
    own = [span.duration_ns for span in order]
    for row, span in enumerate(order):  # children of one parent come in order of their start
        parent = parents[row]
        if parent < 0:
            continue
        end = order[parent].start_ns + order[parent].duration_ns
        start, stop = max(span.start_ns, covered_to[parent]), min(span.start_ns + span.duration_ns, end)
        if stop > start:
            own[parent] -= stop - start
            covered_to[parent] = stop
    return own


def critical_path(order: Sequence[_Span], parents: Sequence[int]) -> list[tuple[int, int, int]]:
    """(row, start, end) by time, ns since the epoch. Children that outlive their parent count up to its end."""
    children: list[list[int]] = [[] for _ in order]
    roots: list[int] = []
    for row, parent in enumerate(parents):
        (children[parent] if parent >= 0 else roots).append(row)
    found: list[tuple[int, int, int]] = []
    # (row, from, to) is still to be explained; -1 stands for the trace, of which no time is anybody's.
    waiting = [(-1, min(span.start_ns for span in order), max(span.start_ns + span.duration_ns for span in order))]
    while waiting:
        row, begin, limit = waiting.pop()
        cursor = limit
        below = roots if row < 0 else children[row]
        for child in sorted(below, key=lambda r: -(order[r].start_ns + order[r].duration_ns)):
            span = order[child]
            start = max(span.start_ns, begin)
            # Roots may overlap, for nobody waited for them. A child that ended while a later one was waited for is not on the path.
            end = min(span.start_ns + span.duration_ns, cursor if row < 0 else limit)
            if end > cursor or end <= start:
                continue
            if row >= 0 and end < cursor:
                found.append((row, end, cursor))
            waiting.append((child, start, end))
            cursor = start
        if row >= 0 and cursor > begin:
            found.append((row, begin, cursor))
    return sorted(found, key=lambda part: (part[1], part[2]))


def _title(span: Span | Outline) -> str:
    return (span.route or span.name) if span.is_entry else span.name
