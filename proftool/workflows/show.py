"""A run by its name, loaded: what `show` and `open` begin with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts_store import Run
from proftool.store.names import resolve

if TYPE_CHECKING:
    from proftool.model.profile import Profile
    from proftool.store.runs import SqlRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A profile and, where the store holds it, its run."""

    name: str
    profile: Profile
    run: Run | None


def load(name: str, store: SqlRunStore, cwd: Path) -> Shown:
    """The run, or the file, of that name; RunNotFound, FormatError."""
    found = resolve(name, store, cwd)
    return Shown(name=found.run.id if found.run else str(found.path), profile=found.load(store), run=found.run)
