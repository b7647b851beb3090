"""Middleware for WSGI applications: the request lasts until its response is iterated to the end or closed.

A request holds its thread, so the thread's entry in `THREADS` says what it serves. A response that is closed before its end means
that the client went away. A file handed over by `wsgi.file_wrapper` stays what it is, or the server could not use sendfile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from threading import get_ident
from typing import Any, cast

from proftool.telemetry.http import (
    DISCONNECTED,
    METHODS,
    HttpMetrics,
    django_route_of,
    http_metrics,
    qualified,
    server_timing,
    wsgi_route,
)
from proftool.telemetry.request import CURRENT, THREADS, Context, Request

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

_now = time.perf_counter_ns
_SEEN = "proftool.request"


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
            from proftool.telemetry.service import setup

            setup()
            self._is_ready = True
        if _SEEN in environ:
            return self.app(environ, start_response)
        path = environ.get("PATH_INFO", "")
        if path == self._metrics_path:
            return _expose(start_response)
        method = environ["REQUEST_METHOD"]
        if method not in METHODS:
            method = "_OTHER"
        request = Request("http", method, environ.get("wsgi.url_scheme", "http"), path, environ, wsgi_route, _now())
        if (parent := environ.get("HTTP_TRACEPARENT")) is not None:
            request.unread = wsgi_context
            if parent[-2:] != "00":  # sampled, perhaps: an exemplar may point to it
                request.begin()
        length = environ.get("CONTENT_LENGTH", "")
        if length.isdigit():
            request.received = int(length)
        self._http.start(request)
        response = _Response(request, self._http)

        def starting(status: str, headers: list[tuple[str, str]], *exc_info: object) -> Callable[[bytes], object]:
            request.status = int(status[:3])
            if "werkzeug.request" in environ:
                request.route_now()  # Flask forgets its request before the response is iterated
            if self._server_timing:
                headers = [*headers, ("Server-Timing", server_timing(request, _now()))]
            write = start_response(status, headers, *exc_info)

            def writing(data: bytes) -> object:
                request.sent += len(data)
                return write(data)

            return writing

        environ[_SEEN] = True
        response.enter()
        try:
            parts = self.app(environ, starting)
        except BaseException as error:
            response.fail(error)
            raise
        if request.route is None:
            request.route = django_route_of(parts)
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(parts, wrapper):
            _end_with(parts, response)
            return parts
        response.take(parts)
        return response


class _Response:
    """The application's response, watched."""

    __slots__ = ("_close", "_http", "_is_over", "_parts", "request")

    def __init__(self, request: Request, http: HttpMetrics) -> None:
        self.request = request
        self._http = http
        self._is_over = False
        self._parts: Iterator[bytes] = iter(())
        self._close: Callable[[], object] | None = None

    def enter(self) -> None:
        """This thread serves the request from now on."""
        CURRENT.set(self.request)
        THREADS[get_ident()] = self.request

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
            request = self.request
            request.sent += len(part)
            if request.first_byte_ns is None:
                request.first_byte_ns = _now()
            else:
                request.streamed = True
        return part

    def close(self) -> None:
        """Called by the server at the end, whatever the end was."""
        try:
            if self._close is not None:
                self._close()
        finally:
            if not self._is_over and self.request.method != "HEAD":
                self.request.error = DISCONNECTED
            self.end()

    def fail(self, error: BaseException) -> None:
        """The application raised."""
        self.request.error = qualified(error)
        if self.request.status is None:
            self.request.status = 500
        self.end()

    def end(self) -> None:
        """Record the request, once."""
        if self._is_over:
            return
        self._is_over = True
        self._http.end(self.request)
        if CURRENT.get() is self.request:
            CURRENT.set(None)
        if THREADS.get(get_ident()) is self.request:
            del THREADS[get_ident()]


def wsgi_context(environ: dict[str, object]) -> Context:
    """Values of traceparent and tracestate in the environ; a server joins doubled headers by commas, which no traceparent has."""
    state = environ.get("HTTP_TRACESTATE")
    return (str(environ["HTTP_TRACEPARENT"]),), (str(state),) if state else ()


def _end_with(file: object, response: _Response) -> None:
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
