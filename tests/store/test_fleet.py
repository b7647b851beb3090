"""A fleet on the real engine: sums that are exact, versions told apart, batches that count once, rows that grow old."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from store.clickhouse import ClickHouse
from store.slices import HOUR_NS, MINUTE_NS, a_slice, paths, send, whole_hour

from proftool.contracts_telemetry import Slice
from proftool.errors import StoreError, UsageError
from proftool.model.check import checked
from proftool.store.fleet import schema
from proftool.store.fleet.engine import Engine
from proftool.store.fleet.facts import Source
from proftool.store.fleet.flames import FlameQuery, Flames, parts
from proftool.store.fleet.fleet import Fleet
from proftool.telemetry.slices_writer import SliceWriter

TESTS = Path(__file__).parent.parent
WORK = {"slow": 4000, "fast": 800, "wait": 1200}


@pytest.fixture
def url(clickhouse: ClickHouse) -> str:
    return clickhouse.url(f"fleet_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def fleet(url: str) -> Iterator[Fleet]:
    opened = Fleet(url)
    yield opened
    opened.close()


def test_flame_graph_is_the_sum_of_all_slices(fleet: Fleet) -> None:
    """Every path's value is the sum over processes, threads and minutes, in every metric; exposure and samples add up too."""
    start = whole_hour(1)
    sent = [
        a_slice(start + minute * MINUTE_NS, {name: at * (pid + minute + 1) for name, at in WORK.items()}, pid=pid, threads=1 + pid % 2)
        for pid in (11, 12, 13)
        for minute in range(3)
    ]
    send(fleet, sent)
    profile = fleet.flame(FlameQuery(service="shop", since_ns=start, until_ns=start + 10 * MINUTE_NS))
    assert profile is not None
    checked(profile)
    assert paths([profile]) == paths([one.profile for one in sent])
    (own,) = profile.meta.passes
    assert (own.samples, own.missed, own.overhead_ns) == (sum(one.samples for one in sent), 9, 9000)
    assert (own.duration_ns, own.started_ns, own.attached) == (9 * MINUTE_NS, start, True)
    assert (own.rate_asked_hz, own.rate_achieved_hz) == (100.0, 90.0)
    assert own.notes[0].startswith("9 slices of 3 processes on 1 host")
    assert (profile.meta.python, profile.meta.host) == ("CPython 3.11.7", "a")


def test_service_time_version_and_route_narrow(fleet: Fleet) -> None:
    """Only what was asked for is in the answer."""
    start = whole_hour(2)
    one, late = a_slice(start, {"slow": 1}), a_slice(start + 20 * MINUTE_NS, {"slow": 2})
    new, other = a_slice(start, {"slow": 4}), a_slice(start, {"slow": 8}, service="stock")
    routed = a_slice(start, {"slow": 16}, route="GET /cart")
    send(fleet, [one, late, other, routed])
    send(fleet, [new], version="2")

    def ms(**fields: object) -> int:
        query = FlameQuery(service="shop", since_ns=start, until_ns=start + 30 * MINUTE_NS)
        found = fleet.flame(replace(query, **fields))  # type: ignore[arg-type]
        assert found is not None
        return sum(value for (_, metric), value in paths([found]).items() if metric == "wall_time") // 1_000_000

    assert ms() == 1 + 2 + 4 + 16
    assert ms(until_ns=start + MINUTE_NS) == 1 + 4 + 16
    assert ms(since_ns=start + MINUTE_NS) == 2
    assert ms(version="1") == 1 + 2 + 16
    assert ms(version="2") == 4
    assert ms(service="stock") == 8
    assert ms(route="GET /cart") == 16
    assert fleet.flame(FlameQuery(service="nobody", since_ns=start, until_ns=start + HOUR_NS)) is None


def test_batch_that_comes_twice_counts_once(fleet: Fleet) -> None:
    """An answer that was lost on the way makes the writer send again: neither facts nor hourly sums count it twice."""
    start = whole_hour(1)
    given = [a_slice(start, WORK)]
    for _ in range(3):
        fleet.send(given, Source(version="1", host="a"), batch="the same")
    for until in (start + HOUR_NS - 1, start + HOUR_NS):
        found = fleet.flame(FlameQuery(service="shop", since_ns=start, until_ns=until))
        assert found is not None
        assert paths([found]) == paths([given[0].profile])
        assert found.meta.passes[0].samples == given[0].samples


def test_whole_hours_are_answered_from_sums_and_the_rest_from_facts(fleet: Fleet) -> None:
    """Both ways add up to the same; without the facts the hours still know theirs."""
    start = whole_hour(5)
    sent = [a_slice(start + minute * MINUTE_NS, {"slow": minute + 1}) for minute in range(0, 240, 20)]
    send(fleet, sent)
    since, until = start + 30 * MINUTE_NS, start + 3 * HOUR_NS + 30 * MINUTE_NS
    asked = FlameQuery(service="shop", since_ns=since, until_ns=until)
    found = fleet.flame(asked)
    assert found is not None
    assert paths([found]) == paths([one.profile for one in sent if since <= one.start_ns < until])
    fleet.engine.do(f"TRUNCATE TABLE `{fleet.engine.database}`.samples")
    fleet.engine.do(f"TRUNCATE TABLE `{fleet.engine.database}`.observations")
    found = fleet.flame(asked)
    assert found is not None
    assert paths([found]) == paths([one.profile for one in sent if start + HOUR_NS <= one.start_ns < start + 3 * HOUR_NS])


@pytest.mark.parametrize(
    ("since_h", "until_h", "hours", "edges"),
    [
        (1.0, 3.0, (1, 3), []),
        (1.25, 3.5, (2, 3), [(1.25, 2.0), (3.0, 3.5)]),
        (1.25, 1.5, (0, 0), [(1.25, 1.5)]),
        (1.25, 2.0, (0, 0), [(1.25, 2.0)]),
        (-8.5, 1.5, (-9, 1), [(1.0, 1.5)]),
        (-8.5, -7.5, (-9, -7), []),
    ],
)
def test_stretch_is_taken_apart_without_gap_or_overlap(
    since_h: float, until_h: float, hours: tuple[int, int], edges: list[tuple[float, float]]
) -> None:
    """Whole hours and what is left; before the facts begin (at 0 here) outward to whole hours."""
    far = 500_000
    found = parts(int((far + since_h) * HOUR_NS), int((far + until_h) * HOUR_NS), far * HOUR_NS)
    expected = tuple(hour + far for hour in hours) if hours != (0, 0) else (0, 0)
    assert (found.first_hour, found.last_hour) == expected
    assert [(a / HOUR_NS - far, b / HOUR_NS - far) for a, b in found.edges] == edges


def test_facts_go_before_the_sums_do(fleet: Fleet) -> None:
    """After `raw_days` the engine drops facts, after `hour_days` the sums; a time in between is answered by whole hours."""
    fleet.set_up(raw_days=1, hour_days=10)
    assert fleet.kept_days() == (1, 10)
    new, old, ancient = whole_hour(1), whole_hour(72), whole_hour(24 * 12)
    send(fleet, [a_slice(new, {"slow": 1}), a_slice(old, {"slow": 2}), a_slice(ancient, {"slow": 4})])
    for table in ("samples", "observations", "sample_hours", "observation_hours"):
        fleet.engine.do(f"OPTIMIZE TABLE `{fleet.engine.database}`.{table} FINAL")
    (facts,) = fleet.engine.ask(f"SELECT count() FROM `{fleet.engine.database}`.samples WHERE type = 'wall_time'", 1)
    assert list(facts) == [1]
    found = fleet.flame(FlameQuery(service="shop", since_ns=ancient - HOUR_NS, until_ns=new + HOUR_NS))
    assert found is not None
    assert paths([found])[((("main", 1), ("handle", 2), ("slow", 101)), "wall_time")] == 3_000_000
    fleet.set_up(raw_days=3, hour_days=20)
    assert fleet.kept_days() == (3, 20)


def test_what_is_beyond_the_largest_stacks_is_one_and_told(fleet: Fleet) -> None:
    """Totals stay exact however small the answer is kept."""
    start = whole_hour(1)
    one = a_slice(start, {f"part_{n}": n + 1 for n in range(40)})
    send(fleet, [one])
    query = FlameQuery(service="shop", since_ns=start, until_ns=start + HOUR_NS)
    found = Flames(fleet.engine, max_stacks=5).flame(query, now_ns=time.time_ns(), raw_days=7)
    assert found is not None
    checked(found)
    told, given = paths([found]), paths([one.profile])
    assert {path[-1][0] for path, _ in told} == {"part_39", "part_38", "part_37", "part_36", "part_35", "(others)"}
    for metric in ("wall_time", "waiting_time", "cpu_time", "samples"):
        assert sum(v for (_, m), v in told.items() if m == metric) == sum(v for (_, m), v in given.items() if m == metric)
    assert any("only the 5 largest" in note for note in found.meta.passes[0].notes)


def test_stack_that_the_dictionary_has_lost_keeps_its_value(fleet: Fleet) -> None:
    """It is seen as unknown, with its value, and the profile says so."""
    start = whole_hour(1)
    send(fleet, [a_slice(start, {"slow": 3})])
    fleet.engine.do(f"TRUNCATE TABLE `{fleet.engine.database}`.stacks")
    found = fleet.flame(FlameQuery(service="shop", since_ns=start, until_ns=start + HOUR_NS))
    assert found is not None
    assert paths([found])[((("(unknown stack)", 0),), "wall_time")] == 3_000_000
    assert any("1 stack is in no dictionary" in note for note in found.meta.passes[0].notes)


def test_dictionary_is_written_once_a_day_and_again_the_next(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine knows is not sent again, until it would grow old."""
    start = whole_hour(1)
    sent: list[str] = []
    insert = Engine.insert

    def watched(self: Engine, table: str, columns: dict[str, list[object]], types: dict[str, str], *, token: str) -> None:
        if columns["service"]:
            sent.append(table)
        insert(self, table, columns, types, token=token)

    monkeypatch.setattr(Engine, "insert", watched)
    send(fleet, [a_slice(start, WORK), a_slice(start, WORK)])
    assert sent == ["frames", "stacks", "samples", "observations", "samples", "observations"]
    now = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: now + schema.NS_PER_DAY)
    send(fleet, [a_slice(start, WORK)])
    assert sent[6:] == ["frames", "stacks", "samples", "observations"]


def test_secrets_do_not_reach_the_fleet(url: str) -> None:
    """What the project's patterns hide is hidden before anything is sent."""
    start = whole_hour(1)
    fleet = Fleet(url, redact=("sk-[a-z0-9]+",))
    send(fleet, [a_slice(start, {"slow": 1}, route="GET /key/sk-abc123")])
    (routes,) = fleet.engine.ask(f"SELECT DISTINCT route FROM `{fleet.engine.database}`.samples", 1)
    assert "sk-abc123" not in str(list(routes))
    fleet.close()


def test_ten_writers_and_killed_ones_leave_whole_slices(url: str) -> None:
    """What any of ten processes announced counts once; SIGKILL at any moment loses or adds at most the slice under way."""
    start = whole_hour(1)
    fleet = Fleet(url)
    fleet.set_up()

    def writer(pid: int, count: int) -> subprocess.Popen[str]:
        words = [sys.executable, str(TESTS / "store" / "fleet_writer.py"), url, str(pid), str(count), str(start)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(TESTS)})

    victims = [writer(pid, 1000) for pid in (901, 902)]
    writers = [writer(pid, 4) for pid in range(100, 108)]
    announced: dict[int, int] = {}
    for pid, victim in zip((901, 902), victims, strict=True):
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(2)]
        victim.send_signal(signal.SIGKILL)
        announced[pid] = len([*lines, *victim.stdout.read().split()])
        victim.communicate(timeout=120)
    for pid, one in zip(range(100, 108), writers, strict=True):
        out, _ = one.communicate(timeout=120)
        assert one.returncode == 0
        announced[pid] = len(out.split())
        assert announced[pid] == 4
    found = fleet.flame(FlameQuery(service="shop", since_ns=start, until_ns=start + HOUR_NS - 1))
    assert found is not None
    told = paths([found])
    of_pid = {name: value for (path, metric), value in told.items() if metric == "wall_time" for name in [path[-1][0]]}
    assert "(unknown stack)" not in of_pid
    for pid, count in announced.items():
        seen = of_pid[f"own_{pid}"] // 500_000_000
        assert seen == count if pid < 900 else count <= seen <= count + 1
    fleet.close()


def test_slices_outlive_a_restart_of_the_server(tmp_path: Path) -> None:
    """A writer goes on through it: every slice is there afterwards, once."""
    server = ClickHouse(tmp_path)
    try:
        fleet, start = Fleet(server.url("fleet")), whole_hour(1)
        source = Source(version="1", host="a")

        class Target:
            def send(self, slices: list[Slice], *, batch: str, lost: int) -> None:
                fleet.send(slices, source, batch=batch, lost=lost)

            def close(self) -> None:
                fleet.close()

        writer = SliceWriter(Target, retry_s=(0.05, 0.2))
        sent = [a_slice(start, {"slow": n}) for n in range(1, 9)]
        for one in sent[:4]:
            writer.put(one)
        _until(lambda: writer.counts.sent == 4)
        server.stop()
        for one in sent[4:]:
            writer.put(one)
        _until(lambda: writer.counts.failures > 0)
        server.start()
        _until(lambda: writer.counts.sent == 8)
        writer.close()
        reader = Fleet(server.url("fleet"))
        found = reader.flame(FlameQuery(service="shop", since_ns=start, until_ns=start + HOUR_NS))
        assert found is not None
        assert paths([found]) == paths([one.profile for one in sent])
        reader.close()
    finally:
        server.stop()


def _until(holds: object) -> None:
    end = time.monotonic() + 60
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_same_code_runs_on_the_engine_in_its_own_process(tmp_path: Path) -> None:
    """`chdb://` needs no server; what one process wrote there the next one reads."""
    program = (
        "import sys\nfrom store.slices import a_slice, paths\nfrom proftool.store.fleet.facts import Source\n"
        "from proftool.store.fleet.flames import FlameQuery\nfrom proftool.store.fleet.fleet import Fleet\n"
        "fleet, start = Fleet(sys.argv[1]), int(sys.argv[2])\n"
        "if sys.argv[3] == 'write': fleet.send([a_slice(start, {'slow': 5})], Source(version='1', host='a'), batch='one')\n"
        "print(sorted(paths([fleet.flame(FlameQuery(service='shop', since_ns=start, until_ns=start + 60))]).values()))\nfleet.close()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    for what in ("write", "read"):
        words = [sys.executable, "-c", program, f"chdb://{tmp_path}/engine", str(whole_hour(1)), what]
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [1, 1_250_000, 3_750_000, 5_000_000]


@pytest.mark.parametrize("wrong", ["clickhouse://", "clickhouse://host:port/x", "http://host", "nonsense"])
def test_url_that_names_no_server_is_refused(wrong: str) -> None:
    """Before anything is connected."""
    with pytest.raises(UsageError, match="is no fleet"):
        Fleet(wrong)


def test_tables_that_are_not_there_are_told(fleet: Fleet) -> None:
    """Reading an empty server says what to do."""
    with pytest.raises(StoreError, match="no tables yet"):
        fleet.services(0)
