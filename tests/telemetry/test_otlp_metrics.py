"""What is exported reads back through the official protocol classes."""

from __future__ import annotations

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from proftool.telemetry.metrics import REGISTRY, counter, gauge, histogram
from proftool.telemetry.otlp_metrics import encode
from proftool.telemetry.request import CURRENT, Request


def test_every_kind_reads_back() -> None:
    """Values, times, temporality, buckets and exemplars are those that were recorded."""
    counter("otlp.c", unit="By").add(7, a="b")
    gauge("otlp.g").set(2.5)
    made = Request("http", "GET", "http", "/", {}, lambda _: None, 0)
    made.kept = True
    token = CURRENT.set(made)
    histogram("otlp.h", buckets=(1, 2)).record(1.5)
    CURRENT.reset(token)
    wide = histogram("otlp.x", exponential=True)
    for value in (0.0, 1.05, 1.05, 300.0):
        wide.record(value)
    samples = [sample for sample in REGISTRY.own() if sample.description.name.startswith("otlp.")]
    request = ExportMetricsServiceRequest.FromString(encode(samples, service="shop", started_ns=5, time_ns=9))
    (resource,) = request.resource_metrics
    assert {found.key: found.value.string_value for found in resource.resource.attributes}["service.name"] == "shop"
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    (point,) = found["otlp.c"].sum.data_points
    assert found["otlp.c"].unit == "By"
    assert found["otlp.c"].sum.is_monotonic
    assert found["otlp.c"].sum.aggregation_temporality == 2
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (7, 5, 9)
    assert [(a.key, a.value.string_value) for a in point.attributes] == [("a", "b")]
    assert found["otlp.g"].gauge.data_points[0].as_double == 2.5
    (bars,) = found["otlp.h"].histogram.data_points
    assert (list(bars.bucket_counts), list(bars.explicit_bounds), bars.count, bars.sum) == ([0, 1, 0], [1, 2], 1, 1.5)
    assert bars.exemplars[0].trace_id.hex() == made.trace_id_hex
    assert bars.exemplars[0].span_id.hex() == made.span_id_hex
    (wide_bars,) = found["otlp.x"].exponential_histogram.data_points
    assert wide_bars.zero_count == 1
    assert wide_bars.count == 4
    base = 2 ** (1 / 2**wide_bars.scale)
    held = [(base**i, base ** (i + 1), n) for i, n in enumerate(wide_bars.positive.bucket_counts, wide_bars.positive.offset) if n]
    assert [n for _, _, n in held] == [2, 1]
    assert held[0][0] < 1.05 <= held[0][1]
    assert held[1][0] < 300 <= held[1][1]
