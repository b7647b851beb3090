"""The receiver killed, ended, overloaded and on another interface: what was acknowledged is stored, and who is turned away is told."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from dashboard.receiving import Receiving, counter_body, lately, spans_body

from proftool.contracts_telemetry import SpanQuery


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Receiving]]:
    """Servers of a test's own."""
    made: list[Receiving] = []

    def start(*words: str, prelude: str = "") -> Receiving:
        made.append(Receiving(tmp_path, *words, prelude=prelude))
        return made[-1]

    yield start
    for one in made:
        one.end()


def test_another_interface_needs_the_token(fresh: Callable[..., Receiving]) -> None:
    """As a bearer, which exporters send by OTEL_EXPORTER_OTLP_HEADERS."""
    one = fresh("--host", "0.0.0.0", "--token", "t" * 16)
    body = spans_body("far", 0, 1)
    assert one.post("/v1/traces", body).status_code == 401
    assert one.post("/v1/traces", body, authorization="Bearer wrong").status_code == 401
    assert one.post("/v1/traces", body, authorization=f"Bearer {'t' * 16}").status_code == 200
    assert len(one.spans.find_spans(SpanQuery(service="far"))) == 1


def test_what_was_acknowledged_outlives_a_kill(fresh: Callable[..., Receiving]) -> None:
    """Eight senders, the server is killed among them: every batch that was answered with 200 is there, whole."""
    one = fresh()
    acknowledged: list[int] = []
    start_ns = time.time_ns()

    def send(sender: int) -> None:
        for number in range(10_000):
            first = sender * 1_000_000 + number * 20
            try:
                done = one.post("/v1/traces", spans_body("killed", first, 20)).status_code == 200
                done &= one.post(
                    "/v1/metrics", counter_body(f"killed-{sender}", number + 1, time_ns=time.time_ns(), start_ns=start_ns)
                ).status_code == 200  # fmt: skip
            except httpx.HTTPError:
                return
            if done:
                acknowledged.append(first)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 60:
        time.sleep(0.01)
    one.kill()
    for thread in threads:
        thread.join()
    stored = {int(span.span_id, 16) - 1 for span in one.spans.find_spans(SpanQuery(service="killed", limit=None))}
    for first in acknowledged:
        assert stored >= set(range(first, first + 20))
    for sender in range(8):
        done = [first for first in acknowledged if first // 1_000_000 == sender]
        if done:
            (value,) = lately(one, f"killed-{sender}")["n"].values
            assert value is not None
            assert value >= max(done) % 1_000_000 // 20 + 1


def test_the_end_refuses_what_waits(fresh: Callable[..., Receiving]) -> None:
    """SIGTERM among senders: each is answered, with 200 what is stored, with 503 or a closed door what is not; nothing is said."""
    one = fresh(
        prelude="import proftool.workflows.receive as r, time\nr.GROUP_BYTES = 1\n"
        "old = r.Receiver._commit\ndef slow(self, jobs):\n    time.sleep(0.2)\n    old(self, jobs)\nr.Receiver._commit = slow"
    )
    statuses: dict[int, int] = {}

    def send(sender: int) -> None:
        for number in range(1000):
            first = sender * 1_000_000 + number
            try:
                statuses[first] = one.post("/v1/traces", spans_body("ended", first, 1)).status_code
            except httpx.HTTPError:
                return
            if statuses[first] != 200:
                return

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(6)]
    for thread in threads:
        thread.start()
    while list(statuses.values()).count(200) < 3:
        time.sleep(0.01)
    one.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert one.process.wait(120) in (0, -signal.SIGTERM)
    assert set(statuses.values()) == {200, 503}
    stored = {int(span.span_id, 16) - 1 for span in one.spans.find_spans(SpanQuery(service="ended", limit=None))}
    assert stored >= {first for first, status in statuses.items() if status == 200}
    assert one.end() == ""


def test_overload_turns_away_and_loses_nothing(fresh: Callable[..., Receiving]) -> None:
    """With room for three requests and a writer that waits, senders are asked to come again, and all that got through is there."""
    one = fresh(
        prelude="import proftool.workflows.receive as r, time\nr.MAX_HELD_BYTES = 60_000\nr.GROUP_BYTES = 1\n"
        "old = r.Receiver._commit\ndef slow(self, jobs):\n    time.sleep(0.05)\n    old(self, jobs)\nr.Receiver._commit = slow"
    )
    statuses: list[tuple[int, int]] = []
    waits: set[str | None] = set()

    def send(sender: int) -> None:
        for number in range(6):
            first = sender * 1_000_000 + number * 1000
            answer = one.post("/v1/traces", spans_body("crowd", first, 300))
            statuses.append((first, answer.status_code))
            if answer.status_code == 503:
                waits.add(answer.headers.get("retry-after"))

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for _, status in statuses} == {200, 503}
    assert waits == {"1"}
    expected = {first + n for first, status in statuses if status == 200 for n in range(300)}
    stored = {int(span.span_id, 16) - 1 for span in one.spans.find_spans(SpanQuery(service="crowd", limit=None))}
    assert stored == expected


def test_the_official_exporter_comes_again_after_an_overload(fresh: Callable[..., Receiving], caplog: pytest.LogCaptureFixture) -> None:
    """The statuses are those that it knows: two refusals, and the batch is there."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

    one = fresh(
        prelude="import proftool.workflows.receive as r\nold, left = r.Receiver.hold, [2]\ndef hold(self, n):\n    left[0] -= 1\n"
        "    if left[0] >= 0:\n        raise r.Overloaded\n    old(self, n)\nr.Receiver.hold = hold"
    )
    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{one.base}/v1/traces")
    results: list[SpanExportResult] = []
    export = exporter.export
    exporter.export = lambda spans: results.append(export(spans)) or results[-1]  # pyright: ignore[reportAttributeAccessIssue]
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with caplog.at_level(logging.CRITICAL):
        provider.get_tracer("test").start_span("again").end()
    provider.shutdown()
    assert results == [SpanExportResult.SUCCESS]
    assert [span.name for span in one.spans.find_spans(SpanQuery())] == ["again"]
