"""Middleware for ASGI applications: HTTP, WebSockets and lifespan; a pure wrapper, no request object is made.

A request ends with the last part of its response, not with the call: what Starlette runs in the background afterwards is not the
client's time. Responses from 500 on are recorded when the call ends, for Starlette answers first and raises then.
The wrapper of `send` is a plain function that returns the server's own awaitable, which spares a coroutine a message.
Nothing is read, written or waited for; measured in docs/pages/explanation/services.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from proftool.telemetry.http import DISCONNECTED, INCOMPLETE, METHODS, asgi_route, http_metrics, qualified, server_timing
from proftool.telemetry.request import CURRENT, Context, Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_now = time.perf_counter_ns
_SEEN = "proftool.request"
"""Scope key: an application wrapped twice is measured once. It does not hold the request, which holds the scope: no cycle for the GC."""

_UNDER_WAY, _LEFT, _ANSWERED, _RECORDED = range(4)
"""Of a request: no end yet · the client is gone before the end · the last part was sent · and counted."""


class ASGIMiddleware:
    """Measures every request of the application.

    Args:
        server_timing: answer with a `Server-Timing` header, which shows browsers, and whoever asks, how long the application took.
        metrics_path: answer this path with the OpenMetrics text of all workers; None leaves that to the application.
    """

    def __init__(self, app: Application, *, server_timing: bool = False, metrics_path: str | None = None) -> None:
        self.app = app
        self._server_timing = server_timing
        self._metrics_path = metrics_path
        self._http = http_metrics()
        self._is_ready = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if not self._is_ready:
            self._get_ready()
        if kind == "http" and _SEEN not in scope:
            if scope["path"] == self._metrics_path:
                await _expose(send)
                return
            await self._serve(scope, receive, send)
        elif kind == "websocket" and _SEEN not in scope:
            await self._connect(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _get_ready(self) -> None:
        from proftool.telemetry.runtime import watch_loop
        from proftool.telemetry.service import setup

        setup()
        with contextlib.suppress(RuntimeError):  # trio's loop
            watch_loop(asyncio.get_running_loop())
        self._is_ready = True

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method not in METHODS:
            method = "_OTHER"
        request = Request("http", method, scope.get("scheme", "http"), scope["path"], scope, asgi_route, _now())  # pyright: ignore[reportArgumentType]  # every server gives a dict, and a cast costs 0.4 µs
        http, timed = self._http, self._server_timing
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if (parent := headers.get(b"traceparent")) is not None:
            request.unread = asgi_context
            if parent[-2:] != b"00":  # sampled, perhaps: an exemplar may point to it
                request.begin()
        length = headers.get(b"content-length")
        if length is not None and length.isdigit():
            request.received = int(length)
        http.start(request)
        state = _UNDER_WAY

        def sending(message: Message) -> Awaitable[None]:
            nonlocal state
            kind = message["type"]
            if kind == "http.response.body":
                if body := message.get("body"):
                    request.sent += len(body)
                if message.get("more_body"):
                    if body and not request.streamed:
                        request.streamed = True
                        request.first_byte_ns = _now()
                elif state != _RECORDED:
                    request.ended_ns = _now()
                    status = request.status
                    if status is not None and status < 500:
                        state = _RECORDED
                        http.end(request)
                    else:
                        state = _ANSWERED
            elif kind == "http.response.start":
                request.status = message["status"]
                if timed:
                    value = server_timing(request, _now())
                    message = {**message, "headers": [*message.get("headers", ()), (b"server-timing", value.encode())]}
            elif kind in ("http.response.pathsend", "http.response.zerocopysend") and not message.get("more_body"):
                state = _ANSWERED
            return send(message)

        async def receiving() -> Message:
            nonlocal state
            message = await receive()
            if message["type"] == "http.disconnect":
                if state == _UNDER_WAY:
                    state = _LEFT
            elif length is None:
                request.received += len(message.get("body", b""))
            return message

        scope[_SEEN] = True
        token = CURRENT.set(request)
        try:
            await self.app(scope, receiving, sending)
        except BaseException as error:
            if state != _RECORDED:
                if state == _LEFT or _is_disconnect(error):
                    request.error = DISCONNECTED
                else:
                    request.error = qualified(error)
                    if request.status is None and isinstance(error, Exception):
                        request.status = 500  # what every server answers for it
            raise
        finally:
            CURRENT.reset(token)
            if state != _RECORDED:
                if state != _ANSWERED and request.error is None:
                    request.error = DISCONNECTED if state == _LEFT else INCOMPLETE
                http.end(request)

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


def asgi_context(scope: dict[str, object]) -> Context:
    """Values of traceparent and tracestate in the scope."""
    headers = cast(list[tuple[bytes, bytes]], scope["headers"])
    parents = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
    return parents, [value.decode("latin-1") for name, value in headers if name == b"tracestate"]


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
