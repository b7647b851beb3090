"""DB-API connections, watched by wrapping `connect`: sqlite3 and psycopg by `track()`, any other by `watched_connect`.

A watched sqlite3 connection is a subclass of the one that was asked for, a psycopg connection has a subclass as its cursor factory:
code that
asks for their types still gets them. Connections that were open before `track()` are not watched. Nothing is done for a query while
tracing is off but one look at a variable.
"""

# pyright: basic
from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from proftool.telemetry import queries
from proftool.telemetry.queries import Query

C = TypeVar("C", bound=type)
Connect = Callable[..., Any]  # the driver's own signature passes through
_undo: Final[list[Callable[[], None]]] = []


def track() -> None:
    """Watch sqlite3 and, where it is installed and used, psycopg; again changes nothing."""
    if _undo:
        return
    import sqlite3

    connect = sqlite3.connect
    for module in (sqlite3, importlib.import_module("sqlite3.dbapi2")):
        _replace(module, "connect", _sqlite_connect(connect))
    if "psycopg" in sys.modules or importlib.util.find_spec("psycopg") is not None:
        psycopg = importlib.import_module("psycopg")
        for owner in (psycopg.Connection, psycopg.AsyncConnection):
            _replace(owner, "connect", _psycopg_connect(owner))
        _replace(psycopg, "connect", psycopg.Connection.connect)


def untrack() -> None:
    """Give the drivers back what was replaced; connections that are open stay watched."""
    while _undo:
        _undo.pop()()


def _replace(owner: object, name: str, value: object) -> None:
    own = vars(owner).get(name) if isinstance(owner, type) else getattr(owner, name)

    def undo() -> None:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)

    setattr(owner, name, value)
    _undo.append(undo)


# --- sqlite3 ----------------------------------------------------------------------------------------------------------------


def _sqlite_connect(connect: Connect) -> Connect:
    import inspect
    import sqlite3

    try:
        place = list(inspect.signature(connect).parameters).index("factory")
    except ValueError:
        place = 5  # as the documentation has it since Python 3.2

    @functools.wraps(connect)
    def watched(*args: object, **kwargs: object) -> object:
        if len(args) > place:
            args = (*args[:place], _watched_connection(cast(type, args[place])), *args[place + 1 :])
        else:
            kwargs["factory"] = _watched_connection(cast(type, kwargs.get("factory", sqlite3.Connection)))
        return connect(*args, **kwargs)

    return watched


@functools.cache
def _watched_connection(base: type) -> type:
    """The connection class with watched cursors; sqlite3's shortcuts go through these as well."""
    import sqlite3

    if not (isinstance(base, type) and issubclass(base, sqlite3.Connection)):
        return base
    given: type[sqlite3.Connection] = base

    class Watched(given):
        def cursor(self, factory: Any = None) -> Any:
            cursor = _watched_cursor(factory or sqlite3.Cursor, "sqlite")
            return super().cursor(cursor)

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return self.cursor().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> Any:
            return self.cursor().executemany(sql, parameters)

        def executescript(self, sql_script: str, /) -> Any:
            return self.cursor().executescript(sql_script)

    Watched.__name__, Watched.__qualname__, Watched.__module__ = base.__name__, base.__qualname__, base.__module__
    return Watched


# --- any DB-API cursor that may be subclassed -------------------------------------------------------------------------------


@functools.cache
def _watched_cursor(base: Any, system: str) -> Any:
    """The cursor class with its statements and fetches watched."""
    if not isinstance(base, type):
        return base
    given: Any = base

    class Watched(given):
        _proftool_query: Query | None = None

        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            return self._proftool_run(super().execute, query, args, kwargs)

        def executemany(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            return self._proftool_run(super().executemany, query, args, kwargs)

        def _proftool_run(self, run: Callable[..., Any], statement: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
            told = queries.OBSERVED.get()
            query = self._proftool_query = told or queries.begin(system, _text(statement, self), 2)
            if query is None or told is not None:
                return run(statement, *args, **kwargs)
            try:
                result = run(statement, *args, **kwargs)
            except BaseException as error:
                query.executed(None, error)
                raise
            query.executed(_rows(self))
            return result

        def fetchone(self) -> Any:
            return self._proftool_fetch(super().fetchone, (), lambda row: row is not None)

        def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
            return self._proftool_fetch(functools.partial(super().fetchmany, **kwargs), args, len)

        def fetchall(self) -> Any:
            return self._proftool_fetch(super().fetchall, (), len)

        def _proftool_fetch(self, fetch: Callable[..., Any], args: Sequence[object], count: Callable[[Any], int]) -> Any:
            query = self._proftool_query
            if query is None or system != "sqlite":  # others have every row, and its count, when `execute` returns
                return fetch(*args)
            started_ns = time.perf_counter_ns()
            found = fetch(*args)
            query.fetched(int(count(found)), time.perf_counter_ns() - started_ns)
            return found

    if system == "sqlite":

        def step(self: Any) -> Any:
            query = self._proftool_query
            if query is None:
                return given.__next__(self)
            started_ns = time.perf_counter_ns()
            row = given.__next__(self)
            query.fetched(1, time.perf_counter_ns() - started_ns)
            return row

        Watched.__next__ = step
    Watched.__name__, Watched.__qualname__, Watched.__module__ = base.__name__, base.__qualname__, base.__module__
    return Watched


@functools.cache
def _watched_async_cursor(base: Any, system: str) -> Any:
    """The same for cursors whose statements are awaited."""
    if not isinstance(base, type):
        return base
    given: Any = base

    class Watched(given):
        async def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            return await self._proftool_run(super().execute, query, args, kwargs)

        async def executemany(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            return await self._proftool_run(super().executemany, query, args, kwargs)

        async def _proftool_run(self, run: Callable[..., Any], statement: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
            query = None if queries.OBSERVED.get() else queries.begin(system, _text(statement, self), 2)
            if query is None:
                return await run(statement, *args, **kwargs)
            try:
                result = await run(statement, *args, **kwargs)
            except BaseException as error:
                query.executed(None, error)
                raise
            query.executed(_rows(self))
            return result

    Watched.__name__, Watched.__qualname__, Watched.__module__ = base.__name__, base.__qualname__, base.__module__
    return Watched


def _psycopg_connect(owner: Any) -> classmethod[Any, Any, Any]:
    connect = owner.connect.__func__
    is_async = owner.__name__.startswith("Async")

    def watch(connection: Any) -> Any:
        wrap = _watched_async_cursor if is_async else _watched_cursor
        connection.cursor_factory = wrap(connection.cursor_factory, "postgresql")
        return connection

    @functools.wraps(connect)
    def watched(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return watch(connect(cls, *args, **kwargs))

    @functools.wraps(connect)
    async def watched_async(cls: Any, *args: Any, **kwargs: Any) -> Any:
        return watch(await connect(cls, *args, **kwargs))

    return classmethod(watched_async if is_async else watched)


def _text(statement: Any, cursor: Any) -> str:
    if isinstance(statement, str):
        return statement
    if isinstance(statement, bytes):
        return statement.decode("utf-8", "replace")
    # psycopg's composed statements know how they read on a connection.
    as_string = getattr(statement, "as_string", None)
    return str(as_string(cursor)) if as_string else str(statement)


def _rows(cursor: Any) -> int | None:
    count = cursor.rowcount
    return count if isinstance(count, int) and count >= 0 else None


# --- any other driver -------------------------------------------------------------------------------------------------------


def watched_connect(connect: Connect, system: str) -> Connect:
    """
    A driver's `connect` whose connections are watched, for drivers that `track` does not know.

    Args:
        system: OpenTelemetry's name of the database: `mysql`, `oracle.db`, `microsoft.sql_server`.
    """

    @functools.wraps(connect)
    def watched(*args: Any, **kwargs: Any) -> Any:
        return _Connection(connect(*args, **kwargs), system)

    return watched


class _Connection:
    """Stands for a connection; all but cursors passes through."""

    def __init__(self, connection: Any, system: str) -> None:
        self.__dict__.update(_connection=connection, _system=system)

    def cursor(self, *args: Any, **kwargs: Any) -> _Cursor:
        return _Cursor(self._connection.cursor(*args, **kwargs), self._system)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_connection"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._connection, name, value)

    def __enter__(self) -> _Connection:
        self._connection.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._connection.__exit__(*error)


class _Cursor:
    """Stands for a cursor; statements are told, all else passes through."""

    def __init__(self, cursor: Any, system: str) -> None:
        self.__dict__.update(_cursor=cursor, _system=system)

    def execute(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._cursor.execute, statement, args, kwargs)

    def executemany(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._cursor.executemany, statement, args, kwargs)

    def _run(self, run: Callable[..., Any], statement: Any, args: Sequence[object], kwargs: Mapping[str, object]) -> Any:
        query = None if queries.OBSERVED.get() else queries.begin(self._system, _text(statement, self._cursor), 2)
        if query is None:
            return run(statement, *args, **kwargs)
        try:
            result = run(statement, *args, **kwargs)
        except BaseException as error:
            query.executed(None, error)
            raise
        query.executed(_rows(self._cursor))
        return self if result is self._cursor else result

    def __iter__(self) -> Iterable[Any]:
        return iter(self._cursor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_cursor"], name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._cursor, name, value)

    def __enter__(self) -> _Cursor:
        self._cursor.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._cursor.__exit__(*error)
