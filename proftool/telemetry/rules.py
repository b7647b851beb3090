"""When to alarm: a threshold, a budget that burns too fast, or a service that is no longer what it was.

    [tool.proftool.alerts.slow-checkout]
    metric = "http.server.request.duration"   # the default
    labels = {"http.route" = "/checkout"}
    measure = "p95"                           # p50…p999 in the metric's unit, rate /s, errors (share of requests), value
    above = 0.5
    for = 120                                 # seconds without a break

    [tool.proftool.alerts.degraded]
    measure = "p95"
    degraded = true                           # against the baseline that it learns

    [tool.proftool.slo.checkout]
    objective = 0.999
    latency = 0.3                             # seconds; without it only errors are against the objective

A rule looks at the last reading and says by how much it is broken; when that becomes an alert is decided in alerts.py.

Sources: multi-window, multi-burn-rate alerts of the Site Reliability Workbook, chapter 5; the baseline is a median with the median
absolute deviation as its scale, which a past incident does not move.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Protocol, cast

from proftool.errors import UsageError
from proftool.telemetry.windows import REQUESTS, History, Window
from proftool.units import NS_PER_S, Unit, people

BURN_WINDOWS = ((3600.0, 300.0, 14.4), (21600.0, 1800.0, 6.0))
"""(long, short, factor): both windows must burn that many times faster than the budget lasts; 2 % of a month's in an hour, 5 % in six."""
MIN_REQUESTS = 20
"""Fewer say nothing of a share or a quantile."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule is broken now, and how."""

    value: float
    limit: float
    text: str


class Rule(Protocol):
    """Looks at what was measured."""

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def keep_s(self) -> float:
        """How far back it looks."""
        ...

    @property
    def window_s(self) -> float:
        """Trouble may have begun so long before the rule is broken."""
        ...

    @property
    def hold_s(self) -> float:
        """How long it must be broken before that is an alert."""
        ...

    @property
    def measure(self) -> str:
        """What it measures of the metric."""
        ...

    def value(self, history: History) -> float | None:
        """What it measures now; None of too little."""
        ...

    def look(self, history: History) -> Broken | None:
        """Is it broken, at the newest reading?"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A measure above (or below) a limit."""

    name: str
    measure: str
    metric: str = REQUESTS
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    above: float | None = None
    below: float | None = None
    window_s: float = 60.0
    hold_s: float = 60.0

    @property
    def keep_s(self) -> float:
        return self.window_s

    def value(self, history: History) -> float | None:
        return measured(self.measure, history, self.window_s)

    def look(self, history: History) -> Broken | None:
        value = self.value(history)
        if value is None:
            return None
        if self.above is not None and value > self.above:
            return Broken(value, self.above, f"{self.measure} is {_people(self, value)}, above {_people(self, self.above)}")
        if self.below is not None and value < self.below:
            return Broken(value, self.below, f"{self.measure} is {_people(self, value)}, below {_people(self, self.below)}")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """An objective: which share of the requests succeeds, and in time."""

    name: str
    objective: float
    """For example 0.999."""
    latency_s: float | None = None
    metric: str = REQUESTS
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    hold_s: float = 0.0
    measure: str = "burn"
    window_s: float = BURN_WINDOWS[0][1]

    @property
    def keep_s(self) -> float:
        return max(long for long, _, _ in BURN_WINDOWS)

    def value(self, history: History) -> float | None:
        return self.burn(history, self.window_s)

    def burn(self, history: History, seconds: float) -> float | None:
        """How many times faster than the objective allows; None of too few requests."""
        window = history.window(seconds)
        if window is None or window.total < MIN_REQUESTS:
            return None
        bad = window.failed if self.latency_s is None else max(window.failed, window.slow(self.latency_s))
        return bad / window.total / (1 - self.objective)

    def look(self, history: History) -> Broken | None:
        for long, short, factor in BURN_WINDOWS:
            slowly, fast = self.burn(history, long), self.burn(history, short)
            if slowly is not None and fast is not None and min(slowly, fast) >= factor:
                left = f"the error budget of {100 * self.objective:g} % burns {fast:.1f} times too fast"
                return Broken(fast, factor, f"{left} ({slowly:.1f} times over {long / 3600:g} h)")
        return None


@dataclass(slots=True, kw_only=True)
class Degradation:
    """A measure that is worse than the last hours' own: learned from windows that were not broken."""

    name: str
    measure: str
    metric: str = REQUESTS
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    window_s: float = 60.0
    hold_s: float = 120.0
    """Two more windows after the first: three in a row."""
    deviations: float = 4.0
    floor: float = 0.2
    """Smaller changes are never an alert: a share of the baseline, of `errors` a tenth of it in points."""
    learned: deque[float] = field(default_factory=lambda: deque[float](maxlen=120))
    _next_s: float = 0.0
    _last: Broken | None = None

    LEARN = 30
    """Windows before the first verdict."""

    @property
    def keep_s(self) -> float:
        return self.window_s

    def value(self, history: History) -> float | None:
        return measured(self.measure, history, self.window_s)

    def look(self, history: History) -> Broken | None:
        latest = history.latest
        if latest is None or latest.time_s < self._next_s:
            return self._last
        value = self.value(history)
        self._next_s = latest.time_s + self.window_s
        self._last = None if value is None else self._judge(value, history.window(self.window_s))
        return self._last

    def _judge(self, value: float, window: Window | None) -> Broken | None:
        share = self.measure == "errors"
        # Times and rates vary by factors: their logarithm is what a deviation is measured in.
        seen = value if share else math.log(max(value, 1e-9))
        if len(self.learned) < self.LEARN:
            self.learned.append(seen)
            return None
        usual = median(self.learned)
        scale = 1.4826 * median(abs(past - usual) for past in self.learned)
        if share:
            total = max(1, window.total if window else 1)
            limit = max(self.deviations * max(scale, math.sqrt(max(usual, 1 / total) / total)), self.floor / 10)
        else:
            limit = max(self.deviations * scale, math.log1p(self.floor))
        off = seen - usual
        if self.measure == "rate":
            off = -off
        if off <= limit:
            self.learned.append(seen)
            return None
        was = usual if share else math.exp(usual)
        text = f"{self.measure} is {_people(self, value)}, it was {_people(self, was)} over the last {len(self.learned)} windows"
        return Broken(value, was, text)


def measured(measure: str, history: History, window_s: float) -> float | None:
    """The measure over a window; None where there is not enough to say."""
    if measure == "value":
        return history.latest.value if history.latest else None
    window = history.window(window_s)
    if window is None or window.seconds <= 0:
        return None
    if measure == "rate":
        return (window.total if window.counts else window.value) / window.seconds
    if window.total < MIN_REQUESTS:
        return None
    if measure == "errors":
        return window.failed / window.total
    return window.quantile(float(f"0.{measure[1:]}"))


def unit_of(rule: Rule) -> str:
    """OpenTelemetry's unit of what a rule measures, as far as the metric's name tells it; `1` of a share, empty where it tells nothing."""
    if rule.measure in ("errors", "burn"):
        return "1"
    if rule.measure == "rate":
        return "1/s"
    return "s" if rule.metric.endswith((".duration", ".delay")) else "By" if ".memory." in rule.metric else ""


def _people(rule: Rule, value: float) -> str:
    match unit_of(rule):
        case "s":
            return people(round(value * NS_PER_S), Unit.NANOSECONDS)
        case "By":
            return people(round(value), Unit.BYTES)
        case "1":
            return f"{value:.2%}"
        case "1/s":
            return f"{value:.4g}/s"
        case _:
            return f"{value:.4g}"


# --- from [tool.proftool] ---------------------------------------------------------------------------------------------------

_ALERT_KEYS = {"metric", "labels", "measure", "above", "below", "for", "window", "degraded"}
_SLO_KEYS = {"objective", "latency", "metric", "labels"}


def read_rules(alerts: Mapping[str, object], slos: Mapping[str, object]) -> tuple[Rule, ...]:
    """The rules of the tables `alerts` and `slo`; UsageError names the table and the key that is wrong."""
    found: list[Rule] = []
    for name, table in alerts.items():
        found.append(_alert(name, _checked(f"alerts.{name}", table, _ALERT_KEYS)))
    for name, table in slos.items():
        of = _checked(f"slo.{name}", table, _SLO_KEYS)
        objective = _number(f"slo.{name}", of, "objective")
        if objective is None or not 0 < objective < 1:
            raise _wrong(f"slo.{name}", "objective", "a share such as 0.999")
        metric, labels = _which(f"slo.{name}", of)
        found.append(Slo(name=name, objective=objective, latency_s=_number(f"slo.{name}", of, "latency"), metric=metric, labels=labels))
    return tuple(found)


def load_rules(file: Path) -> tuple[Rule, ...]:
    """The rules of a pyproject.toml."""
    import tomllib

    try:
        tool = cast(dict[str, dict[str, dict[str, object]]], tomllib.loads(file.read_text("utf-8")).get("tool", {}))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read `{file}`", cause=str(error), fix="name a pyproject.toml that can be read") from error
    of = tool.get("proftool", {})
    return read_rules(of.get("alerts", {}), of.get("slo", {}))


def _alert(name: str, of: Mapping[str, object]) -> Rule:
    place = f"alerts.{name}"
    metric, labels = _which(place, of)
    measure = of.get("measure", "value" if "metric" in of else "p95")
    if not isinstance(measure, str) or not (
        measure in ("rate", "errors", "value") or (measure[:1] == "p" and measure[1:].isascii() and measure[1:].isdigit())
    ):
        raise _wrong(place, "measure", "`p95` or another quantile, `rate`, `errors` or `value`")
    hold, window = _number(place, of, "for"), _number(place, of, "window") or 60.0
    if of.get("degraded") is True:
        return Degradation(
            name=name, measure=measure, metric=metric, labels=labels, window_s=window, hold_s=2 * window if hold is None else hold
        )
    above, below = _number(place, of, "above"), _number(place, of, "below")
    if above is None and below is None:
        raise _wrong(place, "above", "a limit with `above` or `below`, or `degraded = true`")
    return Threshold(
        name=name,
        measure=measure,
        metric=metric,
        labels=labels,
        above=above,
        below=below,
        window_s=window,
        hold_s=60.0 if hold is None else hold,
    )


def _checked(place: str, table: object, keys: set[str]) -> Mapping[str, object]:
    if not isinstance(table, dict):
        raise _wrong(place, "", f"a table with {', '.join(sorted(keys))}")
    of = cast(dict[str, object], table)
    for key in of:
        if key not in keys:
            raise _wrong(place, key, f"one of {', '.join(sorted(keys))}")
    return of


def _which(place: str, of: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    metric, labels = of.get("metric", REQUESTS), of.get("labels", {})
    if not isinstance(metric, str):
        raise _wrong(place, "metric", "a metric's name")
    if not isinstance(labels, dict):
        raise _wrong(place, "labels", 'a table such as {"http.route" = "/checkout"}')
    return metric, {str(name): str(value) for name, value in cast(dict[str, object], labels).items()}


def _number(place: str, of: Mapping[str, object], key: str) -> float | None:
    value = of.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(place, key, "a number")
    return float(value)


def _wrong(place: str, key: str, wanted: str) -> UsageError:
    return UsageError(f"[tool.proftool.{place}] cannot be read", cause=f"`{key}` is missing or wrong", fix=f"write {wanted}")


def watched(rules: Sequence[Rule]) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """The metrics and labels that the rules look at."""
    return tuple((rule.metric, rule.labels) for rule in rules)
