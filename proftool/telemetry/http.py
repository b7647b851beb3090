"""What is measured of a request, whichever interface it came by; the semantic conventions for HTTP servers.

    http.server.request.duration       s, until the last byte was handed to the server
    http.server.response.first_byte    s, of responses in several parts only; of the others it is the duration
    http.server.active_requests        under way now
    http.server.request.body.size      By
    http.server.response.body.size     By
    websocket.server.connection.duration, websocket.server.active_connections       ours, the conventions have none

Labels: method (unknown ones are `_OTHER`), scheme, route (the framework's template; absent where nothing matched, never the path), status,
`error.type` (the exception, `client_disconnect`, `incomplete_response`, or the status from 500 on).

What a request costs is a few look-ups and stores: a thread's cells are found by method and scheme when the request starts (`Counts`),
and by route, status and error when it ends.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from proftool.telemetry.metrics import BYTES, HERE, REGISTRY, SECONDS, SERIES_LIMIT, Series, histogram, updown
from proftool.telemetry.request import HOOKS, Request, tell

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"})

CONNECTION_SECONDS: Final = (0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0)

_now = time.perf_counter_ns


class Rare(NamedTuple):
    """Series that few requests record to."""

    duration: Series
    """For exemplars."""
    first_byte: Series
    received: Series


Cells = tuple["memoryview[int]", "memoryview[float]", "memoryview[int]", "memoryview[float]", "memoryview[float]", Rare]
"""Of one lane: duration, its sum; size sent, its sum; requests under way; the rest."""

Known = tuple[Cells, "str | None", object]
"""Where requests of a framework's route are counted, its template, and the route itself, so that its id stays its own."""

FIRST_NS: Final = 5_000_000
FIRST_BYTES: Final = 256
"""Upper bounds of the buckets that most requests of a quick service are in: those are found without a bisection."""
SECONDS_SUM: Final = len(SECONDS) + 1
BYTES_SUM: Final = len(BYTES) + 1
_INT_BYTES: Final = tuple(map(int, BYTES))
LOOK_NS: Final = 100_000_000
"""So long headers are not searched for a trace that an exemplar could point to, once there was none."""
assert (SECONDS[0], BYTES[1]) == (FIRST_NS / 1e9, FIRST_BYTES)


class Counts:
    """Where one thread counts requests of one method and scheme."""

    __slots__ = ("_cells", "_http", "_is_old", "active", "by_route", "has_bodies", "lane", "look_ns", "method", "scheme")

    def __init__(self, http: HttpMetrics, lane: int, method: str, scheme: str) -> None:
        self._http = http
        self.lane = lane
        self.method = method
        self.scheme = scheme
        self.active = http.active_of(method, scheme).at(lane).floats
        self._cells: dict[tuple[str | None, int | None, str | None], Cells] = {}
        """Route, status and error -> cells."""
        self.by_route: dict[tuple[int, int | None], Known] = {}
        """For the ASGI middleware, by the id of a framework's route and the status."""
        self.has_bodies = method not in ("GET", "HEAD", "OPTIONS")
        """Other requests hardly ever have a body; one is measured as the application reads it."""
        self.look_ns = 0
        """Before that time no header is searched for an exemplar."""
        self._is_old = False

    def forget(self) -> None:
        """The cells were replaced; requests under way are still counted by this object, in the new ones."""
        self._is_old = True
        self._cells.clear()
        self.by_route.clear()

    def end(self, request: Request) -> None:
        """The request is over; `ended_ns` may be set already. Called by the thread that started it."""
        ended_ns = request.ended_ns
        if ended_ns is None:
            ended_ns = request.ended_ns = _now()
        status, error = request.status, request.error
        if error is None and status is not None and status >= 500:
            error = request.error = str(status)
        if HOOKS.end:
            tell(HOOKS.end, request)
        key = (request.route_now(), status, error)
        durations, duration_sum, sizes, size_sum, active, rare = self._cells.get(key) or self._find(key)
        # What `Series.record` does, on cells that are looked up once.
        seconds = (ended_ns - request.started_ns) / 1e9
        durations[bisect_left(SECONDS, seconds)] += 1
        duration_sum[SECONDS_SUM] += seconds
        sizes[bisect_left(_INT_BYTES, request.sent)] += 1
        size_sum[BYTES_SUM] += request.sent
        active[0] -= 1
        if request.received:
            rare.received.record(request.received)
        if request.streamed and request.first_byte_ns is not None:
            rare.first_byte.record((request.first_byte_ns - request.started_ns) / 1e9)
        if request.kept:
            rare.duration.exemplify(seconds, request)

    def here(self) -> Counts:
        """Where this thread counts such requests."""
        return self if self.lane == HERE.lane else self._http.counts(self.method, self.scheme)

    def keep(self, route: object, status: int | None, template: str | None) -> None:
        """That route has this template wherever it is found, and its requests no error."""
        if not self._is_old and len(self.by_route) < SERIES_LIMIT:
            key = (template, status, None)
            self.by_route[id(route), status] = (self._cells.get(key) or self._find(key), template, route)

    def _find(self, key: tuple[str | None, int | None, str | None]) -> Cells:
        found = self._http.cells(self.lane, self.method, self.scheme, *key)
        if not self._is_old and len(self._cells) < SERIES_LIMIT:
            self._cells[key] = found
        return found


class Counted(Request):
    """A request that knows where it is counted. It is made without `Request.__init__`, whose call costs more than what it does."""

    kind = "http"
    counts: Counts

    @property
    def method(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # nobody sets one
        return self.counts.method

    @property
    def scheme(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.counts.scheme


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
        self.lanes: dict[int, dict[str, dict[str, Counts]]] = {}
        """Lane -> scheme -> method -> where it counts. Only the lane's thread writes its own."""
        REGISTRY.moved.append(self._forget)

    def _forget(self) -> None:
        before = list(self.lanes.values())
        self.lanes.clear()
        for schemes in before:
            for methods in list(schemes.values()):
                for counts in list(methods.values()):
                    counts.forget()

    def counts(self, method: str, scheme: str) -> Counts:
        """Where this thread counts them; any method may be asked for."""
        if method not in METHODS:
            method = "_OTHER"
        lane = HERE.lane
        methods = self.lanes.setdefault(lane, {}).setdefault(scheme, {})
        found = methods.get(method)
        if found is None:
            found = methods[method] = Counts(self, lane, method, scheme)
        return found

    def active_of(self, method: str, scheme: str) -> Series:
        """The series of requests under way."""
        return self._active.series({"http.request.method": method, "url.scheme": scheme})

    def cells(self, lane: int, method: str, scheme: str, route: str | None, status: int | None, error: str | None) -> Cells:
        """The lane's cells of that combination of label values."""
        labels: dict[str, object] = {"http.request.method": method, "url.scheme": scheme}
        if route is not None:
            labels["http.route"] = route
        if status is not None:
            labels["http.response.status_code"] = status
        if error is not None:
            labels["error.type"] = error
        of = self._duration.series(labels)
        duration, sent, active = of.at(lane), self._sent.series(labels).at(lane), self.active_of(method, scheme).at(lane)
        rare = Rare(of, self._first_byte.series(labels), self._received.series(labels))
        return duration.ints, duration.floats, sent.ints, sent.floats, active.floats, rare

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
        route = effective_route(own) or route
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


def effective_route(own: object) -> object:
    """What stands for the route in FastAPI's part of a scope: the context of a router that was included; None where there is none."""
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
