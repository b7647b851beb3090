"""Outgoing HTTP: a client span each, and the W3C context in the request's headers, so that the other service joins the trace.

`track()` watches httpx (sync and async), requests, and urllib's `urlopen`, each where it is installed. Headers go through OpenTelemetry's
global propagator. A URL is kept without user, password and query string. A call that OpenTelemetry marks as its own (an exporter's) is
left alone.
"""
# pyright: basic

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry import propagate
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY as _SUPPRESSED_HTTP
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as _SUPPRESSED
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation import set_span_in_context

from proftool.telemetry import tags_code, tracing
from proftool.telemetry.spans import Span

_undo: Final[list[Callable[[], None]]] = []


def track() -> None:
    """Watch every client that is installed; again changes nothing."""
    if _undo:
        return
    import urllib.request

    _replace(urllib.request.AbstractHTTPHandler, "do_open", _urllib)
    if importlib.util.find_spec("requests") is not None:
        from requests.adapters import HTTPAdapter

        _replace(HTTPAdapter, "send", _requests)
    if importlib.util.find_spec("httpx") is not None:
        import httpx

        _replace(httpx.HTTPTransport, "handle_request", _httpx)
        _replace(httpx.AsyncHTTPTransport, "handle_async_request", _httpx_async)


def untrack() -> None:
    """Give them back what was replaced."""
    while _undo:
        _undo.pop()()


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    own = vars(owner)[name]
    setattr(owner, name, functools.wraps(own)(wrap(own)))
    _undo.append(lambda: setattr(owner, name, own))


def _begin(method: str, url: str, headers: MutableMapping[str, str]) -> Span | None:
    """A client span, its context in the headers; None where tracing is off."""
    now = tracing.CURRENT.tracing
    if now is None or contexts.get_value(_SUPPRESSED) or contexts.get_value(_SUPPRESSED_HTTP):
        return None
    span = now.provider.get_tracer("proftool.outgoing").start_span(method, kind=SpanKind.CLIENT)
    assert isinstance(span, Span)
    span.local.called_out = True
    parts = urlsplit(url)
    attributes = span.attributes
    attributes["http.request.method"] = method
    attributes["server.address"] = parts.hostname or ""
    attributes["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    attributes["url.full"] = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    caller = tags_code.caller(2)
    if caller is not None:
        at = tags_code.place(*caller)
        attributes["code.function.name"], attributes["code.file.path"], attributes["code.line.number"] = at
    propagate.inject(headers, set_span_in_context(span))
    return span


def _end(span: Span, status: int | None, error: BaseException | None = None) -> None:
    if status is not None:
        span.attributes["http.response.status_code"] = status
    if error is not None:
        span.attributes["error.type"] = type(error).__qualname__
        span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
    elif status is not None and status >= 400:
        span.attributes["error.type"] = str(status)
        span.set_status(StatusCode.ERROR)
    span.end()


def _httpx(send: Any) -> Any:
    def handle_request(self: Any, request: Any) -> Any:
        span = _begin(request.method, str(request.url), request.headers)
        if span is None:
            return send(self, request)
        try:
            response = send(self, request)
        except BaseException as error:
            _end(span, None, error)
            raise
        _end(span, response.status_code)
        return response

    return handle_request


def _httpx_async(send: Any) -> Any:
    async def handle_async_request(self: Any, request: Any) -> Any:
        span = _begin(request.method, str(request.url), request.headers)
        if span is None:
            return await send(self, request)
        try:
            response = await send(self, request)
        except BaseException as error:
            _end(span, None, error)
            raise
        _end(span, response.status_code)
        return response

    return handle_async_request


def _requests(send: Any) -> Any:
    def send_watched(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        span = _begin(request.method or "GET", request.url or "", request.headers)
        if span is None:
            return send(self, request, *args, **kwargs)
        try:
            response = send(self, request, *args, **kwargs)
        except BaseException as error:
            _end(span, None, error)
            raise
        _end(span, response.status_code)
        return response

    return send_watched


def _urllib(do_open: Any) -> Any:
    def do_open_watched(self: Any, http_class: Any, req: Any, **kwargs: Any) -> Any:
        span = _begin(req.get_method(), req.full_url, req.unredirected_hdrs)
        if span is None:
            return do_open(self, http_class, req, **kwargs)
        try:
            response = do_open(self, http_class, req, **kwargs)
        except BaseException as error:
            _end(span, None, error)
            raise
        _end(span, response.status)
        return response

    return do_open_watched
