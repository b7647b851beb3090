"""The background half of tracing: what is written, what is dropped, what goes elsewhere, and what a fork leaves behind."""

from __future__ import annotations

import gc
import http.server
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
from opentelemetry import trace
from telemetry.serving import serving, telemetry_store

from proftool.contracts_telemetry import SpanQuery
from proftool.telemetry import spans, spans_writer, tracing, tracing_start
from proftool.telemetry.spans import Keep
from proftool.telemetry.spans_export import OtlpExporter
from proftool.telemetry.tracing import Tracing
from proftool.telemetry.tracing_start import Options

NOTHING = Keep(slow_ns=10**15, share=0.0)
EVERYTHING = Keep(slow_ns=10**15, share=1.0)


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


def test_a_trace_for_which_there_is_no_room_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its request, its spans and it are no cycle that waits for the collector."""
    monkeypatch.setattr(spans_writer, "MAX_QUEUED", 0)
    Tracing("shop", telemetry_store(tmp_path), keep=EVERYTHING, every_s=3600).start()
    with serving() as request:
        entry = trace.get_current_span()
        assert isinstance(entry, spans.Span)
    assert entry.local.reason == "chosen"
    assert not entry.local.spans
    assert entry.local.finish is None
    assert not entry.local.is_of(entry)
    assert request.kept


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


def test_a_writer_that_is_let_go_is_gone(tmp_path: Path) -> None:
    """What it does in a forked child holds it no longer than anybody else does."""
    writer = spans_writer.Writer("shop", telemetry_store(tmp_path), EVERYTHING)
    known = weakref.ref(writer)
    del writer
    gc.collect()
    assert known() is None
