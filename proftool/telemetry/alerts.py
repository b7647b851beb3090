"""From rules to messages: an alert begins once, is told once, and is told to be over.

A rule that is broken for its `hold_s` begins an alert; it ends when the rule was whole for `RESOLVE_S`. Between the two nothing is
sent but a reminder every `REPEAT_S`. The engine knows no clock and sends nothing itself: time comes with the samples, so a test
runs a thousand hours in seconds; notify.py and incidents.py are told of each change.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from proftool.contracts_incidents import Suspect
from proftool.telemetry.points import Sample
from proftool.telemetry.rules import Broken, Degradation, Rule
from proftool.telemetry.windows import History, Reading, read

_LOG = logging.getLogger("proftool.telemetry.alerts")

RESOLVE_S = 120.0
REPEAT_S = 4 * 3600.0
MAX_SEEN = 240
"""Values of a rule that are remembered: an hour of looks every 15 s."""


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
    incident: str = ""
    """Id of what was kept of it; empty where nothing is."""
    link: str = ""
    """Where that is read: a URL, or a command."""
    suspects: tuple[Suspect, ...] = ()

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
    now: Broken | None = None
    last: Broken | None = None
    """How it was broken, when it was last."""
    seen: deque[tuple[float, float | None]] = field(default_factory=lambda: deque[tuple[float, float | None]](maxlen=MAX_SEEN))
    """(time in s, value) of the looks."""


class Alerts:
    """Looks at samples with rules and tells listeners what changed."""

    def __init__(self, rules: Sequence[Rule], *, service: str, listeners: Sequence[Listener] = (), resolve_s: float = RESOLVE_S) -> None:
        self._service, self._resolve_s = service, resolve_s
        self._watches = [_Watch(rule, History(rule.keep_s)) for rule in rules]
        self.listeners = list(listeners)

    def observe(self, samples: Sequence[Sample], time_ns: int) -> list[Alert]:
        """Look at the samples of that time; gives what was told."""
        time_s = time_ns / 1e9
        sums = [read(samples, watch.rule.metric, watch.rule.labels, time_s) for watch in self._watches]
        return self.look(sums, time_s, samples)

    def look(self, sums: Sequence[tuple[Reading, tuple[float, ...]]], time_s: float, samples: Sequence[Sample] = ()) -> list[Alert]:
        """The same from a reading a rule, and the bounds of its buckets; listeners are shown the samples."""
        told = list[Alert]()
        for watch, (reading, bounds) in zip(self._watches, sums, strict=True):
            watch.history.add(reading, bounds)
            watch.seen.append((time_s, watch.rule.value(watch.history)))
            watch.now = watch.rule.look(watch.history)
            alert = self._step(watch, watch.now, time_s)
            if alert is not None:
                told.append(alert)
                self._tell(alert, samples)
        return told

    def broken(self, name: str) -> Broken | None:
        """How the rule of that name is broken at the newest reading."""
        return next((watch.now for watch in self._watches if watch.rule.name == name), None)

    def rule(self, name: str) -> Rule | None:
        """The rule of that name."""
        return next((watch.rule for watch in self._watches if watch.rule.name == name), None)

    def seen(self, name: str) -> tuple[tuple[float, float | None], ...]:
        """(time in s, value) of a rule's last looks."""
        return next((tuple(watch.seen) for watch in self._watches if watch.rule.name == name), ())

    def firing(self) -> tuple[str, ...]:
        """Names of the rules whose alert is not over."""
        return tuple(watch.rule.name for watch in self._watches if watch.firing_s is not None)

    def adopt(self, name: str, began_s: float, now_s: float) -> None:
        """Another process told this one: it goes on here, and is not told again."""
        for watch in self._watches:
            if watch.rule.name == name and watch.firing_s is None:
                watch.firing_s, watch.told_s = began_s, now_s

    def learned(self) -> dict[str, tuple[float, ...]]:
        """What the rules have learned, for the process that comes after this one."""
        return {w.rule.name: tuple(w.rule.learned) for w in self._watches if isinstance(w.rule, Degradation)}

    def teach(self, learned: Mapping[str, Sequence[float]]) -> None:
        """Go on from what was learned before; a rule that has learned itself keeps its own."""
        for watch in self._watches:
            if isinstance(watch.rule, Degradation) and not watch.rule.learned:
                watch.rule.learned.extend(learned.get(watch.rule.name, ()))

    def _step(self, watch: _Watch, broken: Broken | None, now: float) -> Alert | None:
        if broken is None:
            watch.broken_s = None
            if watch.firing_s is None:
                return None
            watch.whole_s = now if watch.whole_s is None else watch.whole_s
            if now - watch.whole_s < self._resolve_s:
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
    """Look at this service's samples every so often, in one of its workers, and keep nothing; returns what ends that."""
    from proftool.telemetry.service import setup, subscribe

    alerts = Alerts(rules, service=setup().name, listeners=listeners)

    def look(samples: Sequence[Sample], time_ns: int) -> None:
        alerts.observe(samples, time_ns)

    end = subscribe(look, every_s=every_s)

    def stop() -> None:
        with contextlib.suppress(ValueError):
            end()

    return stop
