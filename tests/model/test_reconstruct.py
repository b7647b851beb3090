"""A tree guessed from pairs keeps what was measured."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from text_profile import profile_from_text, selfs, stacks

from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
from proftool.model.profile import CALLS, ROOT, WALL_TIME, Profile
from proftool.model.reconstruct import reconstruct
from proftool.model.tree import function_self, lane_total


def pairs(own: dict[str, tuple[int, int]], edges: list[tuple[str, str, int, int]]) -> Profile:
    """function -> (self, calls); (caller, callee, calls, total ns)."""
    builder = ProfileBuilder((WALL_TIME, CALLS))
    lane = builder.lane()
    rows = {name: builder.function(name) for name in own}
    for name, (self_ns, calls) in own.items():
        node = builder.node(ROOT, builder.frame(rows[name]))
        builder.add(node, lane, 0, self_ns)
        builder.add(node, lane, 1, calls)
        total = sum(t for _, callee, _, t in edges if callee == name) or self_ns + sum(t for caller, _, _, t in edges if caller == name)
        builder.edge(ROOT, rows[name], lane, calls=calls, primitive_calls=calls, self_ns=self_ns, total_ns=total)
    for caller, callee, calls, total in edges:
        builder.edge(
            rows[caller], rows[callee], lane, calls=calls, primitive_calls=calls, self_ns=min(total, own[callee][0]), total_ns=total
        )
    return checked(builder.build())


def test_time_is_dealt_to_callers_by_what_each_pair_recorded() -> None:
    """g took 30 for a and 10 for b, so three quarters of its time stand below a."""
    profile = pairs(
        {"main": (1, 1), "a": (2, 1), "b": (3, 1), "g": (40, 4)},
        [("main", "a", 1, 32), ("main", "b", 1, 13), ("a", "g", 3, 30), ("b", "g", 1, 10)],
    )
    tree = checked(reconstruct(profile))
    assert stacks(tree) == {"main": 1, "main;a": 2, "main;b": 3, "main;a;g": 30, "main;b;g": 10}
    assert tree.meta.reconstructed
    assert not tree.is_edges
    assert len(tree.edges) == len(profile.edges)


def test_stacks_are_returned_as_they_are() -> None:
    """Nothing to guess where stacks were recorded."""
    profile = profile_from_text("main\na.f")
    assert reconstruct(profile) is profile


NAMES = "abcdef"


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 9)), min_size=6, max_size=6),
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(1, 5), st.integers(0, 500)),
        max_size=14,
        unique_by=lambda e: e[:2],
    ),
    st.integers(1, 60),
)
def test_any_pairs_even_cycles_keep_every_functions_self_and_calls(
    own: list[tuple[int, int]], edges: list[tuple[str, str, int, int]], max_nodes: int
) -> None:
    """Whatever the graph and however small the bound, self time and calls of each function are exactly the measured ones."""
    profile = pairs(dict(zip(NAMES, own, strict=True)), edges or [("a", "b", 1, 1)])
    tree = checked(reconstruct(profile, max_nodes=max_nodes, max_depth=5))
    for metric in (0, 1):
        assert function_self(tree, metric).tolist() == function_self(profile, metric).tolist()
        assert lane_total(tree, metric).tolist() == lane_total(profile, metric).tolist()
    assert len(tree.nodes) <= max_nodes + len(NAMES)


def _walk(depth: int, visit: Callable[[int], int]) -> int:
    return visit(depth) + (_walk(depth - 1, visit) if depth else 0)


def test_a_real_recursive_program_keeps_its_calls() -> None:
    """cProfile of a recursion: 21 calls of _walk stand in one context below its caller."""
    profiler = cProfile.Profile()
    profiler.runcall(_walk, 20, lambda depth: sum(range(depth)))
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    builder = ProfileBuilder((WALL_TIME, CALLS))
    lane = builder.lane()
    rows = {key: builder.function(key[2], file=key[0], first_line=key[1]) for key in stats}
    for key, (primitive, calls, own, total, callers) in stats.items():
        node = builder.node(ROOT, builder.frame(rows[key]))
        builder.add(node, lane, 0, round(own * 1e9))
        builder.add(node, lane, 1, calls)
        builder.edge(ROOT, rows[key], lane, calls=calls, primitive_calls=primitive, self_ns=round(own * 1e9), total_ns=round(total * 1e9))
        for caller, (n, first, self_s, total_s) in callers.items():
            builder.edge(
                rows[caller],
                rows[key],
                lane,
                calls=n,
                primitive_calls=min(first, n),
                self_ns=round(self_s * 1e9),
                total_ns=round(total_s * 1e9),
            )
    profile = checked(builder.build())
    tree = checked(reconstruct(profile))
    assert selfs(tree, 0) == selfs(profile, 0)
    calls = stacks(tree, 1)
    assert calls["_walk"] == 21
    assert calls["_walk;<lambda>"] == 21
    assert calls["_walk;<lambda>;<built-in method builtins.sum>"] == 21
