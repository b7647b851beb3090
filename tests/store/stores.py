"""Stores and profiles for tests: a project folder, and profiles that are told apart by a number."""

from __future__ import annotations

import time
from pathlib import Path

from proftool import settings
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Git, Meta, Pass, Quality
from proftool.model.profile import WALL_TIME, Profile
from proftool.store import open_store
from proftool.store.runs import SqlRunStore

COMMIT = "a1b2c3d4" * 5


def store_in(folder: Path, **flags: object) -> SqlRunStore:
    """The store of a project in that folder."""
    (folder / "pyproject.toml").touch()
    return open_store(settings.load(folder, flags=flags, environ={}))


def profile(
    number: int = 1,
    *,
    command: tuple[str, ...] = ("python", "app.py"),
    commit: str | None = COMMIT,
    weight: int = 1,
    notes: tuple[str, ...] = (),
) -> Profile:
    """One function, `number` ms; `weight` is how many functions more it has, for its size."""
    builder = ProfileBuilder([WALL_TIME])
    lane = builder.lane(pid=7, tid=7, process_name="main", is_main=True)
    for index in range(weight):
        node = builder.stack(
            [builder.frame(builder.function(f"function_{number}_{index}", module="app", file="app.py", first_line=index + 1), index + 1)]
        )
        builder.add(node, lane, 0, number * 1_000_000 if index == 0 else 1)
    done = Pass(
        mode="sample", backend="py-spy", rate_asked_hz=100.0, rate_achieved_hz=99.5, samples=number, started_ns=1_700_000_000_250_000_000,
        duration_ns=1_500_000_000, exit_status=3, notes=notes,
    )  # fmt: skip
    return builder.build(
        Meta(
            passes=(done,),
            command=command,
            python="CPython 3.11.7",
            host="here",
            git=Git(commit=commit, branch="main", dirty=True) if commit else None,
            quality=Quality(verdict="weak", reasons=("few samples",)),
        )
    )


def age(store: SqlRunStore, seconds: float) -> None:
    """Make every blob look that old."""
    import os

    then = time.time() - seconds
    for info in store.blobs.infos():
        os.utime(store.blobs.path(info.name), (then, then))
