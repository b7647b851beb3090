"""The views of running services: all of them, one in a range of time, its sampler's flame graph, and two ranges compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from proftool.contracts import ReportOptions
from proftool.contracts_telemetry import Finding, MetricStore, SpanQuery, TelemetryStore
from proftool.dashboard.ask import Asked, asked, text
from proftool.dashboard.runs import report
from proftool.errors import RunNotFound
from proftool.workflows.overview import ServiceRow, overview
from proftool.workflows.requests import Requests, requests
from proftool.workflows.resources import Chart, resources
from proftool.workflows.slices import Stretch, compare_stretches, flame_of_stretch
from proftool.workflows.traces import TraceRow, search

SLOWEST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All of them."""

    time: Asked
    services: tuple[ServiceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One in a range."""

    time: Asked
    name: str
    route: str | None
    services: tuple[str, ...]
    requests: Requests
    charts: tuple[Chart, ...]
    findings: tuple[Finding, ...]
    slowest: tuple[TraceRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """What there is to compare of one service."""

    name: str | None
    route: str | None
    services: tuple[str, ...]
    routes: tuple[str, ...]
    base: Asked
    new: Asked
    time: Asked
    requests: Requests | None
    """Of `time`, for choosing on."""


class ServiceViews:
    """Each takes a request and gives a document, off the event loop."""

    def __init__(self, telemetry: TelemetryStore, metrics: MetricStore, options: ReportOptions) -> None:
        self._telemetry, self._metrics, self._options = telemetry, metrics, options

    def services(self, request: Request) -> Services:
        """At a glance."""
        when = asked(request)
        return Services(time=when, services=overview(self._telemetry, self._metrics, when.steps(60)))

    def service(self, request: Request) -> Service:
        """Everything about one."""
        name, when, route = self._known(text(request, "name")), asked(request), text(request, "route")
        steps = when.steps()
        of = requests(self._metrics, name, steps, route=route)
        kept = self._telemetry.kept_traces([trace_id for _, trace_id, _ in of.exemplars])
        slowest = search(
            self._telemetry, SpanQuery(service=name, route=route, since_ns=when.since_ns, until_ns=when.until_ns), slowest=True
        )
        return Service(
            time=when,
            name=name,
            route=route,
            services=self._names(),
            # Of most requests no trace is kept: a dot that leads nowhere is none.
            requests=replace(of, exemplars=tuple(one for one in of.exemplars if one[1] in kept)),
            charts=resources(self._metrics, name, steps),
            findings=tuple(
                one
                for one in self._telemetry.find_findings(service=name, since_ns=when.since_ns)
                if one.first_ns < when.until_ns and route in (None, one.route)
            ),
            slowest=slowest.traces[:SLOWEST],
        )

    def flame(self, request: Request) -> Response:
        """The viewer on what the sampler saw in a range, of one route where it is named."""
        from proftool.reports.flamegraph import report as flame_graph

        stretch = self._stretch(request, asked(request))
        return report(flame_graph.render(flame_of_stretch(self._telemetry, stretch), replace(self._options, title=_spoken(stretch))))

    def compare(self, request: Request) -> Ranges:
        """Two ranges to choose."""
        names, name = self._names(), text(request, "name")
        name = names[0] if name is None and len(names) == 1 else name
        base, new = asked(request, prefix="base_", default="1h"), asked(request, prefix="new_", default="15m")
        if base.range is not None and new.range is not None:  # none was chosen: the last quarter of an hour against the one before
            base = Asked(range=None, since_ms=new.since_ms - 900_000, until_ms=new.since_ms)
            new = Asked(range=None, since_ms=new.since_ms, until_ms=new.until_ms)
        when = asked(request, default="6h")
        if name is not None:
            self._known(name)
        of = None if name is None else requests(self._metrics, name, when.steps(), route=text(request, "route"))
        return Ranges(
            name=name,
            route=text(request, "route"),
            services=names,
            routes=() if of is None else tuple(row.route for row in of.routes),
            base=base,
            new=new,
            time=when,
            requests=of,
        )

    def compare_flame(self, request: Request) -> Response:
        """The viewer on the difference of two ranges."""
        from proftool.reports.flamegraph import render_diff

        base, new = (self._stretch(request, asked(request, prefix=prefix)) for prefix in ("base_", "new_"))
        names = (_spoken(base), _spoken(new))
        # Of wall time every observed second has one: what the service does with its processor is what can change.
        metric = "wall_time" if request.query_params.get("metric") == "wall_time" else "cpu_time"
        return report(render_diff(compare_stretches(self._telemetry, base, new, names, metric=metric), self._options))

    def _stretch(self, request: Request, when: Asked) -> Stretch:
        return Stretch(
            service=self._known(text(request, "name")), route=text(request, "route"), since_ns=when.since_ns, until_ns=when.until_ns
        )

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._telemetry.services(), *self._metrics.services()}))

    def _known(self, name: str | None) -> str:
        if name not in self._names():
            raise RunNotFound(
                "no such service",
                cause="no service was named" if name is None else f"`{name}` has left nothing in this store",
                fix='choose one in the list; a service is watched by `proftool.watch("its name")`',
            )
        assert name is not None
        return name


def _spoken(stretch: Stretch) -> str:
    from datetime import datetime

    begin, end = (datetime.fromtimestamp(ns / 1e9).astimezone() for ns in (stretch.since_ns, stretch.until_ns))
    return f"{stretch.route or stretch.service} {begin:%b %d %H:%M}–{end:%H:%M}"
