"""The project's alert rules and objectives, judged over the metrics that are stored: their state now, and when they were broken.

The rules (`[tool.proftool.alerts]`, `[tool.proftool.slo]`) and the engine are those that a service runs itself (telemetry/alerts.py); here
they look at stored points, a reading a step, so that they can be judged for any service and any past, by who was not there. A budget is
what an objective allows to fail over its period: 0.1 % of the requests of thirty days, or of what is stored of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proftool.contracts_telemetry import MetricStore, PointQuery, Series
from proftool.telemetry.alerts import Alerts
from proftool.telemetry.rules import BURN_WINDOWS, Degradation, Rule, Slo, Threshold, load_rules
from proftool.telemetry.windows import History
from proftool.units import NS_PER_S
from proftool.workflows.readings import Readings, readings
from proftool.workflows.requests import FAILED_BY, Numbers, TimeRange, is_failed

PERIOD_S = 30 * 86400.0
STEP_S = 60
LOOK_BACK_S = 24 * 3600
BUDGET_STEP_S = 6 * 3600
_BUDGET_NS = BUDGET_STEP_S * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """From when to when a rule fired; `until_ms` None: it still does."""

    since_ms: float
    until_ms: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleState:
    """One rule over one service."""

    service: str
    name: str
    kind: str
    """`threshold`, `degradation` or `slo`."""
    metric: str
    labels: tuple[tuple[str, str], ...]
    wanted: str
    """The rule in words."""
    state: str
    """`firing`, `pending` (broken, not for long enough), `ok`, or `no data`."""
    told: str
    """How it is broken; empty where it is not."""
    fired: tuple[Broken, ...]
    """In the last day, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One objective over one service."""

    service: str
    name: str
    objective: float
    latency_s: float | None
    n: int
    n_bad: int
    left_share: float | None
    """Of the budget, 1 untouched, below 0 spent and more; None without requests."""
    known_s: float
    """How much of the period something is known of."""
    burns: tuple[tuple[float, float | None], ...]
    """(window in s, times faster than the budget lasts)."""
    days_ms: tuple[float, ...]
    left: Numbers
    """What was left at the end of each day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """All rules over all services."""

    rules: tuple[RuleState, ...]
    budgets: tuple[Budget, ...]
    file: str | None
    """Name of the file that holds the rules; None: there is none."""
    n_rules: int


def alarms(metrics: MetricStore, project: Path | None, now_ns: int) -> Alarms:
    """Judge every rule over every service that measures its metric; UsageError where the rules cannot be read."""
    file = None if project is None else project / "pyproject.toml"
    rules = load_rules(file) if file is not None and file.exists() else ()
    states: list[RuleState] = []
    budgets: list[Budget] = []
    services = metrics.services()
    when = _when(now_ns)
    for index, rule in enumerate(rules):
        found = False
        for service in services:
            series = _series(metrics, service, rule, when)
            if not series:
                continue
            found = True
            recent = readings(series, now_ns)
            # A rule that learns keeps what it learned: each service gets its own.
            states.append(_judged(load_rules(file)[index] if file and isinstance(rule, Degradation) else rule, service, recent))
            if isinstance(rule, Slo):
                budgets.append(_budget(metrics, service, rule, series, recent, when, now_ns))
        if not found:
            states.append(_state(rule, "", "no data", "no service has stored this metric in the last day", ()))
    order = {"firing": 0, "pending": 1, "ok": 2, "no data": 3}
    states.sort(key=lambda one: (order[one.state], one.service, one.name))
    return Alarms(rules=tuple(states), budgets=tuple(budgets), file="pyproject.toml" if file else None, n_rules=len(rules))


def _when(now_ns: int) -> TimeRange:
    """A day and the hours to a whole step of a budget before it: whole steps since the epoch, of which the store keeps the sums."""
    step_ns = STEP_S * NS_PER_S
    since_ns = (now_ns - LOOK_BACK_S * NS_PER_S) // _BUDGET_NS * _BUDGET_NS
    return TimeRange(since_ns=since_ns, until_ns=-(-now_ns // step_ns) * step_ns, step_ns=step_ns)


def _series(metrics: MetricStore, service: str, rule: Rule, when: TimeRange) -> Sequence[Series]:
    """Added up, but for what tells failed requests from others and what the rule asks for."""
    return metrics.find_series(
        PointQuery(
            service=service,
            name=rule.metric,
            labels=tuple(sorted(rule.labels.items())),
            by=(*FAILED_BY, *rule.labels),
            since_ns=when.since_ns,
            until_ns=when.until_ns,
            step_ns=when.step_ns,
        )
    )


def _judged(rule: Rule, service: str, recent: Readings) -> RuleState:
    engine = Alerts([rule], service=service)
    begun: list[Broken] = []
    for reading in recent.readings:
        for alert in engine.look([(reading, recent.bounds)], reading.time_s):
            if alert.state == "firing":
                begun.append(Broken(since_ms=alert.began_s * 1e3, until_ms=None, text=alert.text))
            elif alert.state == "resolved" and begun:
                begun[-1] = Broken(since_ms=begun[-1].since_ms, until_ms=alert.time_s * 1e3, text=begun[-1].text)
    broken = engine.broken(rule.name)
    is_firing = bool(begun) and begun[-1].until_ms is None
    state = "firing" if is_firing else "ok" if broken is None else "pending"
    told = broken.text if broken is not None else begun[-1].text if is_firing else ""
    return _state(rule, service, state, told, tuple(reversed(begun)))


def _state(rule: Rule, service: str, state: str, told: str, fired: tuple[Broken, ...]) -> RuleState:
    return RuleState(
        service=service,
        name=rule.name,
        kind="slo" if isinstance(rule, Slo) else "degradation" if isinstance(rule, Degradation) else "threshold",
        metric=rule.metric,
        labels=tuple(sorted(rule.labels.items())),
        wanted=_words(rule),
        state=state,
        told=told,
        fired=fired,
    )


def _words(rule: Rule) -> str:
    match rule:
        case Threshold():
            limits = [f"above {rule.above:g}"] if rule.above is not None else []
            limits += [f"below {rule.below:g}"] if rule.below is not None else []
            return f"{rule.measure} {' or '.join(limits)} for {rule.hold_s:g} s"
        case Degradation():
            return f"{rule.measure} worse than its own last hours for {rule.hold_s:g} s"
        case Slo():
            within = f" within {rule.latency_s:g} s" if rule.latency_s is not None else ""
            return f"{rule.objective * 100:g} % succeed{within}"
        case _:
            return rule.name


def _budget(
    metrics: MetricStore, service: str, rule: Slo, series: Sequence[Series], recent: Readings, when: TimeRange, now_ns: int
) -> Budget:
    """`series` are those of `when`, which are not asked for again: most of what there is is of it, and coarser before."""
    since_ns, step_ns = (now_ns - int(PERIOD_S) * NS_PER_S) // _BUDGET_NS * _BUDGET_NS, _BUDGET_NS
    before = _requests(_series(metrics, service, rule, TimeRange(since_ns=since_ns, until_ns=when.since_ns, step_ns=step_ns)), rule)
    n_steps = (when.since_ns - since_ns) // step_ns
    last = _requests(series, rule)
    last = np.pad(last, ((0, 0), (0, -last.shape[1] % (BUDGET_STEP_S // STEP_S)))).reshape(2, -1, BUDGET_STEP_S // STEP_S).sum(axis=2)
    totals = np.concatenate([before if before.size else np.zeros((2, n_steps), np.int64), last], axis=1)
    ends_ns = [min(since_ns + (step + 1) * step_ns, now_ns) for step in range(totals.shape[1])]
    n, bad = (int(one) for one in totals.sum(axis=1))
    allowed = n * (1 - rule.objective)
    history = History(rule.keep_s)
    for reading in recent.readings:
        history.add(reading, recent.bounds)
    known: list[bool] = (totals[0] > 0).tolist()
    left = tuple(
        1 - spent / allowed if allowed and any(known[: step + 1]) else None for step, spent in enumerate(totals[1].cumsum().tolist())
    )
    windows = sorted({seconds for long, short, _ in BURN_WINDOWS for seconds in (long, short)})
    return Budget(
        service=service,
        name=rule.name,
        objective=rule.objective,
        latency_s=rule.latency_s,
        n=n,
        n_bad=bad,
        left_share=1 - bad / allowed if allowed else None,
        known_s=sum(end - (since_ns + step * step_ns) for step, end in enumerate(ends_ns) if known[step]) / NS_PER_S,
        burns=tuple((seconds, rule.burn(history, seconds)) for seconds in windows),
        days_ms=tuple(end / 1e6 for end in ends_ns),
        left=left,
    )


def _requests(series: Sequence[Series], rule: Slo) -> NDArray[np.int64]:
    """(requests, those against the objective) of every step."""
    found: NDArray[np.int64] = np.zeros((2, len(series[0].times_ns) if series else 0), np.int64)
    for one in series:
        found[0] += one.grown.sum(axis=1)
        if is_failed(one):
            found[1] += one.grown.sum(axis=1)
        elif rule.latency_s is not None:
            found[1] += one.grown[:, np.array((*one.edges, np.inf)) > rule.latency_s].sum(axis=1)
    return found
