"""What `bench` and `ab` answer: one document for programs, the same as lines for people.

The document is `proftool.bench/1` of docs/reference/json.md. Times are ns; `ratio` is new / base with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proftool.bench.pairs import Compared, NullControl
from proftool.bench.statistics import Floats, Verdict
from proftool.units import Unit, people, signed

_METRICS = {"cpu": "cpu_time", "wall": "wall_time"}
_DOTS = " ⠂⠒⠖⠶⠷⠿"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One function's part of a benchmark's change, from profiles recorded in separate pairs."""

    name: str
    module: str | None
    file: str | None
    line: int | None
    delta_ns: float
    """Change of self time per run of the benchmark."""
    share: float | None
    """Of the benchmark's change; may pass 1 where others became faster."""
    low_ns: float | None
    high_ns: float | None
    changed_in_diff: bool
    note: str = ""
    """`calls 1,000 → 12,000, cost per call unchanged`, where calls are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One benchmark of one side: one value a process."""

    name: str
    clock: str
    values_ns: Floats
    peak_bytes: int
    loops: int


def comparison_document(answers: Sequence[Compared], control: NullControl, causes: dict[str, Sequence[Cause]]) -> dict[str, object]:
    """The answer of `ab`."""
    return {
        "schema": "proftool.bench/1",
        "benchmarks": [
            {
                "name": a.name,
                "metric": _METRICS[a.clock],
                "unit": "ns",
                "base": {"median": float(np.median(a.base_ns)), "n": len(a.base_ns)},
                "new": {"median": float(np.median(a.new_ns)), "n": len(a.new_ns)},
                "ratio": {"estimate": a.found.ratio, "low": a.found.low, "high": a.found.high},
                "p": a.p,
                "verdict": str(a.verdict),
                "mde": a.mde if np.isfinite(a.mde) else None,
                "peak_bytes": {"base": a.peak_bytes[0], "new": a.peak_bytes[1]},
                "causes": [_cause_row(cause) for cause in causes.get(a.name, ())],
            }
            for a in answers
        ],
        "null_control": {"verdict": control.verdict, "pairs": control.n_pairs, "ratio": control.ratio, "p": control.p},
    }


def measurement_document(rows: Sequence[Measured]) -> dict[str, object]:
    """The answer of `bench`: one side, no verdict."""
    return {
        "schema": "proftool.bench/1",
        "benchmarks": [
            {
                "name": row.name,
                "metric": _METRICS[row.clock],
                "unit": "ns",
                "base": {"median": float(np.median(row.values_ns)), "n": len(row.values_ns)},
                "new": None,
                "ratio": None,
                "p": None,
                "verdict": None,
                "mde": None,
                "values": row.values_ns.tolist(),
                "peak_bytes": {"base": row.peak_bytes, "new": None},
                "causes": [],
            }
            for row in rows
        ],
        "null_control": None,
    }


def _cause_row(cause: Cause) -> dict[str, object]:
    return {
        "name": cause.name,
        "module": cause.module,
        "file": cause.file,
        "line": cause.line,
        "delta": cause.delta_ns,
        "share": cause.share,
        "interval": None if cause.low_ns is None or cause.high_ns is None else [cause.low_ns, cause.high_ns],
        "changed_in_diff": cause.changed_in_diff,
        "note": cause.note or None,
    }


def comparison_lines(answers: Sequence[Compared], causes: dict[str, Sequence[Cause]]) -> list[str]:
    """A line a benchmark, its causes below it."""
    lines: list[str] = []
    wide = max((len(a.name) for a in answers), default=0)
    for a in answers:
        change = (a.found.ratio - 1) * 100
        times = f"{people(float(np.median(a.base_ns)), Unit.NANOSECONDS)} → {people(float(np.median(a.new_ns)), Unit.NANOSECONDS)}"
        span = f"[{(a.found.low - 1) * 100:+.1f}, {(a.found.high - 1) * 100:+.1f}]"
        tail = f"p {_p(a.p)}" if a.verdict in (Verdict.SLOWER, Verdict.FASTER) else f"would have seen {a.mde * 100:.1f} %"
        lines.append(f"  {a.verdict.upper():<12} {a.name:<{wide}}  {change:+.1f} %  {span}  {times}  {len(a.base_ns)} pairs  {tail}")
        for cause in causes.get(a.name, ()):
            share = "" if cause.share is None else f"{cause.share * 100:4.0f} %  "
            place = f"{cause.file}:{cause.line}" if cause.file and cause.line else cause.module or ""
            interval = (
                ""
                if cause.low_ns is None or cause.high_ns is None
                else (f"  [{signed(cause.low_ns, Unit.NANOSECONDS)}, {signed(cause.high_ns, Unit.NANOSECONDS)}]")
            )
            touched = "   ← changed between the sides" if cause.changed_in_diff else ""
            lines.append(f"    {share}{cause.name}  {place}  {signed(cause.delta_ns, Unit.NANOSECONDS)}{interval}{touched}")
            if cause.note:
                lines.append(f"            {cause.note}")
    return lines


def measurement_lines(rows: Sequence[Measured]) -> list[str]:
    """A line a benchmark: median, spread, and where the values of the processes lie."""
    wide = max((len(row.name) for row in rows), default=0)
    lines: list[str] = []
    for row in rows:
        middle = float(np.median(row.values_ns))
        low, high = (float(q) for q in np.quantile(row.values_ns, (0.25, 0.75)))
        outliers = int(((row.values_ns > high + 1.5 * (high - low)) | (row.values_ns < low - 1.5 * (high - low))).sum())
        told = f"  {outliers} outlying" if outliers else ""
        lines.append(
            f"  {row.name:<{wide}}  {people(middle, Unit.NANOSECONDS):>8}  half within "
            f"{people(low, Unit.NANOSECONDS)} … {people(high, Unit.NANOSECONDS)}  {dots(row.values_ns)}  "
            f"{len(row.values_ns)} processes{told}"
        )
    return lines


def dots(values: Floats, width: int = 24) -> str:
    """Where the values lie between the least and the largest, denser where there are more."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return _DOTS[-1]
    counts, _ = np.histogram(values, bins=width, range=(low, high))
    return "".join(_DOTS[min(int(np.ceil(count * (len(_DOTS) - 1) / counts.max())), len(_DOTS) - 1)] for count in counts)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
