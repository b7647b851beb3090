"""A service's metrics reach the local store: all workers as one, exact, and whoever of them is killed."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from telemetry.test_services import wait_for

from proftool import settings
from proftool.contracts_telemetry import Point, PointQuery, Series
from proftool.store import open_metrics
from proftool.store.points import SqlMetricStore
from proftool.telemetry import metrics
from proftool.telemetry.points_writer import PointsWriter
from proftool.telemetry.request import CURRENT, Request
from proftool.units import NS_PER_S

QUIET = "Options(sampler=False, leaks=False, queries=False, outgoing=False, metrics_s=0.2)"

FORKING = f"""
import os, sys, time
import proftool
from proftool.telemetry import counter, histogram
from proftool.telemetry.tracing_start import Options
count, times = counter("jobs", unit="{{job}}"), histogram("took", buckets=(1.0, 2.0))
watching = proftool.watch("forking", options={QUIET})
go = sys.argv[1]
def work(n):
    for at in range(n):
        count.add(1); times.record(at % 3 + 0.5)
work(300)
for child in range(3):
    if os.fork() == 0:
        work(300)
        os.write(1, b"worked\\n")
        while not os.path.exists(go):
            time.sleep(0.05)
        work(300)
        sys.exit(0)
os.write(1, b"forked\\n")
time.sleep(600)
"""

SERIAL = f"""
import proftool
from proftool.telemetry import counter
from proftool.telemetry.tracing_start import Options
proftool.watch("serial", options={QUIET})
counter("runs").add(5)
"""


def store_of(folder: Path) -> SqlMetricStore:
    (folder / "pyproject.toml").touch()
    return open_metrics(settings.load(folder, environ={}))


def lately(store: SqlMetricStore, service: str, step_s: int = 1200) -> dict[str, Series]:
    now = time.time_ns()
    query = PointQuery(service=service, since_ns=now - 600 * NS_PER_S, until_ns=now + 600 * NS_PER_S, step_ns=step_s * NS_PER_S)
    return {found.name: found for found in store.find_series(query)}


def test_workers_are_one_series_and_the_kill_of_the_one_that_writes_loses_nothing(tmp_path: Path) -> None:
    """The parent writes first; when it is killed a child goes on, with what all of them counted."""
    store, go = store_of(tmp_path), tmp_path / "go"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PROFTOOL_", "OTEL_"))}
    command = [sys.executable, "-c", FORKING, str(go)]
    parent = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None

    def total() -> float | None:
        found = lately(store, "forking").get("jobs")
        return found.values[0] if found else None

    try:
        assert sorted(parent.stdout.readline() for _ in range(4)) == ["forked\n", "worked\n", "worked\n", "worked\n"]
        wait_for(lambda: total() == 1200, 60)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        go.touch()
        wait_for(lambda: total() == 2100, 60)
        parent.stdout.read()  # until the last child is gone
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    found = lately(store, "forking")
    assert found["jobs"].values == (2100.0,)
    assert found["jobs"].unit == "{job}"
    assert found["took"].counts == ((700, 700, 700),)
    assert found["took"].edges == (1.0, 2.0)
    assert found["process.cpu.time"].kind == "counter"
    finely = lately(store, "forking", 1)["jobs"].values
    assert min(value for value in finely if value is not None) >= 0


def test_runs_of_one_service_add_up(tmp_path: Path) -> None:
    """Each begins at zero and ends before the first ten seconds are over; all of each counts."""
    store = store_of(tmp_path)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PROFTOOL_", "OTEL_"))}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", SERIAL], cwd=tmp_path, env=env, check=True, timeout=60)
    assert lately(store, "serial")["runs"].values == (10.0,)


def test_exemplars_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace of a kept request stands beside its histogram; a reading that brings nothing new brings no exemplar."""
    store = store_of(tmp_path)
    writer = PointsWriter("marks", store, every_s=3600)
    made = Request("http", "GET", "http", "/", {}, lambda _: None, 0)
    made.kept = True
    token = CURRENT.set(made)
    metrics.histogram("points.took", buckets=(1.0,)).record(0.5)
    CURRENT.reset(token)
    added: list[int] = []
    add = store.add_points

    def marks(points: Sequence[Point]) -> int:
        # Of this histogram: those of the tests before have their own.
        return sum(len(point.exemplars) for point in points if point.name == "points.took")

    monkeypatch.setattr(store, "add_points", lambda points: added.append(marks(points)) or add(points))
    writer.write(metrics.REGISTRY.own(), time.time_ns())
    writer.stop()
    assert added == [1, 0]
    (mark,) = lately(store, "marks")["points.took"].exemplars
    assert (mark.trace_id, mark.span_id, mark.value) == (made.trace_id_hex, made.span_id_hex, 0.5)


def test_a_store_that_fails_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is lost once it works again: points are sums."""
    (tmp_path / "kept").write_text("no folder")
    store = open_metrics(settings.load(tmp_path, flags={"store": str(tmp_path / "kept")}, environ={}))
    writer = PointsWriter("failing", store, every_s=3600)
    metrics.counter("points.failing").add(3)
    with caplog.at_level(logging.WARNING):
        writer.write(metrics.REGISTRY.own(), time.time_ns())
        writer.write(metrics.REGISTRY.own(), time.time_ns())
    assert len(caplog.records) == 1
    (tmp_path / "kept").unlink()
    writer.stop()
    assert lately(store, "failing")["points.failing"].values == (3.0,)
