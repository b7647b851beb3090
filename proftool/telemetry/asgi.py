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

from proftool.telemetry.http import DISCONNECTED, INCOMPLETE, asgi_route, http_metrics, qualified, server_timing
from proftool.telemetry.request import CURRENT, Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_now = time.perf_counter_ns
_SEEN = "proftool.request"
"""Scope key of the request: an application wrapped twice is measured once."""


class ASGIMiddleware:
    """Measures every request of the application.

    Args:
        server_timing: answer with a `Server-Timing` header.
        metrics_path: answer this path with the OpenMetrics text of all workers; None leaves that to the application.
    """

    def __init__(self, app: Application, *, server_timing: bool = True, metrics_path: str | None = None) -> None:
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
        request = Request(
            "http", scope["method"], scope.get("scheme", "http"), scope["path"], cast(dict[str, object], scope), asgi_route, _now()
        )
        http, timed = self._http, self._server_timing
        headers: dict[bytes, bytes] = dict(scope["headers"])
        traceparent = headers.get(b"traceparent")
        if traceparent is None:
            http.start(request, None, "")
        else:
            http.start(request, *_context(scope))
        length = headers.get(b"content-length", b"")
        received, counted = (int(length), True) if length.isdigit() else (0, False)
        sent = 0
        streamed = is_over = is_disconnected = is_recorded = False

        def sending(message: Message) -> Awaitable[None]:
            nonlocal sent, streamed, is_over, is_recorded
            kind = message["type"]
            if kind == "http.response.body":
                if body := message.get("body"):
                    sent += len(body)
                if message.get("more_body"):
                    if not streamed and body:
                        streamed = True
                        request.first_byte_ns = _now()
                elif not is_over:
                    is_over = True
                    request.ended_ns = _now()
                    if request.status is not None and request.status < 500:
                        is_recorded = True
                        http.end(request, received, sent, streamed=streamed)
            elif kind == "http.response.start":
                request.status = message["status"]
                if timed:
                    value = server_timing(request, _now())
                    message = {**message, "headers": [*message.get("headers", ()), (b"server-timing", value.encode())]}
            elif kind in ("http.response.pathsend", "http.response.zerocopysend") and not message.get("more_body"):
                is_over = True
            return send(message)

        async def receiving() -> Message:
            nonlocal received, is_disconnected
            message = await receive()
            if message["type"] == "http.disconnect":
                is_disconnected = not is_over
            elif not counted:
                received += len(message.get("body", b""))
            return message

        scope[_SEEN] = request
        token = CURRENT.set(request)
        try:
            await self.app(scope, receiving, sending)
        except BaseException as error:
            if not is_recorded:
                request.error = DISCONNECTED if is_disconnected or _is_disconnect(error) else qualified(error)
                if request.status is None and isinstance(error, Exception) and request.error != DISCONNECTED:
                    request.status = 500  # what every server answers for it
            raise
        finally:
            CURRENT.reset(token)
            if not is_recorded:
                if not is_over and request.error is None:
                    request.error = DISCONNECTED if is_disconnected else INCOMPLETE
                http.end(request, received, sent, streamed=streamed)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request("websocket", "GET", scope.get("scheme", "ws"), scope["path"], cast(dict[str, object], scope), asgi_route, _now())
        self._http.opened(request, *_context(scope))

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

        scope[_SEEN] = request
        token = CURRENT.set(request)
        try:
            await self.app(scope, receive, sending)
        except BaseException as error:
            request.error = qualified(error)
            raise
        finally:
            CURRENT.reset(token)
            self._http.closed(request)


def _context(scope: Scope) -> tuple[str | None, str]:
    """The traceparent (None: absent, or sent twice, which makes it invalid) and the joined tracestate."""
    parents = [value for name, value in scope["headers"] if name == b"traceparent"]
    states = [value.decode("latin-1") for name, value in scope["headers"] if name == b"tracestate"]
    return parents[0].decode("latin-1") if len(parents) == 1 else None, ",".join(states)


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
