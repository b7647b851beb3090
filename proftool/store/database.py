"""Connections to the run table, their transactions, and what their failures mean.

A write transaction begins with `BEGIN IMMEDIATE`: one writer at a time, waiting up to `BUSY_S`, and what it read stays true
until it commits. Readers are never kept waiting (WAL). A database that does not exist is empty, and reading does not create it.

Adding and finding runs go through sqlite3 alone (`plain`): importing SQLAlchemy takes longer than a short program does, and every
`run` and `list` would pay for it. What makes, upgrades, prunes and repairs the table goes through SQLAlchemy Core
(docs/decisions/0004-adding-a-run-without-sqlalchemy.md).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

from proftool.errors import StoreBusy, StoreError
from proftool.store import revisions
from proftool.store.place import MAKE_ROOM, Place

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

BUSY_S = 15.0
STATEMENT_VALUES = 500
"""Values that are bound to one statement; SQLite's bound of variables is far above."""

T = TypeVar("T")
Values = Sequence[str | int | None] | Mapping[str, str | int | float | bool | None]


def in_parts(values: Sequence[T], size: int = STATEMENT_VALUES) -> Iterator[Sequence[T]]:
    """The values in parts, each for one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


class Answer(Protocol):
    """Rows of a question; `description` holds the names of their columns first."""

    @property
    def description(self) -> Sequence[Sequence[object]] | None: ...

    def fetchone(self) -> Sequence[object] | None: ...

    def __iter__(self) -> Iterator[Sequence[object]]: ...


class Asking(Protocol):
    """What runs need of a driver's connection: questions with `?` or `:name` for values."""

    def execute(self, question: str, values: Values = ..., /) -> Answer: ...


class RunTable(Protocol):
    """Connections to a run table, whatever it is kept in; their failures are StoreErrors."""

    def exists(self) -> bool:
        """Was anything ever stored?"""
        ...

    def plain(self, *, write: bool = False) -> AbstractContextManager[Asking | None]:
        """As `reading`, or as `writing` (never None then), without SQLAlchemy."""
        ...

    def reading(self) -> AbstractContextManager[Connection | None]:
        """A connection to read with; None where nothing was ever stored."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """One write transaction, alone; committed at the end of the block, rolled back by an exception."""
        ...


class Database:
    """The run table of a place."""

    def __init__(self, place: Place, *, busy_s: float = BUSY_S) -> None:
        self._place = place
        self._busy_s = busy_s
        self._current = False

    @cached_property
    def _engine(self) -> Engine:
        return _engine(self._place, self._busy_s)

    def exists(self) -> bool:
        """Was anything ever stored?"""
        return self._place.database.exists()

    @contextmanager
    def plain(self, *, write: bool = False) -> Generator[Asking | None, None, None]:
        """As `reading`, or as `writing` (never None then), on the driver's own connection."""
        if not write and not self._place.database.exists():
            yield None
            return
        with self._explained():
            self._make_current(create=write)
            with closing(_connect(self._place, self._busy_s)) as connection:
                if not write:
                    yield connection
                    return
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()

    @contextmanager
    def reading(self) -> Generator[Connection | None, None, None]:
        """A connection to read with; None where nothing was ever stored."""
        if not self._place.database.exists():
            yield None
            return
        with self._explained():
            self._make_current(create=False)
            with self._engine.connect() as connection:
                yield connection

    @contextmanager
    def writing(self) -> Generator[Connection, None, None]:
        """One write transaction; committed at the end of the block, rolled back by an exception."""
        with self._explained():
            self._make_current(create=True)
            with self._engine.connect().execution_options(begin="BEGIN IMMEDIATE") as connection, connection.begin():
                yield connection

    def _create(self) -> None:
        self._place.make()
        # SQLite gives its -wal and -shm files the mode of the database, so the first open decides for all of them.
        os.close(os.open(self._place.database, os.O_RDWR | os.O_CREAT, 0o600))

    def _make_current(self, *, create: bool) -> None:
        if self._current:
            return
        if create:
            self._create()
        with closing(_connect(self._place, self._busy_s)) as plain:
            current = revisions.is_current(revisions.version(lambda question: [row[0] for row in plain.execute(question)]))
        if not current:
            from proftool.store import migrate

            self._use_wal()
            with self._engine.connect().execution_options(begin="BEGIN IMMEDIATE") as connection, connection.begin():
                migrate.bring_up(connection)
        self._current = True

    def _use_wal(self) -> None:
        # Changing the journal takes the whole file, and SQLite does not wait for that one.
        end = time.monotonic() + self._busy_s
        while True:
            try:
                connection = sqlite3.connect(self._place.database, timeout=self._busy_s)
                try:
                    connection.execute("PRAGMA journal_mode=WAL").fetchone()
                    return
                finally:
                    connection.close()
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                    raise explain(error, self._place) from error
                time.sleep(0.01)

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.Error as error:
            raise explain(error, self._place) from error
        except OSError as error:
            from proftool.store.place import unwritable

            raise unwritable(self._place.folder, error) from error
        except Exception as error:
            # SQLAlchemy keeps the driver's error in `orig`.
            cause = getattr(error, "orig", None)
            if isinstance(cause, sqlite3.Error):
                raise explain(cause, self._place) from error
            raise


def explain(error: sqlite3.Error, place: Place) -> StoreError:
    """What a failure of SQLite means for the user."""
    name, store = getattr(error, "sqlite_errorname", ""), f"the store `{place.folder}`"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusy(f"{store} is busy", cause="another process has been writing to it for too long", fix="try again when it has ended")
    if name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and _is_full(place)):
        return StoreError(
            f"no space left for {store}",
            cause=str(error),
            fix=MAKE_ROOM,
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreError(f"the database of {store} is damaged", cause=str(error), fix="`proftool doctor --repair` saves what can be read")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return StoreError(
            f"cannot open the database of {store}", cause=str(error), fix="make it writable, or `PROFTOOL_STORE=/path/to/folder`"
        )
    return StoreError(
        f"the database of {store} failed", cause=f"{error} ({name or type(error).__name__})", fix="`proftool doctor --repair`"
    )


def _is_full(place: Place) -> bool:
    # SQLite maps 32 KiB of shared memory beside the database and calls it an I/O error where there is no room for it.
    import shutil

    try:
        return shutil.disk_usage(place.database.parent).free < 1 << 16
    except OSError:
        return False


def _connect(place: Place, busy_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(place.database, timeout=busy_s)
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None  # transactions are begun here, not by the driver's guess
    connection.execute("PRAGMA synchronous=FULL")  # an announced run outlives a power cut


def _engine(place: Place, busy_s: float) -> Engine:
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    # A connection for each question: safe across threads and forks, and the last one to close folds the WAL into the file.
    engine = create_engine(place.url, poolclass=NullPool, connect_args={"timeout": busy_s})

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        _set_up(connection)

    def begins(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begins)
    return engine
