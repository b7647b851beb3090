"""A service's requests over time: rate, errors and duration of every route, a latency heat map, and requests to look at.

From the histograms of `http.server.request.duration`, which count every request; traces are kept of few and say nothing of rates. A
quantile is an estimate inside its bucket that agrees with the sum of all, and never above the last bound. Series whose buckets differ (a
service written in two languages) count for rate and errors; quantiles and heat are of the buckets that hold most requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proftool.contracts_telemetry import Exemplar, MetricStore, PointQuery, Series
from proftool.telemetry.failures import counts_failures
from proftool.telemetry.quantiles import quantiles
from proftool.telemetry.windows import REQUESTS
from proftool.units import NS_PER_S

NO_ROUTE = "(no route)"
MAX_EXEMPLARS = 200
FAILED_BY = ("error.type", "http.response.status_code")
"""Labels that say whether a request failed."""
Numbers = tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """Since when, until when, and how fine; ns since the epoch."""

    since_ns: int
    until_ns: int
    step_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A value a step; None where nothing was counted, or nothing is known."""

    rate_per_s: Numbers
    error_share: Numbers
    p50_s: Numbers
    p95_s: Numbers
    p99_s: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """One route over the whole range."""

    route: str
    n: int
    rate_per_s: float
    error_share: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    total_s: float
    """What all of its requests took together."""
    rates: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What a service answered in a range."""

    ends_ms: tuple[float, ...]
    step_s: float
    whole: RouteRow | None
    """All routes, or the chosen one; None where nothing is known."""
    line: Line
    routes: tuple[RouteRow, ...]
    """By the time that they took together."""
    edges_s: tuple[float, ...]
    heat: tuple[tuple[int, ...] | None, ...]
    """Requests a bucket, for every step."""
    exemplars: tuple[tuple[float, str, float], ...]
    """(ms since the epoch, trace id, seconds)."""


def requests(store: MetricStore, service: str, when: TimeRange, *, route: str | None = None) -> Requests:
    """Rate, errors and duration; `line`, `heat` and `exemplars` of one route where it is named."""
    found = store.find_series(
        PointQuery(service=service, name=REQUESTS, since_ns=when.since_ns, until_ns=when.until_ns, step_ns=when.step_ns)
    )
    by_route: dict[str, list[Series]] = {}
    for series in found:
        by_route.setdefault(route_of(series), []).append(series)
    step_s = when.step_ns / NS_PER_S
    rows = sorted((_row(name, of, when) for name, of in by_route.items()), key=lambda row: -row.total_s)
    chosen = [series for name, of in by_route.items() if route is None or name == route for series in of]
    times = found[0].times_ns if found else ()
    heat = histogram(chosen, len(times))
    counted = _counted(chosen, len(times))
    p50, p95, p99 = heat.quantiles(0.50, 0.95, 0.99)
    return Requests(
        ends_ms=tuple(at / 1e6 for at in times),
        step_s=step_s,
        whole=_row(route or "all routes", chosen, when) if chosen else None,
        line=Line(
            rate_per_s=known_only(counted.n / step_s, counted.known),
            error_share=known_only(counted.failed / np.maximum(counted.n, 1), counted.n > 0),
            p50_s=p50,
            p95_s=p95,
            p99_s=p99,
        ),
        routes=tuple(rows),
        edges_s=heat.edges,
        heat=heat.steps(),
        exemplars=_exemplars(chosen, when),
    )


def whole(store: MetricStore, service: str, when: TimeRange) -> RouteRow | None:
    """All routes of a service together, which the store adds up; None where nothing is known."""
    found = store.find_series(
        PointQuery(service=service, name=REQUESTS, by=FAILED_BY, since_ns=when.since_ns, until_ns=when.until_ns, step_ns=when.step_ns)
    )
    return _row("all routes", found, when) if found else None


def route_of(series: Series) -> str:
    """`GET /orders/{id}`, as spans call it."""
    labels = dict(series.labels)
    return f"{labels.get('http.request.method', '')} {labels.get('http.route', NO_ROUTE)}".strip()


def is_failed(series: Series) -> bool:
    """Does it count requests that the service failed?"""
    return counts_failures(dict(series.labels))


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Measurements by bucket over time."""

    edges: tuple[float, ...]
    counts: NDArray[np.int64]
    """Shape (n_steps, n_buckets)."""
    sums: NDArray[np.float64]
    """Of the measurements; shape (n_steps,)."""
    known: NDArray[np.bool_]
    """Of each step."""

    def steps(self) -> tuple[tuple[int, ...] | None, ...]:
        """The buckets of each step, None where nothing is known."""
        return tuple(tuple(row) if known else None for row, known in zip(self.counts.tolist(), self.known.tolist(), strict=True))

    def quantiles(self, *qs: float) -> tuple[Numbers, ...]:
        """For each q, of each step."""
        steps = zip(self.steps(), self.sums.tolist(), strict=True)
        nothing: list[float | None] = [None] * len(qs)
        found = [nothing if counts is None else quantiles(self.edges, counts, total, qs) for counts, total in steps]
        return tuple(tuple(one[index] for one in found) for index in range(len(qs)))


def histogram(series: Sequence[Series], n_steps: int) -> Histogram:
    """All series with the bounds of those that hold most."""
    edges = most_counted(series)
    counts: NDArray[np.int64] = np.zeros((n_steps, len(edges) + 1 if edges else 0), np.int64)
    known, sums = np.zeros(n_steps, bool), np.zeros(n_steps)
    for one in series:
        if one.kind == "histogram" and one.edges == edges:
            counts += one.grown
            sums += np.nan_to_num(one.numbers)
            known |= ~np.isnan(one.numbers)
    return Histogram(edges, counts, sums, known)


def most_counted(series: Sequence[Series]) -> tuple[float, ...]:
    """The bounds of the buckets that hold most measurements; empty where there are none."""
    held: dict[tuple[float, ...], int] = {}
    for one in series:
        if one.kind == "histogram":
            held[one.edges] = held.get(one.edges, 0) + int(one.grown.sum())
    return max(held, key=lambda edges: held[edges]) if held else ()


def known_only(values: NDArray[np.float64], known: NDArray[np.bool_]) -> Numbers:
    """None where nothing is known."""
    return tuple(value if one else None for value, one in zip(values.tolist(), known.tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Requests of every step."""

    n: NDArray[np.int64]
    failed: NDArray[np.int64]
    known: NDArray[np.bool_]


def _counted(series: Sequence[Series], n_steps: int) -> _Counted:
    n, failed = np.zeros(n_steps, np.int64), np.zeros(n_steps, np.int64)
    known = np.zeros(n_steps, bool)
    for one in series:
        if one.kind == "histogram":
            own = one.grown.sum(axis=1)
            n += own
            failed += own * is_failed(one)
            known |= ~np.isnan(one.numbers)
    return _Counted(n, failed, known)


def _row(route: str, series: Sequence[Series], when: TimeRange) -> RouteRow:
    n_steps = len(series[0].times_ns)
    step_s = when.step_ns / NS_PER_S
    counted = _counted(series, n_steps)
    n, failed = int(counted.n.sum()), int(counted.failed.sum())
    heat = histogram(series, n_steps)
    counts: list[int] = heat.counts.sum(axis=0).tolist()
    p50, p95, p99 = quantiles(heat.edges, counts, float(heat.sums.sum()), (0.50, 0.95, 0.99))
    # A rate is over the time that something is known of: a service that began a minute ago is not slow for an hour.
    known_s = step_s * int(counted.known.sum())
    return RouteRow(
        route=route,
        n=n,
        rate_per_s=n / known_s if known_s else 0.0,
        error_share=failed / n if n else 0.0,
        p50_s=p50,
        p95_s=p95,
        p99_s=p99,
        total_s=float(sum(np.nansum(one.numbers) for one in series)),
        rates=known_only(counted.n / step_s, counted.known),
    )


def _exemplars(series: Iterable[Series], when: TimeRange) -> tuple[tuple[float, str, float], ...]:
    seen: dict[str, Exemplar] = {}
    for one in series:
        for exemplar in one.exemplars:
            if when.since_ns <= exemplar.time_ns < when.until_ns:
                seen[exemplar.trace_id] = exemplar
    slowest = sorted(seen.values(), key=lambda exemplar: -exemplar.value)[:MAX_EXEMPLARS]
    return tuple((exemplar.time_ns / 1e6, exemplar.trace_id, exemplar.value) for exemplar in slowest)
