"""Exceptions that a framework answers itself, so that the middleware sees nothing but a 500: Flask and Django tell of them by a signal.

Both send it for what nobody handled. What a program's own handler makes a response of is told by no signal.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from proftool.telemetry.request import CURRENT, raised


def follow() -> None:
    """Hear of them, where such a framework is loaded; again changes nothing."""
    if (flask := sys.modules.get("flask")) is not None:
        cast(Any, flask).got_request_exception.connect(_flask)
    if (signals := sys.modules.get("django.core.signals")) is not None:
        cast(Any, signals).got_request_exception.connect(_django, dispatch_uid="proftool")


def _flask(_sender: object, exception: BaseException | None = None, **_: object) -> None:
    _tell(exception)


def _django(**_: object) -> None:
    _tell(sys.exception())  # Django sends it while it handles the exception, and names only the request


def _tell(error: BaseException | None) -> None:
    request = CURRENT.get()
    if request is not None and error is not None:
        raised(request, error)
