"""`push` and `pull`: copy runs between the store of this place and another one, the team's for example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proftool.contracts_store import Run, RunQuery
from proftool.errors import RunNotFound, UsageError
from proftool.settings import Settings
from proftool.store import open_store
from proftool.store.names import resolve_side
from proftool.store.runs import SqlRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The two ends."""

    here: SqlRunStore
    there: SqlRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """One run, and what became of it."""

    given: Run
    made: Run | None
    """None: it was there already."""


def both_stores(settings: Settings, other: str | None, other_blobs: str | None) -> Stores:
    """
    The store of this place and the other one.

    Where `other` is named, this place's is the one of the settings. Where it is not, the settings name the other one
    (`PROFTOOL_STORE`), and this place's is `.proftool/` of the project.

    Raises:
        UsageError: no second store is named.
    """
    if other is not None:
        there = replace(settings, store=other, blobs=other_blobs)
        return Stores(here=open_store(settings), there=open_store(there))
    if settings.store is None:
        raise UsageError(
            "no second store is named",
            cause="neither the command line nor PROFTOOL_STORE says where runs go to or come from",
            fix="name it: `--store postgresql://…/runs --blobs s3://bucket/prefix`, or a folder",
        )
    given = settings if other_blobs is None else replace(settings, blobs=other_blobs)
    return Stores(here=open_store(replace(settings, store=None, blobs=None)), there=open_store(given))


def copy_runs(names: Sequence[str], source: SqlRunStore, target: SqlRunStore, cwd: Path, *, every: bool = False) -> Iterator[Copied]:
    """
    Copy runs with their labels, oldest first; ids stay, and a run that is there already is not copied again.

    Args:
        names: as on the command line; a label that several runs bear names them all.
        every: all runs of the source; `names` is empty then.

    Raises:
        RunNotFound: a name that stands for a file, or for nothing.
        UsageError: both stores are one.
    """
    if (source.place.shown, source.place.shown_blobs) == (target.place.shown, target.place.shown_blobs):
        raise UsageError("both stores are one", cause=f"it is `{source.place.shown}`", fix="name another one with `--store`")
    runs: dict[str, Run] = {run.id: run for run in source.find(RunQuery())} if every else {}
    for name in names:
        for found in resolve_side(name, source, cwd):
            if found.run is None:
                raise RunNotFound(f"`{name}` is a file", cause="only stored runs are copied", fix=f"`proftool import {name}` stores it")
            runs[found.run.id] = found.run
    for run in sorted(runs.values(), key=lambda run: run.added_ns):
        yield Copied(given=run, made=target.adopt(run, source.blobs.get(run.blob)))
