"""cProfile's statistics file: a marshalled dict of (file, line, name) -> (primitive calls, calls, self s, total s, callers).

It holds caller-callee pairs and no stacks, so the profile is flat, with `edges`. Totals are those that `pstats` prints. A profile with
stacks is written by adding its nodes up: calls are then its samples, and the pairs those that its stacks show.

Source: CPython's `Lib/pstats.py` and `Lib/cProfile.py`.
"""

from __future__ import annotations

import marshal
from dataclasses import replace
from pathlib import Path

import numpy as np

from proftool.errors import ReportError
from proftool.formats import marshalled
from proftool.formats.identity import Identifier, spelled
from proftool.formats.limits import MAX_VALUE, corrupt, entered, read_bytes
from proftool.formats.loss import losses
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import CALLS, ROOT, WALL_TIME, Profile, ints
from proftool.model.tree import Tree, function_self, function_total, node_function, node_self
from proftool.units import NS_PER_S, Unit

Key = tuple[str, int, str]
Row = tuple[int, int, float, float]
"""primitive calls, calls, self s, total s"""
METRICS = (replace(WALL_TIME, mode="trace"), replace(CALLS, mode="trace"))


class Pstats:
    """The format object."""

    name = "pstats"
    suffixes = (".prof", ".pstats")

    def matches(self, head: bytes) -> bool:
        """A marshalled dict whose first key is a tuple of three, or an empty one."""
        return head[:1] in (b"{", b"\xfb") and (head[1:2] in (b"\xa9", b"\xa8", b")", b"(") or head[1:] == b"0")

    def read(self, path: Path) -> Profile:
        """The statistics as a flat profile with edges."""
        try:
            told = marshalled.loads(read_bytes(path, self.name))
        except (ValueError, RecursionError) as error:
            raise corrupt(self.name, str(error), path) from error
        return entered(_read(told, path), self.name, path)

    def write(self, profile: Profile) -> bytes:
        """The pairs as they are, or added up from stacks."""
        return marshal.dumps(_edges(profile) if len(profile.edges) else _aggregated(profile))

    def lost(self, profile: Profile) -> tuple[str, ...]:
        """Everything but times and calls by pair."""
        found = losses(profile, self.name, metrics=("wall_time", "calls"), edges=False, lines=True)
        if not len(profile.edges):
            found = (
                *found,
                "pstats counts calls: the number of samples stands in for them",
                "pstats holds caller-callee pairs: stacks are lost",
            )
        return found


format = Pstats()


def _read(told: marshalled.Value, path: Path) -> Profile:
    if not isinstance(told, dict):
        raise corrupt("pstats", "it is no dict", path)
    builder = ProfileBuilder(METRICS)
    who = Identifier(None, sources=False)
    lane = builder.lane(is_main=True)
    rows: dict[Key, int] = {}

    def function(key: Key) -> int:
        if key not in rows:
            file, line, name = key
            rows[key] = who.function(builder, file=file or "~", line=None, name=name, first_line=line)
        return rows[key]

    for raw_key, raw in told.items():
        key = _key(raw_key, path)
        if not isinstance(raw, tuple) or len(raw) != 5 or not isinstance(raw[4], dict):
            raise corrupt("pstats", f"the statistics of {key} are not five values", path)
        primitive, calls, self_ns, total_ns = _numbers(raw[:4], key, path)
        callee = function(key)
        node = builder.node(ROOT, builder.frame(callee, key[1]))
        builder.add(node, lane, 0, self_ns)
        builder.add(node, lane, 1, calls)
        builder.edge(ROOT, callee, lane, calls=calls, primitive_calls=primitive, self_ns=self_ns, total_ns=total_ns)
        for raw_caller, pair in raw[4].items():
            caller = _key(raw_caller, path)
            if not isinstance(pair, tuple) or len(pair) != 4:
                raise corrupt("pstats", f"the pair {caller} -> {key} has not four values", path)
            n, n_primitive, own_ns, whole_ns = _numbers(pair, key, path)
            # Pairs hold (calls, primitive calls, …), whole functions (primitive calls, calls, …): so CPython writes them.
            builder.edge(function(caller), callee, lane, calls=n, primitive_calls=n_primitive, self_ns=own_ns, total_ns=whole_ns)
    return builder.build(Meta(passes=(Pass(mode="trace", backend="cprofile", clock="wall"),), source="pstats"))


def _key(raw: marshalled.Value, path: Path) -> Key:
    if isinstance(raw, tuple) and len(raw) == 3 and isinstance(raw[0], str) and isinstance(raw[2], str):
        file, line, name = raw[0], raw[1], raw[2]
        if isinstance(line, int) and 0 <= line < 1 << 31:
            return file, line, name
    raise corrupt("pstats", f"{str(raw)[:80]} names no function", path)


def _numbers(raw: tuple[marshalled.Value, ...], key: Key, path: Path) -> tuple[int, int, int, int]:
    found: list[int] = []
    for value, factor in zip(raw, (1, 1, NS_PER_S, NS_PER_S), strict=True):
        if not isinstance(value, int | float) or not 0 <= value * factor <= MAX_VALUE:
            raise corrupt("pstats", f"the statistics of {key} hold {str(value)[:40]}, which is no count or time", path)
        found.append(round(value * factor))
    return found[0], found[1], found[2], found[3]


def _keys(profile: Profile) -> list[Key]:
    f, s = profile.functions, profile.strings
    keys: list[Key] = []
    seen: set[Key] = set()
    for function, (file, line) in enumerate(zip(ints(f.file), ints(f.first_line), strict=True)):
        key = (s[file] or "~", line, spelled(profile, function))
        while key in seen:  # two functions that differ in what pstats has no room for stay two
            key = (key[0], key[1], key[2] + "'")
        seen.add(key)
        keys.append(key)
    return keys


def _edges(profile: Profile) -> dict[Key, tuple[int, int, float, float, dict[Key, Row]]]:
    keys, e = _keys(profile), profile.edges
    whole: dict[int, list[float]] = {}
    pairs: dict[int, dict[Key, list[float]]] = {}
    rows = zip(
        ints(e.caller),
        ints(e.callee),
        ints(e.calls),
        ints(e.primitive_calls),
        ints(e.self_ns),
        ints(e.total_ns),
        strict=True,
    )
    for caller, callee, *values in rows:
        into = (
            whole.setdefault(callee, [0, 0, 0, 0])
            if caller == ROOT
            else pairs.setdefault(callee, {}).setdefault(keys[caller], [0, 0, 0, 0])
        )
        for at, value in enumerate(values):
            into[at] += value
    found: dict[Key, tuple[int, int, float, float, dict[Key, Row]]] = {}
    for callee in whole.keys() | pairs.keys():
        calls, primitive, self_ns, total_ns = whole.get(callee, [0, 0, 0, 0])
        callers: dict[Key, Row] = {k: (int(v[0]), int(v[1]), v[2] / NS_PER_S, v[3] / NS_PER_S) for k, v in pairs.get(callee, {}).items()}
        found[keys[callee]] = (int(primitive), int(calls), self_ns / NS_PER_S, total_ns / NS_PER_S, callers)
    return found


def _aggregated(profile: Profile) -> dict[Key, tuple[int, int, float, float, dict[Key, Row]]]:
    time = next((at for at, m in enumerate(profile.metrics) if m.unit is Unit.NANOSECONDS), None)
    if time is None:
        raise ReportError(
            "pstats holds times", cause="this run measured none", fix="export `collapsed` or `speedscope`, which hold any number"
        )
    count = next((at for at, m in enumerate(profile.metrics) if m.name == "samples"), None)
    keys, tree, function = _keys(profile), Tree.of(profile), node_function(profile)
    own, total = function_self(profile, time), function_total(profile, time, tree)
    calls = function_self(profile, count) if count is not None else np.ones(len(keys), np.int64)
    found: dict[Key, tuple[int, int, float, float, dict[Key, Row]]] = {
        key: (max(int(n), 1), max(int(n), 1), s / NS_PER_S, t / NS_PER_S, {})
        for key, n, s, t in zip(keys, calls, ints(own), ints(total), strict=True)
    }
    below = np.flatnonzero(profile.nodes.parent != ROOT)
    if not len(below):
        return found
    up = function[profile.nodes.parent[below]].astype(np.int64)
    pair = np.full(len(function), -1, np.int64)
    pair[below] = up * len(keys) + function[below]
    # A pair that recurs on one stack counts its total once, as a recursive function does.
    outermost = tree.outermost(np.unique(pair, return_inverse=True)[1].astype(np.int32))
    node_own = node_self(profile, time)
    node_total = np.where(outermost, tree.total(node_own), 0)
    node_count = node_self(profile, count) if count is not None else np.ones(len(function), np.int64)
    labels, place = np.unique(pair[below], return_inverse=True)
    sums = [np.zeros(len(labels), np.int64) for _ in range(3)]
    for into, values in zip(sums, (node_own, node_total, node_count), strict=True):
        np.add.at(into, place, values[below])
    for label, s, t, n in zip(ints(labels), *(ints(column) for column in sums), strict=True):
        found[keys[label % len(keys)]][4][keys[label // len(keys)]] = (max(n, 1), max(n, 1), s / NS_PER_S, t / NS_PER_S)
    return found
