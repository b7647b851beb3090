"""What every RunStore keeps, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from store.servers import Servers
from store.stores import COMMIT, profile, store_in

from proftool.contracts_store import Run, RunQuery, RunStore, TrendQuery
from proftool.errors import RunNotFound, StoreError, UsageError
from proftool.model.profile import TABLES
from proftool.settings import load
from proftool.store import open_store

Make = Callable[[], RunStore]


def _opened(folder: Path, store: str, blobs: str) -> Make:
    return lambda: open_store(load(folder, flags={"store": store, "blobs": blobs}, environ={}))


@pytest.fixture(params=["project", "url", pytest.param("team", marks=pytest.mark.xdist_group("servers"))])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens one and the same store, as another process would: (SQLite, folder) by place and by URL, (PostgreSQL, S3)."""
    if request.param == "project":
        return lambda: store_in(tmp_path)
    if request.param == "url":
        return _opened(tmp_path, f"sqlite:///{tmp_path}/db/runs.sqlite", f"file://{tmp_path}/far")
    servers: Servers = request.getfixturevalue("servers")
    return _opened(tmp_path, servers.postgres.new_database(), servers.bucket.url())


@pytest.fixture
def store(make: Make) -> RunStore:
    return make()


def test_nothing_stored_is_nothing_found(store: RunStore, tmp_path: Path) -> None:
    """An empty store answers, and asking does not create it."""
    before = sorted(tmp_path.rglob("*"))
    assert list(store.find(RunQuery())) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_added_run_is_found_with_all_its_circumstances(make: Make) -> None:
    """Another process sees exactly the run that add announced."""
    run = make().add(profile(7), label="before")
    (found,) = make().find(RunQuery())
    assert found == run
    assert (run.label, run.modes, run.backends, run.command, run.exit_status) == (
        "before",
        ("sample",),
        ("py-spy",),
        ("python", "app.py"),
        3,
    )
    assert (run.started_at, run.duration_s) == ("2023-11-14T22:13:20.250Z", 1.5)
    assert (run.commit, run.branch, run.dirty, run.python, run.host) == (COMMIT, "main", True, "CPython 3.11.7", "here")
    assert run.quality is not None
    assert (run.quality.verdict, run.quality.reasons) == ("weak", ("few samples",))
    assert (run.samples, run.rate_asked_hz, run.rate_achieved_hz, run.totals) == (7, 100.0, 99.5, {"wall_time": 7_000_000})


def test_unknown_circumstances_stay_unknown(make: Make) -> None:
    """A profile that tells nothing is stored with nulls, not with guesses."""
    from proftool.model.profile import Profile

    make().add(Profile())
    (run,) = make().find(RunQuery())
    unknown = {name: getattr(run, name) for name in ("command", "exit_status", "started_at", "duration_s", "commit", "branch", "dirty")}
    assert set(unknown.values()) == {None}
    assert (run.python, run.host, run.quality, run.samples, run.modes, run.totals) == (None, None, None, None, (), {})


def test_loaded_profile_equals_the_added_one(store: RunStore) -> None:
    """Every column of every table comes back."""
    given = profile(5, weight=50)
    back = store.load(store.add(given))
    assert (back.strings, back.metrics, back.meta) == (given.strings, given.metrics, given.meta)
    for name in TABLES:
        for column, values in getattr(given, name).columns().items():
            assert np.array_equal(values, getattr(back, name).columns()[column]), f"{name}.{column}"


def test_find_gives_the_newest_first_and_narrows(store: RunStore) -> None:
    """Every field of a query narrows, limit and offset count from the newest."""
    runs = [store.add(profile(n, commit="f" * 40 if n == 2 else COMMIT), label="same" if n < 3 else None) for n in range(1, 6)]
    ids = [run.id for run in reversed(runs)]

    def found(query: RunQuery) -> list[str]:
        return [run.id for run in store.find(query)]

    assert found(RunQuery()) == ids
    assert found(RunQuery(limit=2)) == ids[:2]
    assert found(RunQuery(limit=2, offset=3)) == ids[3:]
    assert found(RunQuery(offset=4)) == ids[4:]
    assert found(RunQuery(label="same")) == ids[3:]
    assert found(RunQuery(label="nobody")) == []
    assert found(RunQuery(commit_prefix="ffff")) == [runs[1].id]
    assert found(RunQuery(id_prefix=runs[0].id[:-1])) == [runs[0].id]
    assert found(RunQuery(ids=(runs[0].id, runs[4].id))) == [runs[4].id, runs[0].id]
    assert found(RunQuery(ids=())) == []
    assert found(RunQuery(before_ns=runs[2].added_ns)) == ids[3:]


def test_order_does_not_follow_a_clock_that_is_set_back(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that was added last is the latest even if the clock says otherwise."""
    first = store.add(profile(1))
    monkeypatch.setattr("time.time_ns", lambda: first.added_ns - 3600 * 10**9)
    second = store.add(profile(2))
    assert [run.id for run in store.find(RunQuery())] == [second.id, first.id]


def test_label_is_given_changed_and_taken_away(store: RunStore) -> None:
    """The label that was set is the label that is found."""
    run = store.add(profile(1))
    for label in ("one", "naïve 二", None):
        assert store.label(run, label).label == label
        assert [r.label for r in store.find(RunQuery())] == [label]


@pytest.mark.parametrize("label", ["", " ", "@latest", "two\nlines", "x" * 201, " edge"])
def test_label_that_cannot_be_typed_is_refused(store: RunStore, label: str) -> None:
    """A label is refused before anything is stored."""
    with pytest.raises(UsageError, match="cannot be a label"):
        store.add(profile(1), label=label)
    assert list(store.find(RunQuery())) == []


def test_removed_run_is_gone_with_its_profile(store: RunStore) -> None:
    """A removed run is not listed and not loaded, and its neighbours are."""
    run, other = store.add(profile(1)), store.add(profile(2))
    store.remove([run])
    store.remove([run])  # twice is no error
    assert list(store.find(RunQuery())) == [other]
    assert store.load(other).meta == profile(2).meta
    with pytest.raises(StoreError, match="gone"):
        store.load(run)
    with pytest.raises(RunNotFound, match="no run"):
        store.label(run, "late")


def test_equal_profiles_share_content_until_the_last_is_removed(store: RunStore) -> None:
    """Content is stored once, and stays as long as one run needs it."""
    one, two = store.add(profile(1)), store.add(profile(1))
    assert one.blob == two.blob
    assert one.id != two.id
    store.remove([one])
    assert store.load(two).meta == profile(1).meta
    store.remove([two])
    with pytest.raises(StoreError, match="gone"):
        store.load(two)


def test_many_runs_are_removed_at_once(store: RunStore) -> None:
    """Removal does not depend on how many values a statement can hold."""
    one = store.add(profile(1))
    ghosts = [replace(one, id=f"ghost{n}", blob=f"{n:064}") for n in range(1200)]
    store.remove([*ghosts, one])
    assert list(store.find(RunQuery())) == []


def test_ids_are_short_typeable_and_told_apart_early(store: RunStore) -> None:
    """Ten characters, none taken for another; the last one may be left out."""
    runs: list[Run] = [store.add(profile(n)) for n in range(30)]
    ids = [run.id for run in runs]
    assert all(len(id) == 10 and not set(id) - set("0123456789abcdefghjkmnpqrstvwxyz") for id in ids)
    assert len({id[:5] for id in ids}) == len(ids)  # 435 pairs, 2**25 prefixes: fails by chance once in 77,000


def test_trend_of_a_function_is_what_each_run_measured(make: Make) -> None:
    """Self and total of every run that has it, oldest first, found by any of its names; a removed run leaves the trend."""
    from proftool.model.builder import ProfileBuilder
    from proftool.model.meta import Meta
    from proftool.model.profile import WALL_TIME, Category, Profile

    def run(own_ns: int, command: str = "app.py") -> Profile:
        builder = ProfileBuilder([WALL_TIME])
        lane = builder.lane(is_main=True)
        outer = builder.frame(builder.function("main", module="app", file="app.py", category=Category.PROJECT), 1)
        inner = builder.frame(builder.function("Cart.total", module="app", file="app.py", first_line=3, category=Category.PROJECT), 4)
        top = builder.stack([outer, inner])
        builder.add(top, lane, 0, own_ns)
        builder.add(builder.node(top, builder.frame(builder.function("len", module="builtins"), 0)), lane, 0, 5)
        for n in range(60):
            builder.add(builder.stack([builder.frame(builder.function(f"other_{n}", module="lib", file="lib.py"), 1)]), lane, 0, 50 + n)
        return builder.build(Meta(command=("python", command)))

    store = make()
    runs = [store.add(run(1000 * n), label=f"run {n}") for n in range(1, 6)]
    store.add(run(9, "else.py"))
    for name in ("Cart.total", "app:Cart.total", "total"):
        (found,) = make().trends(TrendQuery(function=name, command=("python", "app.py")))
        assert (found.module, found.qualname, found.file, found.metric) == ("app", "Cart.total", "app.py", "wall_time")
        assert [point.self_value for point in found.points] == [1000, 2000, 3000, 4000, 5000]
        assert [point.total for point in found.points] == [1005, 2005, 3005, 4005, 5005]
        assert [(p.run_id, p.added_ns, p.label, p.commit) for p in found.points] == [(r.id, r.added_ns, r.label, None) for r in runs]
    (newest,) = store.trends(TrendQuery(function="Cart.total", limit=2))
    assert [point.self_value for point in newest.points] == [5000, 9]
    # Small by itself, and the project's: kept for its total. Small and a library's: not kept.
    (main,) = store.trends(TrendQuery(function="main"))
    assert [(p.self_value, p.total) for p in main.points][-1] == (0, 14)
    assert not store.trends(TrendQuery(function="other_3"))
    assert not store.trends(TrendQuery(function="Cart.total", metric="calls"))
    assert not store.trends(TrendQuery(function="nobody"))
    assert not store.trends(TrendQuery(function="else:Cart.total"))
    store.remove(runs[:3])
    (left,) = store.trends(TrendQuery(function="Cart.total", command=("python", "app.py")))
    assert [point.self_value for point in left.points] == [4000, 5000]
