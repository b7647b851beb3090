"""Spans behind OpenTelemetry's API: what is kept and why, what the API promises, bounds, export and the SDK's own spans."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import http.server
import math
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.trace import SpanContext
from telemetry.serving import serving, telemetry_store

from proftool.contracts_telemetry import SpanQuery
from proftool.telemetry import spans, spans_writer, tracing, tracing_start
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.failures import DISCONNECTED
from proftool.telemetry.request import SAMPLED, current
from proftool.telemetry.spans import Keep
from proftool.telemetry.spans_export import OtlpExporter
from proftool.telemetry.spans_sdk import StoreSpanProcessor
from proftool.telemetry.tracing import Tracing
from proftool.telemetry.tracing_start import Options

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


def test_a_span_that_outlives_its_request_is_written_with_the_kept_trace(tmp_path: Path) -> None:
    """Background work ends later and is not lost."""
    store = telemetry_store(tmp_path)
    now = tracing.start("shop", store, keep=Keep(share=1.0))
    with serving():
        late = trace.get_tracer("test").start_span("late")
    now.writer.flush()
    late.end()
    now.writer.flush()
    assert {span.name for span in store.find_spans(SpanQuery())} == {"GET /orders/{id}", "late"}


def test_what_does_not_fit_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a trace nor the queue grows without a bound."""
    monkeypatch.setattr(spans, "MAX_SPANS", 5)
    monkeypatch.setattr(spans_writer, "MAX_QUEUED", 8)
    now = Tracing("shop", telemetry_store(tmp_path), keep=Keep(share=1.0), every_s=3600)
    now.start()
    tracer = trace.get_tracer("test")
    for _ in range(2):
        with serving():
            for _ in range(10):
                tracer.start_span("one").end()
    now.writer.flush()
    assert (now.writer.counts.written, now.writer.counts.dropped) == (6, 5 + 6)


def test_a_forked_worker_writes_its_own(tmp_path: Path) -> None:
    """The child has a thread of its own and nothing of the parent's queue."""
    script = (
        "import os, sys, time; sys.path.insert(0, sys.argv[2])\nfrom pathlib import Path\n"
        "from telemetry.serving import serving, telemetry_store\nfrom proftool.telemetry import tracing\n"
        "from proftool.telemetry.spans import Keep\n"
        "now = tracing.start('shop', telemetry_store(Path(sys.argv[1])), keep=Keep(share=1.0))\n"
        "with serving('/parent'): pass\n"
        "pid = os.fork()\n"
        "with serving('/child' if not pid else '/parent-again'): pass\n"
        "now.stop()\nif pid: os.waitpid(pid, 0)\nelse: os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parents[1])], check=True, timeout=60)
    found = sorted(span.route or "" for span in telemetry_store(tmp_path).find_spans(SpanQuery()))
    assert found == ["GET /child", "GET /parent", "GET /parent-again"]


def test_secrets_are_taken_out_of_attributes(tmp_path: Path) -> None:
    """A span passes the same rules as all that is stored."""
    store = telemetry_store(tmp_path)
    now = tracing.start("shop", store, keep=Keep(share=1.0))
    with trace.get_tracer("test").start_as_current_span("call", attributes={"url": "https://me:hunter22@host/?token=abcdefgh"}):
        pass
    now.writer.flush()
    (span,) = store.find_spans(SpanQuery())
    assert "hunter22" not in str(span.attributes["url"])
    assert "abcdefgh" not in str(span.attributes["url"])


def test_kept_spans_go_over_otlp(tmp_path: Path) -> None:
    """OpenTelemetry's own exporter posts them; its protobuf says what the store says."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    bodies: list[bytes] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        exporter = OtlpExporter(f"http://127.0.0.1:{server.server_port}/v1/traces")
        now = tracing.start("shop", telemetry_store(tmp_path), keep=Keep(share=1.0), exporters=[exporter])
        with serving() as request, trace.get_tracer("test").start_as_current_span("inner", attributes={"n": 1}):
            pass
        now.stop()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    sent = ExportTraceServiceRequest()
    sent.ParseFromString(b"".join(bodies))
    assert sent.resource_spans[0].resource.attributes[0].value.string_value == "shop"
    found = {span.name: span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans}
    assert set(found) == {"inner", "GET /orders/{id}"}
    assert found["inner"].trace_id.hex() == request.trace_id_hex
    assert found["inner"].parent_span_id.hex() == request.span_id_hex


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


def test_what_is_old_goes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer removes what is older than asked for, and nothing younger."""
    monkeypatch.setattr(tracing_start, "FORGET_S", 0.0)
    store = telemetry_store(tmp_path)
    options = Options(keep=Keep(share=1.0), keep_s=3600.0, sampler=False, leaks=False, every_s=3600.0, queries=False, outgoing=False)
    watching = tracing_start.watch("shop", store, options=options)
    trace.get_tracer("test").start_span("old", start_time=1).end()
    trace.get_tracer("test").start_span("new").end()
    watching.tracing.writer.flush()
    watching.tracing.writer.flush()
    assert [span.name for span in store.find_spans(SpanQuery())] == ["new"]
    watching.stop()


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


def test_a_writer_that_is_let_go_is_gone(tmp_path: Path) -> None:
    """What it does in a forked child holds it no longer than anybody else does."""
    writer = spans_writer.Writer("shop", telemetry_store(tmp_path), EVERYTHING)
    known = weakref.ref(writer)
    del writer
    gc.collect()
    assert known() is None
