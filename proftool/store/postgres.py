"""The run table in a PostgreSQL database that a team shares: the same questions and the same promises as SQLite's.

One writer at a time, by an advisory lock of the transaction, so that what `runs.py` says of blobs and rows holds here too; readers
are never kept waiting. A server that restarts is waited for; a transaction that it broke off did nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, LiteralString, cast

from proftool.errors import StoreBusy, StoreError
from proftool.store import revisions
from proftool.store.database import BUSY_S, Answer, Asking, Values
from proftool.store.place import Place

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy import Connection, Engine

RESTART_S = 15.0
"""So long a server that refuses connections is waited for."""
_ALONE = "SELECT pg_advisory_xact_lock(1886547814)"
"""Waits until no other writer is in a transaction; the number is "prof", in a number space of the database's own."""
_NAMED = re.compile(r":(\w+)")


class Postgres:
    """The run table of a place with a server."""

    def __init__(self, place: Place, *, busy_s: float = BUSY_S, restart_s: float = RESTART_S) -> None:
        self._place = place
        self._busy_s = busy_s
        self._restart_s = restart_s
        self._current = False

    def exists(self) -> bool:
        """Was anything ever stored?"""
        with self._explained(), self._connect() as connection:
            return self._version(connection) is not None

    @contextmanager
    def plain(self, *, write: bool = False) -> Generator[Asking | None, None, None]:
        """As `reading`, or as `writing` (never None then), on the driver's own connection."""
        with self._explained():
            if not self._make_current(create=write):
                yield None
                return
            with self._connect() as connection:
                if write:
                    connection.execute(_ALONE)
                yield _Questions(connection)

    @contextmanager
    def reading(self) -> Generator[Connection | None, None, None]:
        """A connection to read with; None where nothing was ever stored."""
        with self._explained():
            if not self._make_current(create=False):
                yield None
                return
            with self._engine.connect() as connection:
                yield connection

    @contextmanager
    def writing(self) -> Generator[Connection, None, None]:
        """One write transaction, alone."""
        with self._explained():
            self._make_current(create=True)
            with self._alone() as connection:
                yield connection

    @contextmanager
    def _alone(self) -> Generator[Connection, None, None]:
        with self._engine.connect() as connection, connection.begin():
            connection.exec_driver_sql(_ALONE)
            yield connection

    @cached_property
    def _engine(self) -> Engine:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        return create_engine("postgresql+psycopg://", poolclass=NullPool, creator=self._connect)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A new connection; waits for a server that restarts."""
        try:
            import psycopg
        except ImportError as error:
            raise StoreError(
                "runs cannot be kept in PostgreSQL here",
                cause="the package `psycopg` is not installed",
                fix="`pip install 'proftool[team]'`",
            ) from error
        end = time.monotonic() + self._restart_s
        options = f"-c lock_timeout={round(self._busy_s * 1000)} -c client_min_messages=warning"
        while True:
            try:
                return psycopg.connect(self._place.server or "", connect_timeout=10, options=options, application_name="proftool")
            except psycopg.OperationalError as error:
                if time.monotonic() > end or not _may_pass(error):
                    raise
                time.sleep(0.1)

    def _make_current(self, *, create: bool) -> bool:
        """Bring the schema up; is there one?"""
        if self._current:
            return True
        with self._connect() as connection:
            found = self._version(connection)
        if found is None and not create:
            return False
        if not revisions.is_current(found):
            from proftool.store import migrate

            with self._alone() as connection:
                migrate.bring_up(connection)
        self._current = True
        return True

    @staticmethod
    def _version(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
        return revisions.version(
            lambda question: [row[0] for row in connection.execute(cast(LiteralString, question))], revisions.POSTGRES_TABLES
        )

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            # SQLAlchemy keeps the driver's error in `orig`.
            cause = getattr(error, "orig", None) or error
            if type(cause).__module__.partition(".")[0] != "psycopg":
                raise
            raise explain(cause, self._place) from error


class _Questions:
    """The driver's connection, asked in SQLite's spelling of values."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection

    def execute(self, question: str, values: Values = (), /) -> Answer:
        text = _NAMED.sub(r"%(\1)s", question) if isinstance(values, dict) else question.replace("?", "%s")
        return self._connection.execute(cast(LiteralString, text), values)


def _may_pass(error: psycopg.OperationalError) -> bool:
    """Does the server start, stop or not listen yet?"""
    text = str(error)
    return (
        "refused" in text or "starting up" in text or "shutting down" in text or "closed the connection" in text or "No such file" in text
    )


def explain(error: BaseException, place: Place) -> StoreError:
    """What a failure of PostgreSQL means for the user."""
    import psycopg

    store, cause = f"the store `{place.shown}`", " ".join(str(error).split())[:300]
    match error:
        case psycopg.errors.LockNotAvailable():
            return StoreBusy(
                f"{store} is busy", cause="another process has been writing to it for too long", fix="try again when it has ended"
            )
        case psycopg.errors.DiskFull():
            return StoreError(f"no space left for {store}", cause=cause, fix="free some space on the server, `proftool prune --keep 1000`")
        case psycopg.errors.InsufficientPrivilege() | psycopg.errors.InvalidPassword() | psycopg.errors.InvalidCatalogName():
            return StoreError(f"{store} cannot be used", cause=cause, fix="check user, password and database of PROFTOOL_STORE")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return StoreError(f"{store} cannot be reached", cause=cause, fix="check that the server runs and PROFTOOL_STORE names it")
        case _:
            return StoreError(
                f"{store} failed", cause=f"{type(error).__name__}: {cause}", fix="repeat it with `--debug` and report what that prints"
            )
