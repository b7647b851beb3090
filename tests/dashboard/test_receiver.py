"""OpenTelemetry's own exporters, and bodies made by hand, against a real server: what is acknowledged is stored, exactly and once."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
from dashboard.receiving import Receiving, counter_body, lately, spans_body
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from proftool.contracts_telemetry import LogQuery, SliceQuery, SpanQuery
from proftool.units import NS_PER_S

PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs", "/v1development/profiles")


@pytest.fixture(scope="module")
def receiving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    one = Receiving(tmp_path_factory.mktemp("receiver"))
    yield one
    assert one.end() == ""


# --- OpenTelemetry's SDK ----------------------------------------------------------------------------------------------------


def test_the_official_exporter_of_spans_delivers_them(receiving: Receiving) -> None:
    """Every span, with its parent, attributes, events, links, status and the route of its entry."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    provider = TracerProvider(resource=Resource({"service.name": "sdk-spans", "service.version": "7"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{receiving.base}/v1/traces"), max_export_batch_size=100))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("first") as first:
        other = first.get_span_context()
    entry_attributes = {"http.route": "/orders/{id}", "http.request.method": "GET", "list": ["a", "b"], "yes": True}
    with tracer.start_as_current_span("GET /orders/{id}", kind=SpanKind.SERVER, attributes=entry_attributes, links=[Link(other)]) as entry:
        trace_id = f"{entry.get_span_context().trace_id:032x}"
        for number in range(500):
            with tracer.start_as_current_span(f"child {number}", attributes={"n": number}):
                pass
        entry.add_event("happened", {"why": "x"})
        entry.set_status(Status(StatusCode.ERROR, "broke"))
    provider.shutdown()
    found = receiving.spans.find_spans(SpanQuery(service="sdk-spans", limit=None))
    assert len(found) == 502
    (stored,) = [span for span in found if span.kind == "server"]
    assert (stored.trace_id, stored.route, stored.is_entry, stored.status, stored.message) == (
        trace_id, "GET /orders/{id}", True, "error", "broke",
    )  # fmt: skip
    assert stored.attributes["list"] == ("a", "b")
    assert stored.attributes["yes"] is True
    assert stored.attributes["service.version"] == "7"
    assert [(event.name, event.attributes) for event in stored.events] == [("happened", {"why": "x"})]
    assert [link.trace_id for link in stored.links] == [f"{other.trace_id:032x}"]
    children = [span for span in found if span.parent_id == stored.span_id]
    assert sorted(span.attributes["n"] for span in children) == list(range(500))  # pyright: ignore[reportArgumentType]
    assert not any(span.is_entry for span in children)


def test_the_official_exporter_of_metrics_delivers_exact_counts(receiving: Receiving) -> None:
    """Counters, gauges and both histograms, cumulative over several exports, and counters of delta temporality."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import Counter, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
    from opentelemetry.sdk.resources import Resource

    def meter(service: str, **how: object):
        exporter = OTLPMetricExporter(f"{receiving.base}/v1/metrics", **how)  # pyright: ignore[reportArgumentType]
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        view = View(instrument_name="wide", aggregation=ExponentialBucketHistogramAggregation())
        return MeterProvider([reader], resource=Resource({"service.name": service}), views=[view])

    provider = meter("sdk-metrics")
    made = provider.get_meter("test")
    counter, gauge = made.create_counter("orders", unit="{order}"), made.create_gauge("depth")
    bars, wide = made.create_histogram("took", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1.0]), made.create_histogram("wide")
    updown = made.create_up_down_counter("open")
    for _ in range(3):
        for number in range(100):
            counter.add(2, {"kind": "x"})
            bars.record(0.05 if number % 4 else 5.0)
            wide.record(number)
        gauge.set(7)
        updown.add(1)
        provider.force_flush()
    provider.shutdown()
    found = lately(receiving, "sdk-metrics")
    assert (found["orders"].values, found["orders"].labels, found["orders"].unit) == ((600.0,), (("kind", "x"),), "{order}")
    assert (found["took"].edges, found["took"].counts, found["took"].values) == (
        (0.1, 1.0), ((225, 0, 75),), (pytest.approx(225 * 0.05 + 75 * 5.0),),
    )  # fmt: skip
    assert (found["depth"].kind, found["depth"].values) == ("gauge", (7.0,))
    assert (found["open"].kind, found["open"].values) == ("gauge", (3.0,))
    (wide_counts,) = found["wide"].counts
    assert wide_counts is not None
    assert sum(wide_counts) == 300
    below_ten = sum(count for count, edge in zip(wide_counts, found["wide"].edges, strict=False) if edge <= 9.9)
    assert below_ten == 30

    provider = meter("sdk-delta", preferred_temporality={Counter: AggregationTemporality.DELTA})
    counter = provider.get_meter("test").create_counter("orders")
    for value in (5, 1, 9):
        counter.add(value)
        provider.force_flush()
    provider.shutdown()
    assert lately(receiving, "sdk-delta")["orders"].values == (15.0,)


def test_the_official_exporter_of_logs_delivers_them(receiving: Receiving) -> None:
    """By the standard library's logger; found by trace, by service and by severity."""
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_ERROR
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = LoggerProvider(resource=Resource({"service.name": "sdk-logs"}))
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{receiving.base}/v1/logs")))
    logger = provider.get_logger("shop")
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
        for number in range(50):
            logger.emit(
                timestamp=time.time_ns(), severity_number=_severity(9 if number % 2 else SEVERITY_NUMBER_ERROR), severity_text="INFO",
                body=f"line {number} password=hunter2hunter2", attributes={"n": number},
            )  # fmt: skip
    logger.emit(timestamp=time.time_ns(), body={"a": 1})
    provider.shutdown()
    assert len(receiving.logs.find_logs(LogQuery(service="sdk-logs"))) == 51
    of_trace = receiving.logs.find_logs(LogQuery(trace_id=trace_id))
    assert [record.attributes["n"] for record in of_trace] == list(range(50))
    assert of_trace[1].body == "line 1 password=***"
    assert (of_trace[1].severity, of_trace[1].level, of_trace[1].attributes["otel.scope.name"]) == (9, "INFO", "shop")
    assert len(receiving.logs.find_logs(LogQuery(service="sdk-logs", min_severity=17))) == 25


def _severity(number: int):
    from opentelemetry._logs import SeverityNumber

    return SeverityNumber(number)


def test_profiles_become_slices_of_their_service(receiving: Receiving) -> None:
    """What the format writes is read back by service and process, with the same total."""
    from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import ExportProfilesServiceRequest
    from store.stores import profile

    from proftool.formats.otlp import format as otlp

    one = profile(7)
    request = ExportProfilesServiceRequest.FromString(otlp.write(one))
    for resource in request.resource_profiles:
        resource.resource.attributes.add(key="service.name").value.string_value = "profiled"
        for scope in resource.scope_profiles:
            for sent in scope.profiles:
                sent.time_unix_nano, sent.duration_nano = time.time_ns(), 10 * NS_PER_S
    assert receiving.post("/v1development/profiles", request.SerializeToString()).status_code == 200
    (found,) = receiving.spans.find_slices(SliceQuery(service="profiled"))
    assert found.pid == 7
    assert found.end_ns - found.start_ns == 10 * NS_PER_S
    assert int(found.profile.cells.value.sum()) == int(one.cells.value.sum())
    broken = ExportProfilesServiceRequest()
    broken.resource_profiles.add().scope_profiles.add().profiles.add()
    answer = receiving.post("/v1development/profiles", broken.SerializeToString())
    assert answer.status_code == 200
    assert b"dictionary" in answer.content


# --- the protocol -----------------------------------------------------------------------------------------------------------


def test_json_by_the_specification(receiving: Receiving) -> None:
    """Ids in hexadecimal, long numbers as texts, enumerations as numbers, names that nobody knows passed over."""
    now = time.time_ns()
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "json"}}], "someday": 1}
    span = {
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174", "parentSpanId": "EEE19B7EC3C1B173",
        "name": "I'm a span", "kind": 2, "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5), "status": {"code": 2},
        "attributes": [
            {"key": "my.attr", "value": {"intValue": "12"}},
            {"key": "all", "value": {"arrayValue": {"values": [{"doubleValue": 1.5}]}}},
        ],
    }  # fmt: skip
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "lib"}, "spans": [span]}]}]}
    answer = receiving.post("/v1/traces", json.dumps(body).encode(), "application/json; charset=utf-8")
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", {})
    (found,) = receiving.spans.find_spans(SpanQuery(service="json"))
    assert (found.trace_id, found.span_id, found.parent_id) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173")
    assert (found.kind, found.duration_ns, found.status) == ("server", 5, "error")
    assert {"my.attr": 12, "all": (1.5,)}.items() <= found.attributes.items()
    point = {"startTimeUnixNano": str(now - 5), "timeUnixNano": str(now), "asInt": "9007199254740991", "exemplars": []}
    metric = {"name": "big", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [point]}}
    body = {"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}]}
    assert receiving.post("/v1/metrics", json.dumps(body).encode(), "application/json").status_code == 200
    assert lately(receiving, "json")["big"].values == (float(2**53 - 1),)


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies_are_unpacked(receiving: Receiving, coding: str, pack: Callable[[bytes], bytes]) -> None:
    """As many as were sent."""
    assert receiving.post("/v1/traces", pack(spans_body(f"packed-{coding}", 0, 300)), content_encoding=coding).status_code == 200
    # Spans of one id are one span, whatever service they name.
    assert len(receiving.spans.find_spans(SpanQuery(trace_id=f"{300:032x}"))) == 1


def test_what_is_wrong_in_one_item_refuses_that_item(receiving: Receiving) -> None:
    """Told in the answer, in the encoding that was used; the rest is kept."""
    request = ExportTraceServiceRequest.FromString(spans_body("partly", 5000, 3))
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = bytes(16)
    spans[1].start_time_unix_nano = 2**64 - 1
    answer = ExportTraceServiceResponse.FromString(receiving.post("/v1/traces", request.SerializeToString()).content)
    assert answer.partial_success.rejected_spans == 2
    assert "start" in answer.partial_success.error_message
    assert len(receiving.spans.find_spans(SpanQuery(service="partly"))) == 1
    now = time.time_ns()
    bad = ExportMetricsServiceRequest.FromString(counter_body("partly", 1, time_ns=now, series=2, start_ns=now - 5))
    data = bad.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    data[1].as_double = float("nan")
    answer = ExportMetricsServiceResponse.FromString(receiving.post("/v1/metrics", bad.SerializeToString()).content)
    assert answer.partial_success.rejected_data_points == 1
    assert lately(receiving, "partly")["n"].values == (1.0,)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("content", "kind", "headers", "status"),
    [
        (b"\xff\xff\xff", "application/x-protobuf", {}, 400),
        (b"{", "application/json", {}, 400),
        (b"[]", "application/json", {}, 400),
        (b'{"resourceSpans": 5, "resourceMetrics": 5, "resourceLogs": 5, "resourceProfiles": 5}', "application/json", {}, 400),
        (b"[" * 100_000, "application/json", {}, 400),
        (b"x", "text/plain", {}, 415),
        (b"x", "application/x-protobuf", {"content_encoding": "br"}, 415),
        (b"not gzip", "application/x-protobuf", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"\x0a\x00")[:-4], "application/x-protobuf", {"content_encoding": "gzip"}, 400),
        (gzip.compress(bytes(64 << 20)), "application/x-protobuf", {"content_encoding": "gzip"}, 413),
        (bytes((16 << 20) + 1), "application/x-protobuf", {}, 413),
    ],
    ids=["junk", "cut JSON", "no object", "wrong types", "deep", "type", "encoding", "no gzip", "cut gzip", "bomb", "large"],
)
def test_a_bad_body_is_refused_by_its_status(
    receiving: Receiving, path: str, content: bytes, kind: str, headers: dict[str, str], status: int
) -> None:
    """An exporter repeats none of them; a body in the encoding that was used."""
    answer = receiving.post(path, content, kind, **headers)
    assert answer.status_code == status
    if kind == "application/json":
        assert answer.json()["message"]


def test_an_empty_request_is_fine(receiving: Receiving) -> None:
    """Nothing was sent, and nothing is missing."""
    for path in PATHS[:3]:
        assert (receiving.post(path, b"").status_code, receiving.post(path, b"{}", "application/json").json()) == (200, {})


def test_no_page_may_write_and_no_other_name_is_answered(receiving: Receiving) -> None:
    """Origin and Host are checked as for pages; other methods and paths are what they were."""
    body = spans_body("foreign", 9000, 1)
    assert receiving.post("/v1/traces", body, origin="https://evil.example").status_code == 403
    assert receiving.post("/v1/traces", body, sec_fetch_site="cross-site").status_code == 403
    assert receiving.post("/v1/traces", body, host="evil.example").status_code == 421
    assert receiving.post("/", body).status_code == 405
    assert receiving.post("/v1/traces/x", body).status_code == 405
    assert httpx.get(f"{receiving.base}/v1/traces", timeout=120).status_code == 401
    assert receiving.spans.find_spans(SpanQuery(service="foreign")) == ()


def test_a_body_that_does_not_come_keeps_nobody_waiting(receiving: Receiving) -> None:
    """A sender that stops half way holds a connection and no more."""
    host, _, port = receiving.base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as slow:
        head = (
            "POST /v1/traces HTTP/1.1",
            f"host: {host}:{port}",
            "content-type: application/x-protobuf",
            "content-length: 1000",
            "",
            "xx",
        )
        slow.sendall("\r\n".join(head).encode())
        assert receiving.post("/v1/traces", spans_body("beside", 20_000, 1)).status_code == 200


def test_log_records_that_come_again_are_kept_once(receiving: Receiving) -> None:
    """Two equal lines of one moment stay two, a batch that is repeated adds nothing."""
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "again"
    records = resource.scope_logs.add().log_records
    for _ in range(2):
        records.add(time_unix_nano=time.time_ns() // NS_PER_S * NS_PER_S).body.string_value = "same\0line"
    for _ in range(3):
        assert receiving.post("/v1/logs", request.SerializeToString()).status_code == 200
    assert [record.body for record in receiving.logs.find_logs(LogQuery(service="again"))] == ["same\ufffdline"] * 2
