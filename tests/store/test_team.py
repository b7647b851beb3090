"""Many writers, writers that die, on both pairs of stores; for the one that a team shares, on real servers, restarts and runs that move."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from store.servers import Servers
from store.stores import profile, store_in

from proftool.cli.app import main
from proftool.contracts_store import RunQuery
from proftool.errors import StoreError
from proftool.settings import load
from proftool.store import open_store
from proftool.store.repair import repair
from proftool.store.runs import SqlRunStore
from proftool.workflows.transfer import copy_runs

TESTS = Path(__file__).parent.parent


class Pair:
    """A new store: where its runs are and where their profiles are."""

    def __init__(self, folder: Path, urls: tuple[str, str]) -> None:
        self.folder, self.urls = folder, urls

    def open(self) -> SqlRunStore:
        """As another process would."""
        store, blobs = self.urls
        return open_store(load(self.folder, flags={"store": store, "blobs": blobs}, environ={}))

    def writer(self, who: int, count: int) -> subprocess.Popen[str]:
        """A process that adds runs."""
        words = [sys.executable, str(TESTS / "store" / "team_writer.py"), *self.urls, str(who), str(count)]
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder, env=os.environ | {"PYTHONPATH": str(TESTS)}
        )


class Team(Pair):
    """On the servers."""

    def __init__(self, servers: Servers, folder: Path) -> None:
        super().__init__(folder, (servers.postgres.new_database(), servers.bucket.url()))
        self.servers = servers


@pytest.fixture
def team(servers: Servers, tmp_path: Path) -> Team:
    return Team(servers, tmp_path)


@pytest.fixture(params=["local", pytest.param("team", marks=pytest.mark.xdist_group("servers"))])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    """(SQLite, folder), and (PostgreSQL, S3)."""
    if request.param == "local":
        return Pair(tmp_path, (f"sqlite:///{tmp_path}/db/runs.sqlite", f"file://{tmp_path}/far"))
    return Team(request.getfixturevalue("servers"), tmp_path)


def whole(store: SqlRunStore) -> set[str]:
    """Ids of all runs that are listed; each of them can be loaded."""
    runs = store.find(RunQuery())
    for run in runs:
        store.load(run)
    assert len({run.added_ns for run in runs}) == len(runs)
    return {run.id for run in runs}


def test_ten_writers_lose_nothing(pair: Pair) -> None:
    """Every run that any of ten processes announced is listed and whole, and nothing else is; the first of them made the tables."""
    writers = [pair.writer(who, 6) for who in range(10)]
    announced: set[str] = set()
    for writer in writers:
        out, err = writer.communicate(timeout=120)
        assert writer.returncode == 0, err
        announced |= set(out.split())
    assert len(announced) == 60
    assert whole(pair.open()) == announced


def test_killed_writer_leaves_whole_runs_and_others_go_on(pair: Pair) -> None:
    """SIGKILL at any moment: what was announced stays, what is listed is whole, at most one blob is left for the sweep."""
    store = pair.open()
    victims = [pair.writer(who, 1000) for who in range(3)]
    announced: set[str] = set()
    for at, victim in enumerate(victims):
        assert victim.stdout is not None
        announced |= {victim.stdout.readline().strip() for _ in range(2)}
        time.sleep(0.037 * at)
        victim.send_signal(signal.SIGKILL)
        announced |= set(victim.stdout.read().split())  # not `communicate`, which does not see what `readline` has read ahead
        victim.communicate(timeout=120)
    listed = whole(store)
    assert announced - {""} <= listed
    assert len(listed) <= len(announced) + 3
    assert store.add(profile(7)).id in whole(store)
    assert store.sweep(0) <= 3
    assert {info.name for info in store.blobs.infos()} == {run.blob for run in store.find(RunQuery())}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_server_restarts_while_runs_are_written(team: Team, how: signal.Signals) -> None:
    """A writer outlives a restart of the server, or says what happened; what it announced is there afterwards, whole."""
    writer = team.writer(1, 60)
    assert writer.stdout is not None
    announced = {writer.stdout.readline().strip() for _ in range(5)}
    team.servers.postgres.stop(how)
    time.sleep(0.3)
    team.servers.postgres.start()
    out, err = writer.communicate(timeout=120)
    announced |= set(out.split())
    if writer.returncode:
        assert "StoreError" in err
        assert "fix:" in err
    assert announced <= whole(team.open())
    after = team.open().add(profile(9))
    assert team.open().find(RunQuery(limit=1)) == (after,)


def test_server_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    """What, cause and fix; the password stays out of it."""
    from proftool.store.postgres import Postgres

    flags = {"store": "postgresql://me:secret@127.0.0.1:9/runs", "blobs": str(tmp_path)}
    store = open_store(load(tmp_path, flags=flags, environ={}))
    store._opened = Postgres(store.place, restart_s=0)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        store.find(RunQuery())
    assert "127.0.0.1:9/runs" in caught.value.what
    assert "secret" not in str(caught.value)


def test_server_without_a_place_for_profiles_is_refused(tmp_path: Path) -> None:
    """Profiles on one machine would be rows that nobody else can open."""
    with pytest.raises(StoreError, match="no place for profiles"):
        open_store(load(tmp_path, flags={"store": "postgresql://h/runs"}, environ={}))


def test_bucket_that_is_not_there_is_told(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong credentials are an error of the store, not a traceback."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    flags = {"store": servers.postgres.new_database(), "blobs": servers.bucket.url()}
    with pytest.raises(StoreError, match="bucket"):
        open_store(load(tmp_path, flags=flags, environ={})).add(profile(1))


def test_repair_forgets_a_run_only_if_the_bucket_says_that_its_profile_is_gone(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that does not answer is an error; one that answers without the object makes a finding."""
    store = team.open()
    kept, gone = store.add(profile(1)), store.add(profile(2))
    assert repair(store) == []
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="bucket"):
        repair(team.open())
    monkeypatch.undo()
    store.blobs.remove([gone.blob])
    (finding,) = repair(team.open())
    assert gone.id in finding.what
    assert [run.id for run in team.open().find(RunQuery())] == [kept.id]


def test_runs_move_with_their_ids_and_labels(team: Team, tmp_path: Path) -> None:
    """There and back: the same id, label and content; what is there already is not copied again."""
    (tmp_path / "here").mkdir()
    (tmp_path / "away").mkdir()
    here, there, away = store_in(tmp_path / "here"), team.open(), store_in(tmp_path / "away")
    given = [here.add(profile(n), label="kept" if n < 3 else None) for n in range(1, 5)]
    copied = list(copy_runs(["kept", given[3].id], here, there, tmp_path))
    assert [one.given for one in copied] == [given[0], given[1], given[3]]
    assert [(run.id, run.label, run.blob) for run in reversed(there.find(RunQuery()))] == [
        (run.id, run.label, run.blob) for run in (given[0], given[1], given[3])
    ]
    again = list(copy_runs([], here, there, tmp_path, every=True))
    assert [one.made is None for one in again] == [True, True, False, True]
    list(copy_runs([], there, away, tmp_path, every=True))
    assert {run.id for run in away.find(RunQuery())} == {run.id for run in given}
    for run in away.find(RunQuery()):
        assert away.load(run).meta == here.load(next(one for one in given if one.id == run.id)).meta


def test_push_and_pull_on_the_command_line(
    team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """PROFTOOL_STORE names the team's store; push takes runs of the project there, list shows them, pull brings them back."""
    project = tmp_path / "project"
    project.mkdir()
    run = store_in(project).add(profile(1), label="mine")
    monkeypatch.chdir(project)
    assert main(["push", "@latest"]) == 2
    capsys.readouterr()
    monkeypatch.setenv("PROFTOOL_STORE", team.urls[0])
    monkeypatch.setenv("PROFTOOL_BLOBS", team.urls[1])
    assert main(["push", "mine"]) == 0
    assert capsys.readouterr().out.split() == [run.id]
    assert main(["list"]) == 0
    assert run.id[:4] in capsys.readouterr().out
    assert main(["push", "mine"]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "other")
    assert main(["pull", run.id]) == 0
    assert capsys.readouterr().out.split() == [run.id]
    monkeypatch.delenv("PROFTOOL_STORE")
    monkeypatch.delenv("PROFTOOL_BLOBS")
    assert [one.id for one in store_in(tmp_path / "other").find(RunQuery())] == [run.id]
