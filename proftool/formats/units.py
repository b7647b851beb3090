"""Metrics as other profilers name them: a type and a unit of theirs <-> a metric of the model and a factor.

pprof and OTLP say `("cpu", "nanoseconds")`; what is in neither list keeps its own name.
"""

from __future__ import annotations

import re
from dataclasses import replace

from proftool.model.profile import (
    ALLOCATED_BYTES,
    ALLOCATIONS,
    CALLS,
    CPU_TIME,
    LEAKED_BYTES,
    PEAK_BYTES,
    PREEMPTED_TIME,
    SAMPLES,
    TEMPORARY_ALLOCATIONS,
    WAITING_TIME,
    WALL_TIME,
    Metric,
    MetricKind,
)
from proftool.units import NS_PER_MS, NS_PER_S, NS_PER_US, Unit

_FACTORS: dict[str, tuple[Unit, int]] = {
    "nanoseconds": (Unit.NANOSECONDS, 1), "nanosecond": (Unit.NANOSECONDS, 1), "ns": (Unit.NANOSECONDS, 1),
    "microseconds": (Unit.NANOSECONDS, NS_PER_US), "microsecond": (Unit.NANOSECONDS, NS_PER_US), "us": (Unit.NANOSECONDS, NS_PER_US),
    "milliseconds": (Unit.NANOSECONDS, NS_PER_MS), "millisecond": (Unit.NANOSECONDS, NS_PER_MS), "ms": (Unit.NANOSECONDS, NS_PER_MS),
    "seconds": (Unit.NANOSECONDS, NS_PER_S), "second": (Unit.NANOSECONDS, NS_PER_S), "s": (Unit.NANOSECONDS, NS_PER_S),
    "bytes": (Unit.BYTES, 1), "byte": (Unit.BYTES, 1), "B": (Unit.BYTES, 1), "By": (Unit.BYTES, 1),
    "kilobytes": (Unit.BYTES, 1 << 10), "kb": (Unit.BYTES, 1 << 10), "megabytes": (Unit.BYTES, 1 << 20), "mb": (Unit.BYTES, 1 << 20),
}  # fmt: skip
_TYPES: dict[tuple[str, Unit], Metric] = {
    ("wall", Unit.NANOSECONDS): WALL_TIME,
    ("cpu", Unit.NANOSECONDS): CPU_TIME,
    ("samples", Unit.COUNT): SAMPLES,
    ("calls", Unit.COUNT): CALLS,
    ("alloc_space", Unit.BYTES): ALLOCATED_BYTES,
    ("alloc_objects", Unit.COUNT): ALLOCATIONS,
    ("temporary_objects", Unit.COUNT): TEMPORARY_ALLOCATIONS,
    ("peak_space", Unit.BYTES): PEAK_BYTES,
    ("inuse_space", Unit.BYTES): LEAKED_BYTES,
    ("waiting", Unit.NANOSECONDS): WAITING_TIME,
    ("preempted", Unit.NANOSECONDS): PREEMPTED_TIME,
}
_ALIASES: dict[tuple[str, Unit], Metric] = {
    ("time", Unit.NANOSECONDS): WALL_TIME,
    ("wall-time", Unit.NANOSECONDS): WALL_TIME,
    ("on_cpu", Unit.NANOSECONDS): CPU_TIME,
    ("cpu-time", Unit.NANOSECONDS): CPU_TIME,
    ("sample", Unit.COUNT): SAMPLES,
    ("allocations", Unit.COUNT): ALLOCATIONS,
    ("allocated_objects", Unit.COUNT): ALLOCATIONS,
    ("allocated_space", Unit.BYTES): ALLOCATED_BYTES,
}
_SPELLED = {"ns": "nanoseconds", "bytes": "bytes", "count": "count"}


def metric_of(type: str, unit: str) -> tuple[Metric, int]:
    """The metric of a type and unit, with its mode, and what their values are multiplied with."""
    base, factor = _FACTORS.get(unit, (Unit.COUNT, 1))
    known = _TYPES.get((type, base)) or _ALIASES.get((type, base))
    if known is None:
        name = re.sub(r"[^a-z0-9_.]+", "_", type.lower()).strip("_") or "value"
        kind = MetricKind.STOCK if name.startswith(("inuse", "live", "heap")) else MetricKind.FLOW
        known = Metric(name=name, unit=base, kind=kind)
    if base is Unit.BYTES or known in (ALLOCATIONS, TEMPORARY_ALLOCATIONS) or known.kind is MetricKind.STOCK:
        mode = "memory"
    else:
        mode = "trace" if known is CALLS else "sample"
    return replace(known, mode=mode), factor


def type_of(metric: Metric) -> tuple[str, str]:
    """Type and unit as pprof's readers know them."""
    plain = replace(metric, mode="")
    type = next((type for (type, _), known in _TYPES.items() if known == plain), metric.name)
    return type, _SPELLED[metric.unit]
