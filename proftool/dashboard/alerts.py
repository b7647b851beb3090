"""The views of alerts: rules, objectives and their budgets, incidents; and one incident with all that was around it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from proftool.contracts_incidents import Incident, IncidentQuery, IncidentStore
from proftool.contracts_telemetry import MetricStore
from proftool.dashboard.runs import report
from proftool.errors import RunNotFound
from proftool.settings import Settings
from proftool.workflows.alarms import Alarms, alarms

_ID = re.compile(r"incident-[0-9a-z]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """One alert that fired, from its begin to its end."""

    id: str
    service: str
    alert: str
    state: str
    text: str
    route: str | None
    began_ms: float
    ended_ms: float | None
    duration_s: float
    place: str
    """What is most likely its cause, `function (file:line)`; empty where nothing points anywhere."""
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Rules and budgets, judged now, and the incidents that services left."""

    now_ms: float
    alarms: Alarms
    incidents: tuple[IncidentRow, ...]


class AlertViews:
    """Each takes a request and gives a document, off the event loop."""

    def __init__(self, metrics: MetricStore, incidents: IncidentStore, settings: Settings) -> None:
        self._metrics, self._incidents, self._settings = metrics, incidents, settings

    def alerts(self, _request: Request) -> Alerts:
        """Every rule over every service."""
        now_ns = time.time_ns()
        return Alerts(
            now_ms=now_ns / 1e6,
            alarms=alarms(self._metrics, self._settings.project, now_ns),
            incidents=tuple(_row(one) for one in self._incidents.find_incidents(IncidentQuery(limit=100))),
        )

    def incident(self, request: Request) -> Response:
        """Its page: what, since when, where, the evidence, and the profile of its bad minutes."""
        from proftool.workflows import incidents

        id = request.path_params["id"]
        if not _ID.fullmatch(id):
            raise RunNotFound("that names no incident", cause="an id begins with `incident-`", fix="choose one in the list of alerts")
        return report(incidents.page(incidents.load_incident(id, self._settings), self._settings))


def _row(one: Incident) -> IncidentRow:
    first = one.suspects[0] if one.suspects else None
    return IncidentRow(
        id=one.id,
        service=one.service,
        alert=one.alert,
        state=one.state,
        text=one.text,
        route=one.route,
        began_ms=one.began_ns / 1e6,
        ended_ms=None if one.ended_ns is None else one.ended_ns / 1e6,
        duration_s=one.duration_ns / 1e9,
        place=f"{first.function} ({first.file}:{first.line})" if first else "",
        confidence=first.confidence if first else "",
    )
