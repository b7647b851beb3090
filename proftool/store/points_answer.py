"""What a question about points is answered with: rows of blocks and of batches that are not folded yet, added up by steps.

Memory is that of the answer (series × steps × buckets) and of one block, however long the time; an answer beyond `MAX_VALUES` is
refused. Times are binned as they are: a step that is shorter than the rows are apart has nothing, and the next one has all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from proftool.contracts_telemetry import Exemplar, Labels, PointQuery, Series
from proftool.errors import UsageError
from proftool.store.points_ageing import Metric, from_zero, last_rows, waiting
from proftool.store.points_columns import Bools, Float64s, Int64s, Marked, Rows, Section, increases, joined, load_batch, load_block
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_VALUES = 20_000_000
"""Of an answer: 160 MB."""
MAX_EXEMPLARS = 200
"""Of a series, the newest."""
HELD_NS = 150 * NS_PER_S
"""A gauge stands so long after its last reading, or as long as its rows are apart: exporters send once a minute."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The series of a metric that were asked for: numbers, sorted, and which line of the answer each belongs to."""

    ids: Int64s
    line: Int64s
    lines: Sequence[Labels]


def answer(connection: Connection, query: PointQuery) -> Sequence[Series]:
    """The series of every metric that fits, each a line over its processes."""
    found: list[Series] = []
    batches: dict[str, list[Section]] = {}
    for service, name, unit, metric in _metrics(connection, query):
        wanted = _wanted(connection, metric, query)
        if not len(wanted.ids):
            continue
        if service not in batches:
            batches[service] = [section for content in waiting(connection, [service]).values() for section in load_batch(content)]
        lines = _Lines(metric, wanted, query)
        for rows, marks in _rows(connection, metric, wanted, lines.since_ns, query.until_ns, batches[service]):
            lines.add(rows, marks)
        found += lines.series(service, name, unit)
    return found


def _metrics(connection: Connection, query: PointQuery) -> list[tuple[str, str, str, Metric]]:
    from sqlalchemy import select

    from proftool.store.schema import metrics as table

    c = table.c
    asked = select(c.service, c.name, c.unit, c.id, c.kind, c.edges).order_by(c.service, c.name, c.id)
    if query.service is not None:
        asked = asked.where(c.service == query.service)
    if query.name is not None:
        asked = asked.where(c.name == query.name)
    return [(s, n, u, Metric(number, kind, tuple(json.loads(edges)))) for s, n, u, number, kind, edges in connection.execute(asked)]


def _wanted(connection: Connection, metric: Metric, query: PointQuery) -> _Wanted:
    from sqlalchemy import select

    from proftool.store.schema import series as table

    asked = select(table.c.id, table.c.labels).where(table.c.metric_id == metric.id).order_by(table.c.id)
    ids: list[int] = []
    line: list[int] = []
    lines: dict[Labels, int] = {}
    parsed: dict[str, Labels] = {}
    for number, text in connection.execute(asked):
        own = parsed.get(text)
        if own is None:
            own = parsed[text] = tuple((name, value) for name, value in json.loads(text))
        if all(pair in own for pair in query.labels):
            ids.append(number)
            kept = own if query.by is None else tuple(pair for pair in own if pair[0] in query.by)
            line.append(lines.setdefault(kept, len(lines)))
    return _Wanted(np.asarray(ids, np.int64), np.asarray(line, np.int64), list(lines))


def _rows(
    connection: Connection,
    metric: Metric,
    wanted: _Wanted,
    since_ns: int,
    until_ns: int,
    batches: Sequence[Section],
) -> Iterator[tuple[Rows, list[Marked]]]:
    """Blocks one by one, then what is not folded yet."""
    from sqlalchemy import select

    from proftool.store.schema import point_blocks as table

    c = table.c
    asked = select(c.content).where(c.metric_id == metric.id, c.until_ns >= since_ns, c.from_ns < until_ns).order_by(c.from_ns)
    for content in connection.execute(asked).scalars():
        yield load_block(content, metric.buckets)
    own = [section for section in batches if section.metric == metric.id]
    if own:
        last = last_rows(connection, metric)
        new = joined([section.load() for section in own], metric.buckets)
        new = new.take(np.isin(new.ids, wanted.ids))
        added, _ = increases(last, new, kind=metric.kind, from_zero=from_zero(connection, last, new))
        yield added, [mark for section in own for mark in section.marks]


class _Lines:
    """The answer as it grows."""

    def __init__(self, metric: Metric, wanted: _Wanted, query: PointQuery) -> None:
        self._metric, self._wanted, self._query = metric, wanted, query
        self.steps = -(-max(query.until_ns - query.since_ns, 0) // query.step_ns)
        self._is_gauge = metric.kind == "gauge"
        # Gauges are kept by series until all readings are known; a sum of processes has no single time.
        n = len(wanted.ids) if self._is_gauge else len(wanted.lines)
        self._hold = -(-HELD_NS // query.step_ns) if self._is_gauge else 0
        width = self.steps + self._hold
        size = n * width * max(metric.buckets, 1)
        if size > MAX_VALUES:
            raise UsageError(
                "the answer is too large",
                cause=f"{len(wanted.lines):,} series of {width:,} steps make {size:,} values",
                fix="ask for fewer series by their labels, or for longer steps",
            )
        self._before = self._hold * query.step_ns
        self.since_ns = query.since_ns - self._before
        self._values: Float64s = np.zeros((n, width))
        self._times: Int64s = np.full((n, width), -1, np.int64)
        self._counts: Int64s = np.zeros((n, width, metric.buckets), np.int64)
        self._marks: dict[int, set[Exemplar]] = {}

    def add(self, rows: Rows, marks: Sequence[Marked]) -> None:
        """Take in the rows that belong to the answer."""
        ids, query = self._wanted.ids, self._query
        at = np.minimum(np.searchsorted(ids, rows.ids), len(ids) - 1)
        fits: Bools = (ids[at] == rows.ids) & (rows.times >= self.since_ns) & (rows.times < query.until_ns)
        some, place = (rows, at) if fits.all() else (rows.take(fits), at[fits])
        step = (some.times - self.since_ns) // query.step_ns
        if self._is_gauge:
            later = some.times > self._times[place, step]
            # Rows are sorted by time: of those of one place the last one stands.
            self._values[place[later], step[later]] = some.values[later]
            self._times[place[later], step[later]] = some.times[later]
        else:
            self._add_up(some, self._wanted.line[place] * self._values.shape[1] + step)
        lines = dict(zip(ids.tolist(), self._wanted.line.tolist(), strict=True)) if marks else {}
        for number, time_ns, trace_id, span_id, value in marks:
            if number in lines and query.since_ns <= time_ns < query.until_ns:
                self._marks.setdefault(lines[number], set()).add(Exemplar(time_ns, trace_id, span_id, value))

    def _add_up(self, some: Rows, cell: Int64s) -> None:
        """Rows into their cells (line × steps + step).

        Rows are sorted by series and time, so that those of a series and a step stand together and are added up where they stand;
        only the sums are put in order of their cells.
        """
        if not len(cell):
            return
        begins: Int64s = np.flatnonzero(np.diff(cell, prepend=-1))
        cell = cell[begins]
        values, times = np.add.reduceat(some.values, begins), np.maximum.reduceat(some.times, begins)
        counts = np.add.reduceat(some.counts, begins, axis=0) if len(begins) < len(some) else some.counts
        order: Int64s = np.argsort(cell, kind="stable")
        cell = cell[order]
        begins = np.flatnonzero(np.diff(cell, prepend=-1))
        own = cell[begins]
        self._values.reshape(-1)[own] += np.add.reduceat(values[order], begins)
        latest = self._times.reshape(-1)
        latest[own] = np.maximum(latest[own], np.maximum.reduceat(times[order], begins))
        if self._metric.buckets:
            self._counts.reshape(-1, self._metric.buckets)[own] += np.add.reduceat(counts[order], begins, axis=0)

    def series(self, service: str, name: str, unit: str) -> list[Series]:
        """Lines of which something is known."""
        values, known = self._lines()
        query, metric = self._query, self._metric
        times = tuple(min(query.since_ns + (step + 1) * query.step_ns, query.until_ns) for step in range(self.steps))
        found: list[Series] = []
        for line, labels in enumerate(self._wanted.lines):
            if not known[line].any():
                continue
            has, own = known[line].tolist(), values[line].tolist()
            counts: tuple[tuple[int, ...] | None, ...] = (None,) * self.steps
            if metric.buckets:
                counts = tuple(tuple(row) if one else None for row, one in zip(self._counts[line].tolist(), has, strict=True))
            found.append(
                Series(
                    service=service, name=name, kind=metric.kind, unit=unit, labels=labels, edges=metric.edges, times_ns=times,
                    values=tuple(value if one else None for value, one in zip(own, has, strict=True)),
                    counts=counts,
                    exemplars=tuple(sorted(self._marks.get(line, ()))[-MAX_EXEMPLARS:]),
                )
            )  # fmt: skip
        return found

    def _lines(self) -> tuple[Float64s, Bools]:
        if not self._is_gauge:
            return self._values, self._times >= 0
        width = self.steps + self._hold
        step: Int64s = np.arange(width, dtype=np.int64)
        seen: Int64s = np.maximum.accumulate(np.where(self._times >= 0, step, -1), axis=1)
        known: Bools = (seen >= 0) & (step - seen <= self._hold)
        held = np.where(known, np.take_along_axis(self._values, np.maximum(seen, 0), axis=1), 0.0)
        n = len(self._wanted.lines)
        values, some = np.zeros((n, width)), np.zeros((n, width), bool)
        np.add.at(values, self._wanted.line, held)
        np.logical_or.at(some, self._wanted.line, known)
        return values[:, self._hold :], some[:, self._hold :]
