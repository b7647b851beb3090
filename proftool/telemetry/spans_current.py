"""Which span is current: where OpenTelemetry keeps it, and how a block or a function makes one so."""

from __future__ import annotations

import functools
import inspect
from _thread import get_ident
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Final, TypeVar, cast

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import StatusCode
from opentelemetry.trace.propagation import set_span_in_context

from proftool.telemetry.raised import text_of
from proftool.telemetry.request import THREADS, Request
from proftool.telemetry.spans import Span

ACTIVE: Final[dict[int, Span]] = {}
"""Ident of a thread that serves a WSGI request -> the span that is current in it: the sampler cannot read its context variables."""
F = TypeVar("F", bound=Callable[..., object])


@functools.cache
def span_variable() -> ContextVar[Context] | None:
    """OpenTelemetry's context variable, where its default runtime context is in use."""
    contexts.get_current()
    runtime = getattr(contexts, "_RUNTIME_CONTEXT", None)
    found = getattr(getattr(runtime, "inner", runtime), "_current_context", None)  # `inner`: tracing.RequestContexts
    return cast("ContextVar[Context]", found) if isinstance(found, ContextVar) else None


@functools.cache
def span_key() -> str:
    """What the span stands under in OpenTelemetry's context."""
    from opentelemetry.trace import propagation

    return propagation._SPAN_KEY  # pyright: ignore[reportPrivateUsage]


class RequestContext(Context):
    """
    The context of a request in which nothing was attached: the request's span is in it, and is made when somebody looks for that.

    FastAPI asks the context of every request four times for something of its own, and few requests need a span.
    """

    __slots__ = ("_request", "_span_of")

    def __init__(self, request: Request, span_of: Callable[[Request], Span | None]) -> None:
        super().__init__()
        self._request: Request | None = request
        self._span_of = span_of

    def get(self, key: str, default: object = None) -> object:  # pyright: ignore[reportIncompatibleMethodOverride]  # of keys that are text
        """What all of OpenTelemetry's functions read with."""
        if key == span_key():
            self._fill()
        return super().get(key, default)

    def _fill(self) -> None:
        request = self._request
        if request is None:
            return
        if (span := self._span_of(request)) is not None:
            super(Context, self).__setitem__(span_key(), span)  # a context itself refuses
        self._request = None  # not before: another thread may read it meanwhile


def _of_all(name: str) -> Callable[..., object]:
    method = getattr(dict, name)

    @functools.wraps(method)
    def of_all(self: RequestContext, *args: object) -> object:
        self._fill()  # pyright: ignore[reportPrivateUsage]
        return method(self, *args)

    return of_all


_READS: Final = "contains eq getitem iter len ne or repr reversed ror"
for _name in (*(f"__{name}__" for name in _READS.split()), "copy", "items", "keys", "values"):
    setattr(RequestContext, _name, _of_all(_name))


class CurrentSpan:
    """A span that is current within a block or a function."""

    __slots__ = ("_above", "_end", "_record", "_span", "_start", "_status", "_token")

    def __init__(self, start: Callable[[], trace.Span], record: bool, status: bool, end: bool) -> None:
        self._start, self._record, self._status, self._end = start, record, status, end

    def __enter__(self) -> trace.Span:
        span = self._span = self._start()
        self._token = contexts.attach(set_span_in_context(span))
        if THREADS and (thread := get_ident()) in THREADS and isinstance(span, Span):
            self._above = (thread, ACTIVE.get(thread))
            ACTIVE[thread] = span
        else:
            self._above = None
        return span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        contexts.detach(self._token)
        if self._above is not None:
            thread, above = self._above
            if above is None:
                ACTIVE.pop(thread, None)
            else:
                ACTIVE[thread] = above
        span = self._span
        if isinstance(error, Exception):
            if self._record:
                span.record_exception(error)
            if self._status:
                span.set_status(StatusCode.ERROR, f"{type(error).__name__}: {text_of(error)}")
        if self._end:
            span.end()

    def __call__(self, function: F) -> F:
        settings = (self._start, self._record, self._status, self._end)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: object, **kwargs: object) -> object:
                with CurrentSpan(*settings):
                    return await function(*args, **kwargs)

            return cast(F, awaited)

        @functools.wraps(function)
        def called(*args: object, **kwargs: object) -> object:
            with CurrentSpan(*settings):
                return function(*args, **kwargs)

        return cast(F, called)
