"""Where the store lies, who may read it, and what happens where it cannot lie there."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store.stores import profile, store_in

from proftool import settings
from proftool.contracts_store import RunQuery
from proftool.errors import StoreError
from proftool.store import open_store
from proftool.store.place import find_place

is_root = sys.platform == "linux" and os.geteuid() == 0


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A project on a file system that cannot be written."""
    if not is_root:
        pytest.skip("only root may mount")
    folder = tmp_path / "read-only"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this container may not mount")
    try:
        (folder / "pyproject.toml").touch()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_store_lies_in_the_project_from_every_folder_of_it(tmp_path: Path) -> None:
    """The nearest pyproject.toml or .git upward decides."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    assert find_place(settings.load(deep, environ={})).folder == tmp_path / ".proftool"
    (tmp_path / "a" / "pyproject.toml").touch()
    assert find_place(settings.load(deep, environ={})).folder == tmp_path / "a" / ".proftool"


def test_outside_of_a_project_it_is_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_DATA_HOME, else the home folder, nothing said since nothing is unexpected."""
    monkeypatch.setattr(settings, "project_of", lambda cwd: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    place = find_place(settings.load(tmp_path, environ={}))
    assert (place.folder, place.notice) == (tmp_path / ".local/share/proftool", None)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert find_place(settings.load(tmp_path, environ={})).folder == tmp_path / "data" / "proftool"


def test_without_a_home_the_fix_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No project and no home is a store error with what to set."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(settings, "project_of", lambda cwd: None)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with pytest.raises(StoreError, match="no place") as caught:
        open_store(settings.load(tmp_path, environ={}))
    assert "PROFTOOL_STORE=" in caught.value.fix


def test_in_a_read_only_project_the_recording_is_kept_elsewhere_and_that_is_said(
    read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, and the user is told where it is, once."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    store = open_store(settings.load(read_only, environ={}))
    run = store.add(profile())
    (notice,) = store.take_notices()
    assert str(read_only) in notice
    assert str(tmp_path / "data" / "proftool") in notice
    assert store.take_notices() == ()
    assert open_store(settings.load(read_only, environ={})).find(RunQuery()) == (run,)


def test_named_store_that_cannot_be_written_is_an_error(read_only: Path) -> None:
    """What the user named is never silently replaced."""
    store = open_store(settings.load(read_only, environ={"PROFTOOL_STORE": str(read_only / "here")}))
    with pytest.raises(StoreError, match="cannot write") as caught:
        store.add(profile())
    assert "Read-only" in caught.value.cause


@pytest.mark.parametrize("url", ["postgresql://host/db", "s3://bucket", "sqlite://", "sqlite:///:memory:"])
def test_place_that_is_not_supported_is_said(tmp_path: Path, url: str) -> None:
    """A URL of another kind is refused when the store is opened."""
    with pytest.raises(StoreError):
        open_store(settings.load(tmp_path, environ={"PROFTOOL_STORE": url}))


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """Folders are 0700 and files 0600 under the widest umask, also while the database is open."""
    old = os.umask(0)
    try:
        store = store_in(tmp_path)
        store.add(profile())
        folder = store.recordings_folder()
        with store.database.writing():
            found = {path: stat.S_IMODE(path.stat().st_mode) for path in [store.place.folder, *store.place.folder.rglob("*")]}
    finally:
        os.umask(old)
    assert {path.name for path in found} >= {"runs.db", "runs.db-wal", "runs.db-shm", folder.name}
    wrong = {str(p): oct(mode) for p, mode in found.items() if p.name != ".gitignore" and mode != (0o700 if p.is_dir() else 0o600)}
    assert not wrong


def test_store_ignores_itself_in_git(tmp_path: Path) -> None:
    """`git status` does not show the store."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    store_in(tmp_path).add(profile())
    told = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert told.split() == ["??", "pyproject.toml"]


def test_named_folder_of_the_users_gets_no_ignore_file(tmp_path: Path) -> None:
    """A folder that was there is the user's own."""
    open_store(settings.load(tmp_path, environ={"PROFTOOL_STORE": f"sqlite:///{tmp_path}/runs.db"})).add(profile())
    assert not (tmp_path / ".gitignore").exists()


def test_copied_store_stays_usable(tmp_path: Path) -> None:
    """A copy answers and takes more, with the original gone."""
    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    second.mkdir()
    run = store_in(first).add(profile(), label="kept")
    shutil.copytree(first / ".proftool", second / ".proftool")
    shutil.rmtree(first)
    copy = store_in(second)
    assert copy.load(copy.find(RunQuery(label="kept"))[0]).meta == profile().meta
    assert len({run.id, copy.add(profile(2)).id}) == len(copy.find(RunQuery())) == 2
