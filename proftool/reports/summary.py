"""The answer in the terminal, 15 lines at most: what it was and how far it can be trusted, the hot path, a table, whose it is, what next.

Readable without colour. Every mode speaks of its own quantity: time for `sample` and `trace` (with calls), bytes for `memory`.
"""

from __future__ import annotations

import heapq
import shlex
from dataclasses import dataclass
from itertools import count

import numpy as np

from proftool.contracts import ReportOptions
from proftool.contracts_store import Run
from proftool.model.meta import Pass
from proftool.model.profile import ROOT, Profile
from proftool.model.tree import Tree, metric_total, node_function, node_self
from proftool.reports import advice
from proftool.reports.rows import By, by, default_metric, name, place, shares
from proftool.reports.table import named
from proftool.reports.text import bar, clip, columns, styled
from proftool.units import Unit, people, percent

Nodes = np.ndarray[tuple[int], np.dtype[np.int64]]
MAX_LINES = 15
_TREE_LINES = 5
_PATH_SHARE = 0.05
"""A branch below this part of the whole is not drawn in the short tree."""
_MAIN = {"sample": ("wall_time", "cpu_time", "samples"), "trace": ("wall_time", "calls"), "memory": ("peak_bytes", "allocated_bytes")}


class Summary:
    """The report; see the module."""

    name = "summary"
    suffix = ".txt"

    def render(self, profile: Profile, options: ReportOptions) -> bytes:
        """The lines as UTF-8 text."""
        return (text(profile, options) + "\n").encode("utf-8", "backslashreplace")


def text(profile: Profile, options: ReportOptions, run: Run | None = None, before: Run | None = None) -> str:
    """The summary of a run, at most `MAX_LINES` lines of at most `options.width` columns; `before` is a run worth a diff."""
    lines = [_headline(profile, options)]
    passes = profile.meta.passes or (Pass(mode="", backend=profile.meta.source or "a file"),)
    lines += [_pass_line(one, profile, options) for one in passes[:4]]
    tail = _tail(profile, options, run, before)
    room = MAX_LINES - len(lines) - len(tail)
    metrics = _metrics(profile, passes)
    if options.metric is not None:
        metrics = [options.metric]
    for place_left, metric in zip(range(len(metrics), 0, -1), metrics, strict=True):
        block = _block(profile, metric, options, room // place_left)
        lines += block
        room -= len(block)
    return "\n".join([*lines, *tail])


def _metrics(profile: Profile, passes: tuple[Pass, ...]) -> list[str]:
    """The main metric of every pass, under the name that it has in the run."""
    found: list[str] = []
    for one in passes:
        for metric in _MAIN.get(one.mode, ()):
            names = [m.name for m in profile.metrics if m.mode == one.mode and m.name.rpartition(".")[2] == metric]
            if names:
                found.append(names[0])
                break
    default = default_metric(profile)
    return found or ([default] if default else [])


def _headline(profile: Profile, options: ReportOptions) -> str:
    meta = profile.meta
    command = shlex.join(meta.command) if meta.command else "imported" if meta.source else "a process"
    status = "" if meta.exit_status is None else f", exit status {meta.exit_status}"
    took = "" if meta.duration_ns is None else f"{people(meta.duration_ns, Unit.NANOSECONDS)}"
    attached = any(one.attached for one in meta.passes)
    rest = f" · {'observed for ' if attached else ''}{took}{status}" if took else status
    return styled(clip(" ".join(command.split()), max(options.width - len(rest), 10)), "bold", options.color) + rest


def _pass_line(one: Pass, profile: Profile, options: ReportOptions) -> str:
    parts = [f"{one.mode} · {one.backend} {one.backend_version or ''}".strip(" ·")]
    if one.samples is not None:
        parts.append(f"{one.samples:,} samples")
    if one.rate_achieved_hz is not None and one.rate_asked_hz is not None:
        parts.append(f"{one.rate_achieved_hz:,.0f} of {one.rate_asked_hz:,.0f} Hz")
    elif one.rate_asked_hz is not None:
        parts.append(f"{one.rate_asked_hz:,.0f} Hz")
    if one.clock == "cpu":
        parts.append("CPU time")
    if one.mode == "trace" and profile.has_metric("calls"):
        parts.append(f"{metric_total(profile, profile.metric_index('calls')):,} calls")
    if one.mode == "memory":
        for metric, what in (("peak_bytes", "peak"), ("leaked_bytes", "leaked")):
            if profile.has_metric(metric):
                parts.append(f"{what} {people(metric_total(profile, profile.metric_index(metric)), Unit.BYTES)}")
        if profile.has_metric("allocations"):
            parts.append(f"{metric_total(profile, profile.metric_index('allocations')):,} allocations")
    quality = profile.meta.quality
    if quality is not None and one is (profile.meta.passes or (one,))[-1]:
        color = {"good": "green", "weak": "yellow", "poor": "red"}[quality.verdict]
        reason = f" ({quality.reasons[0]})" if quality.reasons and quality.verdict != "good" else ""
        # The verdict is what must be seen, however narrow the terminal is.
        before = clip(" · ".join(parts), options.width - len(quality.verdict) - 3)
        return f"{before} · " + styled(clip(f"{quality.verdict}{reason}", options.width - columns(before) - 3), color, options.color)
    return clip(" · ".join(parts), options.width)


def _block(profile: Profile, metric: str, options: ReportOptions, room: int) -> list[str]:
    """Tree and table of one metric in at most `room` lines."""
    index = profile.metric_index(metric)
    rows = [row for row in by(profile, metric, By.FUNCTION) if row.self_value]
    unit, whole = profile.metrics[index].unit, metric_total(profile, index)
    if not rows or not whole or room < 2:
        return []
    traced = len(profile.edges) > 0 and profile.metrics[index].mode == "trace"
    lines = [] if traced else _tree(profile, index, whole, unit, options, min(room - 1 - min(len(rows), room - 1, 3), _TREE_LINES))
    n_table = min(len(rows), room - 1 - len(lines), 5)
    has_calls = any(row.calls is not None for row in rows)
    head = f"{'self':>9} {'':6} {'':10} {'total':>9}" + (f" {'calls':>10}" if has_calls else "")
    lines.append(styled(f"{head}  {metric}, {people(whole, unit)}", "dim", options.color))
    for row in rows[:n_table]:
        value, total = row.self_value or 0, row.total or 0
        drawn = styled(bar(value, whole, 10), "blue", options.color)
        calls = f" {'' if row.calls is None else format(row.calls, ','):>10}" if has_calls else ""
        left = f"{people(value, unit):>9} {percent(value, whole):>7}"
        right = named(row.name, row.where, max(options.width - len(head) - 3, 16), options.color)
        lines.append(f"{left} {drawn} {people(total, unit):>9}{calls}  {right}".rstrip())
    return lines


@dataclass(slots=True)
class _Branch:
    """Contexts of functions, each the only one of weight below the one before."""

    functions: list[int]
    value: int
    below: list[_Branch]
    """Those that are drawn, the largest first."""


def _tree(profile: Profile, metric: int, whole: int, unit: Unit, options: ReportOptions, most: int) -> list[str]:
    """Where most of it is: the largest contexts from the root down, each below its caller, unforked stretches drawn as one line."""
    total = Tree.of(profile).total(node_self(profile, metric))
    function, parent = node_function(profile), profile.nodes.parent

    def children(nodes: Nodes) -> list[tuple[int, int, Nodes]]:
        below = np.flatnonzero(np.isin(parent, nodes))
        sums: dict[int, int] = {}
        for node in below.tolist():
            sums[int(function[node])] = sums.get(int(function[node]), 0) + int(total[node])
        ranked = sorted(sums.items(), key=lambda item: -item[1])
        return [(f, value, below[function[below] == f]) for f, value in ranked if value >= whole * _PATH_SHARE]

    top = _Branch([], whole, [])
    order = count()  # of equal ones the first
    open_ = [(-value, next(order), f, nodes, top) for f, value, nodes in children(np.array([ROOT], np.int64))]
    for _ in range(most):
        if not open_:
            break
        value, _, f, nodes, caller = heapq.heappop(open_)
        branch = _Branch([f], -value, [])
        caller.below.append(branch)
        below = children(nodes)
        while len(below) == 1 and below[0][1] >= branch.value * 0.95 and len(branch.functions) < 64:
            f, _, nodes = below[0]
            branch.functions.append(f)
            below = children(nodes)
        for f, of, nodes in below:
            heapq.heappush(open_, (-of, next(order), f, nodes, branch))
    lines: list[str] = []

    def draw(branch: _Branch, depth: int) -> None:
        shown = [name(profile, i) for i in branch.functions]
        path = " → ".join(shown if len(shown) <= 4 else [shown[0], shown[1], f"({len(shown) - 3} more)", shown[-1]])
        left = f"{people(branch.value, unit):>9} {percent(branch.value, whole):>7}  {'  ' * depth}{'└ ' if depth else ''}"
        lines.append(left + named(path, place(profile, branch.functions[-1]), max(options.width - len(left), 16), options.color))
        for one in branch.below:
            draw(one, depth + 1)

    for one in top.below:
        draw(one, 0)
    return lines


def _tail(profile: Profile, options: ReportOptions, run: Run | None, before: Run | None) -> list[str]:
    lines: list[str] = []
    metric = (_metrics(profile, profile.meta.passes) or [None])[0] if options.metric is None else options.metric
    if metric is not None:
        waiting = profile.metric_index("waiting_time") if metric == "wall_time" and profile.has_metric("waiting_time") else None
        s = shares(profile, profile.metric_index(metric), waiting)
        parts = [
            ("yours", s.project),
            ("libraries", s.library),
            ("standard library", s.stdlib),
            ("native", s.native),
            ("outside Python", s.outside),
            ("waiting", s.waiting),
        ]
        lines.append(clip(" · ".join(f"{what} {percent(value, s.whole)}" for what, value in parts if value), options.width))
    notes = [note for one in profile.meta.passes for note in one.notes]
    unseen = [sentence for one in profile.meta.passes for sentence in one.unseen]
    if notes:
        more = f" (and {len(notes) - 1} more)" if len(notes) > 1 else ""
        lines.append(styled(clip(f"note: {notes[0]}{more}", 400), "yellow", options.color))
    if unseen:
        lines.append(styled(clip(f"not seen: {'; '.join(unseen)}", 400), "dim", options.color))
    if options.insights:
        lines.append(styled(clip(advice.headline(options.insights), 400), "yellow", options.color))
    lines = [line for line in lines if line]
    if run is not None:
        called = shlex.quote(run.label) if run.label and run.label[0] != "-" else run.id
        told = f"run {run.id}" + (f" ({run.label})" if run.label else "")
        compare = "" if before is None else f" · `proftool diff {before.id} {run.id}`"
        lines.append(f"{told} kept · next: `proftool open {called}` · `proftool show {called} --by line`{compare}")
    return lines


report = Summary()
