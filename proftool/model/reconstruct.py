"""A calling-context tree guessed from caller-callee pairs (cProfile), by gprof's rule: a callee's time is handed to its
callers in proportion to what each pair recorded, whoever called those.

The guess: that a function spends its time alike for all its callers. What stays exact: the self time and the calls of
every function in every lane, hence every sum. Result: `meta.reconstructed`.

Method. Contexts are opened largest first, from the functions that nobody calls (or, in a pure cycle, the largest one). A
context's weight is its part of its function's total; a callee's weight below it is the parent's weight times the pair's
part of the callee. A call back into a function of the path (a cycle) ends there: it goes into the outer context, as time of
recursion does in any tree of totals. Opening stops at `max_nodes`, `max_depth` or a share below `min_share` of the whole.
At the end each function's measured self time and calls are dealt to its contexts by weight, in whole units; a function
without a context becomes a root.

Source: Graham, Kessler, McKusick, "gprof: a call graph execution profiler" (1982), section 4.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np

from proftool.model.builder import rows_table, sum_cells, table, with_tables
from proftool.model.profile import ROOT, Cells, Frames, Int64Array, Nodes, Profile
from proftool.model.tree import node_function


@dataclass(slots=True)
class _Contexts:
    """Contexts opened so far, parent-first."""

    parent: list[int] = field(default_factory=list[int])
    function: list[int] = field(default_factory=list[int])
    weight: list[float] = field(default_factory=list[float])
    depth: list[int] = field(default_factory=list[int])
    of: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, parent: int, function: int, weight: float) -> int:
        node = len(self.parent)
        self.parent.append(parent)
        self.function.append(function)
        self.weight.append(weight)
        self.depth.append(0 if parent == ROOT else self.depth[parent] + 1)
        self.of[function].append(node)
        return node

    def on_path(self, node: int, function: int) -> bool:
        while node != ROOT:
            if self.function[node] == function:
                return True
            node = self.parent[node]
        return False


def reconstruct(profile: Profile, *, max_nodes: int = 20_000, max_depth: int = 60, min_share: float = 1e-4) -> Profile:
    """
    A tree for a profile of caller-callee pairs; a profile that has stacks, or no pairs, is returned as it is.

    The pairs are kept, so that tables still show what was measured.
    """
    if not profile.is_edges:
        return profile
    totals, callees = _pairs(profile)
    contexts = _open(totals, callees, max_nodes, max_depth, min_share)
    for function in np.unique(node_function(profile)[profile.cells.node]).tolist():
        if not contexts.of[function]:
            contexts.add(ROOT, function, 1.0)
    frames = table(
        Frames, {"function": np.arange(len(profile.functions), dtype=np.int32), "line": np.zeros(len(profile.functions), np.int32)}
    )
    nodes = table(Nodes, {"parent": np.array(contexts.parent, np.int32), "frame": np.array(contexts.function, np.int32)})
    tables = {"frames": frames, "nodes": nodes, "cells": _dealt(profile, contexts)}
    return replace(with_tables(profile, tables), meta=replace(profile.meta, reconstructed=True))


def _pairs(profile: Profile) -> tuple[Int64Array, dict[int, list[tuple[int, float]]]]:
    """Measured total of every function over all lanes; and caller -> (callee, part of the callee's total)."""
    e = profile.edges
    measured = np.zeros(len(profile.functions), np.int64)
    own = e.caller == ROOT
    np.add.at(measured, e.callee[own], e.total_ns[own])
    handed: dict[tuple[int, int], int] = defaultdict(int)
    whole: dict[int, int] = defaultdict(int)
    for caller, callee, total, calls in zip(e.caller.tolist(), e.callee.tolist(), e.total_ns.tolist(), e.calls.tolist(), strict=True):
        if caller not in (ROOT, callee):
            # Pairs faster than the clock's tick still were called, so a call weighs at least as much as a nanosecond.
            amount = total or min(calls, 1)
            handed[caller, callee] += amount
            whole[callee] += amount
    callees: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for (caller, callee), amount in handed.items():
        callees[caller].append((callee, amount / max(whole[callee], int(measured[callee]))))
    return measured, callees


def _open(totals: Int64Array, callees: dict[int, list[tuple[int, float]]], max_nodes: int, max_depth: int, min_share: float) -> _Contexts:
    contexts = _Contexts()
    called: dict[int, float] = defaultdict(float)
    n_callers: dict[int, int] = defaultdict(int)
    for pairs in callees.values():
        for callee, part in pairs:
            called[callee] += part
            n_callers[callee] += 1
    # What no caller accounts for (the program's top level, a thread's start) starts at the root. Each pair is rounded to
    # whole ns, so that less than a nanosecond a caller is not missing.
    tops = [
        (function, 1.0 - called[function])
        for function in range(len(totals))
        if not n_callers[function] or (1.0 - called[function]) * float(totals[function]) > n_callers[function]
    ]
    largest = int(totals.max(initial=0))
    least = largest * min_share
    queue: list[tuple[float, int, int, float]] = []
    for function, weight in tops or [(int(totals.argmax()), 1.0)]:
        heapq.heappush(queue, (-weight * float(totals[function]), ROOT, function, weight))
    while queue and len(contexts.parent) < max_nodes:
        _, parent, function, weight = heapq.heappop(queue)
        node = contexts.add(parent, function, weight)
        if contexts.depth[node] >= max_depth:
            continue
        for callee, part in callees.get(function, ()):
            share = weight * part
            amount = share * float(totals[callee])
            if amount >= least and not contexts.on_path(node, callee):
                heapq.heappush(queue, (-amount, node, callee, share))
    return contexts


def _dealt(profile: Profile, contexts: _Contexts) -> Cells:
    """Each function's cells dealt to its contexts by weight; cumulated shares are rounded, so the parts add up exactly."""
    function = node_function(profile)
    rows: list[tuple[int, int, int, int]] = []
    c = profile.cells
    bounds: dict[int, list[float]] = {}
    for node, lane, metric, value in zip(c.node.tolist(), c.lane.tolist(), c.metric.tolist(), c.value.tolist(), strict=True):
        owner = int(function[node])
        own = contexts.of[owner]
        if owner not in bounds:
            weights = np.array([contexts.weight[at] for at in own])
            bounds[owner] = (np.cumsum(weights) / weights.sum()).tolist()
        before = 0
        for at, bound in zip(own[:-1], bounds[owner][:-1], strict=True):
            upto = min(round(value * bound), value)
            rows.append((at, lane, metric, upto - before))
            before = upto
        rows.append((own[-1], lane, metric, value - before))
    return sum_cells(rows_table(Cells, rows))
