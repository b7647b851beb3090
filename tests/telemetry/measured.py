"""What the middleware's tests share: a registry of their own, and what it has counted."""

from __future__ import annotations

import pytest

from proftool.telemetry import http, metrics, service
from proftool.telemetry.metrics import Registry
from proftool.telemetry.points import Sample

DURATION = "http.server.request.duration"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No instrument of another test, and no keeper."""
    registry = Registry()
    for module in (metrics, http):
        monkeypatch.setattr(module, "REGISTRY", registry)
    monkeypatch.setattr(http, "_metrics", None)
    monkeypatch.setattr(service, "setup", lambda: None)


def samples(name: str = DURATION) -> list[Sample]:
    return [sample for sample in metrics.REGISTRY.own() if sample.description.name == name]


def labels(name: str = DURATION) -> list[dict[str, str]]:
    """Of every series of that metric which has counted something."""
    return [dict(sample.labels) for sample in samples(name) if sample.count]
