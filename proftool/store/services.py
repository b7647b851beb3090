"""What services leave in the store: spans, slices of their always-on samplers, and findings.

Writers are background threads of live services, several processes at once, and readers never wait (WAL). A batch is one transaction, and
adding it again changes nothing, so that a writer that does not know whether it got through may repeat it. Attribute values
of spans pass the rules for secrets (redact.py) before they are written, as all else does.

Where a trace runs through several services, the one that found it slow or failed keeps it, and the others ask `kept_traces` for what
they hold back: the table is how services of one store agree, without asking each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import starmap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from proftool.contracts_telemetry import Attribute, Finding, Outline, Slice, SliceQuery, Span, SpanEvent, SpanLink, SpanQuery
from proftool.store.database import STATEMENT_VALUES, in_parts
from proftool.store.redact import StreamRedactor

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table
    from sqlalchemy.dialects import postgresql, sqlite

    from proftool.store.database import RunTable

_PLAIN = (
    "trace_id", "span_id", "parent_id", "service", "name", "kind", "start_ns", "duration_ns", "status", "is_entry", "route", "kept",
)  # fmt: skip
"""Columns of an outline, in its order."""


class SqlTelemetryStore:
    """Spans, slices and findings in the store's database; cheap to make, opened at the first question."""

    def __init__(self, database: RunTable, *, redact: tuple[str, ...] = ()) -> None:
        self._database = database
        self._redactor = StreamRedactor(redact)

    def add_spans(self, spans: Sequence[Span]) -> None:
        """
        Add those that are not known yet.

        As few statements as there can be: sqlite3 lets go of the GIL around each, and a service under full load is long in giving it
        back. With a statement a span, a batch of 27 took a fifth of a second in which both threads had cold caches.
        """
        if not spans:
            return
        rows = [self._span_row(span) for span in spans]
        columns = tuple(rows[0])
        one = f"({', '.join('?' * len(columns))})"
        with self._database.plain(write=True) as connection:
            assert connection is not None
            for part in in_parts(rows, STATEMENT_VALUES // len(columns)):
                question = f"INSERT INTO spans ({', '.join(columns)}) VALUES {', '.join([one] * len(part))} ON CONFLICT DO NOTHING"
                connection.execute(question, [row[name] for row in part for name in columns])

    def find_spans(self, query: SpanQuery) -> Sequence[Span]:
        """Newest first; the spans of a named trace by their start."""
        return tuple(map(_span, self._rows((*_PLAIN, "message", "attributes", "events", "links"), query)))

    def find_outlines(self, query: SpanQuery, *, attributes: bool = False) -> Sequence[Outline]:
        """The same, without what most lists do not show; spans whose attributes are equal share them."""
        if not attributes:
            return tuple(starmap(Outline, self._rows(_PLAIN, query)))
        known: dict[str, Mapping[str, Attribute]] = {}
        found: list[Outline] = []
        for *plain, text in self._rows((*_PLAIN, "attributes"), query):
            own = known.get(text)
            if own is None:
                own = known[text] = MappingProxyType(frozen(json.loads(text)))
            found.append(Outline._make((*plain, own)))
        return found

    def _rows(self, columns: Sequence[str], query: SpanQuery) -> Sequence[Sequence[Any]]:
        from sqlalchemy import select

        from proftool.store.schema import spans as table

        c = table.c
        chosen = select(*(c[name] for name in columns))
        for column, wanted in (
            (c.trace_id, query.trace_id),
            (c.span_id, query.span_id),
            (c.service, query.service),
            (c.route, query.route),
            (c.kind, query.kind),
        ):
            if wanted is not None:
                chosen = chosen.where(column == wanted)
        if query.entries:
            chosen = chosen.where(c.is_entry.is_(True))
        if query.failed:
            chosen = chosen.where(c.status == "error")
        if query.since_ns is not None:
            chosen = chosen.where(c.start_ns >= query.since_ns)
        if query.until_ns is not None:
            chosen = chosen.where(c.start_ns < query.until_ns)
        if query.min_duration_ns is not None:
            chosen = chosen.where(c.duration_ns >= query.min_duration_ns)
        chosen = chosen.order_by(c.start_ns if query.trace_id is not None else c.start_ns.desc()).limit(query.limit)
        with self._database.reading() as connection:
            return () if connection is None else connection.execute(chosen).all()

    def services(self) -> Sequence[str]:
        """Names of those that have left spans: one step of the index each, however many spans there are."""
        from sqlalchemy import func, select

        from proftool.store.schema import spans as table

        names = select(func.min(table.c.service).label("name")).cte("names", recursive=True)
        after = select(func.min(table.c.service)).where(table.c.service > names.c.name).scalar_subquery()
        names = names.union_all(select(after).where(names.c.name.is_not(None)))
        with self._database.reading() as connection:
            if connection is None:
                return ()
            return tuple(connection.execute(select(names.c.name).where(names.c.name.is_not(None))).scalars())

    def kept_traces(self, trace_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids of which there are spans."""
        from sqlalchemy import select

        from proftool.store.schema import spans as table

        found: set[str] = set()
        with self._database.reading() as connection:
            if connection is None:
                return frozenset()
            for some in in_parts(trace_ids):
                found.update(connection.execute(select(table.c.trace_id).where(table.c.trace_id.in_(some)).distinct()).scalars())
        return frozenset(found)

    def add_slices(self, slices: Sequence[Slice]) -> None:
        """Add them, each profile in native bytes."""
        from sqlalchemy import insert

        from proftool.formats import native
        from proftool.store.redact import redact_profile
        from proftool.store.schema import slices as table

        if not slices:
            return
        rows = [
            {
                "service": one.service,
                "pid": one.pid,
                "start_ns": one.start_ns,
                "end_ns": one.end_ns,
                "samples": one.samples,
                "trace_id": one.trace_id,
                "route": one.route,
                "profile": native.dumps(redact_profile(one.profile, self._redactor.patterns)),
            }
            for one in slices
        ]
        with self._database.writing() as connection:
            connection.execute(insert(table), rows)

    def find_slices(self, query: SliceQuery) -> Sequence[Slice]:
        """Newest first, profiles loaded."""
        from sqlalchemy import select

        from proftool.formats import native
        from proftool.store.schema import slices as table

        c = table.c
        chosen = select(table).where(c.trace_id == query.trace_id if query.trace_id is not None else c.trace_id.is_(None))
        if query.service is not None:
            chosen = chosen.where(c.service == query.service)
        if query.since_ns is not None:
            chosen = chosen.where(c.end_ns > query.since_ns)
        if query.until_ns is not None:
            chosen = chosen.where(c.start_ns < query.until_ns)
        chosen = chosen.order_by(c.end_ns.desc()).limit(query.limit)
        with self._database.reading() as connection:
            if connection is None:
                return ()
            return tuple(
                Slice(
                    service=row["service"],
                    pid=row["pid"],
                    start_ns=row["start_ns"],
                    end_ns=row["end_ns"],
                    samples=row["samples"],
                    trace_id=row["trace_id"],
                    route=row["route"],
                    profile=native.loads(row["profile"]),
                )
                for row in connection.execute(chosen).mappings()
            )

    def add_findings(self, findings: Sequence[Finding]) -> None:
        """Add them, or add them up to the one that is known."""
        from sqlalchemy import case, func

        from proftool.store.schema import findings as table

        if not findings:
            return
        with self._database.writing() as connection:
            for finding in findings:
                row = {**asdict(finding), "key": _key(finding)}
                row["evidence"] = self._redactor.text(finding.evidence)
                insert = inserting(connection, table).values(row)
                new, old = insert.excluded, table.c
                later = {
                    name: case((new.last_ns >= old.last_ns, new[name]), else_=old[name]) for name in ("evidence", "confidence", "route")
                }
                insert = insert.on_conflict_do_update(
                    index_elements=[old.key],
                    set_=later
                    | {
                        "trace_id": func.coalesce(new.trace_id, old.trace_id),
                        "count": old.count + new.count,
                        "first_ns": case((new.first_ns < old.first_ns, new.first_ns), else_=old.first_ns),
                        "last_ns": case((new.last_ns > old.last_ns, new.last_ns), else_=old.last_ns),
                    },
                )
                connection.execute(insert)

    def find_findings(self, *, service: str | None = None, since_ns: int | None = None) -> Sequence[Finding]:
        """The last seen first."""
        from sqlalchemy import select

        from proftool.store.schema import findings as table

        chosen = select(*(column for column in table.c if column.name != "key")).order_by(table.c.last_ns.desc())
        if service is not None:
            chosen = chosen.where(table.c.service == service)
        if since_ns is not None:
            chosen = chosen.where(table.c.last_ns >= since_ns)
        with self._database.reading() as connection:
            return () if connection is None else tuple(Finding(**row) for row in connection.execute(chosen).mappings())

    def forget(self, before_ns: int) -> int:
        """Remove what ended before that time, but for what was around an incident; how many rows."""
        from sqlalchemy import and_, delete, exists, or_

        from proftool.store.schema import findings, incidents, slices, spans

        i = incidents.c

        with self._database.reading() as connection:
            if connection is None:
                return 0
        with self._database.writing() as connection:
            old = (
                # No span lasts for a day longer than what is kept; the index is on the start.
                # A trace runs through several services: of an incident's time those of all services stay.
                delete(spans).where(
                    spans.c.is_entry.in_((True, False)),
                    spans.c.start_ns < before_ns,
                    ~exists().where(spans.c.start_ns >= i.bad_from_ns, spans.c.start_ns < i.bad_until_ns),
                ),
                delete(slices).where(
                    slices.c.end_ns < before_ns,
                    ~exists().where(
                        i.service == slices.c.service,
                        or_(
                            and_(slices.c.end_ns > i.good_from_ns, slices.c.start_ns < i.good_until_ns),
                            and_(slices.c.end_ns > i.bad_from_ns, slices.c.start_ns < i.bad_until_ns),
                        ),
                    ),
                ),
                delete(findings).where(
                    findings.c.last_ns < before_ns,
                    ~exists().where(
                        i.service == findings.c.service, findings.c.last_ns >= i.bad_from_ns, findings.c.first_ns < i.bad_until_ns
                    ),
                ),
            )
            return sum(connection.execute(one).rowcount for one in old)

    def _span_row(self, span: Span) -> dict[str, str | int | None]:
        text = self._redactor.text
        return {
            "trace_id": span.trace_id,
            "span_id": span.span_id,
            "parent_id": span.parent_id,
            "service": span.service,
            "name": text(span.name),
            "kind": span.kind,
            "start_ns": span.start_ns,
            "duration_ns": span.duration_ns,
            "status": span.status,
            "message": text(span.message),
            "is_entry": span.is_entry,
            "route": span.route,
            "kept": span.kept,
            "attributes": json.dumps(redacted(span.attributes, self._redactor)) if span.attributes else "{}",
            "events": json.dumps([[e.name, e.time_ns, redacted(e.attributes, self._redactor)] for e in span.events]),
            "links": json.dumps([[link.trace_id, link.span_id] for link in span.links]),
        }


def redacted(attributes: Mapping[str, Attribute], redactor: StreamRedactor) -> dict[str, Attribute]:
    """The attributes without their secrets."""
    return {name: redactor.text(value) if isinstance(value, str) else value for name, value in attributes.items()}


def inserting(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that knows what to do with a row that is there; the two engines spell it the same and SQLAlchemy keeps them apart."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _key(finding: Finding) -> str:
    what = json.dumps([finding.id, finding.service, finding.file, finding.function, finding.line])
    return hashlib.sha256(what.encode()).hexdigest()


def _span(row: Sequence[Any]) -> Span:
    """A row of `_PLAIN` and four more, of which three are JSON; most spans have no events and no links."""
    message, attributes, events, links = row[len(_PLAIN) :]
    return Span(
        **dict(zip(_PLAIN, row, strict=False)),
        message=message,
        attributes=frozen(json.loads(attributes)),
        events=() if events == "[]" else tuple(SpanEvent(name=n, time_ns=t, attributes=frozen(a)) for n, t, a in json.loads(events)),
        links=() if links == "[]" else tuple(SpanLink(trace_id=t, span_id=s) for t, s in json.loads(links)),
    )


def frozen(attributes: dict[str, object]) -> dict[str, Attribute]:
    """Attributes as they were before JSON made lists of their tuples."""
    return {
        name: cast(Attribute, tuple(cast(list[str], value)) if isinstance(value, list) else value) for name, value in attributes.items()
    }
