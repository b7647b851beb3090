"""Spans that frameworks make of every request by themselves, and how they are kept from it where the middleware follows it already.

FastAPI, from 0.165 on, traces as soon as the program has a tracer provider: a span of the request, one each for its dependencies, its
endpoint and its answer. A hello request then takes three quarters more, also with a tracer that records nothing. Such a request has its
entry already, and what those spans say of a slow one its queries, its samples and its findings say.

Left alone is what somebody has asked for: providers of the program's own, and metrics or logs by OpenTelemetry, which FastAPI makes in the
same place.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proftool.telemetry.request import CURRENT

_NOT_SET: Final = frozenset({"ProxyLoggerProvider", "_ProxyMeterProvider"})
_FOLLOWED: Final[weakref.WeakSet[object]] = weakref.WeakSet()
"""What traces for an application in which the middleware stands, and which is asked before the middleware is."""


@dataclass(slots=True)
class _Quiet:
    is_on: bool = False
    is_alone: bool = True
    """Does the program want neither metrics nor logs of OpenTelemetry? As of the last second: to ask takes microseconds."""


QUIET: Final = _Quiet()


def stands_within(app: object) -> None:
    """The middleware serves a request within that application."""
    native: object = getattr(app, "_native_telemetry", None)
    if native is not None:
        _FOLLOWED.add(native)


def quieten() -> None:
    """Take care of a framework that was imported by now, and of what the program has set up by now; called every second."""
    from opentelemetry import _logs, metrics

    QUIET.is_alone = all(type(other).__name__ in _NOT_SET for other in (metrics.get_meter_provider(), _logs.get_logger_provider()))
    native: object = getattr(sys.modules.get("fastapi.telemetry._asgi"), "NativeTelemetry", None)
    enabled: Callable[[object], bool] | None = getattr(native, "enabled", None)
    if native is None or enabled is None or hasattr(enabled, "__wrapped__"):
        return

    @functools.wraps(enabled)
    def is_asked_for(self: object) -> bool:
        if QUIET.is_on and QUIET.is_alone and (CURRENT.get() is not None or self in _FOLLOWED) and _has_no_provider(self):
            return False
        return enabled(self)

    native.enabled = is_asked_for  # type: ignore[attr-defined]


def _has_no_provider(native: object) -> bool:
    """Was it given none of its own?"""
    config: Mapping[str, object] = getattr(native, "config", {})
    return config.get("tracer_provider") is None and config.get("meter_provider") is None and config.get("logger_provider") is None
