"""What a RUN means: label · id or unique prefix · `@latest`, `@latest~1` · `@GITREF` · a path to a file that some format reads.

In this order; `./name` forces a path. A label that several runs bear, and a commit, name all of them as one side of a diff
(`resolve_side`) and the newest elsewhere (`resolve`).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts_store import Run, RunQuery, RunStore
from proftool.errors import AmbiguousRun, RunNotFound, UnknownFormat

if TYPE_CHECKING:
    from proftool.model.profile import Profile

PREFIX_MIN = 2
_HEAD_BYTES = 4096
_LATEST = re.compile(r"@latest(?:~(\d{1,9}))?")
_NEAR_RUNS = 1000
"""How many runs back a mistyped name is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a name stands for: a stored run, or a file."""

    name: str
    run: Run | None = None
    path: Path | None = None

    def load(self, store: RunStore) -> Profile:
        """Its profile."""
        if self.run is not None:
            return store.load(self.run)
        assert self.path is not None
        return read_file(self.path)


def resolve(name: str, store: RunStore, cwd: Path) -> Resolved:
    """The one run of that name, the newest where it names several; RunNotFound, AmbiguousRun."""
    return resolve_side(name, store, cwd, limit=1)[0]


def resolve_side(name: str, store: RunStore, cwd: Path, *, limit: int | None = None) -> tuple[Resolved, ...]:
    """Every run of that name, newest first; never empty."""
    if name.startswith("@"):
        return _stored(name, _of_ref(name, store, cwd, limit))
    if not _is_path(name):
        if runs := store.find(RunQuery(label=name, limit=limit)):
            return _stored(name, runs)
        if runs := _of_prefix(name, store):
            return _stored(name, runs)
    path = cwd / Path(name).expanduser()
    if path.is_file():
        return (Resolved(name=name, path=path),)
    raise _not_found(name, store, path)


def read_file(path: Path) -> Profile:
    """The profile of a file that some format reads, recognised by content; UnknownFormat, CorruptProfile."""
    from proftool import registry

    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise UnknownFormat(
            f"cannot read `{path}`", cause=error.strerror or str(error), fix="name a file that this user may read"
        ) from error
    # Nothing matches an empty file, and collapsed stacks, sniffed last, are any text.
    found = next((format for format in registry.formats() if format.matches(head)), None) if head else None
    if found is not None:
        return found.read(path)
    raise UnknownFormat(
        f"`{path}` is no profile that proftool reads",
        cause="its content is empty" if not head else "its content is none of the known formats",
        fix=f"proftool reads {', '.join(registry.names('format'))}",
    )


def _stored(name: str, runs: Sequence[Run]) -> tuple[Resolved, ...]:
    return tuple(Resolved(name=name, run=run) for run in runs)


def _is_path(name: str) -> bool:
    return "/" in name or os.sep in name


def _of_prefix(name: str, store: RunStore) -> Sequence[Run]:
    prefix = name.lower()
    if len(prefix) < PREFIX_MIN or not prefix.isalnum():
        return ()
    runs = store.find(RunQuery(id_prefix=prefix, limit=12))
    if len(runs) < 2 or runs[0].id == prefix:
        return runs
    shown = ", ".join(f"`{run.id}`" + (f" ({run.label})" if run.label else "") for run in runs[:8])
    more = " and more" if len(runs) > 8 else ""
    raise AmbiguousRun(f"several runs begin with `{name}`", cause=f"{shown}{more}", fix="type more of the id, or give the run a label")


def _of_ref(name: str, store: RunStore, cwd: Path, limit: int | None) -> Sequence[Run]:
    if latest := _LATEST.fullmatch(name):
        back = int(latest[1] or 0)
        if runs := store.find(RunQuery(limit=1, offset=back)):
            return runs
        there = len(store.find(RunQuery(limit=back or 1)))
        cause = f"the store holds {there} {'run' if there == 1 else 'runs'}" if there else "the store holds no run yet"
        raise RunNotFound(
            f"no run `{name}`", cause=cause, fix="`proftool list` shows the runs there are; `proftool run app.py` records one"
        )
    from proftool.launch import git

    ref = name[1:]
    commit = git.commit_of(cwd, ref)
    if commit is None:
        # Outside of the checkout a commit's hash is still known to the store.
        if re.fullmatch(r"[0-9a-f]{4,64}", ref) and (runs := store.find(RunQuery(commit_prefix=ref, limit=limit))):
            return runs
        near = difflib.get_close_matches(name, ["@latest"], 1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise RunNotFound(
            f"no run `{name}`", cause=f"git knows no revision `{ref}` here", fix=f"{hint}`git log --oneline` shows the revisions"
        )
    if runs := store.find(RunQuery(commit_prefix=commit, limit=limit)):
        return runs
    raise RunNotFound(
        f"no run was recorded at `{ref}`",
        cause=f"that is commit {commit[:10]}, and no stored run bears it",
        fix=f"check it out and run `proftool run …`, or `proftool ab {ref} -- command…` runs both revisions",
    )


def _not_found(name: str, store: RunStore, path: Path) -> RunNotFound:
    runs = store.find(RunQuery(limit=_NEAR_RUNS))
    known = list(dict.fromkeys(["@latest", *(run.label for run in runs if run.label), *(run.id for run in runs)]))
    # A prefix of an id that was typed wrongly is far from the whole id, so ids are also compared at the name's own length.
    short = {known_name[: len(name)]: known_name for known_name in reversed(known)} if len(name) >= 4 else {}
    near = difflib.get_close_matches(name, known, 3, 0.6) or [short[word] for word in difflib.get_close_matches(name, short, 3, 0.7)]
    hint = f"did you mean {' or '.join(f'`{word}`' for word in near)}? " if near else ""
    if not runs:
        cause = "the store holds no run yet"
    elif _is_path(name):
        cause = f"`{path}` is no file"
    else:
        cause = "no label, no id that begins so, and no file has that name"
    return RunNotFound(f"no run named `{name}`", cause=cause, fix=f"{hint}`proftool list` shows the runs there are")
