"""May two sides be set against each other? Asked before any number: same, adjustable (and how), or refused with the reason.

Unknown circumstances never refuse: an imported file says little about where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proftool.model.diff import Comparability, Comparable
from proftool.model.meta import Pass
from proftool.model.profile import Metric, MetricKind, Profile

DEFAULT_METRICS: tuple[str, ...] = ("wall_time", "cpu_time", "peak_bytes", "allocated_bytes", "samples", "calls")
"""In the order in which a diff chooses where it is not told: time first, then bytes, then counts."""


def choose_metric(base: Sequence[Profile], new: Sequence[Profile], asked: str | None) -> str | None:
    """The metric to compare in: the asked one where every run has it, else the first default that all have; None where none."""
    common = [m.name for m in base[0].metrics if all(p.has_metric(m.name) for p in (*base, *new))]
    if asked is not None:
        return asked if asked in common else None
    return next((name for name in DEFAULT_METRICS if name in common), common[0] if common else None)


def metric_of(profile: Profile, name: str) -> Metric:
    """The metric of that name."""
    return profile.metrics[profile.metric_index(name)]


def judge_comparable(base: Sequence[Profile], new: Sequence[Profile], asked: str | None) -> Comparability:
    """The answer, with every reason in a sentence of its own."""
    refused: list[str] = []
    adjusted: list[str] = []
    name = choose_metric(base, new, asked)
    if name is None:
        held = [", ".join(sorted({m.name for p in side for m in p.metrics})) or "nothing" for side in (base, new)]
        if asked is not None:
            refused.append(f"`{asked}` is not measured in every run: base has {held[0]}; new has {held[1]}")
        else:
            refused.append(f"the sides have no metric in common: base has {held[0]}; new has {held[1]}")
        return Comparability(verdict=Comparable.REFUSED, reasons=tuple(refused))
    metrics = [metric_of(p, name) for p in (*base, *new)]
    if len({(m.unit, m.kind) for m in metrics}) > 1:
        refused.append(f"`{name}` has different units or kinds on the two sides")
    modes = _values(base, new, name, lambda p: p.mode)
    if _differ(modes):
        refused.append(f"`{name}` was recorded in different modes: {_told(modes)}")
    clocks = _values(base, new, name, lambda p: p.clock)
    if _differ(clocks):
        refused.append(f"time was told by different clocks: {_told(clocks)}")
    attached = [{p.attached for profile in side for p in passes_of(profile, name)} for side in (base, new)]
    if any(len(kinds) == 2 for kinds in attached) or (all(attached) and attached[0] != attached[1]):
        if metrics[0].kind is MetricKind.FLOW:
            refused.append("finished programs and attached recordings share no unit of exposure")
    elif attached[0] == attached[1] == {True} and metrics[0].kind is MetricKind.FLOW:
        if any(p.duration_ns is None for profile in (*base, *new) for p in passes_of(profile, name)):
            adjusted.append("how long an attached recording observed is not known, so it counts as one run")
        else:
            adjusted.append("values are per second of observation")
    rates = _values(base, new, name, lambda p: None if p.rate_asked_hz is None else f"{p.rate_asked_hz:g} Hz")
    if _differ(rates):
        adjusted.append(f"sampling rates differ ({_told(rates)}); time is compared, not samples")
        if name == "samples":
            refused.append("counts of samples at different rates say nothing; compare `wall_time` or `cpu_time`")
    described: tuple[tuple[str, Callable[[Pass], str | None]], ...] = (
        ("backends", lambda p: p.backend),
        ("capture features", lambda p: ", ".join(sorted(p.features)) or "none"),
    )
    for what, get in described:
        values = _values(base, new, name, get)
        if _differ(values):
            adjusted.append(f"{what} differ: {_told(values)}")
    for what, sides in (
        ("Python", [{p.meta.python for p in side if p.meta.python} for side in (base, new)]),
        ("hosts", [{p.meta.host for p in side if p.meta.host} for side in (base, new)]),
        ("machines", [{p.meta.machine for p in side if p.meta.machine} for side in (base, new)]),
    ):
        if _differ(sides):
            adjusted.append(f"{what} differ: {_told(sides)}")
    statuses = [{str(p.meta.exit_status) for p in side if p.meta.exit_status is not None} for side in (base, new)]
    if _differ(statuses):
        adjusted.append(f"exit statuses differ: {_told(statuses)}")
    verdict = Comparable.REFUSED if refused else Comparable.ADJUSTABLE if adjusted else Comparable.SAME
    return Comparability(verdict=verdict, reasons=(*refused, *adjusted))


def passes_of(profile: Profile, name: str) -> list[Pass]:
    """The passes that measured a metric: those of its mode, all where the mode is not told."""
    mode = metric_of(profile, name).mode
    return [p for p in profile.meta.passes if not mode or p.mode == mode]


def _values(base: Sequence[Profile], new: Sequence[Profile], name: str, get: Callable[[Pass], str | None]) -> list[set[str]]:
    return [{v for profile in side for p in passes_of(profile, name) if (v := get(p)) is not None} for side in (base, new)]


def _differ(sides: Sequence[set[str]]) -> bool:
    return all(sides) and sides[0] != sides[1]


def _told(sides: Sequence[set[str]]) -> str:
    return " against ".join(" and ".join(sorted(side)) for side in sides)
