"""What is wrong with a store is said, and mended without losing what can still be read."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from store.stores import age, profile, store_in

from proftool.contracts_store import Run, RunQuery
from proftool.errors import BackendFailed, CorruptProfile, StoreError
from proftool.store.repair import examine, repair
from proftool.store.runs import SqlRunStore


@pytest.fixture
def store(tmp_path: Path) -> SqlRunStore:
    return store_in(tmp_path)


def _ids(store: SqlRunStore) -> set[str]:
    return {run.id for run in store.find(RunQuery())}


def _assert_sound(store: SqlRunStore) -> None:
    assert examine(store) == []
    for run in store.find(RunQuery()):
        store.load(run)


def test_sound_store_has_no_findings(store: SqlRunStore) -> None:
    """Neither an empty nor a used store is complained about, and a recording under way is left alone."""
    assert repair(store) == []
    store.add(profile(1))
    folder = store.recordings_folder()
    assert repair(store) == []
    assert repair(store_in(store.place.folder.parent)) == []
    assert folder.is_dir()


@pytest.mark.parametrize("harm", ["garbage", "zeros at the head", "truncated", "gone", "empty"])
def test_lost_database_is_rebuilt_from_the_profiles(store: SqlRunStore, harm: str) -> None:
    """Runs come back from their profiles, in their order; the old file is kept aside."""
    added = [store.add(profile(n), label=f"run {n}") for n in (1, 2, 3)]
    for number, run in enumerate(added):
        os.utime(store.blobs.path(run.blob), (1_000_000 + number, 1_000_000 + number))
    database = store.place.database
    content = database.read_bytes()
    match harm:
        case "garbage":
            database.write_bytes(b"this is no database " * 100)
        case "zeros at the head":
            database.write_bytes(b"\0" * 100 + content[100:])
        case "truncated":
            database.write_bytes(content[:5000])
        case "gone":
            database.unlink()
        case _:
            database.write_bytes(b"")
    fresh = store_in(store.place.folder.parent)
    if harm not in ("gone", "empty"):
        with pytest.raises(StoreError, match="damaged") as caught:
            fresh.find(RunQuery())
        assert "doctor --repair" in caught.value.fix
    assert [finding.mended for finding in examine(fresh)] == [False]
    (finding,) = repair(fresh)
    assert finding.mended
    assert "3 more come from their profiles" in finding.how
    assert [run.samples for run in fresh.find(RunQuery())] == [3, 2, 1]
    _assert_sound(fresh)
    _assert_sound(store_in(store.place.folder.parent))
    if harm not in ("gone",):
        assert list((store.place.folder / "damaged").rglob("runs.db"))


def test_rows_that_can_be_read_keep_id_and_label(store: SqlRunStore) -> None:
    """One bad page costs the labels of its rows, not those of the others."""
    added = [store.add(profile(n, command=("python", "x" * 900)), label=f"run {n}") for n in range(1, 31)]
    with closing(sqlite3.connect(store.place.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = connection.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(store.place.database.read_bytes())
    # The middle page among those that hold rows' text.
    pages = [n for n in range(len(content) // page) if b"x" * 900 in content[n * page : (n + 1) * page]]
    middle = pages[len(pages) // 2]
    content[middle * page : (middle + 1) * page] = os.urandom(page)
    store.place.database.write_bytes(content)
    fresh = store_in(store.place.folder.parent)
    (finding,) = repair(fresh)
    assert "damaged" in finding.what
    runs = fresh.find(RunQuery())
    kept = [run for run in added if run in runs]
    assert len(runs) == 30
    assert 20 <= len(kept) < 30
    _assert_sound(fresh)


def test_newer_store_is_refused_and_not_touched(store: SqlRunStore) -> None:
    """A newer proftool's store is its own, also for a repair."""
    store.add(profile(1))
    with closing(sqlite3.connect(store.place.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = store.place.database.read_bytes()
    fresh = store_in(store.place.folder.parent)
    for action in (lambda: fresh.find(RunQuery()), lambda: fresh.add(profile(2)), lambda: repair(fresh)):
        with pytest.raises(StoreError, match="newer proftool") as caught:
            action()
        assert "upgrade" in caught.value.fix
    assert store.place.database.read_bytes() == before


def test_run_without_its_profile_leaves_the_list(store: SqlRunStore) -> None:
    """Loading says what is wrong, repair says which run it cost."""
    lost, kept = store.add(profile(1), label="precious"), store.add(profile(2))
    store.blobs.path(lost.blob).unlink()
    with pytest.raises(StoreError, match="is gone") as caught:
        store.load(lost)
    assert "doctor --repair" in caught.value.fix
    assert [finding.mended for finding in examine(store)] == [False]
    assert _ids(store) == {lost.id, kept.id}
    (finding,) = repair(store)
    assert "precious" in finding.what
    assert _ids(store) == {kept.id}
    _assert_sound(store)


@pytest.mark.parametrize("where", [0, 100, -1])
def test_damaged_profile_is_told_and_put_aside(store: SqlRunStore, where: int) -> None:
    """One changed byte anywhere is noticed, and the file is kept for a person to look at."""
    run = store.add(profile(1))
    path = store.blobs.path(run.blob)
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptProfile, match="damaged"):
        store.load(run)
    (finding,) = repair(store)
    assert finding.mended
    assert _ids(store) == set()
    (aside,) = (store.place.folder / "damaged").rglob("*.proftool")
    assert aside.read_bytes() == content
    _assert_sound(store)


def test_adding_again_heals_a_damaged_profile(store: SqlRunStore) -> None:
    """Equal content is not taken to be there because a file has its name."""
    run = store.add(profile(1))
    store.blobs.path(run.blob).write_bytes(b"x" * run.size_bytes)
    again = store.add(profile(1))
    assert again.blob == run.blob
    assert store.load(run).meta == store.load(again).meta == profile(1).meta


def test_strays_of_killed_writers_are_swept_after_the_grace_time(store: SqlRunStore) -> None:
    """Young ones may still get their row."""
    store.add(profile(1))
    stray = store.blobs.put(b"stray")
    assert repair(store) == []
    age(store, 7200)
    (finding,) = repair(store)
    assert "1 profiles" in finding.what
    assert not store.blobs.has(stray)


def test_open_permissions_are_closed(store: SqlRunStore) -> None:
    """A store that others can read is told and closed."""
    store.add(profile(1))
    store.place.database.chmod(0o644)
    store.place.folder.chmod(0o755)
    assert len(repair(store)) == 2
    assert store.place.database.stat().st_mode & 0o777 == 0o600
    assert store.place.folder.stat().st_mode & 0o777 == 0o700
    _assert_sound(store)


def _killed_recording(store: SqlRunStore) -> Path:
    """A folder of a proftool that was killed while it recorded."""
    script = (
        "import sys, time; from pathlib import Path; from store.stores import store_in\n"
        f"folder = store_in(Path({str(store.place.folder.parent)!r})).recordings_folder()\n"
        "(folder / 'part').write_text('half'); print(folder, flush=True); time.sleep(60)"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert list(store.recordings.leftovers()) == []  # its owner lives
        process.send_signal(signal.SIGKILL)
    return folder


def test_recording_of_a_killed_proftool_is_recovered(store: SqlRunStore) -> None:
    """Only once its owner is gone; what the callback makes of it is stored, then the folder goes."""
    folder = _killed_recording(store)
    (finding,) = examine(store)
    assert not finding.mended
    assert repair(store)[0].mended is False  # nobody can read it here: it stays
    assert (folder / "part").exists()

    def recover(found: Path) -> Run:
        assert (found / "part").read_text() == "half"
        return store.add(profile(4), label="recovered")

    (finding,) = repair(store, recover=recover)
    (run,) = store.find(RunQuery(label="recovered"))
    assert f"recovered as run `{run.id}`" in finding.how
    assert list((store.place.folder / "recordings").iterdir()) == []


def test_recording_without_anything_usable_is_removed_with_its_reason(store: SqlRunStore) -> None:
    """The reason of the backend is passed on."""

    def recover(found: Path) -> Run:
        raise BackendFailed("nothing recorded", cause="no sample was taken", fix="record longer")

    folder = _killed_recording(store)
    (finding,) = repair(store, recover=recover)
    assert "no sample was taken" in finding.how
    assert not folder.exists()


def test_recording_stays_when_the_store_cannot_take_it(store: SqlRunStore) -> None:
    """A full disk does not cost the parts."""

    def recover(found: Path) -> Run:
        raise StoreError("no space", cause="full", fix="free some")

    folder = _killed_recording(store)
    with pytest.raises(StoreError, match="no space"):
        repair(store, recover=recover)
    assert (folder / "part").exists()


def test_discarded_recording_leaves_nothing(store: SqlRunStore) -> None:
    """Folder and lock are gone."""
    folder = store.recordings_folder()
    (folder / "part").write_text("x")
    store.discard_recording(folder)
    assert list((store.place.folder / "recordings").iterdir()) == []
