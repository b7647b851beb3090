"""Points of services' metrics in the store: written in batches, folded into blocks of columns, made coarser with age.

    metrics         a name of a service with kind, unit and buckets; `last`: the last row of each of its series, packed
    series          a metric's labels in a process; one that is new in a process that is known has counted from zero
    point_batches   points as they came, one row a batch and service: what was added is there at once
    point_blocks    increases (points_columns.py) of one metric, some stretch of time, one resolution

A batch is one insert, however many series it touches; twenty thousand rows in the order of series would dirty as many pages. `roll_up`,
called every so often by who writes, folds batches into blocks (after a minute), blocks of the hour before the last into minutes,
those of yesterday into quarters of an hour, and forgets them after thirty days. Whoever asks reads blocks and the batches that
are not folded yet in one snapshot, by the same arithmetic, so that a fold changes no answer.

Idea: Prometheus's head and blocks; the measure of rolled-up counters is their increase, which adds up.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from proftool.contracts_telemetry import Labels, Point, PointQuery, Series
from proftool.store.database import in_parts
from proftool.store.points_ageing import Ageing, Retention
from proftool.store.points_answer import answer
from proftool.store.points_columns import UNKNOWN, Section, dump_batch, section
from proftool.store.points_sums import Kept
from proftool.store.redact import StreamRedactor
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from proftool.store.database import RunTable

FRESH_NS = 600 * NS_PER_S
"""A value that was counted from no longer ago than this adds all of it when it is first seen; an older one is where counting starts."""
SERIES_LIMIT = 200_000
"""Series of one service; points of more are refused."""
CACHE_S = 3600.0
_WORK_S = 1.0
"""About how long one `roll_up` works on what is due."""


class Batch(TypedDict):
    """A row of `point_batches`."""

    service: str
    points: int
    until_ns: int
    content: bytes


class Place(NamedTuple):
    """Where points of a series go."""

    metric: int
    series: int
    buckets: int


Family = tuple[str, str, str, str, str, tuple[float, ...]]
"""Service, process, name, kind, unit, edges."""
Key = tuple[Family, Labels]


class SqlMetricStore:
    """Points in the store's database; cheap to make, opened at the first question."""

    def __init__(self, database: RunTable, *, redact: tuple[str, ...] = (), retention: Retention | None = None) -> None:
        self._database = database
        self._redactor = StreamRedactor(redact)
        self._retention = retention or Retention()
        self._kept = Kept()
        self._places: dict[Family, dict[Labels, Place]] = {}
        self._cached_s = time.monotonic()

    # --- adding -------------------------------------------------------------------------------------------------------------

    def add_points(self, points: Sequence[Point]) -> int:
        """Add them in one transaction; how many were refused: beyond the bound of series, or no numbers."""
        from sqlalchemy import insert

        from proftool.store.schema import point_batches

        known, places = self._known(), dict[Labels, Place]()
        last: Point | None = None
        placed: list[tuple[Place, Point]] = []
        unplaced: list[Point] = []
        for point in points:
            if not _is_sound(point):
                continue
            # Points of a metric come one after the other: what they share is looked up once.
            if last is None or not _is_of_family(point, last):
                places = known.setdefault(_family(point), {})
            last = point
            place = places.get(point.labels)
            if place is None:
                unplaced.append(point)
            else:
                placed.append((place, point))
        if not placed and not unplaced:
            return len(points)
        with self._database.writing() as connection:
            made = self._register(connection, unplaced) if unplaced else {}
            placed += [(place, point) for point in unplaced if (place := made.get((_family(point), point.labels))) is not None]
            batches = _batches(placed)
            if batches:
                connection.execute(insert(point_batches), batches)
        for (family, labels), place in made.items():
            known.setdefault(family, {})[labels] = place
        return len(points) - len(placed)

    def _known(self) -> dict[Family, dict[Labels, Place]]:
        if time.monotonic() - self._cached_s > CACHE_S:
            # A series that was silent for long may be forgotten, and its number given to another.
            self._places, self._cached_s = {}, time.monotonic()
        return self._places

    def _register(self, connection: Connection, points: Sequence[Point]) -> dict[Key, Place]:
        """Number the series that this process does not know yet."""
        by_service: dict[str, dict[Key, Point]] = {}
        for point in points:
            new, key = by_service.setdefault(point.service, {}), (_family(point), point.labels)
            # The first point says since when it counts.
            if key not in new or point.time_ns < new[key].time_ns:
                new[key] = point
        made: dict[Key, Place] = {}
        for service, some in by_service.items():
            made |= self._register_service(connection, service, some)
        return made

    def _register_service(self, connection: Connection, service: str, new: dict[Key, Point]) -> dict[Key, Place]:
        from proftool.store.schema import metrics, series
        from proftool.store.services import inserting

        of_metric = {key: _digest(p.service, p.name, p.kind, p.unit, p.edges) for key, p in new.items()}
        rows = {
            of_metric[key]: {"service": service, "name": p.name, "kind": p.kind, "unit": p.unit, "edges": json.dumps(p.edges)}
            for key, p in new.items()
        }
        connection.execute(inserting(connection, metrics).on_conflict_do_nothing(), [{"key": key, **row} for key, row in rows.items()])
        numbers = _numbers(connection, metrics, list(rows))
        of_series = {key: _digest(numbers[of_metric[key]], p.process, p.labels) for key, p in new.items()}
        known = _numbers(connection, series, list(of_series.values()))
        missing = {of_series[key]: (numbers[of_metric[key]], p) for key, p in new.items() if of_series[key] not in known}
        if missing:
            room = max(SERIES_LIMIT - _count(connection, service), 0)
            since = _since(connection, service, {p.process for _, p in missing.values()})
            made = [
                {
                    "key": key,
                    "metric_id": metric,
                    "process": p.process,
                    "labels": json.dumps([[name, self._redactor.text(value)] for name, value in p.labels]),
                    "from_zero": since.get(p.process, p.time_ns) < p.time_ns
                    or (p.start_ns is not None and p.time_ns - p.start_ns <= FRESH_NS),
                    "first_ns": p.time_ns,
                    "last_ns": p.time_ns,
                }
                for key, (metric, p) in list(missing.items())[:room]
            ]
            if made:
                connection.execute(inserting(connection, series), made)
            known |= _numbers(connection, series, [str(row["key"]) for row in made])
        return {
            key: Place(numbers[of_metric[key]], known[of_series[key]], _buckets(p)) for key, p in new.items() if of_series[key] in known
        }

    # --- asking -------------------------------------------------------------------------------------------------------------

    def find_series(self, query: PointQuery) -> Sequence[Series]:
        """By service, name and labels; UsageError where the answer would not fit into memory."""
        with self._snapshot() as connection:
            return () if connection is None else answer(connection, query, self._kept)

    def names(self, *, service: str | None = None) -> Sequence[tuple[str, str, str, str]]:
        """(service, name, kind, unit) of every metric, sorted."""
        from sqlalchemy import select

        from proftool.store.schema import metrics

        c = metrics.c
        asked = select(c.service, c.name, c.kind, c.unit).distinct()
        if service is not None:
            asked = asked.where(c.service == service)
        with self._database.reading() as connection:
            return () if connection is None else tuple(sorted((s, n, k, u) for s, n, k, u in connection.execute(asked)))

    def services(self) -> Sequence[str]:
        """Names of the services that left points, sorted."""
        from sqlalchemy import select

        from proftool.store.schema import metrics

        with self._database.reading() as connection:
            return () if connection is None else tuple(sorted(connection.execute(select(metrics.c.service).distinct()).scalars()))

    @contextmanager
    def _snapshot(self) -> Generator[Connection | None]:
        """A connection whose questions all see the same state."""
        with self._database.reading() as connection:
            if connection is not None and connection.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    # --- ageing -------------------------------------------------------------------------------------------------------------

    def roll_up(self, now_ns: int) -> int:
        """Fold, make coarser and forget what is due, for about a second; how many rows that changed."""
        return Ageing(self._database, self._retention).work(now_ns, _WORK_S)


def _is_sound(point: Point) -> bool:
    return math.isfinite(point.value) and len(point.counts) == _buckets(point)


def _buckets(point: Point) -> int:
    return len(point.edges) + 1 if point.kind == "histogram" else 0


def _family(point: Point) -> Family:
    return point.service, point.process, point.name, point.kind, point.unit, point.edges


def _is_of_family(point: Point, last: Point) -> bool:
    return (
        (point.edges is last.edges or point.edges == last.edges)
        and point.name == last.name
        and point.process == last.process
        and point.service == last.service
        and point.kind == last.kind
        and point.unit == last.unit
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _batches(points: Sequence[tuple[Place, Point]]) -> list[Batch]:
    """A row for each service."""
    sections: dict[int, tuple[int, list[tuple[int, Point]]]] = {}
    for place, point in points:
        section = sections.get(place.metric)
        if section is None:
            section = sections[place.metric] = (place.buckets, [])
        section[1].append((place.series, point))
    by_service: dict[str, list[int]] = {}
    for metric, (_, found) in sections.items():
        by_service.setdefault(found[0][1].service, []).append(metric)
    return [
        {
            "service": service,
            "points": sum(len(sections[metric][1]) for metric in metrics),
            "until_ns": max(point.time_ns for metric in metrics for _, point in sections[metric][1]),
            "content": dump_batch([_section(metric, *sections[metric]) for metric in metrics]),
        }
        for service, metrics in by_service.items()
    ]


def _section(metric: int, buckets: int, found: Sequence[tuple[int, Point]]) -> Section:
    lists = (
        [series for series, _ in found],
        [point.time_ns for _, point in found],
        [UNKNOWN if point.start_ns is None else point.start_ns for _, point in found],
        [point.value for _, point in found],
        [count for _, point in found for count in point.counts],
    )
    marks = [(series, one.time_ns, one.trace_id, one.span_id, one.value) for series, point in found for one in point.exemplars]
    return section(metric, buckets, lists, marks)


def _numbers(connection: Connection, table: Table, keys: Sequence[str]) -> dict[str, int]:
    from sqlalchemy import select

    found: dict[str, int] = {}
    for some in in_parts(keys):
        asked = select(table.c.key, table.c.id).where(table.c.key.in_(some))
        found.update((key, number) for key, number in connection.execute(asked))
    return found


def _count(connection: Connection, service: str) -> int:
    from sqlalchemy import func, select

    from proftool.store.schema import metrics, series

    joint = series.join(metrics, metrics.c.id == series.c.metric_id)
    return connection.execute(select(func.count()).select_from(joint).where(metrics.c.service == service)).scalar_one()


def _since(connection: Connection, service: str, processes: set[str]) -> dict[str, int]:
    """When the first point came of those that are known."""
    from sqlalchemy import func, select

    from proftool.store.schema import metrics, series

    joint = series.join(metrics, metrics.c.id == series.c.metric_id)
    asked = select(series.c.process, func.min(series.c.first_ns)).select_from(joint).where(metrics.c.service == service)
    found: dict[str, int] = {}
    for some in in_parts(sorted(processes)):
        chosen = asked.where(series.c.process.in_(some)).group_by(series.c.process)
        found.update((process, first) for process, first in connection.execute(chosen))
    return found
