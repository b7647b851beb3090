"""Middleware for ASGI applications: HTTP, WebSockets and lifespan; a pure wrapper, no request object of a framework is made.

Nothing is read, written or waited for; what it costs is measured in docs/pages/explanation/services.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import cast

from proftool.telemetry.asgi_exchange import (
    DONE,
    GONE,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    TimedExchange,
    asgi_context,
    is_disconnect,
    receive_no_more,
    send_no_more,
)
from proftool.telemetry.failures import DISCONNECTED
from proftool.telemetry.http import Counts, asgi_route, http_metrics
from proftool.telemetry.metrics import HERE
from proftool.telemetry.raised import qualified
from proftool.telemetry.request import CURRENT, HOOKS, Request, raised, tell

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_now = time.perf_counter_ns
_new = object.__new__
_SEEN = "proftool.request"
"""Scope key: an application wrapped twice is measured once. It does not hold the request, which holds the scope: no cycle for the GC."""


class ASGIMiddleware:
    """Measures every request of the application.

    Args:
        server_timing: answer with a `Server-Timing` header, which shows browsers, and whoever asks, how long the application took.
        metrics_path: answer this path with the OpenMetrics text of all workers; None leaves that to the application.
    """

    def __init__(self, app: Application, *, server_timing: bool = False, metrics_path: str | None = None) -> None:
        self.app = app
        self._exchange = TimedExchange if server_timing else Exchange
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
        exchange.scope = scope
        exchange.receive = receive
        exchange.send = send
        exchange.cells = counts.by_route
        exchange.status = exchange.ended_ns = exchange.error = exchange.span = exchange.known_route = exchange.known_kept = None
        exchange.sent = exchange.trace_id_drawn = 0
        exchange.started_ns = _now()
        if counts.has_bodies:
            exchange.headed()
        counts.active[0] += 1
        if HOOKS.start:
            tell(HOOKS.start, exchange)
        scope[_SEEN] = True
        token = CURRENT.set(exchange)
        app = self.app
        try:
            await app(scope, exchange.receiving, exchange.sending)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            CURRENT.reset(token)
            if exchange.cells is not DONE:
                exchange.left()
            # Servers set timers while an answer is sent (uvicorn's keep-alive), each with a copy of this context, and asyncio keeps
            # cancelled timers until a hundred have gathered: scope, state and messages of as many requests would live on, and all
            # memory be cold when it is used again. It was a third of what the middleware cost in a server.
            exchange.headers, exchange.asked_path = scope.get("headers", ()), scope.get("path", "")
            exchange.scope = GONE
            exchange.receive, exchange.send = receive_no_more, send_no_more

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
        from proftool.telemetry import swallowed
        from proftool.telemetry.runtime import watch_loop
        from proftool.telemetry.service import setup

        setup()
        swallowed.follow()
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
            if is_disconnect(error, send):
                request.error = DISCONNECTED
            else:
                request.error = qualified(error)
                raised(request, error)
            raise
        finally:
            CURRENT.reset(token)
            self._http.closed(request)
            request.carrier = {"headers": scope.get("headers", ())}  # as of an HTTP request: copies of the context hold no more


async def _expose(send: Send) -> None:
    from proftool.telemetry.openmetrics import CONTENT_TYPE, exposition

    # Other workers' files are read: in a thread, for it may take milliseconds.
    text = await asyncio.to_thread(exposition)
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
