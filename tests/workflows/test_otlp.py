"""What is made of OpenTelemetry's messages, where a whole exporter is not needed to see it."""

from __future__ import annotations

import math
import random

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from proftool.telemetry.segments import EXPONENTIAL_BOUNDS
from proftool.workflows.otlp import Malformed, decode
from proftool.workflows.otlp_values import Found

NOW = 1_750_000_000_000_000_000


def metric_of(request: ExportMetricsServiceRequest, name: str = "n", *, scope: str = "", **about: str) -> Metric:
    resource = request.resource_metrics.add()
    for key, value in about.items():
        resource.resource.attributes.add(key=key.replace("_", ".")).value.string_value = value
    scoped = resource.scope_metrics.add()
    scoped.scope.name = scope
    return scoped.metrics.add(name=name)


def read(request: ExportMetricsServiceRequest | ExportTraceServiceRequest) -> Found:
    signal = "metrics" if isinstance(request, ExportMetricsServiceRequest) else "traces"
    return decode(signal, request.SerializeToString(), is_json=False, now_ns=NOW)


@pytest.mark.parametrize("scale", [-2, 0, 3, 5, 20])
def test_exponential_histograms_come_to_one_scale(scale: int) -> None:
    """Bucket for bucket where the sent scale is the finer one; never below their own bucket's upper bound where it is coarser."""
    chance = random.Random(scale)
    values = [chance.uniform(0.5, 3.0) for _ in range(200)]
    base = 2.0 ** (2.0**-scale)
    indexes = [math.ceil(math.log(value, base)) - 1 for value in values]
    request = ExportMetricsServiceRequest()
    metric = metric_of(request)
    metric.exponential_histogram.aggregation_temporality = 2
    point = metric.exponential_histogram.data_points.add(time_unix_nano=NOW, scale=scale, zero_count=4, count=207, sum=1.0)
    point.positive.offset = min(indexes)
    counts = [0] * (max(indexes) - min(indexes) + 1)
    for index in indexes:
        counts[index - min(indexes)] += 1
    point.positive.bucket_counts.extend(counts)
    point.negative.bucket_counts.extend([1, 2])
    (found,) = read(request).points
    assert sum(found.counts) == 207
    assert found.counts[0] == 7
    own = [sum(edge < value for edge in EXPONENTIAL_BOUNDS) for value in values]
    expected = [0] * len(found.counts)
    if scale >= 3:
        for index in own:
            expected[index] += 1
        assert list(found.counts[1:]) == expected[1:]
    else:
        for index in indexes:
            upper = base ** (index + 1)
            expected[sum(edge < upper * (1 - 1e-9) for edge in EXPONENTIAL_BOUNDS)] += 1
        assert list(found.counts[1:]) == expected[1:]


def test_processes_and_scopes_count_apart() -> None:
    """By instance, by host and process, by when they began; and by scope."""
    request = ExportMetricsServiceRequest()
    for scope, about in (
        ("a", {"service_instance_id": "i1"}),
        ("b", {"service_instance_id": "i1"}),
        ("", {"host_name": "h", "process_pid": "7"}),
        ("", {"telemetry_sdk_language": "go"}),
    ):
        metric = metric_of(request, scope=scope, service_name="shop", **about)
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 2
        metric.sum.data_points.add(time_unix_nano=NOW, start_time_unix_nano=NOW - 5, as_int=1)
    assert [point.process for point in read(request).points] == ["i1 a", "i1 b", "h:7", f"@{NOW - 5}"]


def test_a_delta_begins_with_itself_and_one_that_shrinks_is_refused() -> None:
    """The first can be added up, the second has no total that a lost request would not falsify."""
    request = ExportMetricsServiceRequest()
    for is_monotonic in (True, False):
        metric = metric_of(request)
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = is_monotonic, 1
        metric.sum.data_points.add(time_unix_nano=NOW, start_time_unix_nano=NOW - 5, as_int=3)
    found = read(request)
    assert [(point.kind, point.start_ns, point.value) for point in found.points] == [("counter", NOW, 3.0)]
    assert found.rejected == 1
    assert "cumulative" in found.reason


def test_a_summary_is_counters_and_quantiles() -> None:
    """Under names that say which is which."""
    request = ExportMetricsServiceRequest()
    point = metric_of(request, "took").summary.data_points.add(time_unix_nano=NOW, count=5, sum=2.5)
    point.quantile_values.add(quantile=0.99, value=1.5)
    assert [(p.name, p.kind, p.labels, p.value) for p in read(request).points] == [
        ("took.count", "counter", (), 5.0),
        ("took.sum", "counter", (), 2.5),
        ("took", "gauge", (("quantile", "0.99"),), 1.5),
    ]


def test_a_point_without_a_recorded_value_is_no_point() -> None:
    """The flag that says that a series ended; nothing is refused."""
    request = ExportMetricsServiceRequest()
    metric_of(request).gauge.data_points.add(time_unix_nano=NOW, as_int=1, flags=1)
    found = read(request)
    assert (found.points, found.rejected) == ([], 0)


def test_labels_are_texts_of_every_type() -> None:
    """Sorted; the same bytes give the same labels again, broken ones a refusal."""
    request = ExportMetricsServiceRequest()
    point = metric_of(request).gauge.data_points.add(time_unix_nano=NOW, as_int=1)
    point.attributes.add(key="z").value.bool_value = True
    point.attributes.add(key="n").value.int_value = 7
    point.attributes.add(key="empty").value.string_value = ""
    for value in ("a", "b"):
        point.attributes.add(key=value).value.array_value.values.add().string_value = value
    labels = (("a", '["a"]'), ("b", '["b"]'), ("empty", ""), ("n", "7"), ("z", "true"))
    assert [read(request).points[0].labels for _ in range(2)] == [labels, labels]
    broken = request.SerializeToString().replace(b"empty", b"emp\xffy")
    with pytest.raises(Malformed):
        decode("metrics", broken, is_json=False, now_ns=NOW)


def test_a_small_body_may_not_become_a_large_memory() -> None:
    """A point of some bytes stands for hundreds of buckets: beyond a bound the rest is refused."""
    request = ExportMetricsServiceRequest()
    metric = metric_of(request)
    for number in range(20_000):
        metric.exponential_histogram.data_points.add(time_unix_nano=NOW - number, zero_count=1)
    found = read(request)
    assert len(found.points) + found.rejected == 20_000
    assert len(found.points) * len(EXPONENTIAL_BOUNDS) <= 4_000_000
    assert "smaller" in found.reason


@pytest.mark.parametrize(
    ("parent", "flags", "kind", "is_entry"),
    [(b"", 0, 1, True), (b"p" * 8, 0, 2, True), (b"p" * 8, 0, 3, False), (b"p" * 8, 0x100, 2, False), (b"p" * 8, 0x300, 1, True)],
    ids=["root", "server of an old exporter", "client", "local parent", "remote parent"],
)
def test_an_entry_is_told_by_its_parent(parent: bytes, flags: int, kind: int, is_entry: bool) -> None:
    """By the flags that say whether the parent is remote, by the kind where there are none."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"t" * 16, span_id=b"s" * 8, parent_span_id=parent, flags=flags, kind=kind,
        start_time_unix_nano=NOW, end_time_unix_nano=NOW,
    )  # fmt: skip
    span.attributes.add(key="http.route").value.string_value = "/x"
    span.attributes.add(key="http.method").value.string_value = "GET"
    (found,) = read(request).spans
    assert (found.is_entry, found.route, found.service) == (is_entry, "GET /x" if is_entry else None, "unknown_service")
