"""The store under fire: kills, crowds, failing writes and full disks lose no announced run and list no half one."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store.stores import profile, store_in

from proftool.contracts_store import RunQuery
from proftool.errors import StoreBusy, StoreError
from proftool.model.profile import Profile
from proftool.settings import load
from proftool.store import blobs, open_store
from proftool.store.database import Database

TESTS = Path(__file__).parents[1]


def _script(name: str, *argv: object) -> object:
    env = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run([sys.executable, TESTS / "store" / name, *map(str, argv)], env=env, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _under_fire(folder: Path, rounds: int) -> None:
    seed = random.randrange(1 << 30)
    said = _script("fire.py", folder, rounds, seed)
    assert isinstance(said, dict)
    assert said["broken"] == [], f"seed {seed}"
    assert said["left"] == [], f"seed {seed}"
    assert said["takes_more"], f"seed {seed}"
    assert said["announced"]["add"] > 0  # the kills came while something was under way


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills need fork")
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """SIGKILL in add, import and prune: what was announced is there, what is listed is whole."""
    _under_fire(tmp_path, 30)


@pytest.mark.full
def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    """The same, 210 times."""
    _under_fire(tmp_path, 210)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a crowd needs fork")
def test_two_writers_and_four_readers_at_once(tmp_path: Path) -> None:
    """Nobody fails, nobody sees a run vanish, and every run of both writers is there; the database is made by both at once."""
    said = _script("crowd.py", tmp_path, 20)
    assert isinstance(said, list)
    assert [one for one in said if "error" in one] == []
    assert all(one["grows"] for one in said[2:])
    added = {id for one in said[:2] for id in one["added"]}
    assert len(added) == 40
    assert {run.id for run in store_in(tmp_path).find(RunQuery())} == added


def test_store_that_is_held_too_long_is_busy_not_broken(tmp_path: Path) -> None:
    """The error says that another process writes, and nothing is left of the attempt."""
    store, other = store_in(tmp_path), store_in(tmp_path)
    kept = store.add(profile(1))
    impatient = store_in(tmp_path)
    impatient._opened = Database(impatient.place, busy_s=0.05)
    with other.database.writing():
        with pytest.raises(StoreBusy, match="busy") as caught:
            impatient.add(profile(2))
        assert store.find(RunQuery()) == (kept,)  # readers are not kept waiting
    assert "again" in caught.value.fix
    assert store.find(RunQuery()) == (kept,)


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_failing_step_of_a_write_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Whichever write, sync or rename fails: a store error with cause and fix, no run listed, no file left."""
    store = store_in(tmp_path)
    kept = store.add(profile(1))
    before = sorted(store.place.blobs.rglob("*.proftool"))
    monkeypatch.setattr(blobs, "_CHUNK", 200)
    big = profile(2, weight=60)
    calls, fail_at = 0, 0

    def failing(real):  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
        def call(*args):  # pyright: ignore[reportMissingParameterType, reportUnknownParameterType]
            nonlocal calls
            calls += 1
            if calls == fail_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args)

        return call

    owner = Path if step == "replace" else os
    monkeypatch.setattr(owner, step, failing(getattr(owner, step)))
    tries = 0
    while True:
        calls, fail_at = 0, tries + 1
        try:
            run = store.add(big)
        except StoreError as error:
            tries += 1
            if "no space left" not in error.what or "prune" not in error.fix:
                raise
            assert store.find(RunQuery()) == (kept,)
            left = [path for path in sorted(store.place.blobs.rglob("*.proftool")) if path not in before]
            assert [p for p in left if p.name.startswith(".part-")] == []
            continue
        break
    assert tries >= {"write": 3, "fsync": 1, "replace": 1}[step]
    assert store.find(RunQuery()) == (run, kept)


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take fewer bytes than it is given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:37]))
    store = store_in(tmp_path)
    assert store.load(store.add(profile(1, weight=30))).meta == profile(1).meta


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True)
        if sys.platform == "linux"
        else None
    )
    if done is None or done.returncode:
        pytest.skip("this user may not mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _random_profile(number: int) -> Profile:
    """About 12 kB that do not compress."""
    from proftool.model.builder import ProfileBuilder
    from proftool.model.profile import WALL_TIME

    chance, builder = random.Random(number), ProfileBuilder([WALL_TIME])
    lane = builder.lane(pid=1)
    for _ in range(400):
        builder.add(builder.stack([builder.frame(builder.function(f"{chance.getrandbits(128):032x}"), 1)]), lane, 0, chance.getrandbits(60))
    return builder.build()


@pytest.mark.parametrize("apart", [False, True], ids=["blobs on the full disk", "only the database on the full disk"])
def test_full_disk_loses_only_what_does_not_fit(small_disk: Path, tmp_path: Path, apart: bool) -> None:
    """Runs are added until the disk is full; each announced one stays whole, and with space again the store goes on."""
    flags = {"store": str(small_disk / "runs"), "blobs": str(tmp_path / "far") if apart else None}
    store = open_store(load(tmp_path, flags=flags, environ={}))
    ballast = small_disk / "ballast"
    if apart:
        added = [store.add(_random_profile(0))]
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):  # noqa: PT012  # until it raises
            while True:
                file.write(b"x" * 4096)
    else:
        added = []
        ballast.write_bytes(b"x" * 100_000)
    with pytest.raises(StoreError, match="no space left") as caught:  # noqa: PT012  # which of them fails is not known
        for number in range(1, 2000):
            added.append(store.add(_random_profile(number)))
    assert "PROFTOOL_STORE=" in caught.value.fix
    ballast.unlink()
    runs = store.find(RunQuery())
    assert {run.id for run in runs} == {run.id for run in added}
    for run in runs:
        store.load(run)
    store.load(store.add(_random_profile(5000)))
    store.sweep(0)
    assert len(list(store.blobs.infos())) == len(added) + 1
