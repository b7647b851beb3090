"""What goes by age, count and size, and what never goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from store.stores import age, profile, store_in

from proftool.contracts_store import RunQuery
from proftool.store.prune import choose, prune
from proftool.store.runs import SqlRunStore


@pytest.fixture
def store(tmp_path: Path) -> SqlRunStore:
    return store_in(tmp_path)


def test_rules_take_the_oldest_unlabelled(store: SqlRunStore) -> None:
    """Age, count and size each from the old end; a labelled run counts and stays."""
    runs = [store.add(profile(n), label="keep" if n == 1 else None) for n in range(1, 6)]
    newest_first = list(reversed(runs))
    ids = {run.id: n for n, run in enumerate(runs, 1)}

    def gone(**rules: int) -> list[int]:
        return [ids[run.id] for run in choose(newest_first, **rules)]  # pyright: ignore[reportArgumentType]

    assert gone() == []
    assert gone(before_ns=runs[3].added_ns) == [2, 3]
    assert gone(keep=2) == [2, 3]
    assert gone(keep=0) == [2, 3, 4, 5]
    assert gone(max_bytes=sum(run.size_bytes for run in runs)) == []
    assert gone(max_bytes=sum(run.size_bytes for run in runs) - 1) == [2]
    assert gone(max_bytes=0) == [2, 3, 4, 5]


def test_pruned_runs_and_their_profiles_are_gone(store: SqlRunStore) -> None:
    """What prune announces is what is missing afterwards, on disk too."""
    for n in range(1, 5):
        store.add(profile(n), label="keep" if n == 2 else None)
    would = prune(store, keep=1, dry_run=True)
    assert len(store.find(RunQuery())) == 4
    went = prune(store, keep=1)
    assert went.runs == would.runs
    left = store.find(RunQuery())
    assert [run.samples for run in left] == [4, 2]
    assert {info.name for info in store.blobs.infos()} == {run.blob for run in left}


def test_run_that_is_labelled_meanwhile_stays(store: SqlRunStore) -> None:
    """The label is looked at when the row is removed, not when it was chosen."""
    run = store.add(profile(1))
    chosen = choose(store.find(RunQuery()), keep=0)
    store.label(run, "just in time")
    assert store.remove_unlabelled(chosen) == ()
    assert store.load(run).meta == profile(1).meta


def test_store_prunes_itself_at_its_cap_and_says_so(tmp_path: Path) -> None:
    """The new run and labelled runs stay, the oldest go, the user is told."""
    one = store_in(tmp_path).add(profile(1, weight=50), label="keep").size_bytes
    store = store_in(tmp_path, store_size_bytes=str(4 * one))
    added = [store.add(profile(n, weight=50)) for n in range(2, 9)]
    left = store.find(RunQuery())
    assert left[0] == added[-1]
    assert left[-1].label == "keep"
    assert sum(run.size_bytes for run in left) <= 4.1 * one
    assert len(left) >= 3
    assert any("pruned" in notice for notice in store.take_notices())


def test_labelled_runs_beyond_the_cap_are_said_not_taken(tmp_path: Path) -> None:
    """A cap that only labelled runs break is told with its fix."""
    store = store_in(tmp_path, store_size_bytes="100B")
    run = store.add(profile(1), label="keep")
    assert store.find(RunQuery()) == (run,)
    assert any("proftool rm" in notice for notice in store.take_notices())


def test_profiles_without_a_run_are_swept_after_the_grace_time(store: SqlRunStore) -> None:
    """A writer under way is left alone, what a killed one left is not."""
    run = store.add(profile(1))
    stray = store.blobs.put(b"of a killed writer")
    part = store.blobs.path(stray).with_name(".part-0123.proftool")
    part.write_bytes(b"half")
    assert prune(store).blobs_swept == 0
    assert store.blobs.has(stray)
    age(store, 7200)
    import os

    os.utime(part, (1, 1))
    assert prune(store).blobs_swept == 2
    assert {info.name for info in store.blobs.infos()} == {run.blob}
    assert not part.exists()
