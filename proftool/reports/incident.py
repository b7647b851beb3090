"""What an incident's page says above its profile: what, since when, where, and the evidence; as plain data for the viewer.

Times are ms since the epoch or ms, doubles, as browsers count them. Nothing in it is markup: the viewer shows it as text.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from proftool.contracts_incidents import Incident, Suspect
from proftool.contracts_telemetry import Finding, Span
from proftool.units import NS_PER_S

_MS = NS_PER_S // 1000
MAX_TRACES = 12
MAX_SPANS = 200


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A suspect."""

    function: str
    file: str
    line: int
    sources: tuple[str, ...]
    confidence: str
    evidence: tuple[str, ...]
    advice: str
    route: str | None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A measure over time."""

    name: str
    unit: str
    times: tuple[float, ...]
    values: tuple[float | None, ...]
    limit: float | None


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A span of a trace; `start` since the trace's, `depth` below its entry."""

    name: str
    service: str
    start: float
    duration: float
    depth: int
    failed: bool
    place: str


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A slow or failed request."""

    id: str
    name: str
    start: float
    duration: float
    failed: bool
    kept: str
    operations: tuple[Operation, ...]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    id: str
    service: str
    alert: str
    state: str
    text: str
    route: str | None
    began: float
    fired: float
    ended: float | None
    seen: float
    good: tuple[float, float] | None
    bad: tuple[float, float]
    places: tuple[Place, ...]
    lines: tuple[Line, ...]
    traces: tuple[Trace, ...]
    findings: tuple[tuple[str, str, str, int], ...]
    """(kind, place, evidence, count)."""
    version: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    """What is missing, a sentence each."""


def told(incident: Incident, suspects: Sequence[Suspect], spans: Sequence[Span], findings: Sequence[Finding], notes: Sequence[str]) -> Told:
    """The incident for its page."""
    v = incident.version
    commit = None if v.commit is None else v.commit[:12] + (f" on {v.branch}" if v.branch else "") + (", with edits" if v.dirty else "")
    facts = (("commit", commit), ("Python", v.python), ("host", v.host), ("proftool", v.proftool), *v.packages)
    good = incident.good_ns
    return Told(
        id=incident.id,
        service=incident.service,
        alert=incident.alert,
        state=incident.state,
        text=incident.text,
        route=incident.route,
        began=incident.began_ns / _MS,
        fired=incident.fired_ns / _MS,
        ended=None if incident.ended_ns is None else incident.ended_ns / _MS,
        seen=incident.seen_ns / _MS,
        good=(good[0] / _MS, good[1] / _MS) if good[1] > good[0] else None,
        bad=(incident.bad_ns[0] / _MS, incident.bad_ns[1] / _MS),
        places=tuple(
            Place(
                function=one.function, file=one.file, line=one.line, sources=one.sources, confidence=one.confidence,
                evidence=one.evidence, advice=one.advice, route=one.route,
            )
            for one in suspects
        ),
        lines=tuple(
            Line(name=one.name, unit=one.unit, times=tuple(t / _MS for t in one.times_ns), values=one.values, limit=one.limit)
            for one in incident.measures
        ),
        traces=_traces(spans),
        findings=tuple((one.id, f"{one.function} ({one.file}:{one.line})", one.evidence, one.count) for one in findings),
        version=tuple((name, text) for name, text in facts if text),
        notes=tuple(notes),
    )  # fmt: skip


def _traces(spans: Sequence[Span]) -> tuple[Trace, ...]:
    of: dict[str, list[Span]] = {}
    for span in spans:
        of.setdefault(span.trace_id, []).append(span)
    found = [_trace(own) for own in list(of.values())[:MAX_TRACES]]
    return tuple(sorted(found, key=lambda one: (not one.failed, -one.duration)))


def _trace(spans: list[Span]) -> Trace:
    spans.sort(key=lambda span: span.start_ns)
    entry = next((span for span in spans if span.is_entry and span.kept != "joined"), spans[0])
    by_id = {span.span_id: span for span in spans}

    def depth(span: Span) -> int:
        steps, seen = 0, {span.span_id}
        while span.parent_id in by_id and span.parent_id not in seen:
            span = by_id[span.parent_id]
            seen.add(span.span_id)
            steps += 1
        return steps

    return Trace(
        id=entry.trace_id,
        name=entry.route or entry.name,
        start=entry.start_ns / _MS,
        duration=entry.duration_ns / _MS,
        failed=entry.status == "error",
        kept=entry.kept or "",
        operations=tuple(
            Operation(
                name=span.name,
                service=span.service,
                start=(span.start_ns - entry.start_ns) / _MS,
                duration=span.duration_ns / _MS,
                depth=depth(span),
                failed=span.status == "error",
                place=_place(span),
            )
            for span in spans[:MAX_SPANS]
        ),
    )


def _place(span: Span) -> str:
    function, file, line = (span.attributes.get(f"code.{name}") for name in ("function.name", "file.path", "line.number"))
    return f"{function} ({file}:{line})" if function and file else ""
