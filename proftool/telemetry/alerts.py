"""From rules to messages: an alert begins once, is told once, and is told to be over.

A rule that is broken for its `hold_s` begins an alert; it ends when the rule was whole for `RESOLVE_S`. Between the two nothing is
sent but a reminder every `REPEAT_S`. The engine knows no clock and sends nothing itself: time comes with the samples, so a test
runs a thousand hours in seconds; notify.py and incident.py are told of each change.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from proftool.telemetry.points import Sample
from proftool.telemetry.rules import Broken, Rule
from proftool.telemetry.windows import History, read

_LOG = logging.getLogger("proftool.telemetry.alerts")

RESOLVE_S = 120.0
REPEAT_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Alert:
    """What is told."""

    state: Literal["firing", "still firing", "resolved"]
    name: str
    service: str
    text: str
    value: float
    limit: float
    began_s: float
    time_s: float

    @property
    def id(self) -> str:
        """The same from its begin to its end."""
        return f"{self.name}-{int(self.began_s)}"


Listener = Callable[[Alert, Sequence[Sample]], None]


@dataclass(slots=True)
class _Watch:
    rule: Rule
    history: History
    broken_s: float | None = None
    """Since when it is broken without a break."""
    whole_s: float | None = None
    firing_s: float | None = None
    told_s: float = 0.0
    last: Broken | None = None


class Alerts:
    """Looks at samples with rules and tells listeners what changed."""

    def __init__(self, rules: Sequence[Rule], *, service: str, listeners: Sequence[Listener] = ()) -> None:
        self._service = service
        self._watches = [_Watch(rule, History(rule.keep_s)) for rule in rules]
        self.listeners = list(listeners)

    def observe(self, samples: Sequence[Sample], time_ns: int) -> list[Alert]:
        """Look at the samples of that time; gives what was told."""
        time_s, told = time_ns / 1e9, list[Alert]()
        for watch in self._watches:
            reading, bounds = read(samples, watch.rule.metric, watch.rule.labels, time_s)
            watch.history.add(reading, bounds)
            alert = self._step(watch, watch.rule.look(watch.history), time_s)
            if alert is not None:
                told.append(alert)
                self._tell(alert, samples)
        return told

    def _step(self, watch: _Watch, broken: Broken | None, now: float) -> Alert | None:
        if broken is None:
            watch.broken_s = None
            if watch.firing_s is None:
                return None
            watch.whole_s = now if watch.whole_s is None else watch.whole_s
            if now - watch.whole_s < RESOLVE_S:
                return None
            alert = self._alert("resolved", watch, now)
            watch.firing_s = watch.whole_s = None
            return alert
        watch.last, watch.whole_s = broken, None
        watch.broken_s = now if watch.broken_s is None else watch.broken_s
        if watch.firing_s is None and now - watch.broken_s >= watch.rule.hold_s:
            watch.firing_s, watch.told_s = watch.broken_s, now
            return self._alert("firing", watch, now)
        if watch.firing_s is not None and now - watch.told_s >= REPEAT_S:
            watch.told_s = now
            return self._alert("still firing", watch, now)
        return None

    def _alert(self, state: Literal["firing", "still firing", "resolved"], watch: _Watch, now: float) -> Alert:
        last = watch.last or Broken(0.0, 0.0, "")
        began = now if watch.firing_s is None else watch.firing_s
        return Alert(state, watch.rule.name, self._service, last.text, last.value, last.limit, began, now)

    def _tell(self, alert: Alert, samples: Sequence[Sample]) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(alert, samples)
            except Exception:
                _LOG.exception("telling of the alert %s failed", alert.name)


def watch(rules: Sequence[Rule], listeners: Sequence[Listener], *, every_s: float = 15.0) -> Callable[[], None]:
    """Look at this service's samples every so often, in one of its workers; returns what ends that."""
    from proftool.telemetry.service import setup, subscribe

    alerts = Alerts(rules, service=setup().name, listeners=listeners)

    def look(samples: Sequence[Sample], time_ns: int) -> None:
        alerts.observe(samples, time_ns)

    end = subscribe(look, every_s=every_s)

    def stop() -> None:
        with contextlib.suppress(ValueError):
            end()

    return stop
