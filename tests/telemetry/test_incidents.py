"""An alert is kept with what was around it: one incident from its begin to its end, whatever process looks, whatever fails."""

from __future__ import annotations

import json
import os
import random
import sysconfig
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from telemetry.serving import telemetry_store
from telemetry.simulated import Simulated

from proftool import settings
from proftool.contracts_incidents import Incident, IncidentQuery
from proftool.contracts_telemetry import Finding, Slice, Span, SpanEvent
from proftool.errors import StoreError
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import CPU_TIME, SAMPLES, WAITING_TIME, WALL_TIME, Category
from proftool.store import open_incidents
from proftool.store.incidents import SqlIncidentStore
from proftool.store.services import SqlTelemetryStore
from proftool.telemetry.alerts import Alert
from proftool.telemetry.evidence import Evidence
from proftool.telemetry.incidents import LOST_S, Incidents, Watched
from proftool.telemetry.points import Sample
from proftool.telemetry.rules import Degradation, Rule, Threshold
from proftool.telemetry.suspects import suspects

S = 1_000_000_000
ROUTE = "GET /checkout"
START_S = 1_700_000_040.0


def minute(start_ns: int, seconds: dict[tuple[str, int], float], *, length_s: int = 60) -> Slice:
    """What a sampler saw in requests of `ROUTE`: (function, line) -> seconds; `charge_card` waits in a library, others work themselves."""
    builder = ProfileBuilder([replace(metric, mode="sample") for metric in (WALL_TIME, WAITING_TIME, SAMPLES, CPU_TIME)])
    lane = builder.lane(pid=7, tid=7, process_name="main", is_main=True, task=ROUTE)
    library = builder.frame(builder.function("serve", module="server", file="server.py", category=Category.LIBRARY), 5)
    driver = builder.frame(builder.function("send", module="driver", file="driver.py", category=Category.LIBRARY), 9)
    for (function, line), value in seconds.items():
        frame = builder.frame(builder.function(function, module="shop", file="shop/pay.py", category=Category.PROJECT), line)
        node = builder.stack([library, frame, driver] if function == "charge_card" else [library, frame])
        seen = random.Random(f"{start_ns} {function}").gauss(value, value / 20)
        builder.add(node, lane, 0, round(seen * S))
        builder.add(node, lane, 2, round(seen * 50))
    done = Pass(
        mode="sample",
        backend="proftool",
        clock="wall",
        started_ns=start_ns,
        duration_ns=length_s * S,
        attached=True,
        samples=100,
        rate_achieved_hz=50.0,
    )
    return Slice(
        service="shop", pid=7, start_ns=start_ns, end_ns=start_ns + length_s * S, samples=100, profile=builder.build(Meta(passes=(done,)))
    )


class World:
    """A project whose service is simulated: numbers, slices, and whoever looks at them."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings.load(folder, environ={})
        self.telemetry: SqlTelemetryStore = telemetry_store(folder)
        self.store: SqlIncidentStore = open_incidents(self.settings)
        self.service = Simulated(1)
        self.service.time_s = START_S
        self.told: list[Alert] = []

    @property
    def now_ns(self) -> int:
        return round(self.service.time_s * S)

    def watcher(self, *rules: Rule, store: SqlIncidentStore | None = None) -> Incidents:
        """A process that looks."""

        def tell(alert: Alert, _: Sequence[Sample]) -> None:
            self.told.append(alert)

        return Incidents("shop", Watched(rules=rules), store or self.store, self.telemetry, listeners=[tell])

    def run(self, watcher: Incidents, seconds: float, **trouble: float) -> None:
        """Time passes, a look every 15 s, a slice every minute."""
        end = self.service.time_s + seconds
        while self.service.time_s < end:
            samples = self.service.step(**trouble)
            if not round(self.service.time_s) % 60:
                slow = trouble.get("slower", 1.0)
                self.telemetry.add_slices([minute(self.now_ns - 60 * S, {("total", 12): 2.0, ("charge_card", 41): 1.0 * slow**2})])
            watcher.look(samples, self.now_ns)
            assert watcher.settle(20)

    def incidents(self) -> Sequence[Incident]:
        return self.store.find_incidents(IncidentQuery())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A project with a store."""
    (tmp_path / "pyproject.toml").touch()
    return World(tmp_path)


def slow() -> Threshold:
    return Threshold(name="slow", measure="p50", above=0.15, hold_s=60)


def test_an_alert_is_one_incident_from_its_begin_to_its_end(world: World) -> None:
    """However often it is looked at; resolved, it has its duration, and both messages name it."""
    watcher = world.watcher(slow())
    world.run(watcher, 900)
    assert world.incidents() == ()
    began_ns = world.now_ns
    world.run(watcher, 900, slower=5)
    (one,) = world.incidents()
    assert (one.service, one.alert, one.state, one.ended_ns) == ("shop", "slow", "firing", None)
    assert 0 <= one.began_ns - began_ns <= 75 * S
    world.run(watcher, 600)
    (over,) = world.incidents()
    assert (over.id, over.state) == (one.id, "resolved")
    assert 880 * S < over.duration_ns < 1200 * S
    assert [(alert.state, alert.incident) for alert in world.told] == [("firing", one.id), ("resolved", one.id)]
    assert world.told[0].link == f"proftool open {one.id}"


def test_the_line_that_takes_more_than_before_is_named(world: World) -> None:
    """The profile of the bad minutes against the good ones points at the line, not at what always took time."""
    watcher = world.watcher(slow())
    world.run(watcher, 900)
    world.run(watcher, 600, slower=4)
    (one,) = world.incidents()
    assert [(s.function, s.file, s.line, s.sources) for s in one.suspects] == [("charge_card", "shop/pay.py", 41, ("profile",))]
    assert one.suspects[0].confidence == "high"
    assert one.good_ns[1] <= one.began_ns - 60 * S
    # At the first message the bad minutes are few, but they are there.
    assert world.told[0].suspects[0].function == "charge_card"


@pytest.mark.parametrize("file", ["<string>", os.path.join(sysconfig.get_path("scripts"), "uvicorn")])
def test_what_starts_a_program_is_no_suspect(file: str) -> None:
    """It is below everything that a worker does."""
    builder = ProfileBuilder([replace(metric, mode="sample") for metric in (WALL_TIME, WAITING_TIME, SAMPLES)])
    lane = builder.lane(pid=7, tid=7, process_name="main", is_main=True)
    frame = builder.frame(builder.function("<module>", module="__main__", file=file, category=Category.PROJECT), 1)
    node = builder.stack([frame])
    builder.add(node, lane, 0, 60 * S)
    builder.add(node, lane, 2, 3000)
    done = Pass(mode="sample", backend="proftool", clock="wall", started_ns=0, duration_ns=60 * S, attached=True, samples=3000)
    bad = Slice(service="shop", pid=7, start_ns=0, end_ns=60 * S, samples=3000, profile=builder.build(Meta(passes=(done,))))
    assert suspects(Evidence(began_ns=0, bad=(bad,))) == ()


def test_measures_stand_around_the_moment(world: World) -> None:
    """The broken one first with its limit, and what else moved; half an hour before it and all of it."""
    watcher = world.watcher(slow())
    world.run(watcher, 3600)
    world.run(watcher, 600, slower=5)
    world.run(watcher, 300)
    (one,) = world.incidents()
    first, *others = one.measures
    assert (first.name, first.limit, first.unit) == ("p50 of http.server.request.duration", 0.15, "s")
    assert first.times_ns[0] >= one.began_ns - 1800 * S
    assert first.times_ns[0] <= one.began_ns - 1700 * S
    values = dict(zip(first.times_ns, first.values, strict=True))
    assert max(value for value in values.values() if value) > 0.15
    assert list(first.times_ns) == sorted(set(first.times_ns))
    assert {"requests a second", "95th percentile of duration"} <= {other.name for other in others}


def test_findings_requests_and_exceptions_point_too(world: World) -> None:
    """Witnesses that agree make one suspect, the first; a finding that was there before all that counts less."""
    watcher = world.watcher(slow())
    world.telemetry.add_findings([_finding("old", 70, first_ns=world.now_ns - 86_400 * S, last_ns=world.now_ns + 1200 * S)])
    world.run(watcher, 900)
    world.telemetry.add_findings([_finding("charge_card", 41, first_ns=world.now_ns + 60 * S, last_ns=world.now_ns + 120 * S)])
    world.telemetry.add_spans(_trace(world.now_ns + 30 * S))
    world.run(watcher, 600, slower=4)
    (one,) = world.incidents()
    assert one.suspects[0].function == "charge_card"
    assert one.suspects[0].sources == ("slow-query", "slow requests", "profile")
    assert one.suspects[0].advice == "index it"
    assert "80% of the time of 1 slow request" in one.suspects[0].evidence[1]
    old = next(suspect for suspect in one.suspects if suspect.function == "old")
    assert "before this began" in old.evidence[0]


def test_failures_are_where_their_exceptions_come_from(world: World) -> None:
    """The innermost line of the project in what most failed requests raised."""
    watcher = world.watcher(Threshold(name="errors", measure="errors", above=0.1, hold_s=60))
    world.run(watcher, 900)
    world.telemetry.add_spans(
        [span for k in range(3) for span in _failed(world.now_ns + 30 * S + k, str(world.settings.cwd / "shop" / "stock.py"), k)]
    )
    world.run(watcher, 300, errors=0.5)
    (one,) = world.incidents()
    assert one.about == "failures"
    assert (one.suspects[0].function, one.suspects[0].line, one.suspects[0].sources) == ("reserve", 77, ("exception",))
    assert one.suspects[0].evidence == ("ValueError left this line in 3 of 3 failed requests that were kept",)


def test_what_is_slow_is_not_why_requests_fail(world: World) -> None:
    """A finding that is sure of itself stands behind what was raised, and is not sure of that."""
    watcher = world.watcher(Threshold(name="errors", measure="errors", above=0.1, hold_s=60))
    world.run(watcher, 900)
    world.telemetry.add_findings([_finding("charge_card", 41, first_ns=world.now_ns + 60 * S, last_ns=world.now_ns + 120 * S)])
    world.telemetry.add_spans(_trace(world.now_ns + 30 * S))
    world.telemetry.add_spans(_failed(world.now_ns + 30 * S, str(world.settings.cwd / "shop" / "stock.py"), 0))
    world.run(watcher, 300, errors=0.5)
    (one,) = world.incidents()
    assert [(suspect.function, suspect.confidence) for suspect in one.suspects[:2]] == [("reserve", "high"), ("charge_card", "medium")]


def test_another_process_goes_on_and_tells_nothing_twice(world: World) -> None:
    """A restart while it is firing: the same incident, one message at its begin and one at its end."""
    first = world.watcher(slow())
    world.run(first, 900)
    world.run(first, 300, slower=5)
    first.stop()
    second = world.watcher(slow())
    world.run(second, 300, slower=5)
    assert len(world.incidents()) == 1
    world.run(second, 600)
    (one,) = world.incidents()
    assert one.state == "resolved"
    assert [alert.state for alert in world.told] == ["firing", "resolved"]


def test_two_processes_at_once_tell_it_once(world: World) -> None:
    """The store decides who began it, and only that one tells."""
    one, other = world.watcher(slow()), world.watcher(slow())
    world.run(one, 60)
    for _ in range(40):
        samples = world.service.step(slower=5)
        for watcher in (one, other):
            watcher.look(samples, world.now_ns)
            assert watcher.settle(20)
    assert len(world.incidents()) == 1
    assert [alert.state for alert in world.told] == ["firing"]


def test_what_nobody_saw_end_is_lost(world: World) -> None:
    """A service that was off for an hour does not know when its trouble ended."""
    first = world.watcher(slow())
    world.run(first, 600, slower=5)
    first.stop()
    seen_ns = world.incidents()[0].seen_ns
    world.service.time_s += LOST_S + 3600
    world.run(world.watcher(slow()), 60)
    (one,) = world.incidents()
    assert (one.state, one.ended_ns) == ("lost", seen_ns)


def test_a_slow_deployment_is_not_the_new_usual(world: World) -> None:
    """What a rule has learned outlives the process: the next version is measured by it from its first minutes."""
    first = world.watcher(Degradation(name="worse", measure="p95"))
    world.run(first, 3000)
    first.stop()
    second = world.watcher(Degradation(name="worse", measure="p95"))
    world.run(second, 300, slower=2)
    assert [alert.state for alert in world.told] == ["firing"]
    without = world.watcher(Degradation(name="other", measure="p95"))
    world.run(without, 300, slower=2)
    assert len(world.told) == 1


def test_a_store_that_fails_takes_no_message(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The alert is told without its incident, the failure is said once, and the incident is kept when the store works again."""

    class Failing(SqlIncidentStore):
        broken = True

        def begin_incident(self, incident: Incident) -> Incident:
            if self.broken:
                raise StoreError("no space left", cause="the disk is full", fix="free some")
            return super().begin_incident(incident)

    store = Failing(world.store._database)  # pyright: ignore[reportPrivateUsage]
    watcher = world.watcher(slow(), store=store)
    world.run(watcher, 600)
    world.run(watcher, 300, slower=5)
    assert [(alert.state, alert.incident) for alert in world.told] == [("firing", "")]
    assert caplog.text.count("no space left") == 1
    assert world.incidents() == ()
    store.broken = False
    world.run(watcher, 120, slower=5)
    (one,) = world.incidents()
    world.run(watcher, 600)
    assert [(alert.state, alert.incident) for alert in world.told[1:]] == [("resolved", one.id)]


def test_what_is_around_an_incident_outlives_the_rest(world: World) -> None:
    """Old slices, spans and findings go, but for those of an incident's windows; they go with it."""
    watcher = world.watcher(slow())
    world.run(watcher, 1800)
    world.telemetry.add_spans(_trace(world.now_ns + 30 * S))
    world.run(watcher, 300, slower=5)
    world.run(watcher, 1800)
    from proftool.contracts_telemetry import SliceQuery, SpanQuery

    query = SliceQuery(service="shop", limit=None)
    before = len(world.telemetry.find_slices(query))
    later = world.now_ns + 30 * 86_400 * S
    assert world.store.forget_incidents(later - 90 * 86_400 * S) == 0
    world.telemetry.forget(later)
    kept = world.telemetry.find_slices(query)
    (one,) = world.incidents()
    assert 0 < len(kept) < before
    assert all(s.end_ns > one.good_ns[0] and s.start_ns < one.bad_ns[1] for s in kept)
    assert world.telemetry.find_spans(SpanQuery())
    assert world.store.forget_incidents(later) == 1
    world.telemetry.forget(later)
    assert world.telemetry.find_slices(query) == ()
    assert world.telemetry.find_spans(SpanQuery()) == ()


def test_the_page_is_one_offline_file_that_names_the_line(world: World) -> None:
    """What, since when, where, and both sides of the profile stand in it; secrets do not."""
    from proftool.workflows.incidents import incident_document, load_incident, page

    watcher = world.watcher(slow())
    world.run(watcher, 900)
    world.telemetry.add_spans(_trace(world.now_ns + 30 * S))
    world.run(watcher, 600, slower=4)
    opened = load_incident(world.incidents()[0].id[:14], world.settings)
    assert opened.diff is not None
    flagged = {
        opened.diff.profile.text(int(opened.diff.profile.functions.qualname[f.function])): str(f.verdict) for f in opened.diff.functions
    }
    assert flagged["send"] == "slower"
    content = page(opened, world.settings).decode()
    told = json.loads(content.split('id="head">', 1)[1].split("</script>", 1)[0])
    assert told["incident"]["places"][0]["function"] == "charge_card"
    assert told["incident"]["places"][0]["line"] == 41
    assert told["comparison"]["base"] == "before"
    assert [o["name"] for o in told["incident"]["traces"][0]["operations"]] == ["GET /checkout", "SELECT card"]
    assert "http" not in content.split("<body>", 1)[1].split('id="head">')[0]
    document = incident_document(opened)
    assert document["schema"] == "proftool.incident/1"
    json.dumps(document)


def test_an_incident_without_any_evidence_still_has_its_page(world: World) -> None:
    """No sampler, no traces, no findings: the page says so."""
    from proftool.workflows.incidents import load_incident, page

    watcher = world.watcher(slow())
    for _ in range(40):
        watcher.look(world.service.step(slower=5), world.now_ns)
        assert watcher.settle(20)
    opened = load_incident(world.incidents()[0].id, world.settings)
    assert opened.suspects == ()
    assert len(opened.notes) == 2
    assert b"no sampler saw the bad time" in page(opened, world.settings)


def _finding(function: str, line: int, *, first_ns: int, last_ns: int) -> Finding:
    return Finding(
        id="slow-query", service="shop", function=function, file="shop/pay.py", line=line, confidence="high", evidence="a query took 2 s",
        advice="index it", route=ROUTE, first_ns=first_ns, last_ns=last_ns,
    )  # fmt: skip


def _trace(start_ns: int) -> list[Span]:
    entry = Span(
        trace_id="ab" * 16, span_id="01" * 8, service="shop", name=ROUTE, kind="server", start_ns=start_ns, duration_ns=1000, is_entry=True,
        route=ROUTE, kept="slow",
    )  # fmt: skip
    where = {"code.function.name": "charge_card", "code.file.path": "shop/pay.py", "code.line.number": 41}
    query = Span(
        trace_id="ab" * 16, span_id="02" * 8, parent_id="01" * 8, service="shop", name="SELECT card", kind="client",
        start_ns=start_ns + 100, duration_ns=800, attributes=where,
    )  # fmt: skip
    return [entry, query]


def _failed(start_ns: int, file: str, number: int) -> list[Span]:
    stack = (
        'Traceback (most recent call last):\n  File "/usr/lib/python3/site-packages/web/app.py", line 3, in call\n'
        f'  File "{file}", line 77, in reserve\n    raise ValueError\nValueError\n'
    )
    told = SpanEvent(name="exception", time_ns=start_ns, attributes={"exception.type": "ValueError", "exception.stacktrace": stack})
    return [
        Span(
            trace_id=f"{number:032x}", span_id=f"{number + 1:016x}", service="shop", name=ROUTE, kind="server", start_ns=start_ns,
            duration_ns=1000, is_entry=True, route=ROUTE, kept="failed", status="error", events=(told,),
        )
    ]  # fmt: skip
