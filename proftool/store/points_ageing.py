"""How points age: batches become blocks, blocks become coarser, and the oldest are forgotten. See points.py for the tables.

Each step is a transaction of its own that looks again at what is due, so that any number of processes may be at it; a step is short,
for writers wait meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from proftool.store.database import in_parts
from proftool.store.points_columns import (
    Int64s,
    Marked,
    Rows,
    coarser,
    dump_block,
    empty,
    increases,
    joined,
    load_batch,
    load_block,
    pack,
    split,
    unpack,
)
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from proftool.store.database import RunTable

RAW = 0
"""Resolution of blocks that hold every point."""
FINE_S, COARSE_S = 60, 900
HOUR_S, DAY_S = 3600, 86_400
FOLD_S = 60
"""A batch waits so long to be folded."""
FOLD_POINTS = 400_000
"""Or until so many points wait."""
FOLD_BATCHES = 2000
"""So many at once, which bounds the memory of a fold."""
_MERGED = 200
"""Blocks of a metric that become one at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long points are kept at which resolution."""

    raw_s: int = HOUR_S
    fine_s: int = DAY_S
    """In minutes."""
    keep_s: int = 30 * DAY_S
    """In quarters of an hour; then they go."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What the rows of a metric mean."""

    id: int
    kind: str
    edges: tuple[float, ...]

    @property
    def buckets(self) -> int:
        """Counts of a row."""
        return len(self.edges) + 1 if self.kind == "histogram" else 0


class Ageing:
    """Works on what is due."""

    def __init__(self, database: RunTable, retention: Retention) -> None:
        self._database, self._retention = database, retention

    def work(self, now_ns: int, for_s: float) -> int:
        """Do what is due, for about so long; how many rows that took away."""
        if not self._database.exists():
            return 0
        end = time.monotonic() + for_s
        changed = 0
        # Whole hours and days only, so that no block is made coarser twice.
        tiers = (
            (RAW, FINE_S, HOUR_S, _floor(now_ns - self._retention.raw_s * NS_PER_S, HOUR_S)),
            (FINE_S, COARSE_S, DAY_S, _floor(now_ns - self._retention.fine_s * NS_PER_S, DAY_S)),
        )
        while (folded := self._fold(now_ns)) and time.monotonic() < end:
            changed += folded
        changed += folded
        for tier in tiers:
            while time.monotonic() < end and (merged := self._merge(*tier)):
                changed += merged
        return changed + self._forget(now_ns - self._retention.keep_s * NS_PER_S)

    # --- batches into blocks ------------------------------------------------------------------------------------------------

    def _fold(self, now_ns: int) -> int:
        from sqlalchemy import delete

        from proftool.store.schema import point_batches as table

        with self._database.reading() as connection:
            if connection is None or not _is_due(connection, now_ns):
                return 0
        with self._database.writing() as connection:
            if not _is_due(connection, now_ns):
                return 0
            batches = _some_waiting(connection)
            found: dict[int, tuple[list[Rows], list[Marked]]] = {}
            for content in batches.values():
                for section in load_batch(content):
                    parts, all_marks = found.setdefault(section.metric, ([], []))
                    parts.append(section.load())
                    all_marks += section.marks
            known = metrics(connection, list(found))
            for number, (parts, marks) in found.items():
                if (metric := known.get(number)) is not None:
                    _fold_metric(connection, metric, parts, marks)
            for some in in_parts(list(batches)):
                connection.execute(delete(table).where(table.c.id.in_(some)))
            return len(batches)

    # --- coarser ------------------------------------------------------------------------------------------------------------

    def _merge(self, resolution_s: int, into_s: int, stretch_s: int, before_ns: int) -> int:
        """The blocks of one metric that lie before that time, into blocks of a stretch of time each."""
        from sqlalchemy import delete, select

        from proftool.store.schema import point_blocks as table

        c = table.c
        due = select(c.metric_id).where(c.resolution_s == resolution_s, c.until_ns < before_ns).limit(1)
        with self._database.reading() as connection:
            if connection is None or connection.execute(due).first() is None:
                return 0
        with self._database.writing() as connection:
            number = connection.execute(due).scalar()
            if number is None:
                return 0
            found = connection.execute(
                select(c.id, c.content)
                .where(c.metric_id == number, c.resolution_s == resolution_s, c.until_ns < before_ns)
                .order_by(c.until_ns)
                .limit(_MERGED)
            ).all()
            metric = metrics(connection, [number]).get(number)
            if metric is not None:
                parts: list[Rows] = []
                marks: list[Marked] = []
                for _, content in found:
                    rows, some = load_block(content, metric.buckets)
                    parts.append(coarser(rows, kind=metric.kind, resolution_s=into_s))
                    marks += some
                whole = coarser(joined(parts, metric.buckets), kind=metric.kind, resolution_s=into_s)
                for rows in split(whole, stretch_s):
                    low, high = int(rows.times.min()), int(rows.times.max())
                    _write_block(connection, metric, into_s, rows, [mark for mark in marks if low <= mark[1] <= high])
            connection.execute(delete(table).where(c.id.in_([block for block, _ in found])))
            return len(found)

    # --- gone ---------------------------------------------------------------------------------------------------------------

    def _forget(self, before_ns: int) -> int:
        from sqlalchemy import delete, or_, select

        from proftool.store.schema import metrics as metric_table
        from proftool.store.schema import point_blocks, series

        old = (point_blocks.c.resolution_s.in_((RAW, FINE_S, COARSE_S)), point_blocks.c.until_ns < before_ns)
        # A day more: `last_ns` is brought up once a day.
        silent = series.c.last_ns < before_ns - DAY_S * NS_PER_S
        with self._database.reading() as connection:
            if connection is None:
                return 0
            some = (select(point_blocks.c.id).where(*old).limit(1), select(series.c.id).where(silent).limit(1))
            if all(connection.execute(one).first() is None for one in some):
                return 0
        with self._database.writing() as connection:
            gone = connection.execute(delete(point_blocks).where(*old)).rowcount
            for number in connection.execute(select(series.c.metric_id).where(silent).distinct()).scalars().all():
                ids = np.asarray(
                    connection.execute(select(series.c.id).where(silent, series.c.metric_id == number)).scalars().all(), np.int64
                )
                metric = metrics(connection, [number]).get(number)
                if metric is not None:
                    last = last_rows(connection, metric)
                    _keep_last(connection, metric, last.take(~np.isin(last.ids, ids)))
            gone += connection.execute(delete(series).where(silent)).rowcount
            left = select(series.c.metric_id).distinct()
            blocks = select(point_blocks.c.metric_id).distinct()
            gone += connection.execute(
                delete(metric_table).where(~or_(metric_table.c.id.in_(left), metric_table.c.id.in_(blocks)))
            ).rowcount
            return gone


def _fold_metric(connection: Connection, metric: Metric, parts: Sequence[Rows], marks: Sequence[Marked]) -> None:
    last = last_rows(connection, metric)
    new = joined(parts, metric.buckets)
    added, newest = increases(last, new, kind=metric.kind, from_zero=from_zero(connection, last, new))
    _keep_last(connection, metric, newest)
    _bring_up(connection, last, newest)
    if len(added):
        _write_block(connection, metric, RAW, added, marks)


def _write_block(connection: Connection, metric: Metric, resolution_s: int, rows: Rows, marks: Sequence[Marked]) -> None:
    from sqlalchemy import insert

    from proftool.store.schema import point_blocks

    times = rows.times
    row = {"metric_id": metric.id, "resolution_s": resolution_s, "from_ns": int(times.min()), "until_ns": int(times.max())}
    connection.execute(insert(point_blocks), [row | {"content": dump_block(rows, marks)}])


def _keep_last(connection: Connection, metric: Metric, last: Rows) -> None:
    from sqlalchemy import update

    from proftool.store.schema import metrics as table

    connection.execute(update(table).where(table.c.id == metric.id).values(last=pack(last)))


def _bring_up(connection: Connection, last: Rows, newest: Rows) -> None:
    """Note the day on which a series was seen last, once a day."""
    from sqlalchemy import bindparam, update

    from proftool.store.schema import series

    day = DAY_S * NS_PER_S
    at = np.searchsorted(newest.ids, last.ids)
    moved = newest.times[at] // day != last.times // day
    if moved.any():
        change = update(series).where(series.c.id == bindparam("of")).values(last_ns=bindparam("at_ns"))
        pairs = zip(last.ids[moved].tolist(), newest.times[at][moved].tolist(), strict=True)
        connection.execute(change, [{"of": one, "at_ns": time_ns} for one, time_ns in pairs])


def _is_due(connection: Connection, now_ns: int) -> bool:
    from sqlalchemy import func, select

    from proftool.store.schema import point_batches as table

    count, points, oldest = connection.execute(select(func.count(), func.sum(table.c.points), func.min(table.c.until_ns))).one()
    return bool(count) and (oldest <= now_ns - FOLD_S * NS_PER_S or points >= FOLD_POINTS or count >= FOLD_BATCHES)


def _some_waiting(connection: Connection) -> dict[int, bytes]:
    """The oldest batches, so many that a fold fits into memory."""
    from sqlalchemy import select

    from proftool.store.schema import point_batches as table

    points, last = 0, -1
    for number, some in connection.execute(select(table.c.id, table.c.points).order_by(table.c.id).limit(FOLD_BATCHES)):
        points += some
        last = number
        if points >= FOLD_POINTS:
            break
    return waiting(connection, until=last)


def _floor(time_ns: int, stretch_s: int) -> int:
    return time_ns // (stretch_s * NS_PER_S) * (stretch_s * NS_PER_S)


# --- what asking shares with ageing -----------------------------------------------------------------------------------------


def waiting(connection: Connection, services: Sequence[str] | None = None, until: int | None = None) -> dict[int, bytes]:
    """Batches that are not folded, in the order that they came: of some services, up to some number, or all."""
    from sqlalchemy import select

    from proftool.store.schema import point_batches as table

    asked = select(table.c.id, table.c.content).order_by(table.c.id)
    if until is not None:
        asked = asked.where(table.c.id <= until)
    if services is not None:
        asked = asked.where(table.c.service.in_(services))
    return {row.id: row.content for row in connection.execute(asked)}


def metrics(connection: Connection, numbers: Sequence[int]) -> dict[int, Metric]:
    """Those metrics, by their numbers."""
    import json

    from sqlalchemy import select

    from proftool.store.schema import metrics as table

    found: dict[int, Metric] = {}
    for some in in_parts(numbers):
        asked = select(table.c.id, table.c.kind, table.c.edges).where(table.c.id.in_(some))
        found.update((number, Metric(number, kind, tuple(json.loads(edges)))) for number, kind, edges in connection.execute(asked))
    return found


def from_zero(connection: Connection, last: Rows, new: Rows) -> Int64s:
    """Of the series that have no row yet those that have counted from zero."""
    from sqlalchemy import select

    from proftool.store.schema import series as table

    found: list[int] = []
    for some in in_parts(np.setdiff1d(new.ids, last.ids).tolist()):
        asked = select(table.c.id).where(table.c.id.in_(some), table.c.from_zero.is_(True))
        found += connection.execute(asked).scalars()
    return np.asarray(found, np.int64)


def last_rows(connection: Connection, metric: Metric) -> Rows:
    """The last row of every series, as it was folded."""
    from sqlalchemy import select

    from proftool.store.schema import metrics as table

    content = connection.execute(select(table.c.last).where(table.c.id == metric.id)).scalar()
    return unpack(content, metric.buckets) if content else empty(metric.buckets)
