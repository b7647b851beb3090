"""What a question about points is answered with: rows of blocks and of batches that are not folded yet, added up by steps.

Memory is that of the answer (series × steps × buckets) and of one block, however long the time; an answer beyond `MAX_VALUES` is
refused. Times are binned as they are: a step that is shorter than the rows are apart has nothing, and the next one has all of it. Where a
question begins and ends at whole steps since the epoch, what blocks add to it is kept for the next one (points_sums.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from proftool.contracts_telemetry import Exemplar, Labels, PointQuery, Series
from proftool.errors import UsageError
from proftool.store.database import in_parts
from proftool.store.points_ageing import Metric, from_zero, last_rows, waiting
from proftool.store.points_columns import Bools, Float64s, Int64s, Marked, Rows, Section, increases, joined, load_batch, load_block
from proftool.store.points_sums import Block, Kept, Sums, sums
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


def answer(connection: Connection, query: PointQuery, kept: Kept) -> Sequence[Series]:
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
        _add_blocks(connection, lines, kept)
        if (new := _not_folded(connection, metric, wanted, batches[service])) is not None:
            lines.add(*new)
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
    for number, text in connection.execute(asked):
        own = _labels(text)
        if all(pair in own for pair in query.labels):
            ids.append(number)
            kept = own if query.by is None else tuple(pair for pair in own if pair[0] in query.by)
            line.append(lines.setdefault(kept, len(lines)))
    return _Wanted(np.asarray(ids, np.int64), np.asarray(line, np.int64), list(lines))


@lru_cache(maxsize=20_000)
def _labels(text: str) -> Labels:
    return tuple((name, value) for name, value in json.loads(text))


def _add_blocks(connection: Connection, lines: _Lines, kept: Kept) -> None:
    from sqlalchemy import func, select

    from proftool.store.schema import point_blocks as table

    c, metric = table.c, lines.metric
    those = (c.metric_id == metric.id, c.until_ns >= lines.since_ns, c.from_ns < lines.query.until_ns)
    question = lines.question()
    if question is None:
        for content in connection.execute(select(c.content).where(*those).order_by(c.from_ns)).scalars():
            lines.add(*load_block(content, metric.buckets))
        return
    asked = select(c.id, c.from_ns, c.until_ns, func.length(c.content)).where(*those)
    blocks = [Block(*row) for row in connection.execute(asked)]
    found = {block: own for block in blocks if (own := kept.get(question, block)) is not None}
    missing = {block.id: block for block in blocks if block not in found}
    for some in in_parts(list(missing)):
        for number, content in connection.execute(select(c.id, c.content).where(c.id.in_(some))):
            block = missing[number]
            found[block] = lines.sums(*load_block(content, metric.buckets))
            kept.put(question, block, found[block])
    for block in blocks:
        lines.add_sums(found[block], lines.since_ns // lines.query.step_ns)


def _not_folded(connection: Connection, metric: Metric, wanted: _Wanted, batches: Sequence[Section]) -> tuple[Rows, list[Marked]] | None:
    """What batches add; None where none has anything of the metric."""
    own = [section for section in batches if section.metric == metric.id]
    if not own:
        return None
    last = last_rows(connection, metric)
    new = joined([section.load() for section in own], metric.buckets)
    new = new.take(np.isin(new.ids, wanted.ids))
    added, _ = increases(last, new, kind=metric.kind, from_zero=from_zero(connection, last, new))
    return added, [mark for section in own for mark in section.marks]


class _Lines:
    """The answer as it grows."""

    def __init__(self, metric: Metric, wanted: _Wanted, query: PointQuery) -> None:
        self.metric, self._wanted, self.query = metric, wanted, query
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

    def question(self) -> object | None:
        """What has the same sums of a block; None where they would be of no use: gauges, and steps that begin anywhere."""
        query = self.query
        if self._is_gauge or query.since_ns % query.step_ns or query.until_ns % query.step_ns:
            return None
        shape = hashlib.sha256(self._wanted.ids.tobytes())
        shape.update(self._wanted.line.tobytes())
        return self.metric.id, query.step_ns, shape.digest()

    def add(self, rows: Rows, marks: Sequence[Marked]) -> None:
        """Take in the rows that belong to the answer."""
        ids, query = self._wanted.ids, self.query
        if not self._is_gauge:
            # Steps begin where the question does.
            inside: Bools = (rows.times >= self.since_ns) & (rows.times < query.until_ns)
            self.add_sums(self.sums(rows if inside.all() else rows.take(inside), marks, since_ns=self.since_ns))
            return
        at = np.minimum(np.searchsorted(ids, rows.ids), len(ids) - 1)
        fits: Bools = (ids[at] == rows.ids) & (rows.times >= self.since_ns) & (rows.times < query.until_ns)
        some, place = (rows, at) if fits.all() else (rows.take(fits), at[fits])
        step = (some.times - self.since_ns) // query.step_ns
        later = some.times > self._times[place, step]
        # Rows are sorted by time: of those of one place the last one stands.
        self._values[place[later], step[later]] = some.values[later]
        self._times[place[later], step[later]] = some.times[later]
        self._add_marks(self._of_lines(marks))

    def sums(self, rows: Rows, marks: Sequence[Marked], *, since_ns: int = 0) -> Sums:
        """What rows add to lines and steps, these counted from that time."""
        ids = self._wanted.ids
        at = np.minimum(np.searchsorted(ids, rows.ids), len(ids) - 1)
        fits: Bools = ids[at] == rows.ids
        some, place = (rows, at) if fits.all() else (rows.take(fits), at[fits])
        return sums(some, self._wanted.line[place], self.query.step_ns, self._of_lines(marks), since_ns)

    def add_sums(self, own: Sums, first_step: int = 0) -> None:
        """Take in what belongs to the answer, which begins with that step."""
        step = own.step - first_step
        fits: Bools = (step >= 0) & (step < self._values.shape[1])
        whole = bool(fits.all())
        cell = own.line * self._values.shape[1] + step
        values, times, counts = own.values, own.times, own.counts
        if not whole:
            cell, values, times, counts = cell[fits], values[fits], times[fits], counts[fits]
        self._values.reshape(-1)[cell] += values
        latest = self._times.reshape(-1)
        latest[cell] = np.maximum(latest[cell], times)
        if self.metric.buckets:
            self._counts.reshape(-1, self.metric.buckets)[cell] += counts
        self._add_marks(own.marks)

    def _of_lines(self, marks: Sequence[Marked]) -> list[Marked]:
        """Exemplars of the lines, with the line for the series."""
        if not marks:
            return []
        lines = dict(zip(self._wanted.ids.tolist(), self._wanted.line.tolist(), strict=True))
        return [(lines[mark[0]], *mark[1:]) for mark in marks if mark[0] in lines]

    def _add_marks(self, marks: Sequence[Marked]) -> None:
        for line, time_ns, trace_id, span_id, value in marks:
            if self.query.since_ns <= time_ns < self.query.until_ns:
                self._marks.setdefault(line, set()).add(Exemplar(time_ns, trace_id, span_id, value))

    def series(self, service: str, name: str, unit: str) -> list[Series]:
        """Lines of which something is known."""
        values, known = self._lines()
        query, metric = self.query, self.metric
        times = tuple(min(query.since_ns + (step + 1) * query.step_ns, query.until_ns) for step in range(self.steps))
        numbers = np.where(known, values, np.nan)
        counts = self._counts if metric.buckets else np.zeros((len(numbers), self.steps, 0), np.int64)
        return [
            Series(
                service=service, name=name, kind=metric.kind, unit=unit, edges=metric.edges, times_ns=times,
                labels=self._wanted.lines[line], numbers=numbers[line], grown=counts[line],
                exemplars=tuple(sorted(self._marks.get(line, ()))[-MAX_EXEMPLARS:]),
            )
            for line in np.flatnonzero(known.any(axis=1)).tolist()
        ]  # fmt: skip

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
