"""The receiver forgets what is older than the settings say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from proftool.contracts_telemetry import Point, PointQuery, Span, SpanQuery
from proftool.settings import load
from proftool.store import open_metrics, open_telemetry
from proftool.workflows import receive
from proftool.workflows.receive import open_receiver

DAY_NS = 86_400 * 10**9


def test_what_is_older_than_trace_days_goes_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing younger."""
    monkeypatch.setattr(receive, "FORGET_S", 0.0)
    found = load(flags={"store": str(tmp_path / "runs"), "trace_days": "2"}, environ={})
    spans, now_ns = open_telemetry(found), time.time_ns()
    spans.add_spans(
        [
            Span(trace_id=f"{n:032x}", span_id=f"{n:016x}", service="shop", name=f"{n}", start_ns=now_ns - n * DAY_NS, duration_ns=1)
            for n in (1, 3, 6)
        ]
    )  # fmt: skip
    receiver = open_receiver(found)
    try:
        end = time.monotonic() + 60
        while len(spans.find_spans(SpanQuery())) > 1 and time.monotonic() < end:
            receiver.take("traces", b'{"resourceSpans": []}', is_json=True).result(60)
        assert [span.name for span in spans.find_spans(SpanQuery())] == ["1"]
    finally:
        receiver.close()


@pytest.mark.parametrize(("days", "n"), [(None, 2), ("5", 1)])
def test_points_go_after_metric_days(tmp_path: Path, days: str | None, n: int) -> None:
    """Without the setting a month's are kept."""
    found = load(flags={"store": str(tmp_path / "runs"), "metric_days": days}, environ={})
    metrics, now_ns = open_metrics(found), time.time_ns()
    for age in (10, 1):
        point = Point(service="shop", process="a", name=f"of {age}", kind="gauge", time_ns=now_ns - age * DAY_NS, value=1.0)
        metrics.add_points([point])
    while metrics.roll_up(now_ns):
        pass
    assert len(metrics.find_series(PointQuery(since_ns=now_ns - 20 * DAY_NS, until_ns=now_ns, step_ns=DAY_NS))) == n
