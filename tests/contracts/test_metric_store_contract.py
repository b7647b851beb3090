"""What every MetricStore keeps, whatever it is made of: sums stay exact, however processes restart and points age."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from store.servers import Servers

from proftool.contracts_telemetry import Exemplar, MetricStore, Point, PointQuery, Series
from proftool.errors import UsageError
from proftool.settings import load
from proftool.store import open_metrics
from proftool.units import NS_PER_S as S

Make = Callable[[], MetricStore]
T = 1_750_000_000 * S - 1_750_000_000 * S % (86_400 * S)
"""The beginning of a day."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("servers"))])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens one and the same store, as another process would."""
    (tmp_path / "pyproject.toml").touch()
    flags: dict[str, object] = {}
    if request.param == "postgresql":
        servers: Servers = request.getfixturevalue("servers")
        flags = {"store": servers.postgres.new_database(), "blobs": servers.bucket.url()}
    return lambda: open_metrics(load(tmp_path, flags=flags, environ={}))


@pytest.fixture
def store(make: Make) -> MetricStore:
    return make()


COUNTER = Point(
    service="shop",
    process="a:1",
    name="orders",
    kind="counter",
    unit="{order}",
    labels=(("kind", "x"),),
    time_ns=T,
    start_ns=T - S,
    value=0,
)
HISTOGRAM = Point(
    service="shop",
    process="a:1",
    name="took",
    kind="histogram",
    unit="s",
    time_ns=T,
    start_ns=T - S,
    value=0.0,
    counts=(0, 0, 0),
    edges=(0.1, 1.0),
)
GAUGE = Point(service="shop", process="a:1", name="memory", kind="gauge", unit="By", time_ns=T, value=5.0)


def ask(store: MetricStore, *, step_s: int = 10, of_s: int = 60, since_ns: int = T, **narrow: object) -> tuple[Series, ...]:
    query = PointQuery(since_ns=since_ns, until_ns=since_ns + of_s * S, step_ns=step_s * S)
    return tuple(store.find_series(replace(query, **narrow)))  # pyright: ignore[reportArgumentType]


def told(found: tuple[Series, ...]) -> list[tuple[object, ...]]:
    """All of an answer, to be compared."""
    return [(s.service, s.name, s.kind, s.unit, s.labels, s.edges, s.times_ns, s.values, s.counts, s.exemplars) for s in found]


def test_nothing_stored_is_nothing_found(store: MetricStore, tmp_path: Path) -> None:
    """An empty store answers, and neither asking nor ageing creates it."""
    before = sorted(tmp_path.rglob("*"))
    assert (list(ask(store)), list(store.names()), list(store.services()), store.roll_up(T)) == ([], [], [], 0)
    assert store.add_points([]) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_counter_is_its_increase_in_each_step(make: Make) -> None:
    """Another process sees what was added at once; a step without a point is unknown."""
    store = make()
    assert (
        store.add_points([replace(COUNTER, time_ns=T + at * S, value=value) for at, value in ((1, 3), (12, 10), (19, 12), (35, 12))]) == 0
    )
    (found,) = ask(make())
    assert (found.service, found.name, found.kind, found.unit, found.labels) == ("shop", "orders", "counter", "{order}", (("kind", "x"),))
    assert found.values == (3, 9, None, 0, None, None)
    assert found.times_ns == tuple(T + at * S for at in (10, 20, 30, 40, 50, 60))
    assert store.names() == (("shop", "orders", "counter", "{order}"),)
    assert store.services() == ("shop",)


@pytest.mark.parametrize("fold", [False, True])
def test_processes_are_summed_and_their_restarts_lose_nothing(make: Make, fold: bool) -> None:
    """Two workers, one of which begins anew with the same name, once below and once above its last value."""
    store = make()
    values = {"a:1": ((1, 100, 0), (11, 160, 0), (21, 30, 12), (31, 90, 12)), "b:2": ((2, 7, 0), (12, 9, 0), (22, 50, 15), (32, 51, 15))}
    for process, points in values.items():
        for at, value, start in points:
            store.add_points([replace(COUNTER, process=process, time_ns=T + at * S, start_ns=T + start * S, value=value)])
            if fold:
                assert store.roll_up(T + at * S + 60 * S) == 1
    (found,) = ask(store)
    assert found.values == (107, 62, 80, 61, None, None)


def test_a_histogram_is_counts_sums_and_exemplars(store: MetricStore) -> None:
    """Each bucket by itself, the sum beside them, the traces that can be looked at."""
    mark = Exemplar(T + 11 * S, "ab" * 16, "cd" * 8, 0.5)
    store.add_points([replace(HISTOGRAM, time_ns=T + S, value=1.5, counts=(1, 2, 0))])
    store.add_points([replace(HISTOGRAM, time_ns=T + 12 * S, value=9.5, counts=(1, 4, 1), exemplars=(mark,))])
    (found,) = ask(store, name="took")
    assert (found.kind, found.edges) == ("histogram", (0.1, 1.0))
    assert found.counts == ((1, 2, 0), (0, 2, 1), None, None, None, None)
    assert found.values == (1.5, 8.0, None, None, None, None)
    assert found.exemplars == (mark,)


def test_a_gauge_is_its_last_reading_held_for_a_while(store: MetricStore) -> None:
    """The last in the step, processes added up even where one did not report in it; not for ever."""
    store.add_points([replace(GAUGE, time_ns=T + at * S, value=value) for at, value in ((1, 5), (2, 6), (21, 8))])
    store.add_points([replace(GAUGE, process="b:2", time_ns=T + 11 * S, value=100)])
    (found,) = ask(store, of_s=300)
    assert found.values[:4] == (6, 106, 108, 108)
    assert found.values[16:19] == (108, 8, None)
    (later,) = ask(store, since_ns=T + 30 * S)
    assert later.values[0] == 108


def test_a_point_that_comes_again_changes_nothing(store: MetricStore) -> None:
    """Exporters repeat what was not answered in time."""
    batch = [replace(COUNTER, time_ns=T + S, value=3), replace(HISTOGRAM, time_ns=T + S, value=1.0, counts=(1, 0, 0))]
    for _ in range(3):
        assert store.add_points(batch) == 0
        store.roll_up(T + 70 * S)
    assert store.add_points([*batch, *batch]) == 0
    by_name = {found.name: found for found in ask(store)}
    assert by_name["orders"].values[0] == 3
    assert by_name["took"].counts[0] == (1, 0, 0)


def test_an_old_process_that_is_first_seen_starts_counting_there(store: MetricStore) -> None:
    """What it counted before is not put into one step; a series that is new in it later has counted from zero."""
    old = replace(COUNTER, start_ns=T - 86_400 * S)
    store.add_points([replace(old, time_ns=T + S, value=1_000_000), replace(old, name="same time", time_ns=T + S, value=9)])
    store.add_points(
        [replace(old, time_ns=T + 11 * S, value=1_000_004), replace(old, labels=(("kind", "new"),), time_ns=T + 11 * S, value=2)]
    )
    found = {(one.name, one.labels): one.values[:2] for one in ask(store)}
    assert found == {("orders", (("kind", "x"),)): (None, 4), ("orders", (("kind", "new"),)): (None, 2)}


def test_labels_must_all_match(store: MetricStore) -> None:
    """Each pair narrows; services and names too."""
    one = replace(COUNTER, labels=(("kind", "x"), ("region", "eu")), time_ns=T + S, value=1)
    store.add_points([one, replace(one, labels=(("kind", "x"), ("region", "us"))), replace(one, service="other")])
    for narrow, n in (
        ({"labels": (("kind", "x"),)}, 3),
        ({"labels": (("kind", "x"), ("region", "eu"))}, 2),
        ({"labels": (("kind", "y"),)}, 0),
        ({"service": "other"}, 1),
        ({"name": "orders"}, 3),
        ({"name": "order"}, 0),
    ):
        assert len(ask(store, **narrow)) == n, narrow


def test_series_are_added_up_but_for_the_labels_asked_for(store: MetricStore) -> None:
    """Several processes and series in one step are one line; a label that a series lacks makes no line of its own; gauges too."""
    labels = [(("kind", "x"), ("region", "eu")), (("kind", "y"), ("region", "eu")), (("region", "us"),)]
    points = [
        replace(one, labels=own, process=process, time_ns=T + at * S, start_ns=T, **grown)
        for at in (1, 4, 11)
        for process in ("a:1", "b:2")
        for own in labels
        for one, grown in (
            (COUNTER, {"value": at}),
            (HISTOGRAM, {"value": float(at), "counts": (at, 0, 2 * at)}),
            (GAUGE, {"value": 3.0}),
        )
    ]
    store.add_points(points)
    found = {(one.name, one.labels): one for one in ask(store, by=("region", "unheard"))}
    eu, us = (("region", "eu"),), (("region", "us"),)
    assert {key: one.values[:2] for key, one in found.items()} == {
        ("orders", eu): (16, 28), ("orders", us): (8, 14), ("took", eu): (16, 28), ("took", us): (8, 14),
        ("memory", eu): (12, 12), ("memory", us): (6, 6),
    }  # fmt: skip
    assert found["took", eu].counts[:2] == ((16, 0, 32), (28, 0, 56))
    whole = {one.name: one for one in ask(store, by=(), labels=(("region", "eu"),))}
    assert whole["orders"].labels == ()
    assert whole["orders"].values[:2] == (16, 28)


def test_ageing_keeps_every_sum(make: Make) -> None:
    """Two days of two restarting processes: whole hours and days add up as they did raw, at every resolution that is left."""
    store, chance = make(), random.Random(7)
    totals: dict[int, int] = {}
    buckets: dict[int, list[int]] = {}
    for process in ("a:1", "b:2"):
        value, counts, start = 0, [0, 0, 0], -1
        points: list[Point] = []
        for at in range(1, 2 * 86_400, 450):
            if chance.random() < 0.02:
                value, counts, start = 0, [0, 0, 0], at - 1
            grown, bucket = chance.randrange(50), chance.randrange(3)
            value += grown
            counts[bucket] += grown
            totals[at // 3600] = totals.get(at // 3600, 0) + grown
            buckets.setdefault(at // 3600, [0, 0, 0])[bucket] += grown
            about = {"process": process, "time_ns": T + at * S, "start_ns": T + start * S}
            points += [
                replace(COUNTER, value=value, **about),
                replace(HISTOGRAM, value=float(sum(counts)), counts=tuple(counts), **about),
                replace(GAUGE, value=at, process=process, time_ns=T + at * S),
            ]
        store.add_points(points)

    def hours() -> tuple[list[float], list[list[int]]]:
        both = {found.name: found for found in ask(make(), of_s=2 * 86_400, step_s=3600)}
        assert [len(both[name].values) for name in ("orders", "took", "memory")] == [48, 48, 48]
        assert None not in both["memory"].values
        return [value or 0 for value in both["orders"].values], [list(counts or (0, 0, 0)) for counts in both["took"].counts]

    expected = [totals[hour] for hour in range(48)], [buckets[hour] for hour in range(48)]
    assert hours() == expected
    for now_s in (2 * 86_400 + 61, 2 * 86_400 + 3700, 3 * 86_400 + 10, 4 * 86_400 + 10):
        while store.roll_up(T + now_s * S):
            pass
        assert hours() == expected, now_s
    while store.roll_up(T + 33 * 86_400 * S):
        pass
    assert ask(store, of_s=2 * 86_400, step_s=3600) == ()
    assert store.names() == ()


def test_who_asks_again_is_told_what_another_process_is(make: Make) -> None:
    """
    Over hours that move on, in whole steps or not: points come, series are new, blocks are folded, made coarser and forgotten, and
    who has asked before has the same answer as who has not.
    """
    asks, writes, chance = make(), make(), random.Random(11)
    values: dict[tuple[str, str], list[int]] = {}
    for hour in range(40):
        points: list[Point] = []
        for minute in range(0, 60, 5):
            at = hour * 3600 + minute * 60
            for process, kind in (("a:1", "x"), ("a:1", "y"), *([("b:2", "x")] if hour > 7 else [])):
                counts = values.setdefault((process, kind), [0, 0, 0])
                counts[chance.randrange(3)] += chance.randrange(1, 9)
                about = {"process": process, "time_ns": T + at * S, "labels": (("kind", kind), ("n", "1"))}
                marks = (Exemplar(T + at * S, f"{at:032x}", f"{at:016x}", 0.5),) if chance.random() < 0.1 else ()
                points.append(replace(HISTOGRAM, value=float(sum(counts)), counts=tuple(counts), exemplars=marks, **about))
        writes.add_points(points)
        while writes.roll_up(T + (hour + 1) * 3600 * S) and chance.random() < 0.7:
            pass
        for since_s, step_s in ((hour * 3600 - 4 * 3600, 600), (hour * 3600 - 4 * 3600 + 77, 600), (0, 3600)):
            for by in (None, ("kind",), ()):
                asked = {"since_ns": T + max(since_s, 0) * S, "of_s": 6 * 3600, "step_s": step_s, "by": by, "name": "took"}
                assert told(ask(asks, **asked)) == told(ask(make(), **asked)), (hour, since_s, step_s, by)
    while writes.roll_up(T + 3 * 86_400 * S):
        pass
    assert told(ask(asks, of_s=2 * 86_400, step_s=3600)) == told(ask(make(), of_s=2 * 86_400, step_s=3600)) != []
    while writes.roll_up(T + 40 * 86_400 * S):
        pass
    assert ask(asks, of_s=2 * 86_400, step_s=3600) == ()


def test_what_is_no_number_or_no_histogram_is_refused(store: MetricStore) -> None:
    """Told by its number, and the rest is kept."""
    bad = [replace(GAUGE, value=float("nan")), replace(GAUGE, value=float("inf")), replace(HISTOGRAM, counts=(1,))]
    assert store.add_points([*bad, replace(GAUGE, time_ns=T + S)]) == 3
    assert [found.values[0] for found in ask(store)] == [5.0]


def test_series_beyond_the_bound_are_refused(store: MetricStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are known go on."""
    monkeypatch.setattr("proftool.store.points.SERIES_LIMIT", 3)
    points = [replace(COUNTER, labels=(("user", str(user)),), time_ns=T + S, value=1) for user in range(5)]
    assert store.add_points(points) == 2
    assert store.add_points([replace(point, time_ns=T + 2 * S) for point in points]) == 2
    assert len(ask(store)) == 3


def test_an_answer_that_would_fill_the_memory_is_refused(store: MetricStore) -> None:
    """With what to ask instead."""
    store.add_points([replace(COUNTER, time_ns=T + S, value=1), replace(GAUGE, time_ns=T + S)])
    for name, until_ns, step_ns in (("orders", T + 86_400 * S, 1_000_000), ("memory", T + 10, 1)):
        with pytest.raises(UsageError, match="too large"):
            store.find_series(PointQuery(name=name, since_ns=T, until_ns=until_ns, step_ns=step_ns))
