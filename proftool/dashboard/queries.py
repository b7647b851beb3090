"""The view of database statements, with what was found about them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from proftool.contracts_telemetry import Finding, TelemetryStore
from proftool.dashboard.ask import Asked, asked, text
from proftool.workflows.statements import Statements, statements

ABOUT_QUERIES = ("slow-query", "repeated-query")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Statements of a range."""

    time: Asked
    service: str | None
    services: tuple[str, ...]
    found: Statements
    findings: tuple[Finding, ...]


def queries(telemetry: TelemetryStore, request: Request) -> Queries:
    """Of one service, or of all."""
    when, service = asked(request, default="1d"), text(request, "service")
    findings = telemetry.find_findings(service=service, since_ns=when.since_ns)
    return Queries(
        time=when,
        service=service,
        services=tuple(telemetry.services()),
        found=statements(telemetry, service=service, since_ns=when.since_ns, until_ns=when.until_ns),
        findings=tuple(one for one in findings if one.id in ABOUT_QUERIES and one.first_ns < when.until_ns),
    )
