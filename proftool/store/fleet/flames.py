"""What the engine has added up, as one profile: a row a stack, with its frames from the dictionary.

Whole hours come from the hourly sums and the rest from the facts themselves, so that a week costs what a day does; both ways give
the same numbers. A time before the facts begin is rounded outward to whole hours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from proftool.formats.stacks import stack_tree
from proftool.model.builder import ProfileBuilder, finish, sum_cells
from proftool.model.meta import Meta, Pass
from proftool.model.profile import (
    ALLOCATED_BYTES,
    ALLOCATIONS,
    CPU_TIME,
    PREEMPTED_TIME,
    SAMPLES,
    WAITING_TIME,
    WALL_TIME,
    Category,
    Cells,
    Identified,
    Kind,
    Metric,
    Nodes,
    Profile,
)
from proftool.store.fleet.engine import Engine, Parameter
from proftool.store.fleet.schema import NS_PER_DAY, NS_PER_HOUR

MAX_STACKS = 100_000
"""Of one answer, largest first; what lies beyond is one stack, `(others)`, and its value is told."""
_CHUNK = 8000
"""Ids in one question: 170 kB of the 256 kB that the engine parses."""
_METRICS = {m.name: m for m in (WALL_TIME, WAITING_TIME, SAMPLES, CPU_TIME, PREEMPTED_TIME, ALLOCATED_BYTES, ALLOCATIONS)}
"""Types that can be told; in this order in a profile, so that time comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlameQuery:
    """Which facts; every field narrows."""

    service: str
    since_ns: int
    until_ns: int
    version: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True)
class _Parts:
    """A stretch of time as the hours that are whole in it, [first, last), and what is left at both ends, ns."""

    first_hour: int
    last_hour: int
    edges: tuple[tuple[int, int], ...]


def parts(since_ns: int, until_ns: int, raw_since_ns: int) -> _Parts:
    """Take a stretch apart; where facts are gone already, whole hours stand for it."""
    first, last = -(-since_ns // NS_PER_HOUR), until_ns // NS_PER_HOUR
    if since_ns < raw_since_ns:
        first = since_ns // NS_PER_HOUR
    if until_ns < raw_since_ns:
        last = -(-until_ns // NS_PER_HOUR)
    if first >= last:
        return _Parts(0, 0, ((since_ns, until_ns),))
    edges = ((since_ns, first * NS_PER_HOUR), (last * NS_PER_HOUR, until_ns))
    return _Parts(first, last, tuple((a, b) for a, b in edges if a < b))


class Flames:
    """Reads profiles out of an engine."""

    def __init__(self, engine: Engine, *, max_stacks: int = MAX_STACKS) -> None:
        self._engine, self._max_stacks = engine, max_stacks

    def flame(self, query: FlameQuery, *, now_ns: int, raw_days: int) -> Profile | None:
        """All of it as one profile; None where nothing was observed."""
        stretch = parts(query.since_ns, query.until_ns, now_ns - raw_days * NS_PER_DAY)
        observed = self._observed(query, stretch)
        if observed is None:
            return None
        source, given = self._facts(query, stretch)
        return self._profile(query, source, given, observed)

    def by_process(self, query: FlameQuery, groups: int, *, now_ns: int, raw_days: int) -> list[Profile]:
        """
        One profile for each group of processes, the groups of equal size by a hash: what repeats under one version.

        Facts alone know processes: a stretch that begins before they do is one profile.
        """
        whole = self.flame(query, now_ns=now_ns, raw_days=raw_days)
        if whole is None or query.since_ns < now_ns - raw_days * NS_PER_DAY:
            return [] if whole is None else [whole]
        stretch = _Parts(0, 0, ((query.since_ns, query.until_ns),))
        where, given = _where(query)
        time, at = _between("time_ns", stretch.edges)
        table = f"`{self._engine.database}`.observations"
        (processes,) = self._engine.ask(
            f"SELECT DISTINCT (host, pid) FROM {table} WHERE {where} AND ({time}) ORDER BY 1", {**given, **at}
        ) or ([],)
        found = [cast(tuple[str, int], one) for one in processes]
        groups = min(groups, len(found))
        if groups < 2:
            return [whole]
        profiles: list[Profile] = []
        for group in range(groups):
            some = found[group::groups]
            own, given = self._facts(query, stretch, some)
            observed = self._observed(query, stretch, some)
            made = None if observed is None else self._profile(query, own, given, observed)
            if made is not None:
                profiles.append(made)
        return profiles

    # --- questions --------------------------------------------------------------------------------------------------------

    def _facts(
        self, query: FlameQuery, stretch: _Parts, processes: Sequence[tuple[str, int]] | None = None
    ) -> tuple[str, dict[str, Parameter]]:
        """A subquery of (type, stack, value), and its parameters."""
        where, given = _where(query)
        if query.route is not None:
            where += " AND route = {route:String}"
            given["route"] = query.route
        at = f"`{self._engine.database}`"
        reads: list[str] = []
        if stretch.edges:
            time, times = _between("time_ns", stretch.edges)
            given |= times
            own = where
            if processes is not None:
                own += f" AND {_of(processes)}"
            reads.append(f"SELECT type, stack, value FROM {at}.samples WHERE {own} AND ({time})")
        if stretch.first_hour < stretch.last_hour:
            given |= {"first": stretch.first_hour, "last": stretch.last_hour}
            reads.append(
                f"SELECT type, stack, value FROM {at}.sample_hours WHERE {where} AND hour >= {{first:UInt32}} AND hour < {{last:UInt32}}"
            )
        return " UNION ALL ".join(reads), given

    def _observed(self, query: FlameQuery, stretch: _Parts, processes: Sequence[tuple[str, int]] | None = None) -> dict[str, object] | None:
        where, given = _where(query)
        at = f"`{self._engine.database}`"
        columns = "host, pid, backend, python, rate_asked_hz, duration_ns, samples, missed, overhead_ns, lost"
        reads: list[str] = []
        if stretch.edges:
            time, times = _between("time_ns", stretch.edges)
            given |= times
            own = where if processes is None else f"{where} AND {_of(processes)}"
            reads.append(f"SELECT toInt64(1) AS slices, time_ns, {columns} FROM {at}.observations WHERE {own} AND ({time})")
        if stretch.first_hour < stretch.last_hour:
            given |= {"first": stretch.first_hour, "last": stretch.last_hour}
            reads.append(
                f"SELECT slices, toInt64(hour) * {NS_PER_HOUR} AS time_ns, {columns} FROM {at}.observation_hours "
                f"WHERE {where} AND hour >= {{first:UInt32}} AND hour < {{last:UInt32}}"
            )
        told = {
            "slices": "sum(slices)", "started_ns": "min(time_ns)", "duration_ns": "sum(duration_ns)", "samples": "sum(samples)",
            "missed": "sum(missed)", "overhead_ns": "sum(overhead_ns)", "lost": "sum(lost)", "hosts": "groupUniqArray(100)(host)",
            "processes": "uniqExact(host, pid)", "pythons": "groupUniqArray(10)(python)", "backends": "groupUniqArray(10)(backend)",
            "rates": "groupUniqArray(10)(rate_asked_hz)",
        }  # fmt: skip
        answer = self._engine.ask(f"SELECT {', '.join(told.values())} FROM ({' UNION ALL '.join(reads)})", given)
        row = dict(zip(told, (column[0] for column in answer), strict=True))
        return row if row["slices"] else None

    # --- one profile ------------------------------------------------------------------------------------------------------

    def _profile(self, query: FlameQuery, source: str, given: Mapping[str, Parameter], observed: Mapping[str, object]) -> Profile:
        types, totals = self._engine.ask(f"SELECT type, sum(value) FROM ({source}) GROUP BY type", given) or ([], [])
        total = dict(zip(cast(Sequence[str], types), cast(Sequence[int], totals), strict=True))
        metrics = [replace(metric, mode="sample") for name, metric in _METRICS.items() if name in total]
        builder = ProfileBuilder(metrics)
        builder.lane(process_name=query.service, is_main=True)
        notes: list[str] = []
        values, frames = self._stacks(query, source, given, metrics)
        labels, lengths, unknown = self._labels(query.service, frames, builder)
        rest = np.array([total[metric.name] for metric in metrics], np.int64) - values.sum(axis=0)
        if rest.any():
            notes.append(f"only the {self._max_stacks:,} largest stacks stand apart, the others are one")
            other = builder.frame(builder.function("(others)", kind=Kind.SYNTHETIC))
            labels, lengths = np.append(labels, np.int32(other)), np.append(lengths, 1)
            values = np.vstack([values, rest])
        if unknown:
            notes.append(f"{unknown:,} stacks are in no dictionary any more, or not yet: they stand as `(unknown stack)`")
        base = builder.build(_meta(observed, notes))
        if not len(lengths):
            return base
        parent, frame, leaf = stack_tree(labels, lengths, "fleet", Path(query.service))
        n_metrics = len(metrics)
        cells = Cells(
            node=np.repeat(leaf, n_metrics),
            lane=np.zeros(len(leaf) * n_metrics, np.int32),
            metric=np.tile(np.arange(n_metrics, dtype=np.int32), len(leaf)),
            value=values.reshape(-1),
        )
        return finish(replace(base, nodes=Nodes(parent=parent, frame=frame), cells=sum_cells(cells)))

    def _stacks(
        self, query: FlameQuery, source: str, given: Mapping[str, Parameter], metrics: Sequence[Metric]
    ) -> tuple[NDArray[np.int64], Sequence[Sequence[int]]]:
        """Values of every stack, shape (n_stacks, n_metrics), and its frames' ids, outermost first."""
        if not metrics:
            return np.zeros((0, 0), np.int64), []
        sums = ", ".join(f"sumIf(value, type = {{type{at}:String}}) AS v{at}" for at in range(len(metrics)))
        names: dict[str, Parameter] = {f"type{at}": metric.name for at, metric in enumerate(metrics)}
        answer = self._engine.ask(
            f"SELECT {', '.join(f'v{at}' for at in range(len(metrics)))}, frames FROM "
            f"(SELECT stack, {sums} FROM ({source}) GROUP BY stack ORDER BY v0 DESC, stack LIMIT {self._max_stacks}) AS sums "
            f"LEFT ANY JOIN (SELECT id, frames FROM `{self._engine.database}`.stacks WHERE service = {{service:String}}) AS known "
            "ON sums.stack = known.id",
            {**given, **names},
        )
        if not answer or not len(answer[0]):
            return np.zeros((0, len(metrics)), np.int64), []
        columns = [np.array(column, np.int64) for column in answer[:-1]]
        return np.stack(columns, axis=1), cast(Sequence[Sequence[int]], answer[-1])

    def _labels(
        self, service: str, stacks: Sequence[Sequence[int]], builder: ProfileBuilder
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], int]:
        """Rows of frames of all stacks, one behind the other, how many each has, and how many stacks nobody knows."""
        lengths = np.fromiter(map(len, stacks), np.int64, len(stacks))
        ids = np.fromiter(chain.from_iterable(stacks), np.uint64, int(lengths.sum()))
        different, which = np.unique(ids, return_inverse=True)
        rows = np.full(len(different) + 1, -1, np.int32)
        for start in range(0, len(different), _CHUNK):
            for id, row in self._frames(service, different[start : start + _CHUNK], builder):
                rows[np.searchsorted(different, np.uint64(id))] = row
        unknown = (
            builder.frame(builder.function("(unknown stack)", kind=Kind.SYNTHETIC)) if (rows[:-1] < 0).any() or (lengths == 0).any() else 0
        )
        rows[rows < 0] = unknown
        labels = rows[which]
        empty = np.flatnonzero(lengths == 0)
        if len(empty):
            labels = np.insert(labels, (np.cumsum(lengths) - lengths)[empty], np.int32(unknown))
            lengths = np.maximum(lengths, 1)
        return labels.astype(np.int32), lengths, len(empty)

    def _frames(self, service: str, ids: NDArray[np.uint64], builder: ProfileBuilder) -> list[tuple[int, int]]:
        """(id, row in the builder) of the frames that the dictionary knows."""
        names = ("id", "name", "qualname", "module", "file", "first_line", "code_hash", "identified", "kind", "category", "line")
        answer = self._engine.ask(
            f"SELECT {', '.join(names)} FROM `{self._engine.database}`.frames WHERE service = {{service:String}} "
            f"AND id IN ({','.join(map(str, ids.tolist()))}) ORDER BY id, seen_day DESC LIMIT 1 BY id",
            {"service": service},
        )
        found: list[tuple[int, int]] = []
        for id, name, qualname, module, file, first_line, code_hash, identified, kind, category, line in zip(*answer, strict=True):
            function = builder.function(
                str(qualname), name=str(name), module=str(module), file=str(file), first_line=cast(int, first_line),
                code_hash=str(code_hash), identified=Identified(cast(int, identified)), kind=Kind(cast(int, kind)),
                category=Category(cast(int, category)),
            )  # fmt: skip
            found.append((cast(int, id), builder.frame(function, cast(int, line))))
        return found


def _where(query: FlameQuery) -> tuple[str, dict[str, Parameter]]:
    given: dict[str, Parameter] = {"service": query.service}
    where = "service = {service:String}"
    if query.version is not None:
        where += " AND version = {version:String}"
        given["version"] = query.version
    return where, given


def _between(column: str, spans: Sequence[tuple[int, int]]) -> tuple[str, dict[str, Parameter]]:
    terms = [f"{column} >= {{since{at}:Int64}} AND {column} < {{until{at}:Int64}}" for at in range(len(spans))]
    given: dict[str, Parameter] = {}
    for at, (since, until) in enumerate(spans):
        given |= {f"since{at}": since, f"until{at}": until}
    return " OR ".join(terms), given


def _of(processes: Sequence[tuple[str, int]]) -> str:
    """Which of all processes, as a condition; names of hosts are escaped, numbers are numbers."""
    told = ", ".join("('{}', {})".format(host.replace("\\", "\\\\").replace("'", "\\'"), int(pid)) for host, pid in processes)
    return f"(host, pid) IN ({told})"


def _meta(observed: Mapping[str, object], notes: Sequence[str]) -> Meta:
    numbers = {
        name: cast(int, observed[name]) for name in ("slices", "started_ns", "duration_ns", "samples", "missed", "overhead_ns", "lost")
    }
    hosts, pythons, backends = (cast(list[str], observed[name]) for name in ("hosts", "pythons", "backends"))
    rates = cast(list[float], observed["rates"])
    processes = cast(int, observed["processes"])
    of = f"{_counted(processes, 'process', 'processes')} on {_counted(len(hosts), 'host', 'hosts')}"
    told = [f"{_counted(numbers['slices'], 'slice', 'slices')} of {of} as one; its time is that of all of them together"]
    if numbers["lost"]:
        told.append(f"{numbers['lost']:,} slices more were lost on the way to the fleet")
    seconds = numbers["duration_ns"] / 1e9
    one = Pass(
        mode="sample",
        backend=backends[0] if len(backends) == 1 else "several",
        clock="wall",
        rate_asked_hz=rates[0] if len(rates) == 1 and rates[0] else None,
        rate_achieved_hz=None,
        samples=numbers["samples"],
        missed=numbers["missed"],
        overhead_ns=numbers["overhead_ns"] or None,
        started_ns=numbers["started_ns"],
        duration_ns=numbers["duration_ns"] if seconds > 0 else None,
        attached=True,
        notes=(*told, *notes),
    )
    return Meta(
        passes=(one,),
        python=pythons[0] if len(pythons) == 1 and pythons[0] else None,
        host=hosts[0] if len(hosts) == 1 and hosts[0] else None,
    )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
