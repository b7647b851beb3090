"""Incidents, and what alert rules have learned, in the store's database.

An incident is one JSON document; the columns are what is asked by. That no alert is begun twice is decided here, in
the transaction that would add it: workers of a service come and go, and each may be the one that looks at the rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from proftool.contracts_incidents import Incident, IncidentQuery
from proftool.store.redact import Redactor

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from proftool.store.database import RunTable


class SqlIncidentStore:
    """Cheap to make, opened at the first question."""

    def __init__(self, database: RunTable, *, redact: tuple[str, ...] = ()) -> None:
        self._database = database
        self._redactor = Redactor(redact)

    def begin_incident(self, incident: Incident) -> Incident:
        """Add it; or give back the one of the same service and alert that is still firing."""
        from sqlalchemy import insert, select

        from proftool.store.schema import incidents as table

        c = table.c
        with self._database.writing() as connection:
            same = select(table).where(c.service == incident.service, c.alert == incident.alert, c.ended_ns.is_(None))
            known = connection.execute(same.order_by(c.fired_ns).limit(1)).mappings().first()
            if known is not None:
                return _incident(known)
            connection.execute(insert(table).values(self._row(incident)))
        return incident

    def save_incident(self, incident: Incident) -> None:
        """Write what is known now; one that was forgotten meanwhile stays forgotten."""
        from sqlalchemy import update

        from proftool.store.schema import incidents as table

        with self._database.writing() as connection:
            connection.execute(update(table).where(table.c.id == incident.id).values(self._row(incident)))

    def find_incidents(self, query: IncidentQuery) -> Sequence[Incident]:
        """Newest first."""
        from sqlalchemy import or_, select

        from proftool.store.schema import incidents as table

        c = table.c
        chosen = select(table)
        if query.id is not None:
            chosen = chosen.where(c.id.startswith(query.id, autoescape=True))
        if query.service is not None:
            chosen = chosen.where(c.service == query.service)
        if query.firing:
            chosen = chosen.where(c.ended_ns.is_(None))
        if query.since_ns is not None:
            chosen = chosen.where(or_(c.ended_ns.is_(None), c.ended_ns >= query.since_ns))
        chosen = chosen.order_by(c.fired_ns.desc(), c.id).limit(query.limit)
        with self._database.reading() as connection:
            return () if connection is None else tuple(_incident(row) for row in connection.execute(chosen).mappings())

    def forget_incidents(self, before_ns: int) -> int:
        """Remove those that ended before that time; how many. What they spared goes with what else is old."""
        from sqlalchemy import delete

        from proftool.store.schema import incidents as table

        with self._database.reading() as connection:
            if connection is None:
                return 0
        with self._database.writing() as connection:
            return connection.execute(delete(table).where(table.c.ended_ns < before_ns)).rowcount

    def learned(self, service: str) -> Mapping[str, tuple[float, ...]]:
        """Rule -> what it has learned."""
        from sqlalchemy import select

        from proftool.store.schema import learned as table

        with self._database.reading() as connection:
            if connection is None:
                return {}
            rows = connection.execute(select(table.c.alert, table.c.numbers).where(table.c.service == service))
            return {alert: tuple(json.loads(numbers)) for alert, numbers in rows}

    def learn(self, service: str, learned: Mapping[str, Sequence[float]], time_ns: int) -> None:
        """Replace what the rules have learned."""
        from sqlalchemy import delete, insert

        from proftool.store.schema import learned as table

        rows = [
            {"service": service, "alert": name, "time_ns": time_ns, "numbers": json.dumps([float(f"{n:.6g}") for n in numbers])}
            for name, numbers in learned.items()
        ]
        with self._database.writing() as connection:
            connection.execute(delete(table).where(table.c.service == service))
            if rows:
                connection.execute(insert(table), rows)

    def _row(self, incident: Incident) -> dict[str, object]:
        import msgspec

        text = self._redactor.text
        suspects = tuple(replace(one, evidence=tuple(map(text, one.evidence))) for one in incident.suspects)
        told = replace(incident, text=text(incident.text), suspects=suspects)
        return {
            "id": told.id,
            "service": told.service,
            "alert": told.alert,
            "state": told.state,
            "began_ns": told.began_ns,
            "fired_ns": told.fired_ns,
            "seen_ns": told.seen_ns,
            "ended_ns": told.ended_ns,
            "good_from_ns": told.good_ns[0],
            "good_until_ns": told.good_ns[1],
            "bad_from_ns": told.bad_ns[0],
            "bad_until_ns": told.bad_ns[1],
            "document": msgspec.json.encode(told).decode(),
        }


def _incident(row: RowMapping) -> Incident:
    import msgspec

    return msgspec.json.decode(row["document"], type=Incident)
