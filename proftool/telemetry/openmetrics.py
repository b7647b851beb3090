"""OpenMetrics text of the samples: what Prometheus scrapes.

Names follow OpenTelemetry's compatibility rules for Prometheus: dots become underscores, the unit's name is appended, counters end
in `_total`. Bucket counts are cumulative there; exemplars stand on the bucket that they fell into. An exponential histogram is written
with bounds a power of two apart, those between the first and the last that is not empty, for the text knows no native histograms.

Source: https://prometheus.io/docs/specs/om/open_metrics_spec/ and OpenTelemetry's "Prometheus and OpenMetrics compatibility".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from proftool.telemetry.points import Exemplar, Sample
from proftool.telemetry.segments import EXPONENTIAL_SCALE

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_UNITS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "kBy": "kilobytes",
    "MBy": "megabytes",
    "%": "percent",
    "Cel": "celsius",
    "Hz": "hertz",
    "m": "meters",
    "V": "volts",
    "W": "watts",
    "J": "joules",
    "g": "grams",
}
_TYPES = {"counter": "counter", "updown": "gauge", "gauge": "gauge", "histogram": "histogram", "exponential": "histogram"}


def render(samples: Sequence[Sample]) -> bytes:
    """The samples, which are ordered by name, as OpenMetrics text."""
    lines: list[str] = []
    for name, group in groupby(samples, key=lambda sample: sample.description.name):
        members = list(group)
        of = members[0].description
        family, unit = prometheus_name(name, of.unit, of.kind)
        lines.append(f"# TYPE {family} {_TYPES[of.kind]}")
        if unit:
            lines.append(f"# UNIT {family} {unit}")
        if of.help:
            lines.append(f"# HELP {family} {_escape(of.help)}")
        for sample in members:
            _write(lines, family, sample)
    lines.append("# EOF\n")
    return "\n".join(lines).encode()


def prometheus_name(name: str, unit: str, kind: str) -> tuple[str, str]:
    """Family and unit as Prometheus calls them: (`http_server_request_duration_seconds`, `seconds`)."""
    family = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_:]", "_", name))
    word = _UNITS.get(unit, "" if unit.startswith("{") else re.sub(r"[^A-Za-z0-9_]", "", unit))
    if unit == "1":
        word = "ratio" if kind == "gauge" else ""
    if kind == "counter":
        family = family.removesuffix("_total")
    if word and not family.endswith(f"_{word}"):
        family += f"_{word}"
    return family, word


def _write(lines: list[str], family: str, sample: Sample) -> None:
    labels = ",".join(f'{_label_name(name)}="{_escape(value)}"' for name, value in sample.labels)
    braced = f"{{{labels}}}" if labels else ""
    match sample.description.kind:
        case "counter":
            lines.append(f"{family}_total{braced} {number(sample.value)}")
        case "gauge" | "updown":
            lines.append(f"{family}{braced} {number(sample.value)}")
        case "histogram" | "exponential":
            before = f"{labels}," if labels else ""
            exemplars = dict(sample.exemplars)
            count = 0
            for bound, held, found in _buckets(sample, exemplars):
                count += held
                le = "+Inf" if bound is None else number(bound)
                lines.append(f'{family}_bucket{{{before}le="{le}"}} {count}{_exemplar(found)}')
            lines.append(f"{family}_sum{braced} {number(sample.value)}")
            lines.append(f"{family}_count{braced} {count}")


def _buckets(sample: Sample, exemplars: dict[int, Exemplar]) -> Sequence[tuple[float | None, int, Exemplar | None]]:
    edges, counts = sample.description.edges, sample.counts
    if sample.description.kind == "histogram":
        return [(edge, counts[i], exemplars.get(i)) for i, edge in enumerate(edges)] + [(None, counts[-1], exemplars.get(len(edges)))]
    step = 1 << EXPONENTIAL_SCALE
    found: list[tuple[float | None, int, Exemplar | None]] = []
    filled = [index for index, count in enumerate(counts[:-1]) if count]
    first, last = (min(filled) // step * step, max(filled)) if filled else (0, -1)
    start = 0
    for index in range(first, len(edges), step):
        found.append((edges[index], sum(counts[start : index + 1]), None))
        start = index + 1
        if index >= last:
            break
    return [*found, (None, sum(counts[start:]), None)]


def _exemplar(found: Exemplar | None) -> str:
    if found is None:
        return ""
    return f' # {{trace_id="{found.trace_id:032x}",span_id="{found.span_id:016x}"}} {number(found.value)} {found.time_ns / 1e9:.3f}'


def number(value: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(int(value)) + ".0" if value == int(value) and abs(value) < 1e15 else repr(value)


def _label_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def exposition() -> bytes:
    """OpenMetrics text of the whole service, all workers together; serve it as `CONTENT_TYPE`."""
    from proftool.telemetry.service import samples

    return render(samples())
