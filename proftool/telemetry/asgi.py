"""Middleware for ASGI applications: HTTP, WebSockets and lifespan; a pure wrapper, no request object is made.

A request ends with the last part of its response, not with the call: what Starlette runs in the background afterwards is not the
client's time. Responses from 500 on are recorded when the call ends, for Starlette answers first and raises then.
The wrapper of `send` is a plain function that returns the server's own awaitable, which spares a coroutine a message.
Nothing is read, written or waited for; measured in docs/pages/explanation/services.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from proftool.telemetry.http import (
    BYTES_SUM,
    DISCONNECTED,
    FIRST_BYTES,
    FIRST_NS,
    INCOMPLETE,
    LOOK_NS,
    SECONDS_SUM,
    Cells,
    Counted,
    Counts,
    Rare,
    asgi_route,
    effective_route,
    http_metrics,
    qualified,
    server_timing,
)
from proftool.telemetry.metrics import BYTES, HERE, SECONDS
from proftool.telemetry.request import CURRENT, HOOKS, Context, Request, tell

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_now = time.perf_counter_ns
_new = object.__new__
_SEEN = "proftool.request"
"""Scope key: an application wrapped twice is measured once. It does not hold the request, which holds the scope: no cycle for the GC."""

_UNDER_WAY, _LEFT, _ANSWERED, _RECORDED = range(4)
"""Of a request: no end yet · the client is gone before the end · the last part was sent · and counted."""
_DONE: dict[Any, Any] = {}
"""In place of `cells`: the request is counted."""


def asgi_context(scope: dict[str, object]) -> Context:
    """Values of traceparent and tracestate in the scope."""
    headers = cast(list[tuple[bytes, bytes]], scope["headers"])
    if b"traceparent" not in dict(headers):
        return (), ()
    parents = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
    return parents, [value.decode("latin-1") for name, value in headers if name == b"tracestate"]


def _header(scope: dict[str, object], wanted: bytes) -> bytes | None:
    for name, value in cast(list[tuple[bytes, bytes]], scope["headers"]):
        if name == wanted:
            return value
    return None


class _Exchange(Counted):
    """A request, and what stands between the application and the server for it: one object, and five fields where nothing is unusual."""

    kind = "http"
    resolve = staticmethod(asgi_route)
    unread = staticmethod(asgi_context)
    has_length = False
    """Is there a content-length? Else the body is counted as it is read."""
    _state = _UNDER_WAY
    _route: str | None = None
    _kept: bool | None = None

    cells: dict[tuple[int, int | None], tuple[Cells, object]] | None
    """Where a request is counted of which nothing unusual is known; None: something is; `_DONE`: it is counted."""
    receive: Receive
    send: Send

    @property
    def path(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # nobody sets one
        return cast(str, self.carrier["path"])

    @property
    def route(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]  # with its setter it is one
        if self._route is None and self.ended_ns is not None:
            self._route = asgi_route(self.carrier)
        return self._route

    @route.setter
    def route(self, route: str | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._route = route
        self._is_unusual()

    @property
    def kept(self) -> bool:
        if self._kept is None:
            self._kept = False
            if self.span is not None and cast(Any, self.span).local is not None:
                return self._kept  # tracing said so
            parent = _header(self.carrier, b"traceparent")
            if parent is not None and parent[-2:] != b"00":
                self.begin()
        return self._kept

    @kept.setter
    def kept(self, kept: bool) -> None:
        self._kept = kept
        if kept:
            self.counts.look_ns = 0

    @property
    def has_parent(self) -> bool:
        return b"traceparent" in dict(cast(list[tuple[bytes, bytes]], self.carrier["headers"]))

    def _is_unusual(self) -> None:
        if self.cells is not _DONE:
            self.cells = None

    def sending(self, message: Message) -> Awaitable[None]:
        """What the application calls to answer."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
        elif (cells := self.cells) is None or kind != "http.response.body" or message.get("more_body"):
            self._part(kind, message)
        else:
            scope = self.carrier
            route = scope.get("route")
            if "fastapi" in scope:
                route = effective_route(scope["fastapi"]) or route
            elif route is None and ("path_template" in scope or "django.urls" in sys.modules):
                route = scope  # which no route is: found by `asgi_route`
            found = cells.get((id(route), self.status))
            if found is None or "app_root_path" in scope:
                self._part(kind, message)
            else:
                # `Counts.end` of a request of which nothing unusual is known, in as few steps as there can be.
                self.cells = _DONE
                self.sent = sent = len(message.get("body", b""))
                self.ended_ns = ended_ns = _now()
                if HOOKS.end:
                    tell(HOOKS.end, self)
                (durations, duration_sum, sizes, size_sum, active, rare), _ = found
                took_ns = ended_ns - self.started_ns
                seconds = took_ns / 1e9
                durations[0 if took_ns <= FIRST_NS else bisect_left(SECONDS, seconds)] += 1
                duration_sum[SECONDS_SUM] += seconds
                sizes[1 if 0 < sent <= FIRST_BYTES else bisect_left(BYTES, sent)] += 1
                size_sum[BYTES_SUM] += sent
                active[0] -= 1
                if ended_ns >= self.counts.look_ns:
                    self._exemplify(seconds, rare)
        return self.send(message)

    def _exemplify(self, seconds: float, rare: Rare) -> None:
        if self.kept:
            rare.duration.exemplify(seconds, self)
        elif not self.trace_id_drawn and not asgi_context(self.carrier)[0]:
            self.counts.look_ns = cast(int, self.ended_ns) + LOOK_NS

    def _part(self, kind: str, message: Message) -> None:
        """A part of the response, where something is unusual."""
        if kind == "http.response.body":
            if body := message.get("body"):
                self.sent += len(body)
            if message.get("more_body"):
                if body and not self.streamed:
                    self.streamed = True
                    self.first_byte_ns = _now()
                    self._is_unusual()
            elif self.cells is not _DONE:
                self.ended_ns = _now()
                status = self.status
                if status is not None and status < 500:
                    self._learn(status)
                    self.cells = _DONE
                    self.counts.end(self)
                else:
                    self._state = _ANSWERED
        elif kind in ("http.response.pathsend", "http.response.zerocopysend") and not message.get("more_body"):
            self._state = _ANSWERED

    def _learn(self, status: int) -> None:
        """Where the next request is counted that is as usual as this one."""
        scope = self.carrier
        route = scope.get("route")
        if self.cells is None or "app_root_path" in scope:
            return
        if "fastapi" in scope:
            route = effective_route(scope["fastapi"]) or route
        elif route is None and ("path_template" in scope or "django.urls" in sys.modules):
            return
        self.counts.keep(route, status, self.counts.cells(asgi_route(scope), status))

    async def receiving(self) -> Message:
        """What the application calls for the request's body, and to hear that the client is gone."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            if self._state == _UNDER_WAY and self.cells is not _DONE:
                self._state = _LEFT
                self.cells = None
        elif not self.has_length and (body := message.get("body")):
            self.received += len(body)
            self._is_unusual()
        return message

    def headed(self) -> None:
        """The request may have a body."""
        self.cells = None
        length = _header(self.carrier, b"content-length")
        if length is not None and length.isdigit():
            self.has_length, self.received = True, int(length)

    def failed(self, error: BaseException) -> None:
        """The application raised."""
        if self.cells is _DONE:
            return
        if self._state == _LEFT or _is_disconnect(error):
            self.error = DISCONNECTED
        else:
            self.error = qualified(error)
            if self.status is None and isinstance(error, Exception):
                self.status = 500  # what every server answers for it

    def left(self) -> None:
        """The application is done, and the request is not counted yet."""
        if self._state != _ANSWERED and self.error is None:
            self.error = DISCONNECTED if self._state == _LEFT else INCOMPLETE
        self.cells = _DONE
        self.counts.end(self)


class _TimedExchange(_Exchange):
    """Answers with a `Server-Timing` header."""

    __slots__ = ()

    def sending(self, message: Message) -> Awaitable[None]:
        """What the application calls to answer."""
        if message["type"] == "http.response.start":
            value = server_timing(self, _now())
            message = {**message, "headers": [*message.get("headers", ()), (b"server-timing", value.encode())]}
        return super().sending(message)


class ASGIMiddleware:
    """Measures every request of the application.

    Args:
        server_timing: answer with a `Server-Timing` header, which shows browsers, and whoever asks, how long the application took.
        metrics_path: answer this path with the OpenMetrics text of all workers; None leaves that to the application.
    """

    def __init__(self, app: Application, *, server_timing: bool = False, metrics_path: str | None = None) -> None:
        self.app = app
        self._exchange = _TimedExchange if server_timing else _Exchange
        self._metrics_path = metrics_path
        self._http = http_metrics()
        self._is_ready = False
        self._lanes: dict[int, dict[str, dict[str, Counts]]] = {}
        """Those of the metrics, once everything is ready: so one look-up finds both."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            counts = self._lanes[HERE.lane][scope["scheme"]][scope["method"]]
        except KeyError:
            counts = None
        if counts is None or _SEEN in scope or (self._metrics_path is not None and scope["path"] == self._metrics_path):
            counts = self._counts(scope)
            if counts is None:
                await self._aside(scope, receive, send)
                return
        # Not by a call of the class: that is a tenth of what a request costs here.
        exchange = _new(self._exchange)
        exchange.counts = counts
        exchange.carrier = scope  # pyright: ignore[reportAttributeAccessIssue]  # every server gives a dict, and a cast costs 0.1 µs
        exchange.receive = receive
        exchange.send = send
        exchange.cells = counts.by_route
        exchange.started_ns = _now()
        if counts.has_bodies:
            exchange.headed()
        counts.active[0] += 1
        if HOOKS.start:
            tell(HOOKS.start, exchange)
        scope[_SEEN] = True
        token = CURRENT.set(exchange)
        try:
            await self.app(scope, exchange.receiving, exchange.sending)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            CURRENT.reset(token)
            if exchange.cells is not _DONE:
                exchange.left()

    def _counts(self, scope: Scope) -> Counts | None:
        """Where a request is counted that is the first of its kind; None of what is no request to be measured."""
        if not self._is_ready:
            self._get_ready()
            self._lanes = self._http.lanes
        if scope["type"] != "http" or _SEEN in scope or scope["path"] == self._metrics_path:
            return None
        return self._http.counts(scope["method"], scope.get("scheme", "http"))

    async def _aside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything that is no request to be measured."""
        if _SEEN in scope or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await _expose(send)

    def _get_ready(self) -> None:
        from proftool.telemetry.runtime import watch_loop
        from proftool.telemetry.service import setup

        setup()
        with contextlib.suppress(RuntimeError):  # trio's loop
            watch_loop(asyncio.get_running_loop())
        self._is_ready = True

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request("websocket", "GET", scope.get("scheme", "ws"), scope["path"], cast(dict[str, object], scope), asgi_route, _now())
        request.unread = asgi_context
        self._http.opened(request)

        def sending(message: Message) -> Awaitable[None]:
            kind = message["type"]
            if kind == "websocket.accept":
                request.status = 101
                request.first_byte_ns = _now()
            elif kind == "websocket.close" and request.status is None:
                request.status = 403  # closed before it was accepted
            elif kind == "websocket.http.response.start":
                request.status = message["status"]
            return send(message)

        scope[_SEEN] = True
        token = CURRENT.set(request)
        try:
            await self.app(scope, receive, sending)
        except BaseException as error:
            request.error = qualified(error)
            raise
        finally:
            CURRENT.reset(token)
            self._http.closed(request)


def _is_disconnect(error: BaseException) -> bool:
    # A server of ASGI 2.4 raises OSError from `send` once the client is gone; Starlette makes ClientDisconnect of it.
    return isinstance(error, ConnectionError | BrokenPipeError) or type(error).__name__ == "ClientDisconnect"


async def _expose(send: Send) -> None:
    from proftool.telemetry.openmetrics import CONTENT_TYPE, exposition

    # Other workers' files are read: in a thread, for it may take milliseconds.
    text = await asyncio.to_thread(exposition)
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
