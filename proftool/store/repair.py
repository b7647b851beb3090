"""What is wrong with a store, and how it is mended; nothing is thrown away that a person could still want.

A damaged database is put aside and a new one is built from the rows that can still be read and from the profiles themselves.
A run whose profile is gone or damaged leaves the list. What a killed writer left is swept, a recording that it left is handed
to `recover`. A store of a newer proftool is not touched.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from proftool.contracts_store import Run, RunQuery
from proftool.errors import FormatError, ProftoolError, StoreError
from proftool.store.runs import SWEEP_GRACE_NS, SqlRunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was wrong."""

    what: str
    mended: bool
    how: str
    """What was done about it, or what would be."""


def examine(store: SqlRunStore) -> list[Finding]:
    """What is wrong, without touching it."""
    return repair(store, mend=False)


def repair(
    store: SqlRunStore, *, mend: bool = True, recover: Callable[[Path], Run] | None = None, grace_ns: int = SWEEP_GRACE_NS
) -> list[Finding]:
    """
    Find what is wrong and mend it.

    Args:
        mend: False only tells.
        recover: makes a run of a folder of raw parts that a killed proftool left; raises ProftoolError where nothing is usable.

    Raises:
        StoreError: the store belongs to a newer proftool, is busy or cannot be written.
    """
    if store.place.server is not None:
        # A server mends itself; what is left to look for is profiles without a run, runs without a profile, and own recordings.
        return [*_missing(store, mend), *_strays(store, mend, grace_ns), *_recordings(store, mend, recover)]
    if not store.place.folder.is_dir():
        return []
    findings = list(_permissions(store, mend))
    broken = _damage(store)
    if broken is not None:
        findings.append(
            _rebuild(store, broken) if mend else Finding(what=broken, mended=False, how="would be rebuilt from what can be read")
        )
        if not mend:
            return findings  # nothing further can be said of rows that cannot be read
    findings += _missing(store, mend) if store.place.bucket else _profiles(store, mend)
    findings += _strays(store, mend, grace_ns)
    findings += _recordings(store, mend, recover)
    return findings


def _permissions(store: SqlRunStore, mend: bool) -> Iterator[Finding]:
    for path, mode in ((store.place.folder, 0o700), (store.place.database, 0o600)):
        # A folder that the user named may be shared on purpose; the database never is.
        if not path.exists() or not path.stat().st_mode & 0o077 or (path == store.place.folder and path.name != ".proftool"):
            continue
        if mend:
            path.chmod(mode)
        yield Finding(
            what=f"`{path}` was open to other users",
            mended=mend,
            how=f"its mode is now {mode:o}" if mend else f"its mode would be {mode:o}",
        )


def _damage(store: SqlRunStore) -> str | None:
    """What is wrong with the database as a whole; None where nothing is."""
    database = store.place.database
    if not database.exists():
        return f"`{database}` is gone, its profiles are not" if any(store.blobs.infos()) else None
    try:
        with closing(sqlite3.connect(database, timeout=15)) as connection:
            told = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return f"`{database}` is damaged: {error}"
        from proftool.store.database import explain

        raise explain(error, store.place) from error
    if told != ["ok"]:
        return f"`{database}` is damaged: {told[0] if told else 'its check says nothing'}"
    if "runs" in tables and "alembic_version" not in tables:
        return f"`{database}` bears no version"
    if not tables and any(store.blobs.infos()):
        return f"`{database}` is empty, its profiles are there"
    try:
        store.find(RunQuery(limit=1))  # a newer schema raises its own error
    except StoreError as error:
        if "newer" in error.what:
            raise
        return f"`{database}` cannot be read: {error.cause}"
    return None


def _rebuild(store: SqlRunStore, what: str) -> Finding:
    from sqlalchemy import insert

    from proftool.store.rows import row_of
    from proftool.store.schema import runs

    aside = _aside(store)
    database = store.place.database
    for suffix in ("", "-wal", "-shm"):
        file = database.with_name(database.name + suffix)
        if file.exists():
            file.rename(aside / file.name)
    store.reopen()
    rows = list(_readable_rows(aside / database.name))
    blobs = {row["blob"] for row in rows}
    saved = len(rows)
    for info in sorted(store.blobs.infos(), key=lambda info: info.touched_ns):
        if info.name in blobs:
            continue
        try:
            from proftool.formats import native

            profile = native.loads(store.blobs.get(info.name))
        except (StoreError, FormatError):
            continue  # told, and put aside, with the profiles below
        added_ns = info.touched_ns
        while any(row["added_ns"] == added_ns for row in rows):
            added_ns += 1
        rows.append(dict(row_of(profile, id=info.name[:10], label=None, blob=info.name, size_bytes=info.size_bytes, added_ns=added_ns)))
    with store.database.writing() as connection:
        for row in rows:
            connection.execute(insert(runs).prefix_with("OR IGNORE").values(row))
    again = len(rows) - saved
    return Finding(
        what=what,
        mended=True,
        how=f"{saved} runs were read from it, {again} more come from their profiles and lost their labels; the old file is in `{aside}`",
    )


def _readable_rows(database: Path) -> Iterator[dict[str, object]]:
    """Rows of a damaged database, from both ends until it cannot be read."""
    from proftool.store.rows import run_of
    from proftool.store.schema import runs

    names = [column.name for column in runs.columns]
    seen: set[str] = set()
    for order in ("ASC", "DESC"):
        try:
            with closing(sqlite3.connect(database)) as connection:
                for values in connection.execute(f"SELECT {', '.join(names)} FROM runs NOT INDEXED ORDER BY rowid {order}"):
                    row = dict(zip(names, values, strict=True))
                    if row["git_dirty"] is not None:
                        row["git_dirty"] = bool(row["git_dirty"])
                    try:
                        id = run_of(row).id
                    except (ValueError, TypeError, KeyError):
                        continue  # a row of a damaged page
                    if id not in seen:
                        seen.add(id)
                        yield row
        except sqlite3.DatabaseError:
            continue  # that end is read as far as it goes


def _profiles(store: SqlRunStore, mend: bool) -> Iterator[Finding]:
    for run in store.find(RunQuery()):
        try:
            store.blobs.get(run.blob)
        except (StoreError, FormatError) as error:
            who = f"run `{run.id}`" + (f" (`{run.label}`)" if run.label else "")
            path = store.blobs.path(run.blob)
            gone = not path.exists()
            if mend:
                if not gone:
                    path.rename(_aside(store) / path.name)
                store.remove([run])
            how = "the run leaves the list" + ("" if gone else ", its file goes to `damaged/`")
            yield Finding(what=f"{who}: {error.what}", mended=mend, how=how if mend else f"{how} with --repair")


def _missing(store: SqlRunStore, mend: bool) -> Iterator[Finding]:
    """Runs whose profile is not in the bucket, by its list: a bucket that does not answer is an error, never a reason to forget runs."""
    there = {info.name for info in store.blobs.infos()}
    for run in store.find(RunQuery()):
        if run.blob not in there:
            if mend:
                store.remove([run])
            how = "the run leaves the list" + ("" if mend else " with --repair")
            yield Finding(what=f"run `{run.id}`: its recording is gone from `{store.place.shown_blobs}`", mended=mend, how=how)


def _strays(store: SqlRunStore, mend: bool, grace_ns: int) -> Iterator[Finding]:
    wanted = {run.blob for run in store.find(RunQuery())}
    old = time.time_ns() - grace_ns
    stray = [info for info in store.blobs.infos() if info.name not in wanted and info.touched_ns < old]
    swept = store.sweep(grace_ns) if mend else len(stray)
    if swept:
        how = "swept" if mend else "would be swept"
        yield Finding(what=f"{swept} profiles or parts of such without a run, left by a writer that was killed", mended=mend, how=how)


def _recordings(store: SqlRunStore, mend: bool, recover: Callable[[Path], Run] | None) -> Iterator[Finding]:
    for folder in store.recordings.leftovers():
        what = f"a recording that was cut short by the end of proftool lies in `{folder}`"
        if not mend or recover is None:
            yield Finding(what=what, mended=False, how="`proftool doctor --repair` recovers what is usable")
            continue
        try:
            run = recover(folder)
        except StoreError:
            raise  # the store has no room for it; the parts stay
        except ProftoolError as error:
            yield Finding(what=what, mended=True, how=f"nothing of it is usable ({error.cause}), so it is removed")
        else:
            yield Finding(what=what, mended=True, how=f"recovered as run `{run.id}`")
        store.discard_recording(folder)


def _aside(store: SqlRunStore) -> Path:
    folder = store.place.folder / "damaged" / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
