"""Samples as OTLP, posted over HTTP: each worker exports what it recorded itself, as an instance of the service.

Sums are cumulative since this process joined; exponential histograms stay exponential. `opentelemetry-proto` is imported in the
keeper's thread at the first export, never on a request.

Source: opentelemetry-proto, metrics/v1/metrics.proto; names of resources by the semantic conventions.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from proftool.telemetry.points import Sample
from proftool.telemetry.segments import EXPONENTIAL_FIRST, EXPONENTIAL_SCALE

if TYPE_CHECKING:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

TIMEOUT_S = 10.0
_INSTANCE = secrets.token_hex(8)


def encode(samples: Sequence[Sample], *, service: str, started_ns: int, time_ns: int) -> bytes:
    """An `ExportMetricsServiceRequest` of the samples, which are ordered by name."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    about = {
        "service.name": service,
        "service.instance.id": f"{_INSTANCE}-{os.getpid()}",
        "host.name": socket.gethostname(),
        "process.pid": str(os.getpid()),
    }
    for name, value in about.items():
        resource.resource.attributes.add(key=name).value.string_value = value
    scope = resource.scope_metrics.add()
    scope.scope.name = "proftool.telemetry"
    for _, group in groupby(samples, key=lambda sample: sample.description.name):
        members = list(group)
        of = members[0].description
        metric = scope.metrics.add(name=of.name, unit=of.unit, description=of.help)
        for sample in members:
            _add(metric, sample, started_ns, time_ns)
    return request.SerializeToString()


def _add(metric: Metric, sample: Sample, started_ns: int, time_ns: int) -> None:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE as cumulative

    kind = sample.description.kind
    if kind == "gauge":
        point = metric.gauge.data_points.add(time_unix_nano=time_ns, as_double=sample.value)
    elif kind in ("counter", "updown"):
        metric.sum.aggregation_temporality = cumulative
        metric.sum.is_monotonic = kind == "counter"
        point = metric.sum.data_points.add(start_time_unix_nano=started_ns, time_unix_nano=time_ns, as_double=sample.value)
    elif kind == "histogram":
        metric.histogram.aggregation_temporality = cumulative
        point = metric.histogram.data_points.add(
            start_time_unix_nano=started_ns,
            time_unix_nano=time_ns,
            count=sample.count,
            sum=sample.value,
            bucket_counts=sample.counts,
            explicit_bounds=sample.description.bounds,
        )
        for _, found in sample.exemplars:
            point.exemplars.add(
                time_unix_nano=found.time_ns,
                as_double=found.value,
                trace_id=found.trace_id.to_bytes(16, "big"),
                span_id=found.span_id.to_bytes(8, "big"),
            )
    else:
        metric.exponential_histogram.aggregation_temporality = cumulative
        filled = [index for index, count in enumerate(sample.counts) if index and count]
        first, last = (filled[0], filled[-1]) if filled else (1, 0)
        point = metric.exponential_histogram.data_points.add(
            start_time_unix_nano=started_ns,
            time_unix_nano=time_ns,
            count=sample.count,
            sum=sample.value,
            scale=EXPONENTIAL_SCALE,
            zero_count=sample.counts[0],
            zero_threshold=sample.description.edges[0],
        )
        # Bucket 1 of ours is what lies above the first bound: the index of that bound, in the protocol's numbering.
        point.positive.offset = EXPONENTIAL_FIRST + first - 1
        point.positive.bucket_counts.extend(sample.counts[first : last + 1])
    for name, value in sample.labels:
        point.attributes.add(key=name).value.string_value = value


def export(endpoint: str | None = None, *, headers: Mapping[str, str] | None = None, every_s: float = 60.0) -> Callable[[], None]:
    """
    Post this worker's samples every so often; returns what ends that.

    Args:
        endpoint: base URL of the receiver; else `OTEL_EXPORTER_OTLP_ENDPOINT`, else http://localhost:4318. `/v1/metrics` is appended.
    """
    from proftool.telemetry.service import own_samples, setup, subscribe

    base = endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318"
    url = f"{base.rstrip('/')}/v1/metrics"
    service, started_ns = setup().name, time.time_ns()
    sent_as = {"Content-Type": "application/x-protobuf"} | dict(headers or {})

    def post(_: Sequence[Sample], time_ns: int) -> None:
        content = encode(own_samples(), service=service, started_ns=started_ns, time_ns=time_ns)
        with urllib.request.urlopen(urllib.request.Request(url, content, sent_as), timeout=TIMEOUT_S) as answer:
            answer.read()

    return subscribe(post, every_s=every_s, each=True)
