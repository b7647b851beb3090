"""Inside a running service: metrics, middleware, tracing, always-on profiles.

    from proftool.telemetry import ASGIMiddleware, setup
    setup(service="shop")
    app = ASGIMiddleware(app)

Names resolve on first use: `import proftool.telemetry` costs the service nothing but this file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proftool.telemetry.asgi import ASGIMiddleware
    from proftool.telemetry.metrics import counter, gauge, histogram, timer, updown
    from proftool.telemetry.openmetrics import exposition
    from proftool.telemetry.service import setup
    from proftool.telemetry.wsgi import WSGIMiddleware

__all__ = ["ASGIMiddleware", "WSGIMiddleware", "counter", "exposition", "gauge", "histogram", "setup", "timer", "updown"]

_PUBLIC = {
    "ASGIMiddleware": "asgi",
    "WSGIMiddleware": "wsgi",
    "counter": "metrics",
    "exposition": "openmetrics",
    "gauge": "metrics",
    "histogram": "metrics",
    "setup": "service",
    "timer": "metrics",
    "updown": "metrics",
}


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(f"proftool.telemetry.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'proftool.telemetry' has no attribute {name!r}")
