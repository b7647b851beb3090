"""SQLAlchemy's engines, watched by its own events: `track()` for all there are and will be, `track(engine)` for one.

The caller is found below SQLAlchemy's frames: a lazy load is told by the line that touched the attribute. Rows of a SELECT
are known where the driver says them when the statement has run, or where its connection is watched as well (queries_dbapi.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from proftool.telemetry import queries
from proftool.telemetry.queries import OBSERVED, Query

if TYPE_CHECKING:
    from contextvars import Token

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
    from sqlalchemy.ext.asyncio import AsyncEngine

_KEY = "proftool.query"
_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}


def track(engine: Engine | AsyncEngine | None = None) -> None:
    """Watch an engine, or every engine; again changes nothing."""
    from sqlalchemy import Engine, event

    target = Engine if engine is None else getattr(engine, "sync_engine", engine)
    for name, listener in _LISTENERS.items():
        if not event.contains(target, name, listener):
            event.listen(target, name, listener)


def untrack(engine: Engine | AsyncEngine | None = None) -> None:
    """Watch it no more."""
    from sqlalchemy import Engine, event

    target = Engine if engine is None else getattr(engine, "sync_engine", engine)
    for name, listener in _LISTENERS.items():
        if event.contains(target, name, listener):
            event.remove(target, name, listener)


def _before(
    connection: Connection, _cursor: DBAPICursor, statement: str, _parameters: object, context: ExecutionContext | None, _many: bool
) -> None:
    name = connection.dialect.name
    query = queries.begin(_SYSTEMS.get(name, name), statement, 2)
    if query is not None:
        connection.info.setdefault(_KEY, []).append((query, OBSERVED.set(query)))


def _after(
    connection: Connection, cursor: DBAPICursor, _statement: str, _parameters: object, _context: ExecutionContext | None, _many: bool
) -> None:
    query = _taken(connection)
    if query is not None:
        count = getattr(cursor, "rowcount", -1)
        query.executed(count if isinstance(count, int) and count >= 0 else None)


def _failed(context: ExceptionContext) -> None:
    query = _taken(context.connection) if context.connection is not None and context.statement is not None else None
    if query is not None:
        query.executed(None, context.original_exception)


def _taken(connection: Connection) -> Query | None:
    held = cast("list[tuple[Query, Token[Query | None]]]", connection.info.get(_KEY))
    if not held:
        return None
    query, token = held.pop()
    OBSERVED.reset(token)
    return query


_LISTENERS = {"before_cursor_execute": _before, "after_cursor_execute": _after, "handle_error": _failed}
