"""Views keep sums, and show what people expect."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import profiles
from text_profile import function_name, profile_from_text, selfs, stacks, totals

from proftool.errors import ReportError
from proftool.model import select, transform
from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
from proftool.model.fold import fold, folded
from proftool.model.profile import PEAK_BYTES, ROOT, WALL_TIME, Profile
from proftool.model.tree import Tree, function_self, function_total, metric_total, node_function, node_self


def sums(profile: Profile) -> list[int]:
    """Total of every metric."""
    return [metric_total(profile, index) for index in range(len(profile.metrics))]


def at(profile: Profile, name: str) -> list[int]:
    """Rows of the functions of that name."""
    return [index for index in range(len(profile.functions)) if function_name(profile, index) == name]


@given(profiles())
def test_self_values_add_up_to_the_totals_of_roots(profile: Profile) -> None:
    """Σ self = Σ total of the roots, for every metric."""
    tree = Tree.of(profile)
    for metric in range(len(profile.metrics)):
        total = tree.total(node_self(profile, metric))
        assert total[profile.nodes.parent == ROOT].sum() == metric_total(profile, metric)


@given(profiles())
def test_function_total_is_what_walking_every_stack_gives(profile: Profile) -> None:
    """Oracle: for each node with a value, the set of functions on its stack gets it once."""
    function = node_function(profile).tolist()
    expected: dict[int, int] = defaultdict(int)
    for node, value in enumerate(node_self(profile, 0).tolist()):
        on_stack, up = set(), node
        while up != ROOT:
            on_stack.add(function[up])
            up = int(profile.nodes.parent[up])
        for each in on_stack:
            expected[each] += value
    assert {f: v for f, v in enumerate(function_total(profile, 0).tolist()) if v} == {f: v for f, v in expected.items() if v}


@given(profiles())
def test_to_functions_keeps_sums_selfs_and_totals(profile: Profile) -> None:
    """A projection: same functions, same values, no node with a line, nothing counted twice."""
    projected = checked(transform.to_functions(profile))
    assert sums(projected) == sums(profile)
    for metric in range(len(profile.metrics)):
        assert function_self(projected, metric).tolist() == function_self(profile, metric).tolist()
        assert function_total(projected, metric).tolist() == function_total(profile, metric).tolist()
    assert not projected.frames.line.any()
    assert len(projected.samples) == len(profile.samples)
    assert node_function(projected)[projected.samples.node].tolist() == node_function(profile)[profile.samples.node].tolist()
    assert node_function(projected)[projected.intervals.node].tolist() == node_function(profile)[profile.intervals.node].tolist()


def test_to_functions_joins_lines_before_values() -> None:
    """Two lines of f that call g are one f with one g."""
    profile = profile_from_text("""
        main    main    main
        a.f:3   a.f:4   a.f:4
        a.g     a.g
    """)
    assert stacks(transform.to_functions(profile)) == {"main;a.f;a.g": 2, "main;a.f": 1}


@given(profiles())
def test_invert_keeps_sums_and_totals_and_puts_leaves_first(profile: Profile) -> None:
    """The total of a root is the self value of its function; totals of functions are what they were."""
    inverted = checked(transform.invert(profile))
    assert sums(inverted) == sums(profile)
    tree, function = Tree.of(inverted), node_function(inverted)
    for metric in range(len(profile.metrics)):
        assert function_total(inverted, metric).tolist() == function_total(profile, metric).tolist()
        roots = inverted.nodes.parent == ROOT
        by_root = np.zeros(len(profile.functions), np.int64)
        np.add.at(by_root, function[roots], tree.total(node_self(inverted, metric))[roots])
        assert by_root.tolist() == function_self(profile, metric).tolist()


def test_invert_shows_who_called_the_leaf() -> None:
    """Two callers of g stand below g, each with its part."""
    profile = profile_from_text("""
        main  main  main
        a.f   a.h   a.h
        a.g   a.g   a.g
        = 5   2     3
    """)
    assert stacks(transform.invert(profile)) == {"a.g;a.f;main": 5, "a.g;a.h;main": 5}


@given(profiles(), st.data())
def test_focus_keeps_exactly_the_total_of_the_function(profile: Profile, data: st.DataObject) -> None:
    """Its outermost calls are the roots, recursion stays inside."""
    if not len(profile.functions):
        return
    function = data.draw(st.integers(0, len(profile.functions) - 1))
    focused = checked(transform.focus(profile, [function]))
    assert sums(focused) == [int(function_total(profile, metric)[function]) for metric in range(len(profile.metrics))]
    assert set(node_function(focused)[focused.nodes.parent == ROOT].tolist()) <= {function}


@given(profiles(), st.data())
def test_hide_keeps_every_sum(profile: Profile, data: st.DataObject) -> None:
    """What the hidden functions spent goes to their callers, or to [root]; none of them is left in the tree."""
    hidden = data.draw(st.sets(st.integers(0, max(len(profile.functions) - 1, 0)))) if len(profile.functions) else set()
    rest = checked(transform.hide(profile, hidden))
    assert sums(rest) == sums(profile)
    assert not hidden & set(node_function(rest).tolist())


def test_hide_hands_children_and_self_to_the_caller() -> None:
    """f is gone, g hangs below main, f's own time is main's; a hidden root hands over to [root]."""
    profile = profile_from_text("""
        main  main  a.f
        a.f   a.f
        a.g
    """)
    assert stacks(transform.hide(profile, at(profile, "a.f"))) == {"main;a.g": 1, "main": 1, "[root]": 1}


@given(profiles())
def test_collapse_library_and_by_module_keep_every_sum(profile: Profile) -> None:
    """Folding and grouping move values up, never away."""
    for view in (transform.collapse_library, transform.by_module):
        assert sums(checked(view(profile))) == sums(profile)


def test_collapse_library_keeps_the_entry_and_project_callbacks() -> None:
    """Only the function through which the library was entered stays; project code that it calls back hangs below."""
    profile = profile_from_text("""
        app.main     app.main       app.main
        !lib.get     !lib.get       !lib.put
        !net.send    @json.dumps
        $read        app.default
    """)
    assert stacks(transform.collapse_library(profile)) == {
        "app.main;lib.get": 1,
        "app.main;lib.get;app.default": 1,
        "app.main;lib.put": 1,
    }


def test_by_module_joins_consecutive_frames_of_a_module() -> None:
    """Calls inside a module are one node; coming back later is another."""
    profile = profile_from_text("""
        app.main  app.main   main
        app.f     !lib.get
        app.g     app.hook
    """)
    assert stacks(transform.by_module(profile)) == {"app.app": 1, "app.app;lib.lib;app.app": 1, "(no module)": 1}


def test_strip_frames_takes_the_bottom_only() -> None:
    """The bootstrap goes from below the program; the same function above it stays; its own time is dropped."""
    profile = profile_from_text("""
        boot.run   boot.run   boot.run
        boot.exec  boot.exec
        main
        boot.exec
    """)
    stripped = np.zeros(len(profile.functions), bool)
    stripped[at(profile, "boot.run") + at(profile, "boot.exec")] = True
    assert stacks(checked(transform.strip_frames(profile, stripped))) == {"main;boot.exec": 1}


@given(profiles(), st.data())
def test_only_lanes_keeps_exactly_these_lanes(profile: Profile, data: st.DataObject) -> None:
    """Each lane's total is what it was, and lanes partition the whole."""
    n = len(profile.lanes)
    chosen = data.draw(st.sets(st.integers(0, n - 1)))
    parts = [checked(select.only_lanes(profile, lanes)) for lanes in (chosen, set(range(n)) - chosen)]
    assert [a + b for a, b in zip(sums(parts[0]), sums(parts[1]), strict=True)] == sums(profile)
    assert [len(part.lanes) for part in parts] == [len(chosen), n - len(chosen)]
    assert sum(len(part.samples) for part in parts) == len(profile.samples)
    for part in parts:
        assert (Tree.of(part).total(np.bincount(part.cells.node, minlength=len(part.nodes)).astype(np.int64)) > 0).all() or len(
            part.samples
        )


@given(profiles(), st.integers(0, 101), st.integers(0, 101))
def test_time_range_partitions_the_time(profile: Profile, a: int, b: int) -> None:
    """What lies before, in and after the range adds up to the whole; waiting stays part of wall time (checked)."""
    low, high = sorted((a, b))
    if not len(profile.samples):
        with pytest.raises(ReportError, match="cut by time"):
            select.time_range(profile, low, high)
        return
    parts = [checked(select.time_range(profile, *part)) for part in ((0, low), (low, high), (high, 1000))]
    assert [m.name for m in parts[0].metrics] == ["wall_time", "waiting_time", "samples"]
    assert [sum(values) for values in zip(*(sums(part) for part in parts), strict=True)] == sums(profile)[:3]


@given(profiles(max_stacks=20), st.integers(1, 40))
def test_fold_to_a_number_of_nodes_keeps_every_sum(profile: Profile, max_nodes: int) -> None:
    """Never more nodes than asked, never a byte less; stocks of a process too."""
    folded = checked(fold(profile, max_nodes=max_nodes))
    assert len(folded.nodes) <= max_nodes
    assert sums(folded) == sums(profile)
    tree, kept = Tree.of(folded), Tree.of(profile)
    known = set(kept.total(node_self(profile, 0)).tolist())
    real = folded.functions.kind[node_function(folded)] != 4
    assert set(tree.total(node_self(folded, 0))[real].tolist()) <= known


@given(profiles(max_stacks=20), st.floats(0, 1))
def test_fold_by_share_keeps_every_sum_and_every_large_node(profile: Profile, min_share: float) -> None:
    """Nodes at or above the share stay."""
    folded = checked(fold(profile, min_share=min_share))
    assert sums(folded) == sums(profile)
    twice = fold(folded, max_nodes=max(1, len(folded.nodes) // 2))
    assert sums(checked(twice)) == sums(profile)


@given(profiles(max_stacks=20), st.integers(1, 40))
def test_fold_says_where_every_node_went(profile: Profile, max_nodes: int) -> None:
    """Values that follow the places are those of the folded profile, and a node that stays names itself."""
    made = folded(profile, max_nodes=max_nodes)
    own = np.zeros(len(made.profile.nodes), np.int64)
    np.add.at(own, made.place, node_self(profile, 0))
    assert own.tolist() == node_self(made.profile, 0).tolist()
    for node, source in enumerate(made.source.tolist()):
        if made.profile.functions.kind[node_function(made.profile)[node]] != 4:
            assert made.place[source] == node
            assert made.profile.nodes.frame[node] == profile.nodes.frame[source]


def test_fold_keeps_what_weighs() -> None:
    """A node of no share in the metric stays where a further value says that it matters."""
    profile = profile_from_text("""
        main   main  main  main
        a.f    a.g   a.h
        = 96   1     2     1
    """)
    weight = np.where(node_self(profile, 0) == 1, 50, 0)
    weight[0] = 0
    assert "main;a.g" in stacks(folded(profile, max_nodes=3, weights=(weight,)).profile)


def test_fold_says_how_many_children_went() -> None:
    """Two small callees of main are `(2 others)`, the large one stays."""
    profile = profile_from_text("""
        main   main  main  main
        a.f    a.g   a.h
        = 96   1     2     1
    """)
    assert stacks(fold(profile, min_share=0.05)) == {"main;a.f": 96, "main;(2 others)": 3, "main": 1}
    assert stacks(fold(profile, max_nodes=3)) == {"main;a.f": 96, "main;(2 others)": 3, "main": 1}
    assert stacks(fold(profile, max_nodes=1)) == {"(1 other)": 100}
    assert fold(profile, max_nodes=4) is profile


def test_a_stack_of_twenty_thousand_frames_needs_no_recursion() -> None:
    """Every view takes a chain deeper than Python's recursion limit."""
    builder = ProfileBuilder((WALL_TIME, PEAK_BYTES))
    lane, node = builder.lane(), ROOT
    frames = [builder.frame(builder.function(name, module="a")) for name in ("f", "g")]
    for depth in range(20_000):
        node = builder.node(node, frames[depth % 2])
    builder.add(node, lane, 0, 7)
    profile = checked(builder.build())
    for view in (transform.to_functions, transform.invert, transform.collapse_library, transform.by_module):
        assert metric_total(view(profile), 0) == 7
    assert sums(fold(profile, max_nodes=100)) == [7, 0]
    assert totals(profile) == {"a.f": 7, "a.g": 7}
    assert selfs(profile) == {"a.g": 7}
