"""What `bench` and `ab` answer: one document for programs, the same as lines for people.

The document is `proftool.bench/1` of docs/reference/json.md. Times are ns; `ratio` is new / base with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from proftool.bench.causes import SAME_COST, Cause
from proftool.bench.failures import Failure
from proftool.bench.measured import Measured
from proftool.bench.pairs import Compared, NullControl
from proftool.bench.statistics import Floats, Verdict
from proftool.errors import BackendFailed
from proftool.units import Unit, people, signed

METRICS = {"cpu": "cpu_time", "wall": "wall_time", "instructions": "instructions"}
_DOTS = " ⠂⠒⠖⠶⠷⠿"
_NS = Unit.NANOSECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What `ab` found."""

    base: str
    new: str
    answers: tuple[Compared, ...]
    control: NullControl
    causes: Mapping[str, tuple[Cause, ...]]
    """Benchmark -> the functions behind its change."""
    pages: Mapping[str, str]
    """Benchmark -> name of its differential flame graph, for `open`."""
    seconds: float
    beside: Mapping[str, bool]
    """Benchmark -> did the two processes of its pairs share a processor or take turns?"""
    failed_beside: Mapping[str, str]
    """Benchmark -> what went wrong beside its like, and not one after the other."""
    failed: tuple[Failure, ...] = ()
    only_base: tuple[str, ...] = ()
    """Benchmarks that the other side lacks."""
    only_new: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """Benchmark -> why its causes were not looked for."""

    @property
    def exit_status(self) -> int:
        """0 nothing is slower, 1 something is, 10 undecided, 5 a benchmark failed."""
        if self.failed:
            return BackendFailed.exit_code
        verdicts = {a.verdict for a in self.answers}
        return 1 if Verdict.SLOWER in verdicts else 10 if Verdict.INCONCLUSIVE in verdicts else 0


def comparison_document(found: Comparison) -> dict[str, object]:
    """The answer of `ab`."""
    return {
        "schema": "proftool.bench/1",
        "base": found.base,
        "new": found.new,
        "seconds": found.seconds,
        "benchmarks": [
            {
                "name": a.name,
                "metric": METRICS[a.clock],
                "unit": "ns",
                "base": {"median": float(np.median(a.base_ns)), "n": len(a.base_ns), "values": a.base_ns.tolist()},
                "new": {"median": float(np.median(a.new_ns)), "n": len(a.new_ns), "values": a.new_ns.tolist()},
                "ratio": {"estimate": a.found.ratio, "low": a.found.low, "high": a.found.high},
                "p": a.p,
                "test": a.test,
                "verdict": str(a.verdict),
                "mde": a.mde if np.isfinite(a.mde) else None,
                "peak_bytes": {"base": a.peak_bytes[0], "new": a.peak_bytes[1], "verdict": a.peak_verdict},
                "involuntary_switches": a.involuntary_switches,
                "steal_share": a.steal_share,
                "beside": found.beside[a.name],
                "causes": [cause_row(cause) for cause in found.causes.get(a.name, ())],
                "causes_left_out": found.left_out.get(a.name),
                "page": found.pages.get(a.name),
            }
            for a in found.answers
        ],
        "failed": [one.row for one in found.failed],
        "only_in": {"base": list(found.only_base), "new": list(found.only_new)},
        "null_control": {
            "verdict": found.control.verdict,
            "pairs": found.control.n_pairs,
            "ratio": found.control.ratio,
            "p": found.control.p,
        },
    }


def measurement_document(rows: Sequence[Measured], failed: Sequence[Failure] = ()) -> dict[str, object]:
    """The answer of `bench`: one side, no verdict."""
    return {
        "schema": "proftool.bench/1",
        "benchmarks": [
            {
                "name": row.name,
                "metric": METRICS[row.clock],
                "unit": "count" if row.clock == "instructions" else "ns",
                "base": {"median": row.median_ns, "n": len(row.values_ns), "interval": list(row.interval_ns)},
                "new": None,
                "ratio": None,
                "p": None,
                "verdict": None,
                "mde": None,
                "values": row.values_ns.tolist(),
                "wall_ns": None if row.wall_ns is None else float(np.median(row.wall_ns)),
                "peak_bytes": {"base": row.peak_bytes, "new": None},
                "loops": row.loops,
                "overhead_ns": None if row.overhead_ns is None else list(row.overhead_ns),
                "warmup_calls": row.warmup_calls,
                "unsteady_processes": row.unsteady,
                "involuntary_switches": row.involuntary_switches,
                "steal_share": row.steal_share,
                "outliers": {name: getattr(row.outliers, name) for name in ("low_severe", "low_mild", "high_mild", "high_severe")},
                "causes": [],
            }
            for row in rows
        ],
        "failed": [one.row for one in failed],
        "null_control": None,
    }


def cause_row(cause: Cause) -> dict[str, object]:
    """One cause of a document."""
    return {
        "name": cause.name,
        "module": cause.module,
        "file": cause.file,
        "line": cause.line,
        "delta": cause.delta_ns,
        "share": cause.share,
        "interval": None if cause.low_ns is None or cause.high_ns is None else [cause.low_ns, cause.high_ns],
        "changed_in_diff": cause.changed_in_diff,
        "significant": cause.significant,
        "calls": None if cause.calls is None else {"base": cause.calls[0], "new": cause.calls[1]},
        "more_calls": cause.more_calls_ns,
        "dearer_calls": cause.dearer_calls_ns,
        "edited": cause.edited,
    }


def comparison_lines(found: Comparison) -> list[str]:
    """What was compared with its verdicts, then the causes."""
    return [*verdict_lines(found), *cause_lines(found)]


def verdict_lines(found: Comparison) -> list[str]:
    """What was compared, then a line for each benchmark; all of it is known before the causes are looked for."""
    counts = sorted(len(a.base_ns) for a in found.answers) or [0]
    pairs = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    control = found.control.verdict if found.control.ratio is not None else "too few pairs to tell"
    lines = [f"  {found.base} ↔ {found.new}   {pairs} pairs, {found.seconds:.0f} s   A/A control: {control}"]
    for a in found.answers:
        change = f"{(a.found.ratio - 1) * 100:+.1f} %  [{(a.found.low - 1) * 100:+.1f}, {(a.found.high - 1) * 100:+.1f}]"
        times = f"{people(float(np.median(a.base_ns)), _NS)} → {people(float(np.median(a.new_ns)), _NS)}"
        tail = f"p {_p(a.p)}" if _claimed(a) else f"would have seen {a.mde * 100:.1f} %" if np.isfinite(a.mde) else ""
        # The name of a single command was just typed.
        name = f"   {a.name}" if _named(found) else ""
        lines.append(f"  {a.verdict.upper():<12} {change}   {times}   {tail}{name}".rstrip())
        if a.name in found.failed_beside:
            lines.append(f"         measured one after the other: beside its like, {found.failed_beside[a.name]}")
        if not _claimed(a) and a.peak_verdict not in ("same", "inconclusive"):
            lines.append(_memory(a))
    lines += [one.line for one in found.failed]
    for side, names in (("base", found.only_base), ("new", found.only_new)):
        if names:
            lines.append(f"  only in {side}: {', '.join(names)}")
    if found.control.verdict == "suspect":
        lines.append("  base differed from itself: this machine was too disturbed to decide anything")
    return lines


def cause_lines(found: Comparison) -> list[str]:
    """The functions behind each change, its memory, and the page that shows it."""
    lines: list[str] = []
    claims = [a for a in found.answers if _claimed(a)]
    for a in claims:
        if len(found.answers) > 1:
            lines.append(f"  {a.name}")
        causes = found.causes.get(a.name, ())
        for cause in causes:
            lines += _cause_lines(cause)
        sure = [cause.share for cause in causes if cause.significant and cause.share is not None]
        if causes and (rest := 1 - sum(sure)) >= 0.005:
            lines.append(f"  {rest * 100:4.0f} %  not significant, not blamed")
        if a.name in found.left_out:
            lines.append(f"         {found.left_out[a.name]}")
        page = f"      next: proftool open {found.pages[a.name]}" if a.name in found.pages else ""
        lines.append(f"{_memory(a)}{page}")
    return lines


def _claimed(a: Compared) -> bool:
    return a.verdict in (Verdict.SLOWER, Verdict.FASTER)


def _named(found: Comparison) -> bool:
    return any("::" in a.name for a in found.answers)


def _memory(a: Compared) -> str:
    return f"         memory peak {people(a.peak_bytes[0], Unit.BYTES)} → {people(a.peak_bytes[1], Unit.BYTES)}  {a.peak_verdict}"


def _cause_lines(cause: Cause) -> list[str]:
    share = "       " if cause.share is None else f"{cause.share * 100:4.0f} % "
    place = f"{cause.file}:{cause.line}" if cause.file and cause.line else cause.module or ""
    interval = "" if cause.low_ns is None or cause.high_ns is None else f"  [{signed(cause.low_ns, _NS)}, {signed(cause.high_ns, _NS)}]"
    weak = "" if cause.significant else "   (not significant; the largest change)"
    lines = [f"  {share} {cause.name}   {place}   {signed(cause.delta_ns, _NS)}{interval}{weak}"]
    told = _calls_told(cause)
    edited = f"   ← edited at {cause.edited}" if cause.edited else "   ← not edited" if cause.significant else ""
    if told or edited:
        lines.append(f"         {told}{edited}".replace("            ←", "         ←"))
    return lines


def _calls_told(cause: Cause) -> str:
    """`calls 1,000 → 12,000, cost per call unchanged`; empty where no calls were counted."""
    if cause.calls is None or cause.more_calls_ns is None or cause.dearer_calls_ns is None:
        return ""
    before, after = (people(round(n) if n >= 10 else round(n, 1), Unit.COUNT) for n in cause.calls)
    if before == after:
        return f"calls {after} as before, each {signed(cause.dearer_calls_ns / max(cause.calls[1], 1e-9), _NS)}"
    counts = f"calls {before} → {after}"
    if not cause.calls[0] or not cause.calls[1]:
        return counts
    # What lies within the interval of the whole change is no change of the cost.
    half = 0.0 if cause.low_ns is None or cause.high_ns is None else (cause.high_ns - cause.low_ns) / 2
    if abs(cause.dearer_calls_ns) <= max(SAME_COST * abs(cause.delta_ns), min(half, abs(cause.delta_ns) / 2)):
        return f"{counts}, cost per call unchanged"
    return f"{counts} ({signed(cause.more_calls_ns, _NS)}), dearer calls {signed(cause.dearer_calls_ns, _NS)}"


def measurement_lines(rows: Sequence[Measured]) -> list[str]:
    """Two lines a benchmark: the median with its interval and where the values of the processes lie; then what disturbed them."""
    wide = max((len(row.name) for row in rows), default=0)
    lines: list[str] = []
    for row in rows:
        unit = Unit.COUNT if row.clock == "instructions" else _NS
        low, high = row.interval_ns
        lines.append(
            f"  {row.name:<{wide}}  {people(row.median_ns, unit):>8}  [{people(low, unit)}, {people(high, unit)}]  "
            f"{people(float(row.values_ns.min()), unit)} {dots(row.values_ns)} {people(float(row.values_ns.max()), unit)}"
        )
        lines.append(f"  {'':<{wide}}  {'; '.join(_circumstances(row))}")
    return lines


def _circumstances(row: Measured) -> list[str]:
    told = [f"{len(row.values_ns)} processes × {row.loops:,} calls, {METRICS[row.clock].replace('_', ' ')}"]
    if row.wall_ns is not None:
        told.append(f"wall {people(float(np.median(row.wall_ns)), _NS)}")
    if row.outliers.total:
        told.append(f"outliers: {row.outliers.told()}")
    if row.peak_bytes:
        told.append(f"peak {people(row.peak_bytes, Unit.BYTES)}")
    if row.involuntary_switches:
        told.append(f"{row.involuntary_switches:g} involuntary switches")
    if row.steal_share and row.steal_share >= 0.01:
        told.append(f"steal {row.steal_share * 100:.0f} %")
    if row.overhead_ns and row.median_ns and row.overhead_ns[1] > 0.01 * row.median_ns:
        told.append(f"empty loop {row.overhead_ns[0]:.1f} … {row.overhead_ns[1]:.1f} ns subtracted")
    if row.unsteady:
        told.append(f"{row.unsteady} still warming up")
    return told


def dots(values: Floats, width: int = 24) -> str:
    """Where the values lie between the least and the largest, denser where there are more."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return _DOTS[-1]
    counts, _ = np.histogram(values, bins=width, range=(low, high))
    return "".join(_DOTS[min(int(np.ceil(count * (len(_DOTS) - 1) / counts.max())), len(_DOTS) - 1)] for count in counts)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
