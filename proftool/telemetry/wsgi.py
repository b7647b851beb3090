"""Middleware for WSGI applications: the request lasts until its response is iterated to the end or closed.

A request holds its thread, so the thread's entry in `THREADS` says what it serves. A response that is closed before its end means
that the client went away. A file handed over by `wsgi.file_wrapper` stays what it is, or the server could not use sendfile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from threading import get_ident
from typing import Any, cast

from proftool.telemetry.failures import DISCONNECTED
from proftool.telemetry.http import (
    Counted,
    django_route_of,
    http_metrics,
    server_timing,
    wsgi_route,
)
from proftool.telemetry.raised import qualified
from proftool.telemetry.request import CURRENT, HOOKS, THREADS, Context, raised, tell

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_now = time.perf_counter_ns
_new = object.__new__
_SEEN = "proftool.request"
_NO_PARTS: Iterator[bytes] = iter(())


class WSGIMiddleware:
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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not self._is_ready:
            from proftool.telemetry import swallowed
            from proftool.telemetry.service import setup

            setup()
            swallowed.follow()
            self._is_ready = True
        if _SEEN in environ:
            return self.app(environ, start_response)
        if self._metrics_path is not None and environ.get("PATH_INFO", "") == self._metrics_path:
            return _expose(start_response)
        exchange = _new(_Exchange)
        exchange.counts = counts = self._http.counts(environ["REQUEST_METHOD"], environ.get("wsgi.url_scheme", "http"))
        exchange.carrier = environ
        exchange.server_starts = start_response
        exchange.is_timed = self._server_timing
        exchange.started_ns = _now()
        if (parent := environ.get("HTTP_TRACEPARENT")) is not None:
            exchange.unread = wsgi_context
            if parent[-2:] != "00":  # sampled, perhaps: an exemplar may point to it
                exchange.begin()
        length = environ.get("CONTENT_LENGTH", "")
        if length.isascii() and length.isdigit():  # `²` is a digit too, and no number
            exchange.received = int(length)
        counts.active[0] += 1
        if HOOKS.start:
            tell(HOOKS.start, exchange)
        environ[_SEEN] = True
        CURRENT.set(exchange)
        exchange.thread = thread = get_ident()
        THREADS[thread] = exchange
        try:
            parts = self.app(environ, exchange.starting)
            if exchange.route is None:
                exchange.route = django_route_of(parts)
            wrapper = environ.get("wsgi.file_wrapper")
            if isinstance(wrapper, type) and isinstance(parts, wrapper):
                _end_with(parts, exchange)
                return parts
            exchange.take(parts)  # also what is no response at all ends the request
        except BaseException as error:
            exchange.fail(error)
            raise
        return exchange


class _Exchange(Counted):
    """A request, and the application's response to it, watched."""

    resolve = staticmethod(wsgi_route)
    _is_over = False
    _close: Callable[[], object] | None = None
    _parts: Iterator[bytes]
    server_starts: StartResponse
    _write: Callable[[bytes], object]
    is_timed: bool
    thread: int
    """Ident of the one that it was begun in."""

    @property
    def path(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # nobody sets one
        return cast(str, self.carrier.get("PATH_INFO", ""))

    def starting(self, status: str, headers: list[tuple[str, str]], *exc_info: object) -> Callable[[bytes], object]:
        """What the application calls to begin its response."""
        self.status = int(status[:3])
        if "werkzeug.request" in self.carrier:
            self.route_now()  # Flask forgets its request before the response is iterated
        if self.status >= 500 and HOOKS.raised and (error := sys.exception()) is not None:
            raised(self, error)  # handled just now, which is also where PEP 3333 has `exc_info` from
        if self.is_timed:
            headers = [*headers, ("Server-Timing", server_timing(self, _now()))]
        self._write = self.server_starts(status, headers, *exc_info)
        return self.writing

    def writing(self, data: bytes) -> object:
        """What an application of the old kind writes its response to."""
        self.sent += len(data)
        return self._write(data)

    def take(self, parts: Iterable[bytes]) -> None:
        """Watch these parts."""
        self._close = getattr(parts, "close", None)
        self._parts = iter(parts)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            part = next(self._parts)
        except StopIteration:
            self.end()
            raise
        except BaseException as error:
            self.fail(error)
            raise
        if part:
            self.sent += len(part)
            if self.first_byte_ns is None:
                self.first_byte_ns = _now()
            else:
                self.streamed = True
        return part

    def close(self) -> None:
        """Called by the server at the end, whatever the end was."""
        try:
            if self._close is not None:
                self._close()
        finally:
            if not self._is_over and self.method != "HEAD":
                self.error = DISCONNECTED
            self.end()

    def fail(self, error: BaseException) -> None:
        """The application raised."""
        self.error = qualified(error)
        if self.status is None:
            self.status = 500
        raised(self, error)
        self.end()

    def end(self) -> None:
        """Record the request, once."""
        if self._is_over:
            return
        self._is_over = True
        self._parts = _NO_PARTS  # a generator that holds `starting` would be a cycle
        self.counts.here().end(self)
        if CURRENT.get() is self:
            CURRENT.set(None)
        if THREADS.get(self.thread) is self:
            del THREADS[self.thread]  # also where another thread ends what this one began


def wsgi_context(environ: dict[str, object]) -> Context:
    """Values of traceparent and tracestate in the environ; a server joins doubled headers by commas, which no traceparent has."""
    state = environ.get("HTTP_TRACESTATE")
    return (str(environ["HTTP_TRACEPARENT"]),), (str(state),) if state else ()


def _end_with(file: object, response: _Exchange) -> None:
    """Record the request when the server closes the file."""
    close = cast(Callable[[], object] | None, getattr(file, "close", None))

    def closing() -> None:
        try:
            if close is not None:
                close()
        finally:
            response.end()

    cast(Any, file).close = closing


def _expose(start_response: StartResponse) -> Iterable[bytes]:
    from proftool.telemetry.openmetrics import CONTENT_TYPE, exposition

    text = exposition()
    start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(text)))])
    return [text]
