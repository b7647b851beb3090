"""Laws of `merge` and `lenses`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from canonical import canonical
from hypothesis import given
from strategies import profiles
from text_profile import profile_from_text, selfs, stacks, totals

from proftool.errors import NotComparable
from proftool.model.builder import ProfileBuilder, sum_cells, table
from proftool.model.check import checked
from proftool.model.joined_cells import joined_cells
from proftool.model.merge import lenses, merge
from proftool.model.meta import Meta, Pass
from proftool.model.profile import ALLOCATED_BYTES, CALLS, PEAK_BYTES, ROOT, SAMPLES, WAITING_TIME, WALL_TIME, Cells, Identified, Profile
from proftool.model.tree import lane_total, metric_total


@given(profiles(), profiles(), profiles())
def test_merge_is_associative_and_commutative(a: Profile, b: Profile, c: Profile) -> None:
    """Children may be merged in any order and grouping: the result says the same, its circumstances too."""
    flat = checked(merge([a, b, c]))
    for other in (merge([merge([a, b]), c]), merge([a, merge([b, c])]), merge([c, a, b])):
        assert canonical(checked(other)) == canonical(flat)
        assert other.meta == flat.meta


@given(profiles(), profiles())
def test_merge_adds_every_metric_and_keeps_every_lane(a: Profile, b: Profile) -> None:
    """The total of a merge is the sum of totals, and each lane's total is what it was."""
    both = merge([a, b])
    for index in range(len(both.metrics)):
        assert metric_total(both, index) == metric_total(a, index) + metric_total(b, index)
        assert lane_total(both, index).tolist() == [*lane_total(a, index).tolist(), *lane_total(b, index).tolist()]


def test_merge_of_one_is_itself_and_of_none_is_empty() -> None:
    """There is nothing to do, so nothing changes."""
    profile = profile_from_text("main")
    assert merge([profile]) is profile
    assert len(merge([]).nodes) == 0


def test_merge_joins_equal_paths_and_keeps_peaks_by_process() -> None:
    """Two processes on one path share a node; their peaks stay two cells, since they need not have been at one time."""
    a = profile_from_text("main\napp.f\n= 5", metric=PEAK_BYTES, pid=1)
    b = profile_from_text("main\napp.f\n= 7", metric=PEAK_BYTES, pid=2)
    both = merge([a, b])
    assert len(both.nodes) == 2
    assert sorted(both.cells.value.tolist()) == [5, 7]
    assert lane_total(both, 0).tolist() == [5, 7]


def test_merge_keeps_functions_apart_that_differ_only_by_line() -> None:
    """Two lambdas of one owner are two functions."""
    made = []
    for first_line in (3, 4):
        builder = ProfileBuilder((SAMPLES,))
        lane = builder.lane()
        builder.add(builder.node(ROOT, builder.frame(builder.function("<lambda>", file="a.py", first_line=first_line))), lane, 0, 1)
        made.append(builder.build())
    assert len(merge(made).functions) == 2


def test_merge_shifts_the_time_axis_by_the_start_of_each_pass() -> None:
    """A child that began 30 ns later has its samples 30 ns later; an unknown end stays unknown."""
    made = []
    for started in (100, 130):
        builder = ProfileBuilder((WALL_TIME,), Meta(passes=(Pass(mode="sample", backend="x", started_ns=started, duration_ns=started),)))
        lane = builder.lane()
        node = builder.node(ROOT, builder.frame(builder.function("f")))
        builder.sample(5, lane, node, 1)
        builder.interval(node, lane, 5, -1, 1, 1)
        made.append(builder.build())
    both = checked(merge(made[::-1]))
    assert both.samples.time_ns.tolist() == [5, 35]
    assert sorted(both.intervals.start_ns.tolist()) == [5, 35]
    assert both.intervals.end_ns.tolist() == [-1, -1]
    assert both.meta.passes == (Pass(mode="sample", backend="x", started_ns=100, duration_ns=130),)


def test_merge_of_passes_adds_counts_and_says_unknown_where_a_part_is() -> None:
    """Samples add up, missed ones of one process alone are no answer for both, notes of both stand."""
    metas = [
        Meta(passes=(Pass(mode="sample", backend="x", samples=3, missed=1, complete=True, notes=("one",), exit_status=0),), python="3.11"),
        Meta(passes=(Pass(mode="sample", backend="x", samples=4, complete=False, notes=("two",), exit_status=3),), python="3.12"),
    ]
    meta = merge([profile_from_text("f", meta=m) for m in metas]).meta
    (joined,) = meta.passes
    assert (joined.samples, joined.missed, joined.complete, joined.exit_status) == (7, None, False, 3)
    assert joined.notes == ("one", "two")
    assert meta.python is None


def test_merge_refuses_one_name_for_two_things() -> None:
    """Wall time of a sampler and of a tracer must not be added up."""
    a = profile_from_text("f", metric=WALL_TIME)
    b = profile_from_text("f", metric=dataclasses.replace(WALL_TIME, mode="trace"))
    with pytest.raises(NotComparable, match="wall_time"):
        merge([a, b])


@given(profiles(), profiles(), profiles())
def test_lenses_keep_the_totals_of_each_pass(a: Profile, b: Profile, c: Profile) -> None:
    """All metrics stand side by side, each with its own total, also by function."""
    parts = [p.with_meta(Meta(passes=(Pass(mode=m, backend="x"),))) for p, m in zip((a, b, c), ("sample", "trace", "memory"), strict=True)]
    whole = checked(lenses(parts))
    assert whole.meta.modes == ("sample", "trace", "memory")
    assert [m.mode for m in whole.metrics] == ["sample"] * 4 + ["trace"] * 4 + ["memory"] * 4
    index = 0
    for part in parts:
        for own in range(len(part.metrics)):
            assert metric_total(whole, index) == metric_total(part, own)
            assert totals(whole, index) == totals(part, own)
            assert selfs(whole, index) == selfs(part, own)
            index += 1


def test_lenses_prefix_only_taken_names() -> None:
    """`calls` of a trace is free, its `wall_time` is taken; waiting goes with its wall time."""
    wall = profile_from_text("f", metric=WALL_TIME, meta=Meta(passes=(Pass(mode="sample", backend="x"),)))
    builder = ProfileBuilder((WALL_TIME, WAITING_TIME, CALLS), Meta(passes=(Pass(mode="trace", backend="y"),)))
    again = lenses([wall, builder.build(), builder.build(), profile_from_text("f", metric=ALLOCATED_BYTES)])
    assert [m.name for m in again.metrics] == [
        "wall_time",
        "trace.wall_time",
        "trace.waiting_time",
        "calls",
        "trace2.wall_time",
        "trace2.waiting_time",
        "trace.calls",
        "allocated_bytes",
    ]


def test_lenses_unify_a_function_that_tools_know_differently_well() -> None:
    """One tool knows the first line, the other does not: same module, name and file are one function, best known row kept."""
    made = []
    for first_line, identified in ((0, Identified.BARE), (7, Identified.SOURCE)):
        builder = ProfileBuilder((SAMPLES,), Meta(passes=(Pass(mode="sample", backend="x"),)))
        lane = builder.lane()
        function = builder.function("A.run", module="app", file="app.py", first_line=first_line, identified=identified)
        builder.add(builder.node(ROOT, builder.frame(function)), lane, 0, 1)
        made.append(builder.build())
    whole = lenses(made)
    assert whole.functions.first_line.tolist() == [7]
    assert len(whole.nodes) == 1


def test_lenses_never_join_two_functions_of_one_pass() -> None:
    """Two lambdas of a second pass stay two, even where the first pass saw only one of them."""
    made = []
    for lines in ((4,), (3, 4)):
        builder = ProfileBuilder((SAMPLES,), Meta(passes=(Pass(mode="sample", backend="x"),)))
        lane = builder.lane()
        for line in lines:
            builder.add(builder.node(ROOT, builder.frame(builder.function("<lambda>", file="a.py", first_line=line))), lane, 0, line)
        made.append(builder.build())
    whole = lenses(made)
    assert sorted(whole.functions.first_line.tolist()) == [3, 4]
    assert stacks(whole, 1) == {"<lambda>": 7}
    at = int(np.flatnonzero(whole.functions.first_line == 4)[0])
    assert np.bincount(whole.cells.metric, weights=whole.frames.function[whole.nodes.frame[whole.cells.node]] == at).tolist() == [1, 1]


@given(profiles(), profiles())
def test_cells_that_are_placed_are_those_that_are_sorted(a: Profile, b: Profile) -> None:
    """Placing by counts gives what a sort gives, whatever becomes of nodes and metrics; where two nodes become one, it says so."""
    n_nodes = len(a.nodes) + len(b.nodes)
    nodes = [np.arange(len(a.nodes), dtype=np.int32)[::-1] + np.int32(len(b.nodes)), np.arange(len(b.nodes), dtype=np.int32)]
    metrics = [np.arange(len(p.metrics), dtype=np.int32)[::-1].copy() for p in (a, b)]
    n_metrics = max(len(a.metrics), len(b.metrics))
    placed = joined_cells([a.cells, b.cells], nodes=nodes, lanes=[0, len(a.lanes)], metrics=metrics, n_nodes=n_nodes, n_metrics=n_metrics)
    moved = [
        {"node": node[p.cells.node], "lane": p.cells.lane + np.int32(first), "metric": metric[p.cells.metric], "value": p.cells.value}
        for p, node, metric, first in zip((a, b), nodes, metrics, (0, len(a.lanes)), strict=True)
    ]
    together = table(Cells, {name: np.concatenate([one[name] for one in moved]) for name in moved[0]})
    if placed is not None:
        for name, column in sum_cells(together).columns().items():
            assert column.tolist() == placed.columns()[name].tolist()
    else:
        assert not len(together) or n_nodes * n_metrics > 4 * len(together) or not together.value.all()
    if len(a.nodes) > 1:
        one = [np.zeros(len(a.nodes), np.int32)]
        assert joined_cells([a.cells], nodes=one, lanes=[0], metrics=[metrics[0]], n_nodes=1, n_metrics=len(a.metrics)) is None
