"""Recordings under way: which there are, and the profile so far of one.

A recording under way has the id that its run will get, so that one address shows the one and then the other. `look` makes its recorder
write what it has seen, and `told` changes when something new is there; nobody who looks costs the target a `stat` a second.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proftool import registry
from proftool.errors import BackendFailed
from proftool.launch.parts import SO_FAR
from proftool.store.runs import SqlRunStore
from proftool.workflows import recover

if TYPE_CHECKING:
    from proftool.model.profile import Profile

_WATCHED = "watched"
"""backends/inside/pyinstrument.py looks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """A recording whose target runs."""

    id: str
    """Of the run to be."""
    folder: Path
    asked: recover.Asked
    command: tuple[str, ...]
    """As it may be shown."""
    so_far: bool
    """Does its backend tell what it has seen before the end?"""
    told: str
    """Another text whenever more has been told."""


def under_way(store: SqlRunStore) -> tuple[UnderWay, ...]:
    """All of this store on this machine, the one that began last first."""
    found: list[UnderWay] = []
    for folder in store.recordings.under_way():
        with contextlib.suppress(BackendFailed, OSError):  # it begins or ends just now
            one = _one(store, folder)
            if one is not None:
                found.append(one)
    return tuple(sorted(found, key=lambda one: -one.asked.started_ns))


def find(store: SqlRunStore, id: str) -> UnderWay | None:
    """The recording of that run to be, while it is under way."""
    return next((one for one in under_way(store) if one.id == id), None)


def look(one: UnderWay) -> None:
    """Ask for what it has seen; a disk without room for that keeps what was told before."""
    with contextlib.suppress(OSError):
        (one.folder / _WATCHED).touch()


def profile_so_far(store: SqlRunStore, one: UnderWay) -> Profile | None:
    """What it has told, without secrets; None where that is nothing yet, or it has ended meanwhile."""
    if not one.so_far or not one.told:
        return None
    try:
        return store.redacted(recover.so_far(one.folder, one.asked))
    except (BackendFailed, OSError):
        return None


def _one(store: SqlRunStore, folder: Path) -> UnderWay | None:
    asked = recover.asked(folder)
    if asked.run is None:
        return None
    told = sorted((file.name, file.stat().st_mtime_ns) for file in folder.glob(f"part-*{SO_FAR}"))
    return UnderWay(
        id=asked.run,
        folder=folder,
        asked=asked,
        command=store.redacted_command(asked.argv),
        so_far=registry.backend(asked.backend).capabilities.so_far,
        told=" ".join(f"{name}:{ns}" for name, ns in told),
    )
