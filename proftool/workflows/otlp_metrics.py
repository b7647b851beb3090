"""Metrics of OpenTelemetry's exporters as points: sums, gauges, histograms of both kinds, summaries; of both temporalities.

A point of delta temporality is one whose counting begins with it. Exponential histograms come to the scale of proftool's own,
whose bounds every finer scale has too. A process that does not say who it is counts apart by when it began to count.

The official classes make an object of every attribute, which is most of what a point costs. An exporter sends the same attributes every
time, so the same schema with `bytes` in their place is parsed here, and labels are looked up by those bytes: half the time.

Source: opentelemetry-proto, metrics/v1/metrics.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, cast

from proftool.contracts_telemetry import Attribute, Exemplar, Labels, Point
from proftool.telemetry.segments import EXPONENTIAL_BOUNDS, EXPONENTIAL_FIRST, EXPONENTIAL_SCALE
from proftool.workflows.otlp_values import MAX_INT, Found, attributes_of, labels_of, service_of, shown, text_of

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1 import metrics_pb2

_DELTA: Final = 1
_NO_VALUE: Final = 1


def take_metrics(request: ExportMetricsServiceRequest, found: Found, last_ns: int) -> None:
    """Add the points of a request of `request_class`."""
    for resource in request.resource_metrics:
        about = attributes_of(resource.resource.attributes)
        for scope in resource.scope_metrics:
            reader = _Metrics(found, service_of(about), _instance(about), text_of(scope.scope.name), last_ns)
            for metric in scope.metrics:
                reader.take(metric)


def _instance(about: dict[str, Attribute]) -> str:
    instance = about.get("service.instance.id")
    if instance is not None:
        return shown(instance)
    parts = (about.get("host.name") or about.get("host.id") or about.get("container.id"), about.get("process.pid"))
    return ":".join(shown(part) for part in parts if part is not None)


@cache
def request_class() -> type[ExportMetricsServiceRequest]:
    """`ExportMetricsServiceRequest` whose points' attributes are left as bytes; all else is the official schema."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
    from opentelemetry.proto.common.v1 import common_pb2
    from opentelemetry.proto.metrics.v1 import metrics_pb2
    from opentelemetry.proto.resource.v1 import resource_pb2

    pool = descriptor_pool.DescriptorPool()
    for module in (common_pb2, resource_pb2, metrics_pb2, metrics_service_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            for one in message.field:
                if message.name.endswith("DataPoint") and one.name == "attributes":
                    one.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
                    one.ClearField("type_name")
        pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName(metrics_service_pb2.ExportMetricsServiceRequest.DESCRIPTOR.full_name)
    return cast("type[ExportMetricsServiceRequest]", message_factory.GetMessageClass(found))


_LABELS: dict[tuple[object, ...], Labels] = {}
"""Labels by their bytes, those that came lately."""
_MAX_LABELS = 50_000


def _labels(attributes: Iterable[object]) -> Labels:
    key = tuple(attributes)
    found = _LABELS.get(key)
    if found is None:
        from opentelemetry.proto.common.v1.common_pb2 import KeyValue

        if len(_LABELS) >= _MAX_LABELS:
            _LABELS.clear()
        parts = cast("tuple[bytes, ...]", key)
        found = labels_of(KeyValue.FromString(one) for one in parts)
        if sum(map(len, parts)) < 1000:
            _LABELS[key] = found
    return found


class _Metrics:
    """Metrics of one scope of one process."""

    def __init__(self, found: Found, service: str, instance: str, scope: str, last_ns: int) -> None:
        self._found, self._service, self._scope, self._last_ns = found, service, scope, last_ns
        # Two scopes may use one name.
        self._process = f"{instance} {scope}".strip() if instance else None
        self._name = self._unit = ""
        self._edges: tuple[float, ...] = ()

    def take(self, metric: metrics_pb2.Metric) -> None:
        """Its points."""
        self._name, self._unit = text_of(metric.name), text_of(metric.unit)
        match metric.WhichOneof("data"):
            case "gauge":
                self._numbers("gauge", metric.gauge.data_points, delta=False)
            case "sum":
                delta = metric.sum.aggregation_temporality == _DELTA
                if metric.sum.is_monotonic:
                    self._numbers("counter", metric.sum.data_points, delta=delta)
                elif delta:
                    reason = "a sum that shrinks has no delta temporality here: send it as cumulative"
                    self._found.reject(reason, len(metric.sum.data_points))
                else:
                    self._numbers("gauge", metric.sum.data_points, delta=False)
            case "histogram":
                delta = metric.histogram.aggregation_temporality == _DELTA
                for point in metric.histogram.data_points:
                    edges, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts) or (point.count,)
                    if edges != self._edges:
                        if any(low >= high for low, high in pairwise(edges)):
                            self._found.reject("a histogram whose bounds do not ascend")
                            continue
                        self._edges = edges
                    if len(counts) != len(edges) + 1:
                        self._found.reject("a histogram whose counts do not fit its bounds")
                    elif self._found.has_room(20 + len(counts)):
                        self._bars(point, self._edges, counts, delta=delta)
            case "exponential_histogram":
                delta = metric.exponential_histogram.aggregation_temporality == _DELTA
                for point in metric.exponential_histogram.data_points:
                    if not -30 <= point.scale - EXPONENTIAL_SCALE <= 30:
                        self._found.reject("an exponential histogram of an impossible scale")
                    elif self._found.has_room(20 + len(EXPONENTIAL_BOUNDS)):
                        self._bars(point, EXPONENTIAL_BOUNDS, _exponential(point), delta=delta)
            case "summary":
                self._summaries(metric.summary.data_points)
            case _:
                self._found.reject("a metric without data")

    def _numbers(self, kind: str, points: Iterable[metrics_pb2.NumberDataPoint], *, delta: bool) -> None:
        is_gauge, found = kind == "gauge", self._found
        for point in points:
            if point.flags & _NO_VALUE or not found.has_room(20):
                continue
            value = float(point.as_int) if point.HasField("as_int") else point.as_double
            time_ns = point.time_unix_nano
            start_ns = 0 if is_gauge else time_ns if delta else point.start_time_unix_nano
            marks = point.exemplars
            self._add(kind, _labels(point.attributes), time_ns, start_ns, value, (), (), _exemplars(marks) if marks else ())

    def _bars(
        self,
        point: metrics_pb2.HistogramDataPoint | metrics_pb2.ExponentialHistogramDataPoint,
        edges: tuple[float, ...],
        counts: tuple[int, ...],
        *,
        delta: bool,
    ) -> None:
        if point.flags & _NO_VALUE:
            return
        if sum(counts) > MAX_INT:
            self._found.reject("a histogram of more than 2**63 measurements")
            return
        time_ns, marks = point.time_unix_nano, point.exemplars
        start_ns = time_ns if delta else point.start_time_unix_nano
        self._add(
            "histogram", _labels(point.attributes), time_ns, start_ns, point.sum, counts, edges, _exemplars(marks) if marks else ()
        )  # fmt: skip

    def _summaries(self, points: Iterable[metrics_pb2.SummaryDataPoint]) -> None:
        name, unit = self._name, self._unit
        for point in points:
            if point.flags & _NO_VALUE or not self._found.has_room(60 + 20 * len(point.quantile_values)):
                continue
            labels, time_ns, start_ns = _labels(point.attributes), point.time_unix_nano, point.start_time_unix_nano
            self._name, self._unit = f"{name}.count", ""
            self._add("counter", labels, time_ns, start_ns, float(point.count), (), (), ())
            self._name, self._unit = f"{name}.sum", unit
            self._add("counter", labels, time_ns, start_ns, point.sum, (), (), ())
            self._name = name
            for one in point.quantile_values:
                self._add("gauge", tuple(sorted((*labels, ("quantile", str(one.quantile))))), time_ns, 0, one.value, (), (), ())

    def _add(
        self,
        kind: str,
        labels: Labels,
        time_ns: int,
        start_ns: int,
        value: float,
        counts: tuple[int, ...],
        edges: tuple[float, ...],
        exemplars: tuple[Exemplar, ...],
    ) -> None:
        if not 0 < time_ns <= self._last_ns or start_ns > time_ns:
            self._found.reject("a point without a time, or with one that lies ahead")
            return
        if not math.isfinite(value) or not self._name:
            self._found.reject("a point whose value is no number, or of a metric without a name")
            return
        process = self._process
        if process is None:
            # Processes that do not say who they are count apart by when they began.
            process = f"@{start_ns} {self._scope}".rstrip() if kind != "gauge" and start_ns not in (0, time_ns) else self._scope
        self._found.points.append(
            Point(
                service=self._service,
                process=process,
                name=self._name,
                kind=kind,
                unit=self._unit,
                labels=labels,
                time_ns=time_ns,
                start_ns=start_ns or None,
                value=value,
                counts=counts,
                edges=edges,
                exemplars=exemplars,
            )
        )


def _exemplars(marks: Sequence[metrics_pb2.Exemplar]) -> tuple[Exemplar, ...]:
    """Those with a trace, newest last."""
    return tuple(
        sorted(
            Exemplar(
                min(mark.time_unix_nano, MAX_INT),
                mark.trace_id.hex(),
                mark.span_id.hex(),
                float(mark.as_int) if mark.HasField("as_int") else mark.as_double,
            )
            for mark in marks
            if len(mark.trace_id) == 16
        )
    )


def _exponential(point: metrics_pb2.ExponentialHistogramDataPoint) -> tuple[int, ...]:
    """Counts by `EXPONENTIAL_BOUNDS`: a finer scale merges exactly, a coarser one counts at the upper bounds of its own buckets."""
    shift = point.scale - EXPONENTIAL_SCALE
    counts = [0] * (len(EXPONENTIAL_BOUNDS) + 1)
    # What is not above the first bound: zero, and everything negative.
    counts[0] = point.zero_count + sum(point.negative.bucket_counts)
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset):
        if count:
            # Bucket `index` ends at base ** (index + 1).
            own = index >> shift if shift >= 0 else ((index + 1) << -shift) - 1
            counts[min(max(own - EXPONENTIAL_FIRST + 1, 0), len(counts) - 1)] += count
    return tuple(counts)
