"""What services logged, in the store: a line a row, found by its trace or by service and time.

Rows lie in the order of time. A record is known by its content and by how many like it came before it in its batch, so that a batch that
an exporter repeats adds nothing and two lines of the same nanosecond stay two. Secrets are taken out as everywhere (redact.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proftool.contracts_telemetry import LogQuery, LogRecord
from proftool.store.redact import StreamRedactor
from proftool.store.services import frozen, inserting, redacted

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from proftool.store.database import RunTable

MAX_BODY_CHARS = 16_384
"""Of a record; the rest is cut off, and an ellipsis stands for it."""


class SqlLogStore:
    """Logs in the store's database; cheap to make, opened at the first question."""

    def __init__(self, database: RunTable, *, redact: tuple[str, ...] = ()) -> None:
        self._database = database
        self._redactor = StreamRedactor(redact)

    def add_logs(self, records: Sequence[LogRecord]) -> None:
        """Add those that are not known yet."""
        from proftool.store.schema import logs as table

        if not records:
            return
        rows: dict[str, dict[str, object]] = {}
        alike: dict[str, int] = {}
        for record in records:
            row = self._row(record)
            told = json.dumps(list(row.values()))
            alike[told] = alike.get(told, 0) + 1
            digest = hashlib.sha256(f"{alike[told]} {told}".encode()).hexdigest()
            key = f"{_hex(record.time_ns)}{digest[:16]}"
            rows[key] = row | {"key": key}
        with self._database.writing() as connection:
            connection.execute(inserting(connection, table).on_conflict_do_nothing(), list(rows.values()))

    def find_logs(self, query: LogQuery) -> Sequence[LogRecord]:
        """Newest first; those of a named trace in their order."""
        from sqlalchemy import select

        from proftool.store.schema import logs as table

        c = table.c
        chosen = select(*(column for column in c if column.name != "key"))
        for column, wanted in ((c.trace_id, query.trace_id), (c.service, query.service)):
            if wanted is not None:
                chosen = chosen.where(column == wanted)
        if query.min_severity is not None:
            chosen = chosen.where(c.severity >= query.min_severity)
        if query.since_ns is not None:
            chosen = chosen.where(c.time_ns >= query.since_ns, c.key >= _hex(query.since_ns))
        if query.until_ns is not None:
            chosen = chosen.where(c.time_ns < query.until_ns, c.key < _hex(query.until_ns))
        order = (c.time_ns, c.key) if query.trace_id is not None else (c.time_ns.desc(), c.key.desc()) if query.service else (c.key.desc(),)
        with self._database.reading() as connection:
            if connection is None:
                return ()
            found = connection.execute(chosen.order_by(*order).limit(query.limit)).mappings()
            return tuple(_record(row) for row in found)

    def forget(self, before_ns: int) -> int:
        """Remove what was logged before that time; how many rows."""
        from sqlalchemy import delete

        from proftool.store.schema import logs as table

        with self._database.reading() as connection:
            if connection is None:
                return 0
        with self._database.writing() as connection:
            return connection.execute(delete(table).where(table.c.key < _hex(before_ns))).rowcount

    def _row(self, record: LogRecord) -> dict[str, object]:
        body = self._redactor.text(record.body)
        return {
            "service": record.service,
            "time_ns": record.time_ns,
            "trace_id": record.trace_id,
            "span_id": record.span_id,
            "severity": record.severity,
            "level": record.level,
            "body": body if len(body) <= MAX_BODY_CHARS else f"{body[:MAX_BODY_CHARS]}…",
            "attributes": json.dumps(redacted(record.attributes, self._redactor)),
        }


def _record(row: RowMapping) -> LogRecord:
    plain = {name: value for name, value in row.items() if name != "attributes"}
    return LogRecord(**plain, attributes=frozen(json.loads(row["attributes"])))


def _hex(time_ns: int) -> str:
    return f"{max(time_ns, 0):016x}"
