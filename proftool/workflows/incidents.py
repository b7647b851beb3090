"""Incidents of services as a reader wants them: a list, one with all that is around it, and its page. Nothing is printed here.

for one in list_incidents(settings): ...
opened = load_incident("incident-1a2b3c4d", settings)
page(opened, settings)  # bytes of one offline HTML file
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts_incidents import Incident, IncidentQuery, Suspect
from proftool.contracts_telemetry import Finding, Slice, Span
from proftool.errors import AmbiguousRun, NotComparable, RunNotFound
from proftool.settings import Settings
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from proftool.model.diff import Diff
    from proftool.model.profile import Profile

PREFIX = "incident-"
MAX_SIDE = 12
"""Slices of a side that are set against each other: enough for the test, and a page opens in a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An incident and what the store holds around it."""

    incident: Incident
    suspects: tuple[Suspect, ...]
    """Most likely first, by all that was written until now."""
    spans: tuple[Span, ...]
    """Whole traces of slow and failed requests, the slowest trace first."""
    findings: tuple[Finding, ...]
    bad: Profile | None
    """The bad minutes; None where no sampler saw them."""
    diff: Diff | None
    """They against the good ones; None where either is missing."""
    notes: tuple[str, ...]
    """What is missing and why, a sentence each."""


def list_incidents(settings: Settings, *, service: str | None = None, firing: bool = False, limit: int | None = 100) -> Sequence[Incident]:
    """Newest first; those that are not over alone with `firing`."""
    from proftool.store import open_incidents

    return open_incidents(settings).find_incidents(IncidentQuery(service=service, firing=firing, limit=limit))


def find_incident(name: str, settings: Settings) -> Incident:
    """The one of that id, or that begins so; `incident-` may be left away. RunNotFound, AmbiguousRun."""
    from proftool.store import open_incidents

    id = name if name.startswith(PREFIX) else PREFIX + name
    found = open_incidents(settings).find_incidents(IncidentQuery(id=id, limit=2))
    exact = [one for one in found if one.id == id]
    if len(found) == 1 or exact:
        return (exact or list(found))[0]
    if found:
        raise AmbiguousRun(f"`{name}` names several incidents", cause="more than one id begins so", fix="`proftool incidents` shows them")
    raise RunNotFound(f"no incident `{name}`", cause="this project's store holds none of that id", fix="`proftool incidents` shows all")


def load_incident(name: str, settings: Settings) -> Opened:
    """
    An incident with its evidence, and the profile of its bad minutes against good ones.

    Raises:
        RunNotFound, AmbiguousRun: no such incident, or several.
    """
    from proftool.store import open_telemetry
    from proftool.telemetry.evidence import gather
    from proftool.telemetry.suspects import suspects

    incident = find_incident(name, settings)
    evidence = gather(incident, open_telemetry(settings))
    found = suspects(evidence)
    bad, good = _served(evidence.bad, incident.route), _served(evidence.good, incident.route)
    notes: list[str] = []
    diff = None
    if not bad:
        notes.append("no sampler saw the bad time: the service was killed before its slice was written, or ran without one")
    elif not good:
        notes.append("there is no profile of a good time before to compare with: the service had just begun to be watched")
    else:
        diff, note = _compared(good, bad)
        notes += [note] if note else []
    if not evidence.spans:
        notes.append("no slow or failed request of this time was kept")
    return Opened(
        incident=incident,
        suspects=found or incident.suspects,
        spans=tuple(evidence.spans),
        findings=tuple(evidence.findings),
        bad=_merged(bad),
        diff=diff,
        notes=tuple(notes),
    )


def _served(slices: Sequence[Slice], route: str | None) -> list[Profile]:
    """What served requests in each slice, or all of it where nothing did; of many slices some, evenly."""
    from proftool.model.profile import ints
    from proftool.model.select import only_lanes

    step = max(1, -(-len(slices) // MAX_SIDE))
    chosen = [one.profile for one in slices[::step]]
    served: list[Profile] = []
    for profile in chosen:
        tasks = [profile.text(index) if index >= 0 else "" for index in ints(profile.lanes.task)]
        lanes = [row for row, task in enumerate(tasks) if (task == route if route is not None else task)]
        # One without is kept as well: a slice in which nothing was asked for is part of what was usual.
        served.append(only_lanes(profile, lanes))
    return served if any(len(profile.cells) for profile in served) else chosen


def _compared(good: list[Profile], bad: list[Profile]) -> tuple[Diff | None, str]:
    from proftool.model.compare import diff

    try:
        return diff(good, bad, metric="wall_time", names=("before", "during"), force=True), ""
    except NotComparable as error:
        return None, f"the good and the bad time cannot be compared: {error.cause}"


def _merged(profiles: list[Profile]) -> Profile | None:
    from proftool.model.merge import merge

    return None if not profiles else profiles[0] if len(profiles) == 1 else merge(profiles)


def page(opened: Opened, settings: Settings) -> bytes:
    """One offline HTML file: the incident, and below it the diff, or the profile where there is nothing to compare with."""
    from proftool.model.builder import ProfileBuilder
    from proftool.model.profile import SAMPLES, WALL_TIME
    from proftool.reports import incident as report
    from proftool.reports.flamegraph import draw_incident
    from proftool.workflows.report import page_options

    told = report.told(opened.incident, opened.suspects, opened.spans, opened.findings, opened.notes)
    shown = opened.diff or opened.bad or ProfileBuilder([WALL_TIME, SAMPLES]).build()
    return draw_incident(shown, told, page_options(settings))


def page_path(incident: Incident, settings: Settings) -> Path:
    """Where `open` writes it: a private file beside the store."""
    from proftool.store.place import find_place

    place = find_place(settings)
    place.make()
    folder = place.folder / "reports"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{incident.id}.html"


def incidents_document(incidents: Sequence[Incident]) -> dict[str, object]:
    """The JSON document of `incidents`."""
    return {"schema": "proftool.incidents/1", "incidents": [_document(one) for one in incidents]}


def incident_document(opened: Opened) -> dict[str, object]:
    """The JSON document of one incident."""
    traces = dict.fromkeys(span.trace_id for span in opened.spans)
    return {
        "schema": "proftool.incident/1",
        "incident": _document(replace(opened.incident, suspects=opened.suspects)),
        "measures": [
            {"name": m.name, "unit": m.unit, "limit": m.limit, "times": [_iso(t) for t in m.times_ns], "values": list(m.values)}
            for m in opened.incident.measures
        ],
        "traces": list(traces),
        "findings": [asdict(one) for one in opened.findings],
        "notes": list(opened.notes),
    }


def _document(one: Incident) -> dict[str, object]:
    v = one.version
    return {
        "id": one.id,
        "service": one.service,
        "alert": one.alert,
        "about": one.about,
        "state": one.state,
        "text": one.text,
        "value": one.value,
        "limit": one.limit,
        "labels": dict(one.labels),
        "route": one.route,
        "began_at": _iso(one.began_ns),
        "fired_at": _iso(one.fired_ns),
        "ended_at": None if one.ended_ns is None else _iso(one.ended_ns),
        "duration_s": one.duration_ns / NS_PER_S,
        "suspects": [asdict(suspect) for suspect in one.suspects],
        "version": {"commit": v.commit, "branch": v.branch, "dirty": v.dirty, "python": v.python, "host": v.host, "proftool": v.proftool}
        | {"packages": dict(v.packages)},
    }


def _iso(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / NS_PER_S, UTC).isoformat()
