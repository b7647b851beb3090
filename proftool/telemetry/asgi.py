"""Middleware for ASGI applications: HTTP, WebSockets and lifespan; a pure wrapper, no request object of a framework is made.

Nothing is read, written or waited for; what it costs is measured in docs/pages/explanation/services.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import cast

from proftool.telemetry.asgi_compiled import PATH
from proftool.telemetry.asgi_exchange import (
    SEEN,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    TimedExchange,
    asgi_context,
    is_disconnect,
)
from proftool.telemetry.failures import DISCONNECTED
from proftool.telemetry.http import Counts, asgi_route, http_metrics
from proftool.telemetry.metrics import HERE
from proftool.telemetry.raised import qualified
from proftool.telemetry.request import CURRENT, Request, raised
from proftool.telemetry.spans_frameworks import stands_within

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_now = time.perf_counter_ns


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
        exchange = PATH.begin(self._exchange, self._lanes, HERE.lane, scope, receive, send, self._metrics_path)
        if exchange is None:
            counts = self._counts(scope)
            if counts is None:
                await self._aside(scope, receive, send)
                return
            exchange = PATH.start(self._exchange, counts, scope, receive, send)
        token = CURRENT.set(exchange)
        app = self.app
        try:
            await app(scope, exchange.receiving, exchange.sending)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            CURRENT.reset(token)
            exchange.done()

    def _counts(self, scope: Scope) -> Counts | None:
        """Where a request is counted that is the first of its kind; None of what is no request to be measured."""
        if not self._is_ready:
            self._get_ready()
            self._lanes = self._http.lanes
        if scope["type"] != "http" or SEEN in scope or scope["path"] == self._metrics_path:
            return None
        stands_within(scope.get("app"))
        return self._http.counts(scope["method"], scope.get("scheme", "http"))

    async def _aside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything that is no request to be measured."""
        if SEEN in scope or scope["type"] not in ("http", "websocket"):
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

        scope[SEEN] = True
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
