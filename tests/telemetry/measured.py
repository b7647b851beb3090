"""What the middleware's tests share: a registry of their own, and what it has counted."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from proftool.telemetry import asgi_compiled, http, metrics, service
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


def needs_compiled() -> None:
    """Skip where nothing could be compiled; where it could, it has to be there."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if not asgi_compiled.PATH.is_compiled and not (shutil.which(compiler) and headers.exists()):
        pytest.skip("no compiler, or no headers of this Python")
    assert asgi_compiled.PATH.is_compiled, "`python proftool/telemetry/compile_exchange.py` says why"


@pytest.fixture(autouse=True, params=["compiled", "python"])
def served_by(request: pytest.FixtureRequest) -> Iterator[None]:
    """Requests are served by the compiled code, and by Python."""
    if request.param == "compiled":
        needs_compiled()
    asgi_compiled.use(compiled=request.param == "compiled")
    yield
    asgi_compiled.use(compiled=True)


def samples(name: str = DURATION) -> list[Sample]:
    return [sample for sample in metrics.REGISTRY.own() if sample.description.name == name]


def labels(name: str = DURATION) -> list[dict[str, str]]:
    """Of every series of that metric which has counted something."""
    return [dict(sample.labels) for sample in samples(name) if sample.count]
