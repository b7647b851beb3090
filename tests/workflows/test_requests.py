"""Rates, errors, durations and rules over stored points, against numbers counted by hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from proftool import settings
from proftool.contracts_telemetry import Point, Span
from proftool.store import open_metrics, open_telemetry
from proftool.store.points import SqlMetricStore
from proftool.workflows.alarms import alarms
from proftool.workflows.requests import TimeRange, requests
from proftool.workflows.resources import resources
from proftool.workflows.statements import statements

S = 1_000_000_000
BEGIN = 1_800_000_000 * S
EDGES = (0.1, 0.5, 1.0)


@pytest.fixture
def metrics(tmp_path: Path) -> SqlMetricStore:
    (tmp_path / "pyproject.toml").touch()
    return open_metrics(settings.load(tmp_path, environ={}))


def durations(at_s: int, counts: Sequence[int], *, begin: int = BEGIN, process: str = "p", **labels: str) -> Point:
    """Cumulative buckets of a route since the begin."""
    names = {"http.request.method": "GET", "http.route": "/a"} | labels
    return Point(
        service="shop", process=process, name="http.server.request.duration", kind="histogram", unit="s",
        labels=tuple(sorted(names.items())),
        time_ns=begin + at_s * S, start_ns=begin, value=float(sum(counts)), counts=tuple(counts), edges=EDGES,
    )  # fmt: skip


def test_rate_errors_and_quantiles_of_a_range(metrics: SqlMetricStore) -> None:
    """Two processes and two routes add up; a status from 500 on is a failure, a client that left none; a route is judged alone too."""
    metrics.add_points(
        [
            durations(9, (60, 0, 0, 0)), durations(19, (60, 60, 0, 0)),
            durations(19, (0, 0, 20, 0), process="q"),
            durations(19, (20, 0, 0, 0), **{"http.response.status_code": "503"}),
            durations(19, (0, 0, 0, 40), **{"http.route": "/b", "error.type": "client_disconnect"}),
        ]
    )  # fmt: skip
    found = requests(metrics, "shop", TimeRange(since_ns=BEGIN, until_ns=BEGIN + 20 * S, step_ns=20 * S))
    assert found.whole is not None
    assert (found.whole.n, found.whole.rate_per_s, found.whole.error_share) == (200, 10.0, 0.1)
    assert [(row.route, row.n) for row in found.routes] == [("GET /a", 160), ("GET /b", 40)]
    assert found.heat == ((80, 60, 20, 40),)
    assert found.line.p99_s == (1.0,)  # above the last bound: given as that
    alone = requests(metrics, "shop", TimeRange(since_ns=BEGIN, until_ns=BEGIN + 20 * S, step_ns=20 * S), route="GET /a")
    assert alone.whole is not None
    assert alone.whole.error_share == 0.125
    assert alone.line.p50_s == (0.1,)
    assert len(alone.routes) == 2


def test_a_range_without_points_is_empty(metrics: SqlMetricStore) -> None:
    """No zero is invented."""
    found = requests(metrics, "shop", TimeRange(since_ns=BEGIN, until_ns=BEGIN + 60 * S, step_ns=10 * S))
    assert (found.whole, found.routes, found.heat) == (None, (), ())


def test_resources_are_rates_of_counters_and_sums_of_gauges(metrics: SqlMetricStore) -> None:
    """Half a core of user time; memory of two processes together and apart."""

    def point(name: str, kind: str, at_s: int, value: float, **labels: str) -> Point:
        named = tuple(sorted((key.replace("_", "."), text) for key, text in labels.items()))
        return Point(service="shop", process="p", name=name, kind=kind, labels=named, time_ns=BEGIN + at_s * S, start_ns=BEGIN, value=value)

    metrics.add_points(
        [
            *(point("process.cpu.time", "counter", at, at / 2, cpu_mode="user") for at in (9, 19)),
            *(point("process.memory.usage", "gauge", 19, size, process_pid=pid) for pid, size in (("1", 100.0), ("2", 50.0))),
        ]
    )
    charts = {
        chart.title: dict(chart.lines)
        for chart in resources(metrics, "shop", TimeRange(since_ns=BEGIN, until_ns=BEGIN + 20 * S, step_ns=10 * S))
    }
    assert charts["Processor"]["user"] == (0.45, 0.5)
    assert charts["Resident memory"] == {"all processes": (None, 150.0), "process 1": (None, 100.0), "process 2": (None, 50.0)}


def test_rules_and_budgets_are_judged_over_what_is_stored(metrics: SqlMetricStore, tmp_path: Path) -> None:
    """A rule fires as long as it is broken and is over afterwards; of 1,000 requests ten may be slow, a hundred were."""
    (tmp_path / "pyproject.toml").write_text(
        "[tool.proftool.alerts.slow]\nmeasure = 'p95'\nabove = 0.5\nfor = 60\n"
        "[tool.proftool.alerts.none]\nmetric = 'unheard.of'\nabove = 1\n"
        "[tool.proftool.slo.fast]\nobjective = 0.99\nlatency = 0.5\n"
    )
    now = time.time_ns() // (60 * S) * 60 * S
    begin = now - 7200 * S
    fast = slow = 0
    points: list[Point] = []
    for minute in range(1, 120):
        is_bad = 40 <= minute < 50
        fast, slow = fast + (0 if is_bad else 10), slow + (30 if is_bad else 0)
        points.append(durations(minute * 60, (fast, 0, slow, 0), begin=begin))
    metrics.add_points(points)
    judged = alarms(metrics, tmp_path, now)
    states = {rule.name: rule for rule in judged.rules}
    assert states["none"].state == "no data"
    assert states["slow"].state == "ok"
    (fired,) = states["slow"].fired
    assert fired.until_ms is not None
    assert abs(fired.since_ms * 1e6 - (begin + 40 * 60 * S)) <= 120 * S
    (budget,) = judged.budgets
    assert (budget.n, budget.n_bad) == (fast + slow, slow)
    assert budget.left_share == pytest.approx(1 - slow / ((fast + slow) * 0.01))
    assert judged.rules[0].state != "no data"
    assert alarms(metrics, tmp_path, begin + 49 * 60 * S).rules[0].state == "firing"


def test_statements_add_up_by_shape_and_name_the_line_that_repeats(tmp_path: Path) -> None:
    """Twelve of one shape from one line in one trace are an N+1; rows and times are sums, the route is the trace's."""
    (tmp_path / "pyproject.toml").touch()
    telemetry = open_telemetry(settings.load(tmp_path, environ={}))

    def query(n: int, shape: str, ms: int, trace: str) -> Span:
        attributes = {"db.query.text": shape, "db.system.name": "sqlite", "db.response.returned_rows": 2}
        attributes |= {"code.function.name": "load", "code.file.path": "shop.py", "code.line.number": 7}
        return Span(
            trace_id=trace, span_id=f"{n:016x}", parent_id="ff" * 8, service="shop", name="SELECT", kind="client", start_ns=BEGIN + n,
            duration_ns=ms * 1_000_000, attributes=attributes,
        )  # fmt: skip

    one, two = "01" * 16, "02" * 16
    entry = Span(trace_id=one, span_id="ff" * 8, service="shop", name="x", start_ns=BEGIN, duration_ns=9, is_entry=True, route="GET /cart")
    telemetry.add_spans(
        [entry, *(query(n, "select 1", 2, one) for n in range(12)), query(50, "select 2", 100, one), query(60, "select 1", 1, two)]
    )
    found = statements(telemetry, service=None, since_ns=BEGIN, until_ns=BEGIN + S)
    assert [(s.shape, s.n, s.n_traces, s.total_ns // 1_000_000, s.rows) for s in found.statements] == [
        ("select 2", 1, 1, 100, 2),
        ("select 1", 13, 2, 25, 26),
    ]
    repeated = found.statements[1]
    assert (repeated.is_repeated, repeated.most_in_a_trace, repeated.most_trace) == (True, 12, one)
    assert repeated.callers == (("load", "shop.py", 7, 13),)
    assert repeated.routes == (("GET /cart", 12),)
    assert not found.statements[0].is_repeated
