"""The view of alert rules, objectives and their budgets."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request

from proftool.contracts_telemetry import MetricStore
from proftool.workflows.alarms import Alarms, alarms


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Rules and budgets, judged now."""

    now_ms: float
    alarms: Alarms


def alerts(metrics: MetricStore, project: Path | None, _request: Request) -> Alerts:
    """Every rule over every service."""
    now_ns = time.time_ns()
    return Alerts(now_ms=now_ns / 1e6, alarms=alarms(metrics, project, now_ns))
