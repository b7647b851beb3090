"""Requests for tests of what hooks into them: told as the middleware tells them, without a server around."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proftool import settings
from proftool.store import open_telemetry
from proftool.store.services import SqlTelemetryStore
from proftool.telemetry.request import CURRENT, HOOKS, THREADS, Request, tell


def telemetry_store(folder: Path) -> SqlTelemetryStore:
    """The telemetry store of a project in that folder."""
    (folder / "pyproject.toml").touch()
    return open_telemetry(settings.load(folder, environ={}))


@contextmanager
def serving(route: str = "/orders/{id}", *, method: str = "GET", thread: bool = False, **fields: object) -> Iterator[Request]:
    """A request that is served by the block."""
    import threading

    request = Request("http", method, "http", route, {}, lambda _carrier: route, time.perf_counter_ns())
    request.status = 200
    for name, value in fields.items():
        setattr(request, name, value)
    token = CURRENT.set(request)
    if thread:
        THREADS[threading.get_ident()] = request
    tell(HOOKS.start, request)
    try:
        yield request
    finally:
        request.ended_ns = time.perf_counter_ns()
        tell(HOOKS.end, request)
        if thread:
            del THREADS[threading.get_ident()]
        CURRENT.reset(token)
