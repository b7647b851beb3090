"""From alert to cause with a real service: told once with function and line, kept, opened as a page, over when it is over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from ports import free_port
from telemetry.test_services import PROGRAMS, answers, running, wait_for

from proftool import settings
from proftool.workflows.incidents import list_incidents

RULES = """
[tool.proftool.alerts.slow-checkout]
labels = {"http.route" = "/checkout"}
measure = "p50"
above = 0.2
window = 15
for = 2
"""
CAUSE = next(n for n, text in enumerate((PROGRAMS / "degrading.py").read_text().splitlines(), 1) if text.endswith("# the cause"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a rule."""
    (tmp_path / "pyproject.toml").write_text(RULES)
    return tmp_path


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver, and what it got."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", got
        server.shutdown()
        thread.join()


def ask_until(client: httpx.Client, done: Callable[[], object], seconds: float = 150) -> None:
    """Ask for pages until something is so: many between two looks, which take long on a busy machine, for a rule wants twenty."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        for _ in range(8):
            assert client.get("/checkout").status_code == 200


def proftool(project: Path, *words: str) -> str:
    """What the command says on stdout."""
    return subprocess.run([sys.executable, "-m", "proftool", *words], cwd=project, check=True, capture_output=True, text=True).stdout


@pytest.mark.full  # minutes: an alert fires, is told and is over
@pytest.mark.timeout(400)
def test_an_alert_leads_to_the_line_and_is_told_to_be_over(project: Path, webhook: tuple[str, list[dict[str, Any]]]) -> None:
    """One message with function, line and what to open; the incident's page and text name them; one message at the end."""
    url, got = webhook
    port = free_port()
    with (
        running("degrading.py", port, cwd=project, port=port, PROFTOOL_WEBHOOK=url),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        begun = time.monotonic()
        ask_until(client, lambda: time.monotonic() > begun + 8)
        assert got == []
        (project / "slow").touch()
        ask_until(client, lambda: got)
        first = got[0]
        assert first["state"] == "firing"
        assert f"degrading.py:{CAUSE})" in first["text"]
        assert "charge_card" in first["text"]
        assert f"proftool open {first['id']}" in first["text"]
        (project / "slow").unlink()
        ask_until(client, lambda: len(got) > 1)
    assert [(one["state"], one["id"]) for one in got[:2]] == [("firing", first["id"]), ("resolved", first["id"])]

    incident = list_incidents(settings.load(project, environ={}))[-1]
    assert (incident.id, incident.state, incident.route) == (first["id"], "resolved", "GET /checkout")
    assert incident.suspects[0].function == "charge_card"
    assert incident.suspects[0].line == CAUSE
    assert {"blocking-call", "slow requests"} <= set(incident.suspects[0].sources)
    assert incident.suspects[0].confidence == "high"
    assert incident.version.python is not None

    page = project / "page.html"
    proftool(project, "open", incident.id, "--no-browser", "-o", str(page))
    told = json.loads(page.read_text().split('id="head">', 1)[1].split("</script>", 1)[0])
    assert told["incident"]["places"][0]["function"] == "charge_card"
    assert told["comparison"] is not None
    assert told["incident"]["traces"]
    assert "charge_card" in proftool(project, "incidents", incident.id)
    assert incident.id in proftool(project, "incidents")
    document = json.loads(proftool(project, "incidents", incident.id, "--json"))
    assert document["incident"]["suspects"][0]["line"] == CAUSE


@pytest.mark.timeout(400)
def test_a_receiver_that_hangs_costs_the_service_nothing(project: Path) -> None:
    """It answers as before while the webhook waits for an answer that never comes, and ends when it is asked to."""
    port = free_port()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hook = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with (
            running("degrading.py", port, cwd=project, port=port, PROFTOOL_WEBHOOK=hook) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        ):
            (project / "slow").touch()
            ask_until(client, lambda: list_incidents(settings.load(project, environ={})))
            silent.settimeout(30)
            accepted, _ = silent.accept()  # the webhook is calling
            (project / "slow").unlink()
            for _ in range(20):
                assert client.get("/checkout").status_code == 200
            assert process.poll() is None
        accepted.close()


def test_a_rule_that_cannot_be_read_is_said_at_the_start(project: Path) -> None:
    """Not weeks later, when it should have fired."""
    (project / "pyproject.toml").write_text("[tool.proftool.alerts.slow]\nmeasure = 'p95'\nabvoe = 1\n")
    done = subprocess.run([sys.executable, str(PROGRAMS / "degrading.py"), "1"], cwd=project, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "[tool.proftool.alerts.slow] cannot be read" in done.stderr


@pytest.mark.timeout(400)
def test_a_store_that_cannot_be_written_leaves_the_service_as_it_was(project: Path) -> None:
    """It serves, the alert is told in the log without an incident, and the log says why."""
    (project / "file").touch()
    port = free_port()
    log = project / "log.txt"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "degrading.py"), str(port)],
            cwd=project,
            env=os.environ | {"PROFTOOL_STORE": str(project / "file" / "store")},
            stderr=stderr,
        )
        try:
            wait_for(lambda: answers(port), 60)
            (project / "slow").touch()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                ask_until(client, lambda: "firing: slow-checkout" in log.read_text())
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(120)
    assert "cannot be kept" in log.read_text()
    assert "Traceback" not in log.read_text()
