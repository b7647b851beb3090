"""A framework that opens a span of its own for each request (FastAPI from 0.165 on): one trace, wherever the middleware stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from starlette.testclient import TestClient
from telemetry.measured import PARENT, fresh, served_by
from telemetry.serving import telemetry_store

from proftool.contracts_telemetry import Span, SpanQuery
from proftool.telemetry import tracing
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


def spans_of(folder: Path, app: Any, path: str, share: float, **headers: str) -> tuple[str, Sequence[Span]]:
    """The answer, and what is kept of the requests."""
    store = telemetry_store(folder)
    now = tracing.start("shop", store, keep=Keep(slow_ns=10**15, share=share))
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get(path, headers=headers).text
    now.writer.flush()
    return answer, store.find_spans(SpanQuery())


@pytest.mark.parametrize("headers", [{}, {"traceparent": PARENT}], ids=["begins", "continues"])
@pytest.mark.parametrize("wrapped", [inside, outside])
@pytest.mark.parametrize("path", ["/ok", "/err"])
def test_a_request_is_one_trace(wrapped: Any, path: str, headers: dict[str, str], tmp_path: Path) -> None:
    """With one entry, the framework's span below it, and what the endpoint opened below that."""
    answer, spans = spans_of(tmp_path, wrapped(), path, 1.0, **headers)
    assert len({span.trace_id for span in spans}) == 1
    (entry,) = (span for span in spans if span.is_entry)
    assert entry.route == f"GET {path}"
    assert entry.parent_id == (PARENT[36:52] if headers else None)
    known = {span.span_id for span in spans}
    assert [span.name for span in spans if span is not entry and span.parent_id not in known] == []
    servers = [span for span in spans if span.kind == "server" and span is not entry]
    assert [span.parent_id for span in servers] == [entry.span_id]
    if path == "/ok":
        assert answer.strip('"') == entry.trace_id
        assert "work" in [span.name for span in spans]


@pytest.mark.parametrize("wrapped", [inside, outside])
def test_a_failed_request_is_kept_once(wrapped: Any, tmp_path: Path) -> None:
    """Though nobody asked for a span while it was served."""
    _, spans = spans_of(tmp_path, wrapped(), "/err", 0.0)
    assert [(span.kept, span.message) for span in spans if span.is_entry] == [("failed", "LookupError: planned")]
