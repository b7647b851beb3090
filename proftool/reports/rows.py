"""Rows of a table: self and total values by function, line, module or thread, and the callers and callees of a function.

Grouping is by a label of every node (function, frame, module); a total counts each stack once however often the label recurs in it.
Where caller-callee pairs were recorded instead of stacks, totals are the measured ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from proftool.model.comparable import DEFAULT_METRICS
from proftool.model.profile import OUTSIDE, ROOT, Category, Int32Array, Int64Array, Kind, Metric, Profile
from proftool.model.tree import Tree, function_self, function_total, lane_total, metric_total, node_function, node_self
from proftool.units import Unit


class By(StrEnum):
    """What rows are about."""

    FUNCTION = "function"
    LINE = "line"
    MODULE = "module"
    THREAD = "thread"
    CALLERS = "callers"
    CALLEES = "callees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row, in the metric's unit."""

    name: str
    where: str
    self_value: int | None
    """None: not known (a module's own part of caller-callee pairs is, its callees' is not)."""
    total: int | None
    calls: int | None = None


def default_metric(profile: Profile) -> str | None:
    """The metric that people mean: wall time, else CPU time, else peak bytes; the first where it has none of them."""
    return next((name for name in DEFAULT_METRICS if profile.has_metric(name)), profile.metrics[0].name if profile.metrics else None)


def place(profile: Profile, function: int, line: int | None = None) -> str:
    """`file:line` of a function, empty where nothing is known."""
    f = profile.functions
    file = profile.text(int(f.file[function]))
    at = int(f.first_line[function]) if line is None else line
    return f"{file}:{at}" if file and at else file


def name(profile: Profile, function: int) -> str:
    """A function as people read it: its qualified name, after its class's module only where that helps to find it."""
    return profile.text(int(profile.functions.qualname[function]))


def by(profile: Profile, metric: str, key: By, tree: Tree | None = None) -> list[Row]:
    """Rows in descending order of total (function, line, module: of self), zeros left out."""
    index = profile.metric_index(metric)
    match key:
        case By.FUNCTION:
            rows = _functions(profile, index, tree)
        case By.LINE:
            rows = _lines(profile, index, tree)
        case By.MODULE:
            rows = _modules(profile, index, tree)
        case By.THREAD:
            rows = _threads(profile, index)
        case By.CALLERS | By.CALLEES:
            raise ValueError("callers and callees are those of one function")
    return sorted(rows, key=lambda row: (-(row.self_value or 0), -(row.total or 0), row.name))


def _calls(profile: Profile, metric: Metric) -> Int64Array | None:
    """Calls of every function, where the metric is a time of the same pass."""
    if metric.unit is not Unit.NANOSECONDS or metric.mode != "trace" or not profile.has_metric("calls"):
        return None
    return function_self(profile, profile.metric_index("calls"))


def _functions(profile: Profile, metric: int, tree: Tree | None) -> list[Row]:
    own, total = function_self(profile, metric), function_total(profile, metric, tree)
    calls = _calls(profile, profile.metrics[metric])
    return [
        Row(
            name=name(profile, i),
            where=place(profile, i),
            self_value=int(own[i]),
            total=int(total[i]),
            calls=None if calls is None else int(calls[i]),
        )
        for i in np.flatnonzero((own != 0) | (total != 0)).tolist()
    ]


def _grouped(profile: Profile, metric: int, label: Int32Array, n: int, tree: Tree | None) -> tuple[Int64Array, Int64Array]:
    """Self and total of every label."""
    tree = tree or Tree.of(profile)
    values = node_self(profile, metric)
    own, whole = np.zeros(n, np.int64), np.zeros(n, np.int64)
    np.add.at(own, label, values)
    outermost = tree.outermost(label)
    np.add.at(whole, label[outermost], tree.total(values)[outermost])
    return own, whole


def _lines(profile: Profile, metric: int, tree: Tree | None) -> list[Row]:
    own, total = _grouped(profile, metric, profile.nodes.frame, len(profile.frames), tree)
    edges = _is_edges(profile, metric)
    rows: list[Row] = []
    for i in np.flatnonzero((own != 0) | (total != 0)).tolist():
        function, line = int(profile.frames.function[i]), int(profile.frames.line[i])
        rows.append(
            Row(
                name=name(profile, function),
                where=place(profile, function, line or None),
                self_value=int(own[i]),
                total=None if edges else int(total[i]),
            )
        )
    return rows


def _modules(profile: Profile, metric: int, tree: Tree | None) -> list[Row]:
    module_of = np.where(profile.functions.module != 0, profile.functions.module, profile.functions.file)
    own, total = _grouped(profile, metric, module_of[node_function(profile)].astype(np.int32), len(profile.strings), tree)
    edges = _is_edges(profile, metric)
    return [
        Row(name=profile.text(i) or "(unknown)", where="", self_value=int(own[i]), total=None if edges else int(total[i]))
        for i in np.flatnonzero((own != 0) | (total != 0)).tolist()
    ]


def _threads(profile: Profile, metric: int) -> list[Row]:
    total = lane_total(profile, metric)
    return [
        Row(name=lane_name(profile, i), where=lane_process(profile, i), self_value=int(total[i]), total=int(total[i]))
        for i in np.flatnonzero(total).tolist()
    ]


def lane_name(profile: Profile, lane: int) -> str:
    """A thread or task for people."""
    lanes = profile.lanes
    named = profile.text(int(lanes.task[lane])) or profile.text(int(lanes.thread_name[lane]))
    return named or ("main thread" if lanes.is_main[lane] else f"thread {lanes.tid[lane]}" if lanes.tid[lane] >= 0 else "thread")


def lane_process(profile: Profile, lane: int) -> str:
    """Its process for people."""
    lanes = profile.lanes
    named, pid = profile.text(int(lanes.process_name[lane])), int(lanes.pid[lane])
    return f"{named or 'process'} (pid {pid})" if pid >= 0 else named


def _is_edges(profile: Profile, metric: int) -> bool:
    return len(profile.edges) > 0 and profile.metrics[metric].mode == "trace"


def find(profile: Profile, wanted: str) -> list[int]:
    """Functions of that qualified name; else those whose bare name or `module.qualname` it is."""
    f = profile.functions
    exact = [i for i in range(len(f)) if profile.text(int(f.qualname[i])) == wanted]
    return exact or [
        i
        for i in range(len(f))
        if profile.text(int(f.name[i])) == wanted or f"{profile.text(int(f.module[i]))}.{profile.text(int(f.qualname[i]))}" == wanted
    ]


def neighbours(profile: Profile, metric: str, functions: Sequence[int], key: By, tree: Tree | None = None) -> list[Row]:
    """
    Callers of functions with the part of the functions' total that came through each, or callees with theirs.

    In stacks a recursive call is one at its outermost level only. Rows sum up to the functions' total, less what has no caller.
    """
    index = profile.metric_index(metric)
    pairs = (
        _pairs_of_edges(profile, index, functions, key)
        if _is_edges(profile, index)
        else _pairs_of_stacks(profile, index, functions, key, tree)
    )
    rows = [
        Row(
            name=name(profile, other) if other != ROOT else "(nothing: it is outermost)",
            where=place(profile, other) if other != ROOT else "",
            self_value=None,
            total=value,
            calls=calls,
        )
        for other, (value, calls) in pairs.items()
        if value or calls
    ]
    return sorted(rows, key=lambda row: (-(row.total or 0), row.name))


def _pairs_of_edges(profile: Profile, metric: int, functions: Sequence[int], key: By) -> dict[int, tuple[int, int | None]]:
    e = profile.edges
    counts = profile.metrics[metric].unit is Unit.COUNT
    mine, other = (e.callee, e.caller) if key is By.CALLERS else (e.caller, e.callee)
    found: dict[int, tuple[int, int | None]] = {}
    for i in np.flatnonzero(np.isin(mine, np.array(functions, np.int64)) & (e.caller != ROOT)).tolist():
        value, calls = found.get(int(other[i]), (0, 0))
        found[int(other[i])] = (value + int(e.calls[i] if counts else e.total_ns[i]), (calls or 0) + int(e.calls[i]))
    return found


def _pairs_of_stacks(
    profile: Profile, metric: int, functions: Sequence[int], key: By, tree: Tree | None
) -> dict[int, tuple[int, int | None]]:
    tree = tree or Tree.of(profile)
    function = node_function(profile)
    chosen = np.isin(function, np.array(functions, np.int64))
    total = tree.total(node_self(profile, metric))
    parent = profile.nodes.parent
    if key is By.CALLERS:
        at = np.flatnonzero(chosen & tree.outermost(chosen.astype(np.int32)) & (total != 0))
        others = np.where(parent[at] == ROOT, ROOT, function[parent[at]])
    else:
        inside = (parent != ROOT) & chosen[parent] & ~chosen & (total != 0)
        # A callee that is entered again below itself through the function counts once, at its outermost.
        at = np.flatnonzero(
            inside & tree.outermost(np.where(inside, function, len(profile.functions) + np.arange(len(function))).astype(np.int32))
        )
        others = function[at]
    found: dict[int, tuple[int, int | None]] = {}
    for other, value in zip(others.tolist(), total[at].tolist(), strict=True):
        found[other] = (found.get(other, (0, None))[0] + value, None)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Whose a metric's total is; the parts add up to the whole."""

    whole: int
    project: int
    library: int
    stdlib: int
    native: int
    waiting: int
    outside: int
    """What no Python code was running for: allocations of the interpreter as it starts, of a thread before its first call."""


def shares(profile: Profile, metric: int, waiting: int | None = None) -> Shares:
    """
    Whose code a total was spent in; a builtin's part belongs to the Python function that called it.

    Args:
        waiting: the metric that holds the waiting part of `metric`, which is then told apart.
    """
    whole = metric_total(profile, metric)
    category = _edge_parts(profile, metric) if _is_edges(profile, metric) else _stack_parts(profile, metric, waiting)
    waits = metric_total(profile, waiting) if waiting is not None else 0
    outside = _outside(profile, metric)
    for kind, value in outside.items():
        category[kind] -= value
    return Shares(
        whole=whole,
        project=int(category[Category.PROJECT]),
        library=int(category[Category.LIBRARY]),
        stdlib=int(category[Category.STDLIB]),
        native=int(category[Category.NATIVE]),
        waiting=waits,
        outside=sum(outside.values()),
    )


def _outside(profile: Profile, metric: int) -> dict[int, int]:
    """What the functions that stand for no Python code have themselves, by the category that they bear."""
    f = profile.functions
    rows = [int(row) for row in np.flatnonzero(f.kind == Kind.SYNTHETIC) if profile.text(int(f.qualname[row])) == OUTSIDE]
    if not rows:
        return {}
    own = function_self(profile, metric)
    return {int(f.category[row]): int(own[row]) for row in rows}


def _stack_parts(profile: Profile, metric: int, waiting: int | None) -> Int64Array:
    tree = Tree.of(profile)
    function = node_function(profile)
    own = profile.functions.category[function].astype(np.int64)
    borrowed = (profile.functions.kind[function] != Kind.PYTHON) & (profile.nodes.parent != ROOT)
    for d in range(1, len(tree.levels) - 1):
        level = tree.by_depth[tree.levels[d] : tree.levels[d + 1]]
        level = level[borrowed[level]]
        own[level] = own[profile.nodes.parent[level]]
    values = node_self(profile, metric)
    if waiting is not None:
        values = values - node_self(profile, waiting)
    parts = np.zeros(len(Category), np.int64)
    np.add.at(parts, own, values)
    return parts


def _edge_parts(profile: Profile, metric: int) -> Int64Array:
    f, e = profile.functions, profile.edges
    own = function_self(profile, metric)
    parts = np.zeros(len(Category), np.int64)
    if profile.metrics[metric].unit is not Unit.NANOSECONDS:
        np.add.at(parts, f.category.astype(np.int64), own)
        return parts
    lent = (e.caller != ROOT) & (f.kind[e.callee] != Kind.PYTHON)
    np.add.at(parts, f.category[e.caller[lent]].astype(np.int64), e.self_ns[lent])
    np.subtract.at(own, e.callee[lent], e.self_ns[lent])
    np.add.at(parts, f.category.astype(np.int64), own)
    return parts
