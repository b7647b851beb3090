"""What is measured of a request, whichever interface it came by; the semantic conventions for HTTP servers.

    http.server.request.duration       s, until the last byte was handed to the server
    http.server.response.first_byte    s, of responses in several parts only; of the others it is the duration
    http.server.active_requests        under way now
    http.server.request.body.size      By
    http.server.response.body.size     By
    websocket.server.connection.duration, websocket.server.active_connections       ours, the conventions have none

Labels: method (unknown ones are `_OTHER`), scheme, route (the framework's template; absent where nothing matched, never the path), status,
`error.type` (the exception, `client_disconnect`, `incomplete_response`, or the status from 500 on).

The instruments' series are bound to the label values once and found by one look-up (`_bound`) after that.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final, cast

from proftool.telemetry.metrics import BYTES, HERE, REGISTRY, SECONDS, SERIES_LIMIT, Series, histogram, updown
from proftool.telemetry.request import HOOKS, Request, tell

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})
DISCONNECTED: Final = "client_disconnect"
INCOMPLETE: Final = "incomplete_response"

CONNECTION_SECONDS: Final = (0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)

_now = time.perf_counter_ns


class _Active(dict[int, "memoryview[float]"]):
    """Lane -> where requests under way are counted."""

    def __init__(self, series: Series) -> None:
        self._series = series

    def make(self, lane: int) -> memoryview[float]:
        """The lane's, if it is new here."""
        found = self[lane] = self._series.at(lane).floats
        return found


_Cells = tuple["memoryview[int]", "memoryview[float]", "memoryview[int]", "memoryview[float]", "memoryview[float]"]
"""Of one lane: duration, its sum; size sent, its sum; requests under way."""


class _Bound:
    """The series of one combination of label values, and their cells, so that a request looks up both once."""

    __slots__ = ("active", "cells", "duration", "first_byte", "received", "sent")

    def __init__(self, duration: Series, first_byte: Series, received: Series, sent: Series, active: Series) -> None:
        self.duration = duration
        self.first_byte = first_byte
        self.received = received
        self.sent = sent
        self.active = active
        self.cells: dict[int, _Cells] = {}

    def of(self, lane: int) -> _Cells:
        """The cells of a lane, made if they are new."""
        duration, sent, active = self.duration.at(lane), self.sent.at(lane), self.active.at(lane)
        found = self.cells[lane] = (duration.ints, duration.floats, sent.ints, sent.floats, active.floats)
        return found


Key = tuple[str, str, str | None, int | None, str | None]


class HttpMetrics:
    """Records requests."""

    def __init__(self) -> None:
        self._duration = histogram("http.server.request.duration", description="Duration of HTTP server requests", buckets=SECONDS)
        self._first_byte = histogram(
            "http.server.response.first_byte", description="Time to the first byte of responses in parts", buckets=SECONDS
        )
        self._received = histogram(
            "http.server.request.body.size", unit="By", description="Size of HTTP server request bodies", buckets=BYTES
        )
        self._sent = histogram(
            "http.server.response.body.size", unit="By", description="Size of HTTP server response bodies", buckets=BYTES
        )
        self._active = updown("http.server.active_requests", unit="{request}", description="Requests under way")
        self._connections = updown("websocket.server.active_connections", unit="{connection}", description="Open WebSockets")
        self._connection_duration = histogram(
            "websocket.server.connection.duration", description="How long WebSockets stayed open", buckets=CONNECTION_SECONDS
        )
        self._bounds: dict[Key, _Bound] = {}
        self._actives: dict[tuple[str, str], _Active] = {}
        REGISTRY.moved.append(self._forget)

    def _forget(self) -> None:
        self._bounds.clear()
        self._actives.clear()

    def start(self, request: Request) -> None:
        """The request is under way; who asked for it is told."""
        key = (request.method, request.scheme)
        cells = self._actives.get(key)
        if cells is None:
            cells = self._actives[key] = _Active(self._active_of(key))
        lane = HERE.lane
        cell = cells.get(lane) or cells.make(lane)
        cell[0] += 1
        if HOOKS.start:
            tell(HOOKS.start, request)

    def _active_of(self, key: tuple[str, str]) -> Series:
        return self._active.series({"http.request.method": key[0], "url.scheme": key[1]})

    def end(self, request: Request) -> None:
        """The request is over; `ended_ns` may be set already."""
        ended = request.ended_ns
        if ended is None:
            ended = request.ended_ns = _now()
        status, error = request.status, request.error
        if error is None and status is not None and status >= 500:
            error = request.error = str(status)
        route = request.route
        if route is None:
            route = request.route = request.resolve(request.carrier)
        if HOOKS.end:
            tell(HOOKS.end, request)
        key = (request.method, request.scheme, route, status, error)
        bound = self._bounds.get(key)
        if bound is None:
            bound = self._bind(key)
        # What `Series.record` does, with one look at the lane: it is half of what a request costs here.
        lane = HERE.lane
        durations, duration_sum, sizes, size_sum, active = bound.cells.get(lane) or bound.of(lane)
        seconds = (ended - request.started_ns) / 1e9
        durations[bisect_left(SECONDS, seconds)] += 1
        duration_sum[_SECONDS_SUM] += seconds
        sent = request.sent
        sizes[bisect_left(BYTES, sent)] += 1
        size_sum[_BYTES_SUM] += sent
        active[0] -= 1
        if request.received:
            bound.received.record(request.received)
        if request.streamed and request.first_byte_ns is not None:
            bound.first_byte.record((request.first_byte_ns - request.started_ns) / 1e9)
        if request.kept:
            bound.duration.exemplify(seconds, request)

    def _bind(self, key: Key) -> _Bound:
        method, scheme, route, status, error = key
        labels: dict[str, object] = {"http.request.method": method, "url.scheme": scheme}
        if route is not None:
            labels["http.route"] = route
        if status is not None:
            labels["http.response.status_code"] = status
        if error is not None:
            labels["error.type"] = error
        found = _Bound(
            self._duration.series(labels),
            self._first_byte.series(labels),
            self._received.series(labels),
            self._sent.series(labels),
            self._active_of((method, scheme)),
        )
        if len(self._bounds) < SERIES_LIMIT:
            self._bounds[key] = found
        return found

    def opened(self, request: Request) -> None:
        """A WebSocket asks to be opened."""
        self._connections.add(1, **{"url.scheme": request.scheme})
        if HOOKS.start:
            tell(HOOKS.start, request)

    def closed(self, request: Request) -> None:
        """A WebSocket is over."""
        request.ended_ns = _now()
        request.route_now()
        if HOOKS.end:
            tell(HOOKS.end, request)
        labels: dict[str, object] = {"url.scheme": request.scheme}
        if request.route is not None:
            labels["http.route"] = request.route
        if request.status is not None:
            labels["http.response.status_code"] = request.status
        if request.error is not None:
            labels["error.type"] = request.error
        series = self._connection_duration.series(labels)
        series.record((request.ended_ns - request.started_ns) / 1e9)
        self._connections.add(-1, **{"url.scheme": request.scheme})


_SECONDS_SUM: Final = len(SECONDS) + 1
_BYTES_SUM: Final = len(BYTES) + 1

_metrics: HttpMetrics | None = None


def http_metrics() -> HttpMetrics:
    """The one recorder of this process; both middlewares share it."""
    global _metrics
    if _metrics is None:
        _metrics = HttpMetrics()
    return _metrics


def server_timing(request: Request, now_ns: int) -> str:
    """Value of the header: how long the application took to its answer, ms; of a kept trace its ids too, for the browser's tools."""
    took = f"app;dur={(now_ns - request.started_ns) / 1e6:.3f}"
    return f'{took}, traceparent;desc="{request.traceparent}"' if request.kept else took


def qualified(error: BaseException) -> str:
    """`error.type` of an exception: its class as it would be imported."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


# --- routes -----------------------------------------------------------------------------------------------------------------


_TEMPLATES: dict[int, tuple[object, str]] = {}
"""id of a route -> (the route, its template): routes cannot be keys, and an id alone may be another's later."""


def asgi_route(scope: dict[str, object]) -> str | None:
    """
    The template that the framework matched; None before, and where none did.

    Starlette and FastAPI put the route into the scope, Litestar the template. What a mount has matched stands only as text in
    `root_path`: the values of its parameters are turned back into their names. FastAPI keeps the path of an included router, prefix
    and all, in a context beside the route.
    """
    route = scope.get("route")
    if route is None:
        template = scope.get("path_template")
        return template if isinstance(template, str) else _django_route(scope.get("path")) if "django.urls" in sys.modules else None
    if (own := scope.get("fastapi")) is not None:
        route = _effective(own) or route
    known = _TEMPLATES.get(id(route))
    if known is None or known[0] is not route:
        path = getattr(route, "path_format", None) or getattr(route, "path", None)
        if not isinstance(path, str):
            return None
        if len(_TEMPLATES) > SERIES_LIMIT:
            _TEMPLATES.clear()
        # A mount of something that has no routes of its own is all in the prefix.
        known = _TEMPLATES[id(route)] = (route, "/{path}" if hasattr(route, "routes") else path)
    return _mounted(scope, known[1]) if "app_root_path" in scope else known[1]


def _effective(own: object) -> object:
    return own.get("effective_route_context") if isinstance(own, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _mounted(scope: dict[str, object], path: str) -> str:
    prefix = cast(str, scope.get("root_path") or "").removeprefix(cast(str, scope["app_root_path"]))
    for name, value in cast(dict[str, object], scope.get("path_params") or {}).items():
        if f"{{{name}}}" not in path:
            prefix = "/".join(f"{{{name}}}" if part == str(value) else part for part in prefix.split("/"))
    return prefix + path


def wsgi_route(environ: dict[str, object]) -> str | None:
    """The template that Flask (any Werkzeug rule) or Django matched; None before, and where none did."""
    if (request := environ.get("werkzeug.request")) is not None:
        rule = getattr(request, "url_rule", None)
        return getattr(rule, "rule", None)
    return _django_route(environ.get("PATH_INFO")) if "django.urls" in sys.modules else None


def _django_route(path: object) -> str | None:
    resolve = cast(Callable[[str], Any], sys.modules["django.urls"].resolve)
    try:
        return "/" + str(resolve(str(path)).route)
    except Exception:  # not Django's request after all: no settings, no such path
        return None


def django_route_of(response: object) -> str | None:
    """The template from Django's own response, which knows the request that it answers; None of any other object."""
    for closer in getattr(response, "_resource_closers", ()):
        match = getattr(getattr(closer, "__self__", None), "resolver_match", None)
        if match is not None:
            return "/" + str(match.route)
    return None
