"""What a RUN means, and what is said where it means nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from store.stores import profile, store_in

from proftool.contracts_store import Run
from proftool.errors import AmbiguousRun, RunNotFound, UnknownFormat
from proftool.formats import native
from proftool.store.names import read_file, resolve, resolve_side
from proftool.store.runs import SqlRunStore


@pytest.fixture
def store(tmp_path: Path) -> SqlRunStore:
    return store_in(tmp_path)


def _id(name: str, store: SqlRunStore, cwd: Path) -> str:
    run = resolve(name, store, cwd).run
    assert run is not None
    return run.id


def _ids(store: SqlRunStore, monkeypatch: pytest.MonkeyPatch, *ids: str) -> list[Run]:
    """Runs with these ids, oldest first."""
    given = iter(ids)
    monkeypatch.setattr("proftool.store.runs._new_id", lambda *_: next(given))
    return [store.add(profile(n + 1)) for n in range(len(ids))]


def test_id_and_unique_prefix_name_a_run(store: SqlRunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two characters are enough where they are unique, and case does not matter."""
    _ids(store, monkeypatch, "abcdefgh12", "abzzzzzz34")
    for name in ("abcdefgh12", "abcdefgh1", "abc", "ABC"):
        assert _id(name, store, tmp_path) == "abcdefgh12"


def test_prefix_of_several_names_the_candidates(store: SqlRunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user can pick from the message."""
    runs = _ids(store, monkeypatch, "abcdefgh12", "abzzzzzz34")
    store.label(runs[0], "before")
    with pytest.raises(AmbiguousRun) as caught:
        resolve("ab", store, tmp_path)
    assert "`abcdefgh12` (before)" in caught.value.cause
    assert "`abzzzzzz34`" in caught.value.cause


def test_one_character_is_no_prefix(store: SqlRunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip of a finger does not name a run."""
    _ids(store, monkeypatch, "abcdefgh12")
    with pytest.raises(RunNotFound):
        resolve("a", store, tmp_path)


def test_label_of_several_is_a_side_and_the_newest_elsewhere(store: SqlRunStore, tmp_path: Path) -> None:
    """All of them, newest first; alone the newest."""
    runs = [store.add(profile(n), label="same") for n in (1, 2, 3)]
    store.add(profile(4))
    assert [side.run for side in resolve_side("same", store, tmp_path)] == runs[::-1]
    assert _id("same", store, tmp_path) == runs[-1].id


def test_label_comes_before_prefix_and_file(store: SqlRunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user named himself wins; `./` forces the file."""
    first, second = _ids(store, monkeypatch, "abcdefgh12", "zyzzzzzz34")
    store.label(second, "abc")
    (tmp_path / "abc").write_bytes(native.dumps(profile(9)))
    assert _id("abc", store, tmp_path) == second.id
    assert _id("abcd", store, tmp_path) == first.id
    assert resolve("./abc", store, tmp_path).path == tmp_path / "abc"


def test_latest_counts_back(store: SqlRunStore, tmp_path: Path) -> None:
    """`@latest~1` is the one before the newest."""
    runs = [store.add(profile(n)) for n in (1, 2, 3)]
    assert [_id(f"@latest{back}", store, tmp_path) for back in ("", "~0", "~1", "~2")] == [runs[i].id for i in (2, 2, 1, 0)]
    with pytest.raises(RunNotFound) as caught:
        resolve("@latest~3", store, tmp_path)
    assert caught.value.cause == "the store holds 3 runs"


def test_revision_names_the_runs_recorded_at_it(store: SqlRunStore, tmp_path: Path) -> None:
    """A branch, HEAD~1 and a short hash resolve through git; the newest alone, all as a side."""

    def git(*words: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@x"]
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q", "-b", "trunk")
    git("commit", "-q", "--allow-empty", "-m", "one")
    one = git("rev-parse", "HEAD")
    git("commit", "-q", "--allow-empty", "-m", "two")
    two = git("rev-parse", "HEAD")
    at_one = [store.add(profile(n, commit=one)) for n in (1, 2)]
    at_two = store.add(profile(3, commit=two))
    assert [side.run for side in resolve_side("@HEAD~1", store, tmp_path)] == at_one[::-1]
    assert _id("@HEAD~1", store, tmp_path) == at_one[1].id
    assert {_id(name, store, tmp_path) for name in ("@trunk", "@HEAD", f"@{two[:8]}")} == {at_two.id}
    git("commit", "-q", "--allow-empty", "-m", "three")
    with pytest.raises(RunNotFound, match="no run was recorded at `HEAD`"):
        resolve("@HEAD", store, tmp_path)
    with pytest.raises(RunNotFound, match="no run `@nothing`"):
        resolve("@nothing", store, tmp_path)
    with pytest.raises(RunNotFound):
        resolve("@--help", store, tmp_path)


def test_commit_is_known_outside_of_its_checkout(store: SqlRunStore, tmp_path: Path) -> None:
    """A copied store answers for a hash that git here never saw."""
    run = store.add(profile(1, commit="0123456789abcdef0123456789abcdef01234567"))
    assert _id("@0123456", store, tmp_path) == run.id


def test_file_is_a_run_by_its_path(store: SqlRunStore, tmp_path: Path) -> None:
    """A file is recognised by its content, whatever its name."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "any.txt").write_bytes(native.dumps(profile(4)))
    for name in ("sub/any.txt", str(tmp_path / "sub/any.txt")):
        found = resolve(name, store, tmp_path)
        assert found.run is None
        assert found.load(store).meta == profile(4).meta


@pytest.mark.parametrize(
    ("typed", "meant"), [("befor", "before"), ("latest", "@latest"), ("abcdxfgh12", "abcdefgh12"), ("abxd", "abcdefgh12")]
)
def test_unknown_name_proposes_the_nearest(
    store: SqlRunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str
) -> None:
    """Labels, ids, beginnings of ids and `@latest` are all proposed."""
    store.label(_ids(store, monkeypatch, "abcdefgh12", "zzzzzzzz34")[1], "before")
    with pytest.raises(RunNotFound) as caught:
        resolve(typed, store, tmp_path)
    assert f"did you mean `{meant}`" in caught.value.fix


def test_empty_store_says_that_it_is_empty(store: SqlRunStore, tmp_path: Path) -> None:
    """The first user is told what to do first."""
    with pytest.raises(RunNotFound) as caught:
        resolve("@latest", store, tmp_path)
    assert caught.value.cause == "the store holds no run yet"
    assert "proftool run" in caught.value.fix


def test_empty_file_is_no_profile(tmp_path: Path) -> None:
    """The cause says that there is nothing in it."""
    (tmp_path / "empty").touch()
    with pytest.raises(UnknownFormat) as caught:
        read_file(tmp_path / "empty")
    assert caught.value.cause == "its content is empty"
