"""Spans behind OpenTelemetry's API: what is kept and why, what the API promises, and the SDK's own spans."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.trace import SpanContext, SpanKind
from telemetry.serving import serving, telemetry_store

from proftool.contracts_telemetry import SpanQuery
from proftool.telemetry import spans_writer, tracing
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.failures import DISCONNECTED
from proftool.telemetry.request import SAMPLED, current
from proftool.telemetry.spans import Keep, Span
from proftool.telemetry.spans_current import RequestContext, span_key
from proftool.telemetry.spans_sdk import StoreSpanProcessor

NOTHING = Keep(slow_ns=10**15, share=0.0)
EVERYTHING = Keep(slow_ns=10**15, share=1.0)


def test_only_slow_failed_and_chosen_requests_are_kept(tmp_path: Path) -> None:
    """The decision falls when the request ends, and the middleware is told."""
    store = telemetry_store(tmp_path)
    now = tracing.start("shop", store, keep=Keep(slow_ns=20_000_000, share=0.0))
    with serving("/quick") as quick:
        pass
    with serving("/slow") as slow:
        threading.Event().wait(0.03)
    with serving("/bad") as bad:
        bad.status = 500
    with serving("/left", error=DISCONNECTED) as left:
        pass
    with serving("/upstream", flags=SAMPLED) as upstream:
        pass
    now.writer.flush()
    found = {span.route: span.kept for span in store.find_spans(SpanQuery(entries=True))}
    assert found == {"GET /slow": "slow", "GET /bad": "failed", "GET /upstream": "chosen"}
    assert [request.kept for request in (quick, left, slow, bad, upstream)] == [False, False, True, True, True]


def test_a_client_that_left_is_no_error_of_its_span(tmp_path: Path) -> None:
    """It is told what happened, and no failure."""
    store = telemetry_store(tmp_path)
    now = tracing.start("shop", store, keep=EVERYTHING)
    with serving("/left", error=DISCONNECTED):
        pass
    now.writer.flush()
    (span,) = store.find_spans(SpanQuery())
    assert (span.status, span.kept, span.attributes["error.type"]) == ("unset", "chosen", DISCONNECTED)


def test_spans_nest_by_the_api_and_exceptions_are_recorded(tmp_path: Path) -> None:
    """Context manager, decorator of functions and coroutines, attributes, events, links and status, as OpenTelemetry has them."""
    store = telemetry_store(tmp_path)
    now = tracing.start("shop", store, keep=Keep(share=1.0))
    tracer = trace.get_tracer("test")

    @tracer.start_as_current_span("decorated")
    async def decorated() -> int:
        return trace.get_current_span().get_span_context().span_id

    with tracer.start_as_current_span("outer", attributes={"n": 1}) as outer:
        inner_id = asyncio.run(decorated())
        with pytest.raises(ValueError, match="no"), tracer.start_as_current_span("failing", links=[trace.Link(outer.get_span_context())]):
            raise ValueError("no")
    outer.set_attribute("late", True)
    now.writer.flush()
    found = {span.name: span for span in store.find_spans(SpanQuery())}
    assert found["decorated"].span_id == f"{inner_id:016x}"
    assert found["decorated"].parent_id == found["failing"].parent_id == found["outer"].span_id
    assert found["outer"].attributes == {"n": 1}
    assert (found["failing"].status, found["failing"].message) == ("error", "ValueError: no")
    assert found["failing"].events[0].attributes["exception.type"] == "ValueError"
    assert found["failing"].links[0].span_id == found["outer"].span_id


def test_spans_of_the_sdk_are_kept_by_the_same_rule(tmp_path: Path) -> None:
    """A program that set up the SDK gets its slow and failed traces into the store."""
    store = telemetry_store(tmp_path)
    writer = spans_writer.Writer("sdk", store, NOTHING)
    provider = SdkProvider(shutdown_on_exit=False)
    provider.add_span_processor(StoreSpanProcessor(writer, writer.chance))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("fine"), tracer.start_as_current_span("inner"):
        pass
    with tracer.start_as_current_span("bad") as bad:
        bad.set_status(trace.StatusCode.ERROR)
        with tracer.start_as_current_span("inner of bad"):
            pass
    writer.close()
    found = {span.name: span for span in store.find_spans(SpanQuery())}
    assert set(found) == {"bad", "inner of bad"}
    assert found["inner of bad"].parent_id == found["bad"].span_id


def test_importing_it_loads_neither_numpy_nor_sqlalchemy() -> None:
    """A service pays for these in the background, when the first batch is written."""
    script = (
        "import sys, proftool.telemetry.tracing_start\n"
        "print([name for name in ('numpy', 'sqlalchemy', 'pyinstrument', 'opentelemetry.sdk', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]"


def test_a_span_that_somebody_asks_for_is_the_requests(tmp_path: Path) -> None:
    """It is made then: with the request's ids, recording, and kept where the request fails."""
    now = tracing.start("shop", telemetry_store(tmp_path), keep=NOTHING)
    with serving("/asked", status=503) as request:
        span = trace.get_current_span()
        span.set_attribute("who", "me")
        assert span.is_recording()
        assert span.get_span_context().trace_id == request.trace_id
        assert span.get_span_context().span_id == request.span_id
    now.writer.flush()
    (found,) = telemetry_store(tmp_path).find_spans(SpanQuery())
    assert found.attributes["who"] == "me"
    assert found.trace_id == request.trace_id_hex


def test_a_trace_is_chosen_by_its_id_whenever_that_is_drawn(tmp_path: Path) -> None:
    """At the end, where nobody asked before: the share holds, and every service that sees the id chooses the same."""
    keep = Keep(slow_ns=10**15, share=0.2, most_per_s=math.inf)
    now = tracing.start("shop", telemetry_store(tmp_path), keep=keep)
    ids: list[int] = []
    for _ in range(1000):
        with serving() as request:
            pass
        if request.kept:
            ids.append(request.trace_id)
    assert 100 < len(ids) < 300
    assert all(now.chance.chosen(one) and one >> 56 for one in ids)
    now.writer.flush()
    stored = telemetry_store(tmp_path).find_spans(SpanQuery(limit=2000))
    assert {int(span.trace_id, 16) for span in stored} == set(ids)


def test_what_is_opened_below_a_request_that_was_let_go_goes_too(tmp_path: Path) -> None:
    """Work in the background of a request that nobody keeps: no span of it is left in the store."""
    now = tracing.start("shop", telemetry_store(tmp_path), keep=NOTHING)
    with serving():
        behind = contextvars.copy_context()
    with behind.run(trace.get_tracer("test").start_as_current_span, "late") as late:
        assert late.is_recording()
    now.writer.flush(last=True)
    assert not telemetry_store(tmp_path).find_spans(SpanQuery())


def test_a_context_that_two_threads_read_has_its_span_for_both() -> None:
    """Also for who reads it while the span is being made for the other."""
    made = Span("GET", SpanKind.SERVER, 1, 0, 1, SimpleNamespace())  # type: ignore[arg-type]
    making, both = threading.Event(), threading.Barrier(2, timeout=60)

    def span_of(_request: object) -> Span:
        making.set()
        both.wait()
        return made

    context = RequestContext(SimpleNamespace(), span_of)  # type: ignore[arg-type]
    found: list[object] = []
    first = threading.Thread(target=lambda: found.append(context.get(span_key())))
    first.start()
    assert making.wait(60)
    found.append(context.get(span_key()))
    first.join(60)
    assert found == [made, made]


def test_a_request_that_nobody_asks_for_has_no_span(tmp_path: Path) -> None:
    """Neither is one made at its end, where it is not kept."""
    tracing.start("shop", telemetry_store(tmp_path), keep=NOTHING)
    with serving() as request:
        assert request.span is None
    assert request.span is None


def test_what_is_attached_within_a_request_is_current(tmp_path: Path) -> None:
    """Also a context in which nothing is: then a span that is opened begins a trace of its own."""
    tracing.start("shop", telemetry_store(tmp_path), keep=NOTHING)
    with serving():
        entry = trace.get_current_span()
        assert trace.get_current_span() is entry
        token = contexts.attach(Context())
        assert trace.get_current_span() is trace.INVALID_SPAN
        contexts.detach(token)
        with trace.get_tracer("test").start_as_current_span("within") as span:
            assert trace.get_current_span() is span
            assert baggage.get_all(baggage.set_baggage("who", "me")) == {"who": "me"}
        assert trace.get_current_span() is entry
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_request_within_what_was_attached_before_it(tmp_path: Path) -> None:
    """A server's own span or baggage: the request's span is the current one, the baggage stays; its caller's span is not current."""
    now = tracing.start("shop", telemetry_store(tmp_path), keep=EVERYTHING)
    with trace.get_tracer("server").start_as_current_span("connection") as outer:
        token = contexts.attach(baggage.set_baggage("who", "me"))
        with serving() as request:
            assert trace.get_current_span().get_span_context().span_id == request.span_id
            assert baggage.get_all() == {"who": "me"}
            with trace.get_tracer("test").start_as_current_span("within") as within:
                assert trace.get_current_span() is within
        assert trace.get_current_span() is outer
        contexts.detach(token)
    now.writer.flush()
    stored = {span.name: span for span in telemetry_store(tmp_path).find_spans(SpanQuery())}
    assert stored["within"].parent_id == request.span_id_hex
    with serving() as request:
        request.trace_id_drawn, request.span_id_drawn, request.parent_id = 5, 7, 6
        caller = SpanContext(5, 6, is_remote=True)
        token = contexts.attach(trace.set_span_in_context(trace.NonRecordingSpan(caller)))
        assert trace.get_current_span().get_span_context().span_id == 7
        contexts.detach(token)
        other = trace.NonRecordingSpan(SpanContext(8, 9, is_remote=True))
        with trace.use_span(other):
            assert trace.get_current_span() is other


def test_an_api_that_keeps_its_context_elsewhere_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests are kept as before; what asks for the current span finds none."""
    monkeypatch.delattr(contexts, "_RUNTIME_CONTEXT")
    monkeypatch.setattr(contexts, "get_current", Context)
    now = tracing.start("shop", telemetry_store(tmp_path), keep=EVERYTHING)
    assert "keeps its current context elsewhere" in caplog.text
    with serving("/quick"):
        assert trace.get_current_span() is trace.INVALID_SPAN
    now.writer.flush()
    assert [span.route for span in telemetry_store(tmp_path).find_spans(SpanQuery())] == ["GET /quick"]


def test_a_span_that_was_asked_for_and_is_not_kept_is_gone_at_once(tmp_path: Path) -> None:
    """Whoever holds a cycle leaves it to the garbage collector of the service: neither the request's own nor one of its background does."""
    tracing.start("shop", telemetry_store(tmp_path), keep=NOTHING)
    gc.collect()
    gc.disable()
    try:
        with serving():
            asked = weakref.ref(trace.get_current_span())
        assert asked() is None
        with serving():
            behind = contextvars.copy_context()
        late = weakref.ref(behind.run(trace.get_current_span))
        assert late() is not None
        del behind
        assert late() is None
    finally:
        gc.enable()


def test_a_tracing_that_is_stopped_again_leaves_its_successor_alone(tmp_path: Path) -> None:
    """What asks of a request under way is answered by the one that is on."""
    first = tracing.start("shop", telemetry_store(tmp_path), keep=NOTHING)
    tracing.start("shop", telemetry_store(tmp_path), keep=EVERYTHING)
    first.stop()
    kept: list[bool] = []

    async def app(_: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
        request = current()
        assert request is not None
        kept.append(request.kept)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    async def nothing(*_: object) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "scheme": "http"}
    asyncio.run(ASGIMiddleware(app)(scope, nothing, nothing))  # type: ignore[arg-type]  # receives nothing
    assert kept == [True]
