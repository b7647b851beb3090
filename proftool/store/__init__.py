"""Run history: rows in SQLite, profiles as content-addressed blobs beside it.

`open_store` names places only; the database is opened, and SQLAlchemy imported, at the first question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proftool.settings import Settings
    from proftool.store.database import RunTable
    from proftool.store.incidents import SqlIncidentStore
    from proftool.store.logs import SqlLogStore
    from proftool.store.points import SqlMetricStore
    from proftool.store.runs import SqlRunStore
    from proftool.store.services import SqlTelemetryStore


def open_store(settings: Settings) -> SqlRunStore:
    """The store of these settings; StoreError where there is no place for one."""
    from proftool.store.place import find_place
    from proftool.store.runs import SqlRunStore

    return SqlRunStore(find_place(settings), size_cap_bytes=settings.store_size_bytes, redact=settings.redact)


def open_telemetry(settings: Settings) -> SqlTelemetryStore:
    """Where services of these settings leave what they saw: the same database; StoreError where there is no place for one."""
    from proftool.store.services import SqlTelemetryStore

    return SqlTelemetryStore(_database(settings), redact=settings.redact)


def open_metrics(settings: Settings) -> SqlMetricStore:
    """Where points of services' metrics of these settings are kept: the same database; StoreError where there is no place for one."""
    from proftool.store.points import SqlMetricStore
    from proftool.store.points_ageing import DAY_S, Retention

    kept = Retention(keep_s=round(settings.metric_days * DAY_S))
    return SqlMetricStore(_database(settings), redact=settings.redact, retention=kept)


def open_incidents(settings: Settings) -> SqlIncidentStore:
    """Where alerts of these settings leave what was around them: the same database; StoreError where there is no place for one."""
    from proftool.store.incidents import SqlIncidentStore

    return SqlIncidentStore(_database(settings), redact=settings.redact)


def open_logs(settings: Settings) -> SqlLogStore:
    """Where logs of services of these settings are kept: the same database; StoreError where there is no place for one."""
    from proftool.store.logs import SqlLogStore

    return SqlLogStore(_database(settings), redact=settings.redact)


def _database(settings: Settings) -> RunTable:
    from proftool.store.place import find_place

    place = find_place(settings)
    if place.server is not None:
        from proftool.store.postgres import Postgres

        return Postgres(place)
    from proftool.store.database import Database

    return Database(place)
