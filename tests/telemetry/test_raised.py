"""A failed request's span says what was raised, and where, in every framework, and nobody keeps the exception for it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from telemetry import apps
from telemetry.measured import fresh, served_by
from telemetry.serving import telemetry_store
from telemetry.test_middleware import FRAMEWORKS, call

from proftool.contracts_telemetry import Span, SpanQuery
from proftool.telemetry import raised, tracing
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.request import HOOKS
from proftool.telemetry.spans import Keep

__all__ = ["fresh", "served_by"]  # the fixtures are used by being here


def entry_of(folder: Path, app: Any, path: str = "/fail") -> Span:
    """The entry of one request, traced."""
    store = telemetry_store(folder)
    now = tracing.start("shop", store, keep=Keep(slow_ns=10**15, share=0.0))
    if path:
        call(app, path)
    else:
        raising(app)
    now.writer.flush()
    (entry,) = store.find_spans(SpanQuery(entries=True))
    return entry


def raising(app: Any) -> None:
    """One request to an application of no framework that raises."""

    async def nothing(*_: Any) -> Any:
        raise NotImplementedError

    with pytest.raises(Exception):  # noqa: B017  # whatever it is
        asyncio.run(ASGIMiddleware(app)({"type": "http", "method": "GET", "path": "/", "headers": [], "scheme": "http"}, nothing, nothing))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_span_names_the_line_that_raised(name: str, tmp_path: Path) -> None:
    """Whether the framework lets the exception through or answers it itself."""
    entry = entry_of(tmp_path, FRAMEWORKS[name]())
    assert (entry.status, entry.kept, entry.message) == ("error", "failed", "LookupError: planned")
    (event,) = (one for one in entry.events if one.name == "exception")
    assert (event.attributes["exception.type"], event.attributes["exception.message"]) == ("LookupError", "planned")
    *_, place, line, last, end = str(event.attributes["exception.stacktrace"]).split("\n")
    assert place.startswith(f'  File "{apps.__file__}", line ')
    assert place.endswith((", in fail", ", in plain"))
    assert (line.strip(), last, end) == ('raise LookupError("planned")', "LookupError: planned", "")


def test_an_exception_that_a_handler_makes_a_500_of_is_told(tmp_path: Path) -> None:
    """FastAPI answers it while it is handled."""
    app = FastAPI()

    @app.get("/fail")
    def fail() -> None:
        raise HTTPException(503, "no stock")

    entry = entry_of(tmp_path, ASGIMiddleware(app))
    assert entry.message == "HTTPException: 503: no stock"
    assert 'raise HTTPException(503, "no stock")' in str(entry.events[0].attributes["exception.stacktrace"])


def test_what_is_long_is_cut_where_it_tells_least(tmp_path: Path) -> None:
    """A stack at its beginning, for the innermost line is at its end."""

    def deep(n: int) -> None:
        if n % 2:
            deep(n - 1)
        elif n:
            deep(n - 1)  # two places in turns: a repeated line is folded by itself
        else:
            raise ValueError("x" * 500)

    async def app(*_: Any) -> None:
        deep(25)

    entry = entry_of(tmp_path, app, "")
    stack = str(entry.events[0].attributes["exception.stacktrace"])
    assert 'raise ValueError("x" * 500)' in stack
    assert len(stack) <= raised.MAX_STACK


def test_an_exception_without_a_text_takes_nothing_off(tmp_path: Path) -> None:
    """What it does wrong when it is asked is not the tracing's end."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("planned")

    async def app(*_: Any) -> None:
        raise Mute

    entry = entry_of(tmp_path, app, "")
    assert entry.events[0].attributes["exception.message"] == "(its text cannot be read)"
    assert HOOKS.raised


def test_nothing_of_the_exception_is_kept(tmp_path: Path) -> None:
    """Its frames hold everything that the application had in hand."""
    now = tracing.Tracing("shop", telemetry_store(tmp_path), keep=Keep(slow_ns=10**15, share=0.0), every_s=3600)
    now.start()  # and what is kept waits

    class Held:
        pass

    known: list[weakref.ref[Held]] = []

    async def app(*_: Any) -> None:
        held = Held()
        known.append(weakref.ref(held))
        raise LookupError("planned")

    raising(app)
    gc.collect()
    assert known[0]() is None
