"""One HTTP request of an ASGI application: what stands between the application and the server for it, and sees how it ends.

A request ends with the last part of its response, not with the call: what Starlette runs in the background afterwards is not the
client's time. Responses from 500 on are recorded when the call ends, for Starlette answers first and raises then.
The wrapper of `send` is a plain function that returns the server's own awaitable, which spares a coroutine a message.
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from proftool.telemetry.failures import DISCONNECTED, INCOMPLETE
from proftool.telemetry.http import (
    BYTES_SUM,
    FIRST_BYTES,
    FIRST_NS,
    LOOK_NS,
    SECONDS_SUM,
    Counted,
    Counts,
    Known,
    Rare,
    asgi_route,
    effective_route,
    server_timing,
)
from proftool.telemetry.metrics import BYTES, SECONDS
from proftool.telemetry.raised import qualified
from proftool.telemetry.request import HOOKS, Context, raised, tell

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_now = time.perf_counter_ns

_new = object.__new__
SEEN = "proftool.request"
"""Scope key: an application wrapped twice is measured once. It does not hold the request, which holds the scope: no cycle for the GC."""

_UNDER_WAY, _LEFT, _ANSWERED = range(3)
"""Of a request: no end yet · the client is gone before the end · the last part was sent."""
DONE: dict[Any, Any] = {}
"""In place of `cells`: the request is counted."""
GONE: Scope = {}
"""In place of the scope: the application is done with the request."""


def asgi_context(scope: dict[str, object]) -> Context:
    """Values of traceparent and tracestate in the scope."""
    headers = cast(list[tuple[bytes, bytes]], scope.get("headers", ()))
    if b"traceparent" not in dict(headers):
        return (), ()
    parents = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
    return parents, [value.decode("latin-1") for name, value in headers if name == b"tracestate"]


def _header(scope: dict[str, object], wanted: bytes) -> bytes | None:
    for name, value in cast(list[tuple[bytes, bytes]], scope.get("headers", ())):
        if name == wanted:
            return value
    return None


class Exchange(Counted):
    """A request, and what stands between the application and the server for it: one object.

    What every request sets and reads is in slots: an attribute for which the class has a default too is looked up in both, every time.
    """

    __slots__ = (
        "asked_path",
        "cells",
        "counts",
        "ended_ns",
        "error",
        "headers",
        "known_kept",
        "known_route",
        "receive",
        "scope",
        "send",
        "sent",
        "span",
        "started_ns",
        "status",
        "trace_id_drawn",
    )
    kind = "http"
    resolve = staticmethod(asgi_route)
    unread = staticmethod(asgi_context)
    has_length = False
    """Is there a content-length? Else the body is counted as it is read."""
    _state = _UNDER_WAY

    cells: dict[tuple[int, int | None], Known] | None
    """Where a request is counted of which nothing unusual is known; None: something is; `DONE`: it is counted."""
    receive: Receive
    send: Send
    scope: Scope
    """`GONE` once the application is done: what may still be asked for is then in the next two."""
    headers: object
    """Where there is a trace context among them."""
    asked_path: str
    known_route: str | None
    known_kept: bool | None

    @property
    def carrier(self) -> dict[str, object]:  # pyright: ignore[reportIncompatibleVariableOverride]  # nobody sets one
        scope = self.scope  # once: the sampler asks from another thread, and the request may be over in between
        return {"headers": self.headers, "path": self.asked_path} if scope is GONE else cast(dict[str, object], scope)

    @property
    def path(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return cast(str, self.carrier.get("path", ""))

    @property
    def route(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]  # with its setter it is one
        if self.known_route is None and self.ended_ns is not None and self.scope is not GONE:
            self.known_route = asgi_route(self.carrier)
        return self.known_route

    @route.setter
    def route(self, route: str | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.known_route = route
        self._is_unusual()

    @property
    def kept(self) -> bool:
        if self.known_kept is None:
            self.known_kept = False
            if HOOKS.asked and self.ended_ns is None:
                tell(HOOKS.asked, self)
                return self.known_kept
            parent = _header(self.carrier, b"traceparent")
            if parent is not None and parent[-2:] != b"00":
                self.begin()
        return self.known_kept

    @kept.setter
    def kept(self, kept: bool) -> None:
        self.known_kept = kept
        if kept:
            self.counts.look_ns = 0

    @property
    def has_parent(self) -> bool:
        scope = self.scope
        headers = self.headers if scope is GONE else scope.get("headers", ())
        return b"traceparent" in dict(cast(list[tuple[bytes, bytes]], headers))

    def _is_unusual(self) -> None:
        if self.cells is not DONE:
            self.cells = None

    def sending(self, message: Message) -> Awaitable[None]:
        """What the application calls to answer."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
        elif (cells := self.cells) is None or kind != "http.response.body" or message.get("more_body"):
            self._part(kind, message)
        else:
            scope = self.scope
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
                self.cells = DONE
                self.sent = sent = len(message.get("body", b""))
                (durations, duration_sum, sizes, size_sum, active, rare), self.known_route, _ = found
                self.ended_ns = ended_ns = _now()
                if HOOKS.end:
                    tell(HOOKS.end, self)
                took_ns = ended_ns - self.started_ns
                seconds = took_ns / 1e9
                durations[0 if took_ns <= FIRST_NS else bisect_left(SECONDS, seconds)] += 1
                duration_sum[SECONDS_SUM] += seconds
                sizes[1 if 0 < sent <= FIRST_BYTES else bisect_left(BYTES, sent)] += 1
                size_sum[BYTES_SUM] += sent
                active[0] -= 1
                if ended_ns >= self.counts.look_ns:
                    self._exemplify(seconds, rare)
        send = self.send  # and not `self.send(…)`, which looks for a method first
        return send(message)

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
            elif self.cells is not DONE:
                self.ended_ns = _now()
                status = self.status
                if status is not None and status < 500:
                    self._learn(status)
                    self.cells = DONE
                    self.counts.end(self)
                else:
                    self._state = _ANSWERED
                    # Starlette, FastAPI and most handlers of one's own answer while they handle what they make a 500 of.
                    if HOOKS.raised and (error := sys.exception()) is not None:
                        raised(self, error)
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
        self.counts.keep(route, status, asgi_route(scope))

    async def receiving(self) -> Message:
        """What the application calls for the request's body, and to hear that the client is gone."""
        receive = self.receive
        message = await receive()
        if message["type"] == "http.disconnect":
            if self._state == _UNDER_WAY and self.cells is not DONE:
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
        if self.cells is DONE:
            return
        if self._state == _LEFT or is_disconnect(error, self.send):
            self.error = DISCONNECTED
        else:
            self.error = qualified(error)
            if self.status is None and isinstance(error, Exception):
                self.status = 500  # what every server answers for it
            raised(self, error)

    def done(self) -> None:
        """The application is done."""
        if self.cells is not DONE:
            self.left()
        # Servers set timers while an answer is sent (uvicorn's keep-alive), each with a copy of the context that holds this, and asyncio
        # keeps cancelled timers until a hundred have gathered: scope, state and messages of as many requests would live on, and
        # all memory be cold when it is used again. It was a third of what the middleware cost in a server.
        scope = self.scope
        headers = scope.get("headers", ())
        self.headers, self.asked_path = headers if b"traceparent" in dict(headers) else (), scope.get("path", "")
        self.scope = GONE
        self.receive, self.send = receive_no_more, send_no_more

    def left(self) -> None:
        """The application is done, and the request is not counted yet."""
        if self._state != _ANSWERED and self.error is None:
            self.error = DISCONNECTED if self._state == _LEFT else INCOMPLETE
        self.cells = DONE
        self.counts.end(self)


class TimedExchange(Exchange):
    """Answers with a `Server-Timing` header."""

    __slots__ = ()

    def sending(self, message: Message) -> Awaitable[None]:
        """What the application calls to answer."""
        if message["type"] == "http.response.start":
            value = server_timing(self, _now())
            message = {**message, "headers": [*message.get("headers", ()), (b"server-timing", value.encode())]}
        return super().sending(message)


Begin = Callable[["type[Exchange]", "dict[int, dict[str, dict[str, Counts]]]", int, Scope, Receive, Send, "str | None"], "Exchange | None"]
Start = Callable[["type[Exchange]", Counts, Scope, Receive, Send], Exchange]


def begin(
    made: type[Exchange], lanes: dict[int, dict[str, dict[str, Counts]]], lane: int, scope: Scope, receive: Receive, send: Send,
    aside: str | None,
) -> Exchange | None:  # fmt: skip
    """A request begins that is counted where others were; None where there was none like it, and of what is not to be measured."""
    try:
        counts = lanes[lane][scope["scheme"]][scope["method"]]
    except KeyError:
        return None
    if SEEN in scope or (aside is not None and scope["path"] == aside):
        return None
    return start(made, counts, scope, receive, send)


def start(made: type[Exchange], counts: Counts, scope: Scope, receive: Receive, send: Send) -> Exchange:
    """A request begins that is counted there."""
    # Not by a call of the class: that is a tenth of what a request costs here.
    exchange = _new(made)
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
    scope[SEEN] = True
    return exchange


async def receive_no_more() -> Message:
    return {"type": "http.disconnect"}


async def send_no_more(message: Message) -> None:
    raise RuntimeError(f"`{message['type']}` after the application was done with the request")


def is_disconnect(error: BaseException, send: Send) -> bool:
    """Is the client gone? A server of ASGI 2.4 raises OSError from `send` then, Starlette makes ClientDisconnect of it."""
    name = type(error).__name__
    if name == "ClientDisconnect":  # made of any OSError within a stream: also of a file that is not there, which is no client's doing
        cause = error.__context__
        return not isinstance(cause, OSError) or _is_from(cause, send)
    return name == "WebSocketDisconnect" or (isinstance(error, OSError) and _is_from(error, send))


def _is_from(error: BaseException, send: Send) -> bool:
    """Was it raised in the server's `send`? A database that refuses its connection raises the same, and is a failure."""
    code = getattr(getattr(send, "func", send), "__code__", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is code:
            return True
        trace = trace.tb_next
    return False
