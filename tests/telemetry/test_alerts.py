"""Healthy hours are quiet, planted troubles are told within five minutes, each once, and told to be over."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from telemetry.simulated import Simulated

from proftool.contracts_incidents import Suspect
from proftool.errors import UsageError
from proftool.settings import load
from proftool.telemetry.alerts import REPEAT_S, Alert, Alerts
from proftool.telemetry.notify import Webhook, body
from proftool.telemetry.rules import Degradation, Rule, Slo, Threshold, load_rules, read_rules


def rules() -> list[Rule]:
    """What a service would watch."""
    return [
        Degradation(name="p50", measure="p50"),
        Degradation(name="p95", measure="p95"),
        Degradation(name="errors", measure="errors"),
        Degradation(name="rate", measure="rate"),
        Slo(name="slo", objective=0.995),
        Threshold(name="p99", measure="p99", above=1.0),
    ]


def run(alerts: Alerts, service: Simulated, seconds: float, **trouble: float) -> list[Alert]:
    told: list[Alert] = []
    end = service.time_s + seconds
    while service.time_s < end:
        told += alerts.observe(service.step(**trouble), int(service.time_s * 1e9))
    return told


def false_alarms(hours: int, seed: int) -> int:
    return sum(alert.state == "firing" for alert in run(Alerts(rules(), service="s"), Simulated(seed), hours * 3600))


@pytest.mark.parametrize("hours", [12, pytest.param(1000, marks=pytest.mark.full)])
@pytest.mark.timeout(900)
def test_healthy_hours_are_quiet(hours: int) -> None:
    """Less than one false alarm in a hundred hours, days and nights."""
    assert false_alarms(hours, seed=1) / hours < 0.01


def test_clients_that_leave_burn_no_budget() -> None:
    """A stream of events ends when its client goes."""
    service = Simulated(1)
    told: list[Alert] = []
    alerts = Alerts([Slo(name="slo", objective=0.999), Threshold(name="errors", measure="errors", above=0.01)], service="s")
    for _ in range(40):
        ok, failed = service.step(errors=0.25)
        left = replace(failed, labels=(("error.type", "client_disconnect"), ("http.response.status_code", "200")))
        told += alerts.observe([ok, left], int(service.time_s * 1e9))
    assert told == []


TROUBLES: dict[str, dict[str, float]] = {
    "half as slow again": {"slower": 1.5},
    "three times as slow": {"slower": 3},
    "5 % of errors": {"errors": 0.05},
    "all fail": {"errors": 1.0},
    "a fifth of the traffic": {"rate": 0.2},
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_planted_troubles_are_told_in_five_minutes(trouble: str) -> None:
    """Of 20 services at least 19 tell, after 35 minutes of health, and are quiet before."""
    caught = 0
    for seed in range(20):
        alerts, service = Alerts(rules(), service="s"), Simulated(100 + seed)
        service.time_s = seed * 4000.0
        before = run(alerts, service, 2100)
        caught += not before and any(alert.state == "firing" for alert in run(alerts, service, 300, **TROUBLES[trouble]))
    assert caught >= 19


def test_an_alert_is_told_once_and_told_to_be_over() -> None:
    """However often it is looked at; a reminder comes after hours."""
    alerts, service = Alerts([Threshold(name="slow", measure="p50", above=0.2, hold_s=60)], service="s"), Simulated(3)
    assert run(alerts, service, 600) == []
    told = run(alerts, service, 600, slower=10)
    assert [alert.state for alert in told] == ["firing"]
    assert told[0].value > 0.2
    assert [alert.state for alert in run(alerts, service, REPEAT_S, slower=10)] == ["still firing"]
    over = run(alerts, service, 600)
    assert [alert.state for alert in over] == ["resolved"]
    assert over[0].id == told[0].id
    assert run(alerts, service, 600) == []


def test_a_service_that_begins_anew_is_no_trouble() -> None:
    """Counters that start from zero are counted from zero."""
    alerts, first, second = Alerts([Threshold(name="low", measure="rate", below=5)], service="s"), Simulated(4), Simulated(5)
    assert run(alerts, first, 600) == []
    second.time_s = first.time_s
    assert run(alerts, second, 600) == []


def test_rules_come_from_tables() -> None:
    """Each kind, with what it names; a wrong key is a usage error that says where."""
    found = read_rules(
        {
            "slow": {"labels": {"http.route": "/x"}, "measure": "p95", "above": 0.5, "for": 120},
            "worse": {"measure": "errors", "degraded": True},
            "full": {"metric": "queue.size", "above": 100},
        },
        {"checkout": {"objective": 0.999, "latency": 0.3}},
    )
    assert found[0] == Threshold(name="slow", measure="p95", labels={"http.route": "/x"}, above=0.5, hold_s=120)
    assert isinstance(found[1], Degradation)
    assert found[2] == Threshold(name="full", measure="value", metric="queue.size", above=100)
    assert found[3] == Slo(name="checkout", objective=0.999, latency_s=0.3)
    wrong: list[dict[str, object]] = [{"abvoe": 1}, {"measure": "p95"}, {"measure": "mood", "above": 1}, {"above": "1"}]
    for table in wrong:
        with pytest.raises(UsageError, match=r"tool\.proftool\.alerts\.x"):
            read_rules({"x": table}, {})
    with pytest.raises(UsageError):
        read_rules({}, {"x": {"objective": 99.9}})


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A receiver of webhooks that fails the first time."""
    got: list[bytes] = []
    failures = [500]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            status = failures.pop() if failures else 200
            if status == 200:
                got.append(content)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook/secret", got
        server.shutdown()
        thread.join()


def test_a_webhook_is_tried_again(receiver: tuple[str, list[bytes]], caplog: pytest.LogCaptureFixture) -> None:
    """Slack's `text` arrives after a failure, once; the URL, which is a secret, is in no log."""
    url, got = receiver
    hook = Webhook(url, pause_s=0.05)
    hook(Alert("firing", "slow", "shop", "p95 is 2, above 1", 2, 1, 5, 65))
    hook.flush()
    (content,) = got
    told = json.loads(content)
    assert "slow" in told["text"]
    assert (told["state"], told["alert"], told["value"]) == ("firing", "slow", 2)
    assert "secret" not in caplog.text
    assert "try 1 of 3" in caplog.text


def firing(**fields: Any) -> Alert:
    return Alert("firing", "slow <b>", "shop", "p95 is 2, above 1", 2, 1, 5, 65, **fields)


def test_a_message_names_the_line_and_what_to_open() -> None:
    """Slack's three characters are escaped, a URL becomes a link, and a receiver that reads fields finds them."""
    suspect = Suspect(
        function="outer.<locals>.pay", file="shop/pay.py", line=41, sources=("slow-query", "profile"), confidence="high",
        evidence=("a query took 2 s", "takes 10 s"), advice="index it",
    )  # fmt: skip
    told = json.loads(body(firing(incident="incident-1", link="https://proftool.example/incident/incident-1", suspects=(suspect,))))
    assert told["text"].splitlines() == [
        ":red_circle: *slow &lt;b&gt;* of shop firing: p95 is 2, above 1",
        "• outer.&lt;locals&gt;.pay (shop/pay.py:41) (high): a query took 2 s",
        "<https://proftool.example/incident/incident-1|incident-1>",
    ]
    assert (told["id"], told["suspects"][0]["line"], told["suspects"][0]["advice"]) == ("incident-1", 41, "index it")
    over = json.loads(body(replace(firing(incident="incident-1", link="proftool open incident-1"), state="resolved")))
    assert over["text"].splitlines()[0].startswith(":large_green_circle: *slow &lt;b&gt;* of shop resolved after 1 min: ")
    assert over["text"].splitlines()[-1] == "`proftool open incident-1`"


class Broken(BaseHTTPRequestHandler):
    """Does what its server was told to do wrong."""

    def do_POST(self) -> None:
        calls, how = self.server.calls, self.server.how  # type: ignore[attr-defined]
        calls.append(how)
        if how == "garbage":
            self.wfile.write(b"what?\r\n\r\n")
        elif how == "silence":
            self.server.released.wait(120)  # type: ignore[attr-defined]
        elif how != "cut":
            self.send_response(int(how))
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(("how", "tries"), [("500", 3), ("429", 3), ("404", 1), ("garbage", 3), ("cut", 3), ("silence", 3)])
def test_a_receiver_that_fails_costs_lines_in_the_log(how: str, tries: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it does, calling returns at once and nothing is raised; the log says that the message was given up, and not the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        server.calls, server.how, server.released = [], how, threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        hook = Webhook(f"http://127.0.0.1:{server.server_port}/hook/secret", pause_s=0.01, timeout_s=0.5)
        hook(firing(incident="incident-1"))
        assert hook.flush(60)
        assert len(server.calls) == tries  # type: ignore[attr-defined]
        # Another message finds it as ready as before.
        server.how = "200"  # type: ignore[attr-defined]
        hook(firing())
        assert hook.flush(60)
        assert server.calls[-1] == "200"  # type: ignore[attr-defined]
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
    assert caplog.text.count("the webhook failed") == tries
    assert "got nothing of incident-1" in caplog.text
    assert "secret" not in caplog.text


def test_a_receiver_that_is_gone_for_long(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody listens: a message in excess is said, not kept."""
    hook = Webhook(f"http://127.0.0.1:{free_port()}/secret", pause_s=0.005, timeout_s=1)
    for _ in range(150):
        hook(firing())
    assert hook.flush(120)
    assert "does not keep up" in caplog.text
    assert "given up" in caplog.text
    assert "secret" not in caplog.text
    with pytest.raises(UsageError):
        Webhook("ftp://example")


def test_a_project_may_hold_rules(tmp_path: Path) -> None:
    """The tables stand beside proftool's settings and disturb neither."""
    file = tmp_path / "pyproject.toml"
    file.write_text(
        "[tool.proftool]\nstore-size = '1GB'\n[tool.proftool.alerts.slow]\nabove = 1\n[tool.proftool.slo.all]\nobjective = 0.99\n"
    )
    assert [rule.name for rule in load_rules(file)] == ["slow", "all"]
    assert load(tmp_path, environ={}).store_size_bytes == 1_000_000_000
