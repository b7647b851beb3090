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
    ints,
)
from proftool.store.fleet.engine import Engine, Parameter
from proftool.store.fleet.schema import NS_PER_DAY, NS_PER_HOUR

MAX_STACKS = 100_000
"""Of one answer, largest first; what lies beyond is one stack, `(others)`, and its value is told."""
_CHUNK = 8000
"""Ids in one question: 170 kB of the 256 kB that the engine parses."""
_PROCESS = "cityHash64(host, pid)"
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
        return next(iter(self._read(query, stretch, "toUInt8(0)", 1)), None)

    def by_process(self, query: FlameQuery, groups: int, *, now_ns: int, raw_days: int) -> list[Profile]:
        """
        One profile for each group of processes, the groups of equal size: what repeats under one version.

        Facts alone know processes: a stretch that begins before they do is one profile, and so is a single process.
        """
        stretch = _Parts(0, 0, ((query.since_ns, query.until_ns),))
        where, given = _where(query)
        time, times = _between("time_ns", stretch.edges)
        (hashes,) = self._engine.ask(
            f"SELECT DISTINCT {_PROCESS} AS process FROM `{self._engine.database}`.observations WHERE {where} AND ({time}) "
            f"ORDER BY process LIMIT {_CHUNK}",
            1,
            {**given, **times},
        )
        groups = min(groups, len(hashes))
        if groups < 2 or query.since_ns < now_ns - raw_days * NS_PER_DAY:
            whole = self.flame(query, now_ns=now_ns, raw_days=raw_days)
            return [] if whole is None else [whole]
        known, places = ",".join(map(str, hashes)), ",".join(str(at % groups) for at in range(len(hashes)))
        # What lies beyond the list goes by its hash: of so many the groups are as good as equal.
        return self._read(query, stretch, f"toUInt8(transform({_PROCESS}, [{known}], [{places}], {_PROCESS} % {groups}))", groups)

    # --- questions --------------------------------------------------------------------------------------------------------

    def _facts(self, query: FlameQuery, stretch: _Parts, group: str) -> tuple[str, dict[str, Parameter]]:
        """A subquery of (place, type, stack, value), and its parameters; `group` is an expression for the place."""
        where, given = _where(query)
        if query.route is not None:
            where += " AND route = {route:String}"
            given["route"] = query.route
        at = f"`{self._engine.database}`"
        reads: list[str] = []
        if stretch.edges:
            time, times = _between("time_ns", stretch.edges)
            given |= times
            reads.append(f"SELECT {group} AS place, type, stack, value FROM {at}.samples WHERE {where} AND ({time})")
        if stretch.first_hour < stretch.last_hour:
            given |= {"first": stretch.first_hour, "last": stretch.last_hour}
            hours = "hour >= {first:UInt32} AND hour < {last:UInt32}"
            reads.append(f"SELECT {group} AS place, type, stack, value FROM {at}.sample_hours WHERE {where} AND {hours}")
        return " UNION ALL ".join(reads), given

    def _observed(self, query: FlameQuery, stretch: _Parts, group: str) -> dict[int, dict[str, object]]:
        """What was observed in each group; groups without an observation are not in it."""
        where, given = _where(query)
        at = f"`{self._engine.database}`"
        columns = f"{group} AS place, host, pid, backend, python, rate_asked_hz, duration_ns, looks, samples, missed, overhead_ns, lost"
        reads: list[str] = []
        if stretch.edges:
            time, times = _between("time_ns", stretch.edges)
            given |= times
            reads.append(f"SELECT toInt64(1) AS slices, time_ns, {columns} FROM {at}.observations WHERE {where} AND ({time})")
        if stretch.first_hour < stretch.last_hour:
            given |= {"first": stretch.first_hour, "last": stretch.last_hour}
            hours = "hour >= {first:UInt32} AND hour < {last:UInt32}"
            start = f"toInt64(hour) * {NS_PER_HOUR} AS time_ns"
            reads.append(f"SELECT slices, {start}, {columns} FROM {at}.observation_hours WHERE {where} AND {hours}")
        told = {
            "place": "place", "slices": "sum(slices)", "started_ns": "min(time_ns)", "duration_ns": "sum(duration_ns)",
            "looks": "sum(looks)", "samples": "sum(samples)", "missed": "sum(missed)", "overhead_ns": "sum(overhead_ns)",
            "lost": "sum(lost)",
            "hosts": "groupUniqArray(100)(host)", "processes": "uniqExact(host, pid)", "pythons": "groupUniqArray(10)(python)",
            "backends": "groupUniqArray(10)(backend)", "rates": "groupUniqArray(10)(rate_asked_hz)",
        }  # fmt: skip
        answer = self._engine.ask(f"SELECT {', '.join(told.values())} FROM ({' UNION ALL '.join(reads)}) GROUP BY place", len(told), given)
        rows = [dict(zip(told, row, strict=True)) for row in zip(*answer, strict=True)]
        return {cast(int, row["place"]): row for row in rows}

    # --- profiles ---------------------------------------------------------------------------------------------------------

    def _read(self, query: FlameQuery, stretch: _Parts, group: str, n_groups: int) -> list[Profile]:
        """A profile for each group that was observed; all have the same tree."""
        observed = self._observed(query, stretch, group)
        if not observed:
            return []
        source, given = self._facts(query, stretch, group)
        total = np.zeros((n_groups, len(_METRICS)), np.int64)
        answer = self._engine.ask(f"SELECT place, type, sum(value) FROM ({source}) GROUP BY place, type", 3, given)
        for place, type, value in zip(*answer, strict=True):
            if type in _METRICS:
                total[cast(int, place), list(_METRICS).index(str(type))] = cast(int, value)
        used = np.flatnonzero((total != 0).any(axis=0))
        known = tuple(_METRICS.values())
        metrics = [replace(known[at], mode="sample") for at in ints(used)]
        builder = ProfileBuilder(metrics)
        builder.lane(process_name=query.service, is_main=True)
        notes: list[str] = []
        values, stacks = self._stacks(source, given, metrics, n_groups)
        labels, lengths, unknown = self._labels(query.service, stacks, builder)
        rest = total[:, used] - values.sum(axis=0)
        if rest.any():
            notes.append(f"only the {self._max_stacks:,} largest stacks stand apart, the others are one")
            other = builder.frame(builder.function("(others)", kind=Kind.SYNTHETIC))
            labels, lengths = np.append(labels, np.int32(other)), np.append(lengths, 1)
            values = np.concatenate([values, rest[None]])
        if unknown:
            told = _counted(unknown, "stack is", "stacks are")
            notes.append(f"{told} in no dictionary any more, or not yet, and seen as `(unknown stack)`")
        base, leaf = builder.build(), np.zeros(0, np.int32)
        if len(lengths):
            parent, frame, leaf = stack_tree(labels, lengths, "fleet", Path(query.service))
            base = finish(replace(base, nodes=Nodes(parent=parent, frame=frame)))
        profiles: list[Profile] = []
        for place in sorted(observed):
            cells = Cells(
                node=np.repeat(leaf, len(metrics)),
                lane=np.zeros(len(leaf) * len(metrics), np.int32),
                metric=np.tile(np.arange(len(metrics), dtype=np.int32), len(leaf)),
                value=np.ascontiguousarray(values[:, place]).reshape(-1),
            )
            profiles.append(replace(base, cells=sum_cells(cells), meta=_meta(observed[place], notes)))
        return profiles

    def _stacks(
        self, source: str, given: Mapping[str, Parameter], metrics: Sequence[Metric], n_groups: int
    ) -> tuple[NDArray[np.int64], Sequence[Sequence[int]]]:
        """Values of every stack, shape (n_stacks, n_groups, n_metrics), and its frames' ids, outermost first."""
        if not metrics:
            return np.zeros((0, n_groups, 0), np.int64), []
        names: dict[str, Parameter] = {f"type{at}": metric.name for at, metric in enumerate(metrics)}
        sums = ", ".join(f"sumIf(value, type = {{type{at}:String}}) AS v{at}" for at in range(len(metrics)))
        cells = [(place, at) for place in range(n_groups) for at in range(len(metrics))]
        apart = ", ".join(f"sumIf(v{at}, place = {place}) AS v{place}_{at}" for place, at in cells)
        answer = self._engine.ask(
            f"SELECT {', '.join(f'v{place}_{at}' for place, at in cells)}, frames FROM "
            f"(SELECT stack, {apart} FROM (SELECT place, stack, {sums} FROM ({source}) GROUP BY place, stack) "
            f"GROUP BY stack ORDER BY sum(v0) DESC, stack LIMIT {self._max_stacks}) AS sums "
            f"LEFT ANY JOIN (SELECT id, frames FROM `{self._engine.database}`.stacks WHERE service = {{service:String}}) AS known "
            "ON sums.stack = known.id",
            len(cells) + 1,
            {**given, **names},
        )
        columns = [np.array(column, np.int64) for column in answer[:-1]]
        values = np.stack(columns, axis=1).reshape(-1, n_groups, len(metrics))
        return values, cast(Sequence[Sequence[int]], answer[-1])

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
            len(names),
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


def _meta(observed: Mapping[str, object], notes: Sequence[str]) -> Meta:
    counted = ("slices", "started_ns", "duration_ns", "looks", "samples", "missed", "overhead_ns", "lost")
    numbers = {name: cast(int, observed[name]) for name in counted}
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
        rate_achieved_hz=round(numbers["looks"] / seconds, 1) if numbers["looks"] and seconds > 0 else None,
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
