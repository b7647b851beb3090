"""A framework that opens a span of its own for each request (FastAPI from 0.165 on): one trace, wherever the middleware is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient
from telemetry.measured import PARENT, fresh, served_by
from telemetry.serving import telemetry_store

from proftool.contracts_telemetry import Span, SpanQuery
from proftool.telemetry import spans, tracing
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.request import current
from proftool.telemetry.spans import Keep

__all__ = ["fresh", "served_by"]  # the fixtures are used by being here


def shop() -> FastAPI:
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> str:
        request = current()
        assert request is not None
        with trace.get_tracer("test").start_as_current_span("work"):
            return request.trace_id_hex

    @app.get("/err")
    async def err() -> str:
        raise LookupError("planned")

    return app


def inside() -> Any:
    app = shop()
    app.add_middleware(ASGIMiddleware)
    return app


def outside() -> Any:
    return ASGIMiddleware(shop())


def spans_of(
    folder: Path, app: Any, path: str, share: float, *, headers: dict[str, str] | None = None, asked: bool = True, times: int = 1
) -> tuple[str, Sequence[Span]]:
    """The last answer, and what is kept of the requests."""
    store = telemetry_store(folder)
    now = tracing.start("shop", store, keep=Keep(slow_ns=10**15, share=share), framework_spans=asked)
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = [client.get(path, headers=headers).text for _ in range(times)][-1]
    now.writer.flush()
    return answer, store.find_spans(SpanQuery())


@pytest.mark.parametrize("headers", [{}, {"traceparent": PARENT}], ids=["begins", "continues"])
@pytest.mark.parametrize("wrapped", [inside, outside])
@pytest.mark.parametrize("path", ["/ok", "/err"])
def test_a_request_is_one_trace(wrapped: Any, path: str, headers: dict[str, str], tmp_path: Path) -> None:
    """With one entry, the framework's span below it, and what the endpoint opened below that."""
    answer, kept = spans_of(tmp_path, wrapped(), path, 1.0, headers=headers)
    assert len({span.trace_id for span in kept}) == 1
    (entry,) = (span for span in kept if span.is_entry)
    assert entry.route == f"GET {path}"
    assert entry.parent_id == (PARENT[36:52] if headers else None)
    known = {span.span_id for span in kept}
    assert [span.name for span in kept if span is not entry and span.parent_id not in known] == []
    servers = [span for span in kept if span.kind == "server" and span is not entry]
    assert [span.parent_id for span in servers] == [entry.span_id]
    if path == "/ok":
        assert answer.strip('"') == entry.trace_id
        assert "work" in [span.name for span in kept]


@pytest.mark.parametrize("wrapped", [inside, outside])
def test_a_failed_request_is_kept_once(wrapped: Any, tmp_path: Path) -> None:
    """Though nobody asked for a span while it was served."""
    _, kept = spans_of(tmp_path, wrapped(), "/err", 0.0)
    assert [(span.kept, span.message) for span in kept if span.is_entry] == [("failed", "LookupError: planned")]


@pytest.mark.parametrize("wrapped", [inside, outside])
def test_spans_that_nobody_asked_for_are_not_made(wrapped: Any, tmp_path: Path) -> None:
    """But for the first request, where the framework comes before the middleware: that one is known to be followed then."""
    answer, kept = spans_of(tmp_path, wrapped(), "/ok", 1.0, asked=False, times=3)
    of_last = [span for span in kept if span.trace_id == answer.strip('"')]
    assert sorted(span.name for span in of_last) == ["GET /ok", "work"]
    assert len({span.trace_id for span in kept}) == 3


def test_an_application_that_the_middleware_does_not_follow_traces_itself(tmp_path: Path) -> None:
    """Otherwise nothing would be known of its requests."""
    app = FastAPI()

    @app.get("/alone")
    async def alone() -> str:
        return "here"

    _, kept = spans_of(tmp_path, app, "/alone", 1.0, asked=False, times=2)
    assert len([span for span in kept if span.is_entry and span.route == "GET /alone"]) == 2


@pytest.mark.parametrize("what", ["tracer", "meter"])
def test_providers_of_the_programs_own_are_left_alone(what: str, tmp_path: Path) -> None:
    """Who gave the framework one gets what it makes."""
    made = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = SdkTracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(made[0]))
    meters = MeterProvider([made[1]], shutdown_on_exit=False)
    app = FastAPI(telemetry={"tracer_provider": tracers} if what == "tracer" else {"meter_provider": meters})

    @app.get("/own")
    async def own() -> str:
        return "here"

    spans_of(tmp_path, ASGIMiddleware(app), "/own", 0.0, asked=False, times=2)
    if what == "tracer":
        assert [span.name for span in made[0].get_finished_spans()].count("GET /own") == 2
    else:
        found = made[1].get_metrics_data()
        assert found is not None
        names = [metric.name for of in found.resource_metrics for scope in of.scope_metrics for metric in scope.metrics]
        assert "http.server.request.duration" in names


def test_no_span_is_made_for_who_looks_for_something_else(tmp_path: Path) -> None:
    """FastAPI asks the context of each request for a key of its own; the span of the request is there for those who look for it."""
    seen: list[object] = []
    app = FastAPI()

    @app.get("/looks")
    async def looks() -> str:
        request = current()
        assert request is not None
        assert contexts.get_value("other") is None
        seen.append(request.span)
        context = contexts.get_current()
        assert contexts.get_value("other", contexts.set_value("other", 1, context)) == 1
        seen.append(trace.get_current_span(context))
        assert len(context) == 1
        assert context == dict(context) == {**context} == context.copy() == context | {}
        seen.append(request.span)
        return "here"

    spans_of(tmp_path, ASGIMiddleware(app), "/looks", 0.0, asked=False)
    assert seen[0] is None
    assert isinstance(seen[1], spans.Span)
    assert seen[1] is seen[2]
