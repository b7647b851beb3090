"""What the store holds around an incident: slow and failed traces, findings, and slices of the bad minutes and of good ones before.

The good ones are the newest that ended before the trouble can have begun and that no other incident lies in, whatever process
or version of the service made them: what a deployment made worse is told by the slices of the version before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from proftool.contracts_incidents import About, Incident, IncidentQuery, IncidentStore
from proftool.contracts_telemetry import Finding, Slice, SliceQuery, Span, SpanQuery, TelemetryStore
from proftool.units import NS_PER_S

WINDOW_NS = 900 * NS_PER_S
"""Of the bad time, and of the good, no more than this is kept."""
GOOD_AGE_NS = 7 * 86400 * NS_PER_S
MAX_SLICES = 60
MAX_TRACES = 12
MAX_SPANS = 300
"""Of one trace."""
_NEWEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was around an incident."""

    route: str | None = None
    about: About = "requests"
    began_ns: int
    findings: Sequence[Finding] = ()
    spans: Sequence[Span] = ()
    """Whole traces of slow and failed requests, the slowest trace first."""
    traces: Sequence[Slice] = ()
    """Their samples."""
    good: Sequence[Slice] = ()
    """Oldest first."""
    bad: Sequence[Slice] = ()


def windows(service: str, began_ns: int, window_ns: int, telemetry: TelemetryStore, incidents: IncidentStore) -> tuple[int, int]:
    """(from, until) of the good time before an incident; empty where there is none."""
    onset_ns = began_ns - window_ns
    others = incidents.find_incidents(IncidentQuery(service=service, since_ns=onset_ns - GOOD_AGE_NS))
    found = telemetry.find_slices(SliceQuery(service=service, since_ns=onset_ns - GOOD_AGE_NS, until_ns=onset_ns, limit=4 * MAX_SLICES))
    good = [one for one in found if one.end_ns <= onset_ns and not any(_within(one, other) for other in others)]
    if not good:
        return onset_ns, onset_ns
    until_ns = good[0].end_ns
    return min(one.start_ns for one in good if one.start_ns >= until_ns - WINDOW_NS or one is good[0]), until_ns


def _within(one: Slice, incident: Incident) -> bool:
    """Does the slice reach into the bad time of an incident?"""
    ended_ns = incident.seen_ns if incident.ended_ns is None else incident.ended_ns
    return one.end_ns > incident.bad_ns[0] and one.start_ns < ended_ns


def gather(incident: Incident, telemetry: TelemetryStore) -> Evidence:
    """Read what the store holds of its windows."""
    from_ns, until_ns = incident.bad_ns
    return replace(
        _requests(incident, telemetry),
        findings=tuple(one for one in telemetry.find_findings(service=incident.service, since_ns=from_ns) if one.first_ns < until_ns),
        good=_slices(incident, telemetry, *incident.good_ns),
        bad=_bad(incident, telemetry),
    )


def _requests(incident: Incident, telemetry: TelemetryStore) -> Evidence:
    from_ns, until_ns = incident.bad_ns
    entries = telemetry.find_spans(
        SpanQuery(service=incident.service, route=incident.route, entries=True, since_ns=from_ns, until_ns=until_ns, limit=_NEWEST)
    )
    # Those that were chosen by lot are no witnesses, unless there are no others.
    telling = [one for one in entries if one.kept in ("slow", "failed")] or list(entries)
    telling.sort(key=lambda one: (incident.about == "failures" and one.status == "error", one.duration_ns), reverse=True)
    spans: list[Span] = []
    traces: list[Slice] = []
    for entry in telling[:MAX_TRACES]:
        spans += telemetry.find_spans(SpanQuery(trace_id=entry.trace_id, limit=MAX_SPANS))
        traces += telemetry.find_slices(SliceQuery(trace_id=entry.trace_id, service=incident.service, limit=4))
    return Evidence(route=incident.route, about=incident.about, began_ns=incident.began_ns, spans=tuple(spans), traces=tuple(traces))


def _bad(incident: Incident, telemetry: TelemetryStore) -> tuple[Slice, ...]:
    """Slices of the bad time; those that are mostly of the time before only where there are no others."""
    _, until_ns = incident.bad_ns
    found = _slices(incident, telemetry, incident.began_ns, until_ns)
    mostly = tuple(one for one in found if (one.start_ns + one.end_ns) // 2 >= incident.began_ns)
    return mostly or found


def _slices(incident: Incident, telemetry: TelemetryStore, from_ns: int, until_ns: int) -> tuple[Slice, ...]:
    if until_ns <= from_ns:
        return ()
    found = telemetry.find_slices(SliceQuery(service=incident.service, since_ns=from_ns, until_ns=until_ns, limit=MAX_SLICES))
    return tuple(reversed(found))
