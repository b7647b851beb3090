"""Metrics of OpenTelemetry's exporters as points: sums, gauges, histograms of both kinds, summaries; of both temporalities.

A point of delta temporality is one whose counting begins with it. Exponential histograms come to the scale of proftool's own,
whose bounds every finer scale has too. A process that does not say who it is counts apart by when it began to count.

Source: opentelemetry-proto, metrics/v1/metrics.proto.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from proftool.contracts_telemetry import Attribute, Exemplar, Labels, Point
from proftool.telemetry.segments import EXPONENTIAL_BOUNDS, EXPONENTIAL_FIRST, EXPONENTIAL_SCALE
from proftool.workflows.otlp_values import MAX_INT, Found, attributes_of, is_time, labels_of, service_of, shown, text_of

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.metrics.v1 import metrics_pb2

_DELTA: Final = 1
_NO_VALUE: Final = 1


def take_metrics(request: ExportMetricsServiceRequest, found: Found, last_ns: int) -> None:
    """Add the points of a request."""
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


class _Metrics:
    """Metrics of one scope of one process."""

    def __init__(self, found: Found, service: str, instance: str, scope: str, last_ns: int) -> None:
        self._found, self._service, self._instance, self._scope, self._last_ns = found, service, instance, scope, last_ns

    def take(self, metric: metrics_pb2.Metric) -> None:
        """Its points."""
        match metric.WhichOneof("data"):
            case "gauge":
                for point in metric.gauge.data_points:
                    self._number(metric, "gauge", point, delta=False)
            case "sum":
                delta = metric.sum.aggregation_temporality == _DELTA
                if delta and not metric.sum.is_monotonic:
                    self._found.reject(
                        "a sum that shrinks has no delta temporality here: send it as cumulative", len(metric.sum.data_points)
                    )
                    return
                for point in metric.sum.data_points:
                    self._number(metric, "counter" if metric.sum.is_monotonic else "gauge", point, delta=delta)
            case "histogram":
                delta = metric.histogram.aggregation_temporality == _DELTA
                for point in metric.histogram.data_points:
                    edges = tuple(point.explicit_bounds)
                    counts = tuple(point.bucket_counts) or (point.count,)
                    if len(counts) != len(edges) + 1:
                        self._found.reject("a histogram whose counts do not fit its bounds")
                    else:
                        self._bars(metric, point, edges, counts, delta=delta)
            case "exponential_histogram":
                delta = metric.exponential_histogram.aggregation_temporality == _DELTA
                for point in metric.exponential_histogram.data_points:
                    counts = _exponential(point)
                    if counts is None:
                        self._found.reject("an exponential histogram of an impossible scale")
                    else:
                        self._bars(metric, point, EXPONENTIAL_BOUNDS, counts, delta=delta)
            case "summary":
                for point in metric.summary.data_points:
                    labels, times = labels_of(point.attributes), (point.time_unix_nano, point.start_time_unix_nano)
                    if point.flags & _NO_VALUE:
                        continue
                    self._add(f"{metric.name}.count", "counter", "", labels, times, float(point.count))
                    self._add(f"{metric.name}.sum", "counter", metric.unit, labels, times, point.sum)
                    for one in point.quantile_values:
                        self._add(
                            metric.name, "gauge", metric.unit, tuple(sorted((*labels, ("quantile", str(one.quantile))))), times, one.value
                        )
            case _:
                self._found.reject("a metric without data")

    def _number(self, metric: metrics_pb2.Metric, kind: str, point: metrics_pb2.NumberDataPoint, *, delta: bool) -> None:
        if point.flags & _NO_VALUE:
            return
        value = float(point.as_int) if point.HasField("as_int") else point.as_double
        times = (point.time_unix_nano, point.time_unix_nano if delta else 0 if kind == "gauge" else point.start_time_unix_nano)
        self._add(metric.name, kind, metric.unit, labels_of(point.attributes), times, value, exemplars=_exemplars(point.exemplars))

    def _bars(
        self,
        metric: metrics_pb2.Metric,
        point: metrics_pb2.HistogramDataPoint | metrics_pb2.ExponentialHistogramDataPoint,
        edges: tuple[float, ...],
        counts: tuple[int, ...],
        *,
        delta: bool,
    ) -> None:
        if point.flags & _NO_VALUE:
            return
        if any(low >= high for low, high in pairwise(edges)) and edges is not EXPONENTIAL_BOUNDS:
            self._found.reject("a histogram whose bounds do not ascend")
            return
        if sum(counts) > MAX_INT:
            self._found.reject("a histogram of more than 2**63 measurements")
            return
        times = (point.time_unix_nano, point.time_unix_nano if delta else point.start_time_unix_nano)
        marks = _exemplars(point.exemplars)
        self._add(
            metric.name,
            "histogram",
            metric.unit,
            labels_of(point.attributes),
            times,
            point.sum,
            counts=counts,
            edges=edges,
            exemplars=marks,
        )

    def _add(
        self,
        name: str,
        kind: str,
        unit: str,
        labels: Labels,
        times: tuple[int, int],
        value: float,
        *,
        counts: tuple[int, ...] = (),
        edges: tuple[float, ...] = (),
        exemplars: tuple[Exemplar, ...] = (),
    ) -> None:
        time_ns, start_ns = times
        if not is_time(time_ns, self._last_ns) or start_ns > time_ns:
            self._found.reject("a point without a time, or with one that lies ahead")
            return
        if not math.isfinite(value) or not name:
            self._found.reject("a point whose value is no number, or of a metric without a name")
            return
        # Processes that do not say who they are count apart by when they began; two scopes may use one name.
        who = self._instance or (f"@{start_ns}" if kind != "gauge" and start_ns not in (0, time_ns) else "")
        process = f"{who} {self._scope}".strip()
        self._found.points.append(
            Point(
                service=self._service,
                process=process,
                name=text_of(name),
                kind=kind,
                unit=text_of(unit),
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
    if not marks:
        return ()
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


def _exponential(point: metrics_pb2.ExponentialHistogramDataPoint) -> tuple[int, ...] | None:
    """Counts by `EXPONENTIAL_BOUNDS`: a finer scale merges exactly, a coarser one counts at the upper bounds of its own buckets."""
    shift = point.scale - EXPONENTIAL_SCALE
    if not -30 <= shift <= 30:
        return None
    counts = [0] * (len(EXPONENTIAL_BOUNDS) + 1)
    # What is not above the first bound: zero, and everything negative.
    counts[0] = point.zero_count + sum(point.negative.bucket_counts)
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset):
        if count:
            # Bucket `index` ends at base ** (index + 1).
            own = index >> shift if shift >= 0 else ((index + 1) << -shift) - 1
            counts[min(max(own - EXPONENTIAL_FIRST + 1, 0), len(counts) - 1)] += count
    return tuple(counts)
