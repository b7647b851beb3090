"""All of it together: tracing, tracked databases and clients, the always-on sampler, watchers, and recordings on demand.

`watch(service, telemetry, runs, metrics)` once a process; `stop()` of what it returns writes what waits. The stores are handed in: this
room imports none. Safe across `fork`: the child's threads begin with its first request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from proftool.contracts_incidents import IncidentStore
from proftool.contracts_store import RunStore
from proftool.contracts_telemetry import MetricStore, TelemetryStore
from proftool.errors import ProftoolError
from proftool.model.meta import Git
from proftool.telemetry import tracing
from proftool.telemetry.alerts import Listener
from proftool.telemetry.incidents import Incidents, Watched
from proftool.telemetry.leaks import TRACE_S, WINDOW_S, LeakWatch
from proftool.telemetry.on_demand import BURST_S, OnDemand
from proftool.telemetry.points_writer import EVERY_S, PointsWriter
from proftool.telemetry.queries import LIMITS, REPEATED, SLOW_NS
from proftool.telemetry.sampler import BUDGET, MAX_HZ, Sampler
from proftool.telemetry.sampler_slices import SLICE_S, Slicer
from proftool.telemetry.sampler_watch import BLOCKED_NS, BlockingWatch
from proftool.telemetry.slices_writer import SliceWriter
from proftool.telemetry.spans import Keep
from proftool.telemetry.spans_writer import Exporter
from proftool.units import NS_PER_S

FORGET_S = 3600.0
KEEP_S = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be asked for; the defaults are those of a service in production."""

    keep: Keep = field(default_factory=Keep)
    framework_spans: bool = False
    """Those that a framework makes of every request by itself: FastAPI does, from 0.165 on (spans_frameworks.py)."""
    queries: bool = True
    outgoing: bool = True
    sampler: bool = True
    max_hz: float = MAX_HZ
    budget: float = BUDGET
    """Of one core, for the sampler's own work."""
    slice_s: float = SLICE_S
    blocked_ns: int = BLOCKED_NS
    slow_query_ns: int = SLOW_NS
    repeated_queries: int = REPEATED
    """The same question from one line within one request, so often, is a finding."""
    leaks: bool = True
    leak_window_s: float = WINDOW_S
    """Resident memory has to grow so long before it is looked into."""
    leak_trace_s: float = TRACE_S
    """Allocations are traced so long then."""
    record_token: str | None = None
    """What `X-Proftool-Record` must say; None = no request is recorded on demand."""
    burst_s: float = BURST_S
    """How long `kill -USR2` records."""
    every_s: float = 1.0
    """Between two batches to the store."""
    metrics_s: float = EVERY_S
    """Between two points of a metric in the store."""
    keep_s: float | None = None
    """What is older goes, looked at once an hour; but for what was around an incident. None = the setting `trace-days`."""
    keep_incidents_s: float = 90 * 86400.0
    project: Path | None = None
    git: Git | None = None
    """Which version of the project runs."""
    alerts: Watched | None = None
    """Rules to look at, and how often; None = those of the project's pyproject.toml."""


class Watching:
    """What `watch` began."""

    def __init__(
        self,
        tracing: tracing.Tracing,
        sampler: Sampler | None,
        slicer: Slicer | None,
        leaks: LeakWatch | None,
        demand: OnDemand | None,
        points: PointsWriter | None,
        incidents: Incidents | None,
        slices_to: SliceWriter | None,
    ):
        self.tracing, self.sampler, self.slicer, self._leaks, self.on_demand = tracing, sampler, slicer, leaks, demand
        self._points, self.incidents, self.slices_to = points, incidents, slices_to
        self._is_over = False

    def stop(self) -> None:
        """Write what waits and end; again changes nothing."""
        if self._is_over:
            return
        self._is_over = True
        with self.tracing.writer.quietly():
            if self.incidents is not None:
                self.incidents.stop()
            if self.on_demand is not None:
                self.on_demand.stop()
            if self._leaks is not None:
                self._leaks.stop()
            self.tracing.writer.flush()
            if self.slicer is not None:
                self.slicer.store_slice()
        if self._points is not None:
            self._points.stop()
        if self.sampler is not None:
            self.sampler.stop()
        self.tracing.stop()
        if self.slices_to is not None:
            self.slices_to.close()


def watch(
    service: str,
    telemetry: TelemetryStore | None,
    runs: RunStore | None = None,
    metrics: MetricStore | None = None,
    *,
    options: Options | None = None,
    exporters: Sequence[Exporter] = (),
    slices_to: SliceWriter | None = None,
    incidents: IncidentStore | None = None,
    listeners: Sequence[Listener] = (),
) -> Watching:
    """
    Watch this process; what was watched before under another name is stopped.

    Args:
        incidents: where what is around an alert is kept; with it, `options.alerts` are looked at and `listeners` are told.
        slices_to: gets every slice beside the store.
    """
    chosen = options or Options()
    if tracing.CURRENT.tracing is not None:
        tracing.CURRENT.tracing.stop()
    traces = tracing.Tracing(
        service, telemetry, keep=chosen.keep, exporters=exporters, every_s=chosen.every_s, framework_spans=chosen.framework_spans
    )
    writer = traces.writer
    traces.start()
    LIMITS.slow_ns, LIMITS.repeated = chosen.slow_query_ns, chosen.repeated_queries
    if chosen.queries:
        _track_queries()
    if chosen.outgoing:
        from proftool.telemetry import outgoing

        outgoing.track()
    sampler = slicer = leaks = demand = points = None
    if chosen.sampler:
        sampler = Sampler(budget=chosen.budget, max_hz=chosen.max_hz)
        sampler.loop_watches.append(BlockingWatch(writer, limit_ns=chosen.blocked_ns).look)
        if telemetry is not None:
            slicer = Slicer(service, telemetry, sampler, every_s=chosen.slice_s, project=chosen.project, git=chosen.git, also=slices_to)
            writer.beats.append(slicer.beat)
            writer.on_kept.append(slicer.kept)
        sampler.start()
    if telemetry is not None:
        keep_s = KEEP_S if chosen.keep_s is None else chosen.keep_s
        writer.beats.append(_forgetting(telemetry, int(keep_s * NS_PER_S), incidents, int(chosen.keep_incidents_s * NS_PER_S)))
    if chosen.leaks:
        leaks = LeakWatch(writer, window_s=chosen.leak_window_s, trace_s=chosen.leak_trace_s)
        writer.beats.append(leaks.beat)
    if runs is not None:
        demand = OnDemand(service, runs, writer, token=chosen.record_token, sampler=sampler, slicer=slicer, burst_s=chosen.burst_s)
        demand.start()
    alerts = None
    if incidents is not None and telemetry is not None and chosen.alerts is not None and chosen.alerts.rules:
        watched = replace(chosen.alerts, slice_s=chosen.slice_s)
        alerts = Incidents(service, watched, incidents, telemetry, listeners=listeners, writer=writer, slicer=slicer)
        alerts.start()
    if metrics is not None:
        points = PointsWriter(service, metrics, quietly=writer.quietly, every_s=chosen.metrics_s)
    return Watching(traces, sampler, slicer, leaks, demand, points, alerts, slices_to)


def _forgetting(telemetry: TelemetryStore, keep_ns: int, incidents: IncidentStore | None, keep_incidents_ns: int) -> Callable[[], None]:
    """A beat that removes what is old, first after an hour: a program that ends sooner leaves it to the next."""
    due = [time.monotonic() + FORGET_S]

    def beat() -> None:
        if time.monotonic() >= due[0]:
            due[0] = time.monotonic() + FORGET_S
            try:
                # Incidents first: what they spared goes with them.
                if incidents is not None:
                    incidents.forget_incidents(time.time_ns() - keep_incidents_ns)
                telemetry.forget(time.time_ns() - keep_ns)
            except ProftoolError as error:
                logging.getLogger("proftool.telemetry").warning("what is old stays in the store: %s", error)

    return beat


def _track_queries() -> None:
    """DB-API drivers, and SQLAlchemy where the program has loaded it or will."""
    import importlib.util
    import sys

    from proftool.telemetry import queries_dbapi

    queries_dbapi.track()
    if "sqlalchemy" in sys.modules or importlib.util.find_spec("sqlalchemy") is not None:
        from proftool.telemetry import queries_sqlalchemy

        queries_sqlalchemy.track()
