"""Looks at the rules, and keeps what was around the moment when one breaks: an incident from its begin to its end.

All of it runs in a thread of its own: rules are looked at, the store is read and written, notices are handed on. The service's keeper only
hands the samples over, and neither a store that fails nor a receiver that is gone reaches a request: both are said in the log.

An incident outlives the process that began it. Whoever looks next goes on with it (`adopt`) and with what the rules had learned, so that a
deployment neither tells an alert twice nor makes a slow service the new usual.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from proftool.contracts_incidents import About, Incident, IncidentQuery, IncidentStore, Measure, Version
from proftool.contracts_telemetry import TelemetryStore
from proftool.errors import ProftoolError
from proftool.telemetry.alerts import RESOLVE_S, Alert, Alerts, Listener
from proftool.telemetry.around import WINDOW_S, Around, joined, measure
from proftool.telemetry.evidence import WINDOW_NS, gather, windows
from proftool.telemetry.notify import Webhook
from proftool.telemetry.points import Sample
from proftool.telemetry.rules import Rule, Slo, unit_of
from proftool.telemetry.sampler_slices import SLICE_S, Slicer
from proftool.telemetry.spans_writer import Writer
from proftool.telemetry.suspects import suspects
from proftool.units import NS_PER_S

_LOG = logging.getLogger("proftool.telemetry.alerts")
LOOK_S = 15.0
SAVE_S = 60.0
"""How often what is known of an open incident is written."""
LEARN_S = 600.0
"""How often what the rules have learned is written."""
LOST_S = 900.0
"""An incident that nobody saw for so long is over; nobody knows when it ended."""
BEFORE_S = 1800.0
"""Measures of so long before it are kept with it."""
_WAITING = 40
"""Looks that wait while the store does not answer; ten minutes of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is looked at, and how often."""

    rules: Sequence[Rule] | None = None
    """None = whoever starts the watch says which, `proftool.watch` those of the project."""
    look_s: float = LOOK_S
    resolve_s: float = RESOLVE_S
    save_s: float = SAVE_S
    slice_s: float = SLICE_S
    link: str | None = None
    """URL of the dashboard that reads this store."""
    version: Version = field(default_factory=Version)


@dataclass(slots=True)
class _Open:
    incident: Incident
    saved_s: float
    is_kept: bool = False
    """Is it in the store?"""
    is_told: bool = False
    """By another process, before."""
    is_gathered: bool = False
    """Has its cause been looked for since the slices of all workers were there?"""


class Incidents:
    """Of one service, in whichever of its workers looks at the rules."""

    def __init__(
        self,
        service: str,
        watched: Watched,
        store: IncidentStore,
        telemetry: TelemetryStore,
        *,
        listeners: Sequence[Listener] = (),
        writer: Writer | None = None,
        slicer: Slicer | None = None,
    ) -> None:
        self._service, self._watched, self._store, self._telemetry = service, watched, store, telemetry
        self._listeners = tuple(listeners)
        self._writer, self._slicer = writer, slicer
        self._end: Callable[[], None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._alerts = Alerts(self._watched.rules or (), service=self._service, resolve_s=self._watched.resolve_s)
        self._around = Around(window_s=min([WINDOW_S, *(rule.window_s for rule in self._watched.rules or ())]))
        self._open: dict[str, _Open] = {}
        self._waiting: deque[tuple[Sequence[Sample], int]] = deque(maxlen=_WAITING)
        self._wake, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._is_loaded = False
        self._learned_s = 0.0
        self._failed = False

    def start(self) -> None:
        """Be shown the service's samples from now on, while this worker is the one that speaks for all."""
        from proftool.telemetry.service import subscribe

        self._end = subscribe(self.look, every_s=self._watched.look_s)

    def stop(self, timeout_s: float = 3.0) -> None:
        """Look no more; what is open stays open, for the process that comes next."""
        if self._end is not None:
            self._end()
            self._end = None
        if self._thread is not None and self._pid == os.getpid():
            self._closing = True
            self._wake.set()
            self._thread.join(timeout_s)
        for listener in self._listeners:
            if isinstance(listener, Webhook):
                listener.flush(timeout_s)

    def look(self, samples: Sequence[Sample], time_ns: int) -> None:
        """In the keeper's thread: hand over."""
        if self._pid != os.getpid():
            self._begin()
        self._idle.clear()
        self._waiting.append((samples, time_ns))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="proftool-incidents", daemon=True)
            self._thread.start()
        self._wake.set()

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is looked at."""
        return self._idle.wait(timeout_s)

    # --- the thread -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with nullcontext() if self._writer is None else self._writer.quietly():
            while True:
                self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    samples, time_ns = self._waiting.popleft()
                    try:
                        self._step(samples, time_ns)
                    except Exception:
                        _LOG.exception("looking at the alerts of %s failed; it goes on with the next look", self._service)
                self._idle.set()
                if self._closing:
                    self._save_learned(time.time_ns())
                    return

    def _step(self, samples: Sequence[Sample], time_ns: int) -> None:
        if not self._is_loaded:
            self._load(time_ns)
        self._around.add(samples, time_ns / NS_PER_S)
        for alert in self._alerts.observe(samples, time_ns):
            self._changed(alert, samples, time_ns)
        for known in tuple(self._open.values()):
            self._go_on(known, time_ns)
        if time_ns / NS_PER_S - self._learned_s >= LEARN_S:
            self._save_learned(time_ns)

    def _load(self, now_ns: int) -> None:
        """Go on with what another process left."""
        self._is_loaded, self._learned_s = True, now_ns / NS_PER_S
        try:
            self._alerts.teach(self._store.learned(self._service))
            for one in self._store.find_incidents(IncidentQuery(service=self._service, firing=True)):
                if now_ns - one.seen_ns > LOST_S * NS_PER_S or self._alerts.rule(one.alert) is None:
                    self._store.save_incident(replace(one, state="lost", ended_ns=one.seen_ns))
                    continue
                self._alerts.adopt(one.alert, one.began_ns / NS_PER_S, now_ns / NS_PER_S)
                self._open[one.alert] = _Open(one, now_ns / NS_PER_S, is_kept=True)
        except ProftoolError as error:
            self._complain(error)

    def _changed(self, alert: Alert, samples: Sequence[Sample], now_ns: int) -> None:
        known = self._open.get(alert.name)
        if alert.state == "firing":
            known = self._open[alert.name] = _Open(self._made(alert, samples, now_ns), now_ns / NS_PER_S)
        if known is not None:
            if alert.state == "resolved":
                known.incident = replace(known.incident, state="resolved", ended_ns=now_ns)
                del self._open[alert.name]
            self._keep(known, now_ns, again=True)
            if known.is_told:
                return
        told = alert
        if known is not None and known.is_kept:
            told = replace(alert, incident=known.incident.id, link=self._link(known.incident), suspects=known.incident.suspects)
        for listener in self._listeners:
            try:
                listener(told, samples)
            except Exception:
                _LOG.exception("telling of the alert %s failed", alert.name)

    def _made(self, alert: Alert, samples: Sequence[Sample], now_ns: int) -> Incident:
        rule = self._alerts.rule(alert.name)
        assert rule is not None
        began_ns, window_ns = round(alert.began_s * NS_PER_S), round(rule.window_s * NS_PER_S)
        self._fresh_slice()
        good_ns = (began_ns - window_ns, began_ns - window_ns)
        try:
            good_ns = windows(self._service, began_ns, window_ns, self._telemetry, self._store)
        except ProftoolError as error:
            self._complain(error)
        return Incident(
            id=f"incident-{secrets.token_hex(4)}",
            service=self._service,
            alert=alert.name,
            about=_about(rule),
            state="firing",
            text=alert.text,
            value=alert.value,
            limit=alert.limit,
            labels=dict(rule.labels),
            route=_route(rule, samples),
            began_ns=began_ns,
            fired_ns=now_ns,
            seen_ns=now_ns,
            good_ns=good_ns,
            bad_ns=(began_ns - window_ns, now_ns + 1),
            version=self._watched.version,
        )

    def _go_on(self, known: _Open, now_ns: int) -> None:
        """Write from time to time how it stands; look for its cause again when the slices of all workers are there."""
        now_s = now_ns / NS_PER_S
        complete = not known.is_gathered and now_s - known.incident.fired_ns / NS_PER_S >= self._watched.slice_s
        if complete or now_s - known.saved_s >= self._watched.save_s:
            self._keep(known, now_ns, again=complete)
            known.is_gathered = known.is_gathered or complete

    def _keep(self, known: _Open, now_ns: int, *, again: bool) -> None:
        """
        Write what is known of it now; what the store refuses is tried again with the next look.

        Args:
            again: look for its cause as well.
        """
        known.saved_s = now_ns / NS_PER_S
        try:
            if not known.is_kept:
                # The fact first: what goes wrong with its evidence takes nothing from it.
                kept = self._store.begin_incident(known.incident)
                known.is_told, known.is_kept, known.incident = kept.id != known.incident.id, True, kept
            known.incident = self._looked(replace(known.incident, seen_ns=now_ns), now_ns, again=again)
            self._store.save_incident(known.incident)
            self._failed = False
        except ProftoolError as error:
            self._complain(error)

    def _looked(self, incident: Incident, now_ns: int, *, again: bool = True) -> Incident:
        """The incident with its measures, and what points at its cause."""
        from_ns = incident.bad_ns[0]
        incident = replace(
            incident,
            bad_ns=(from_ns, max(incident.bad_ns[1], min(now_ns + 1, from_ns + WINDOW_NS))),
            measures=joined(incident.measures, self._measures(incident)),
        )
        if not again:
            return incident
        found = suspects(gather(incident, self._telemetry))
        return replace(incident, suspects=found or incident.suspects)

    def _measures(self, incident: Incident) -> tuple[Measure, ...]:
        since_s = incident.began_ns / NS_PER_S - BEFORE_S
        rule = self._alerts.rule(incident.alert)
        if rule is None:
            return ()
        of = "".join(f", {value}" for value in rule.labels.values())
        own = measure(f"{rule.measure} of {rule.metric}{of}", unit_of(rule), self._alerts.seen(rule.name), since_s, incident.limit)
        return (*(() if own is None else (own,)), *self._around.measures(since_s))

    def _fresh_slice(self) -> None:
        """The slice under way ends here, so that the bad minute is in the store."""
        if self._slicer is not None and self._writer is not None:
            self._slicer.hurry()
            self._writer.flush()

    def _save_learned(self, now_ns: int) -> None:
        self._learned_s = now_ns / NS_PER_S
        learned = self._alerts.learned()
        if not learned:
            return
        try:
            self._store.learn(self._service, learned, now_ns)
        except ProftoolError as error:
            self._complain(error)

    def _link(self, incident: Incident) -> str:
        return f"{self._watched.link.rstrip('/')}/incident/{incident.id}" if self._watched.link else f"proftool open {incident.id}"

    def _complain(self, error: ProftoolError) -> None:
        if not self._failed:
            _LOG.warning("what is around the alerts of %s cannot be kept: %s", self._service, error)
        self._failed = True


def _about(rule: Rule) -> About:
    if "memory" in rule.metric:
        return "memory"
    return "failures" if rule.measure == "errors" or (isinstance(rule, Slo) and rule.latency_s is None) else "requests"


def _route(rule: Rule, samples: Sequence[Sample]) -> str | None:
    """`GET /checkout`, as spans and lanes name it, where the rule's labels name a route: with its own method, or that of most requests."""
    route = rule.labels.get("http.route")
    if route is None:
        return None
    method = rule.labels.get("http.request.method")
    if method is None:
        counts: Counter[str] = Counter()
        for sample in samples:
            labels = dict(sample.labels)
            if sample.description.name == rule.metric and labels.get("http.route") == route:
                counts[labels.get("http.request.method", "GET")] += sample.count
        method = counts.most_common(1)[0][0] if counts else "GET"
    return f"{method} {route}"
