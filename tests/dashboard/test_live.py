"""Server-sent events: told when something is new, no stream outlives its reader, the end of the server ends them at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from dashboard.serving import Served, environment, until

from proftool import settings
from proftool.contracts_telemetry import Span
from proftool.dashboard.live import MAX_STREAMS
from proftool.store import open_telemetry

pytestmark = [pytest.mark.xdist_group("dashboard"), pytest.mark.timeout(600)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "pyproject.toml").touch()
    one = Served(tmp_path)
    yield one
    if one.process.poll() is None:
        one.end()


@contextmanager
def _open(served: Served) -> Iterator[httpx.Response]:
    with httpx.Client(base_url=served.base, cookies=served.cookies, timeout=120) as client, client.stream("GET", "/events") as answer:
        yield answer


def _until_event(lines: Iterator[str], name: str) -> None:
    for line in lines:
        if line == f"event: {name}":
            return
    raise AssertionError(f"the stream ended before `{name}`")


def _connections(served: Served) -> int:
    return sum(one.status == "ESTABLISHED" for one in psutil.Process(served.process.pid).net_connections("tcp"))


def test_a_new_trace_and_a_new_run_are_told(served: Served, tmp_path: Path) -> None:
    """Each by its own event, which carries nothing else."""
    with _open(served) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        _until_event(lines, "hello")
        _until_event(lines, "tick")
        store = open_telemetry(settings.load(tmp_path, environ={}))
        now = time.time_ns()
        store.add_spans(
            [Span(trace_id="ab" * 16, span_id="cd" * 8, service="s", name="<b>GET</b>", start_ns=now, duration_ns=5, is_entry=True)]
        )
        _until_event(lines, "traces")
        assert next(lines) == "data:"
        (tmp_path / "prog.py").write_text("sum(range(10))\n")
        command = [sys.executable, "-m", "proftool", "run", "-q", "--backend", "cprofile", "prog.py"]
        assert subprocess.run(command, cwd=tmp_path, env=environment(), timeout=120).returncode == 0
        _until_event(lines, "runs")


def test_a_reader_that_goes_leaves_nothing(served: Served) -> None:
    """Thirty streams come and go: their connections go with them, and the bound holds for all that follow."""
    for _ in range(30):
        with _open(served) as answer:
            _until_event(answer.iter_lines(), "hello")
    until(lambda: _connections(served) == 0, "all connections to be gone")
    with ExitStack() as held:
        assert {held.enter_context(_open(served)).status_code for _ in range(MAX_STREAMS)} == {200}
        with _open(served) as refused:
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    until(lambda: _connections(served) == 0, "all connections to be gone")
    with _open(served) as answer:
        _until_event(answer.iter_lines(), "hello")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_end_of_the_server_ends_open_streams(served: Served, number: int) -> None:
    """In order: every reader gets the end of its stream, nothing is said, and nothing is waited for."""
    with ExitStack() as held:
        streams = [held.enter_context(_open(served)).iter_lines() for _ in range(5)]
        for lines in streams:
            _until_event(lines, "hello")
        status, told = served.end(number)
        assert status in (0, 130, -number)
        assert not told
        for lines in streams:
            for _ in lines:  # a stream that was cut raises RemoteProtocolError
                pass


def test_nobody_without_the_token_listens(served: Served) -> None:
    """Nor from another site."""
    with httpx.Client(base_url=served.base, timeout=60) as client:
        assert client.get("/events").status_code == 401
        asked = {"cookie": "; ".join(map("=".join, served.cookies.items())), "origin": "https://evil.example"}
        assert client.get("/events", headers=asked).status_code == 403
