"""reports/page.py: the file's bound, what folding says, and what stands in the two data blocks."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from proftool.contracts import ReportOptions
from proftool.errors import ReportError
from proftool.formats.columns import Column, Text, unpack, unpack_strings
from proftool.model.builder import ProfileBuilder
from proftool.model.check import checked
from proftool.model.compare import diff
from proftool.model.diff import Diff
from proftool.model.meta import Meta
from proftool.model.profile import WALL_TIME, Profile
from proftool.model.tree import Tree, node_self
from proftool.reports import flamegraph
from proftool.reports.part import below, names


def wide(n: int) -> Profile:
    """One caller of n callees, the k-th worth k ns."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("x.py",)))
    root, lane = b.node(-1, b.frame(b.function("main"))), b.lane()
    for k in range(n):
        b.add(b.node(root, b.frame(b.function(f"callee_{k * 7919 % n}"), k)), lane, 0, k + 1)
    return b.build()


def blocks(content: bytes) -> tuple[dict[str, object], bytes]:
    head = re.search(rb'id="head">(.*?)</script>', content, re.S)
    body = re.search(rb'id="body">(.*?)</script>', content, re.S)
    assert head
    assert body
    return json.loads(head[1]), base64.b64decode(body[1])


def values(content: bytes) -> np.ndarray:
    head, body = blocks(content)
    strings = head["strings"]
    columns = [Column(**column) for column in head["columns"]]  # type: ignore[arg-type,union-attr]
    return unpack(columns, body[strings["lengths"]["size"] + strings["size"] :])["cells.value"]  # type: ignore[index]


def test_columns_of_the_page_are_the_profiles_own() -> None:
    """Python's own codec reads the page back."""
    profile = wide(100)
    assert np.array_equal(values(flamegraph.report.render(profile, ReportOptions())), profile.cells.value)


def between(least: bytes, whole: bytes, share: float) -> int:
    """A bound above the page of next to nothing, which is nearly all viewer, by that share of what the data of the whole add."""
    assert len(whole) - len(least) > 50_000
    return len(least) + int(share * (len(whole) - len(least)))


def test_a_page_that_would_be_too_large_is_folded_and_keeps_its_sum() -> None:
    """The bound holds, the sum is exact, and the head says how much lies in `(n others)`."""
    profile = wide(30_000)
    bound = between(*(flamegraph.report.render(one, ReportOptions()) for one in (wide(1), profile)), share=0.5)
    content = flamegraph.report.render(profile, ReportOptions(max_bytes=bound))
    assert len(content) <= bound
    folded = blocks(content)[0]["folded"]
    assert folded["nodes_before"] == 30_001  # type: ignore[index]
    assert folded["nodes_after"] < 30_001  # type: ignore[index]
    assert 0 < folded["mass"]["wall_time"] < profile.cells.value.sum()  # type: ignore[index]
    assert values(content).sum() == profile.cells.value.sum()


def test_a_bound_that_nothing_fits_is_an_error_with_a_fix() -> None:
    """No silent page above the bound."""
    with pytest.raises(ReportError, match="does not fit into 1,000 bytes"):
        flamegraph.report.render(wide(50), ReportOptions(max_bytes=1000))


def test_names_cannot_end_a_data_block() -> None:
    """No `<` of a profile reaches the file outside base64 but escaped."""
    profile = wide(1)
    content = flamegraph.report.render(replace(profile, meta=replace(profile.meta, command=("</script><!--<script>",))), ReportOptions())
    assert content.count(b"<script") == 3
    assert b"<!--" not in content.split(b"<script>")[0]


def test_undecodable_file_names_do_not_break_the_page() -> None:
    """Lone surrogates, as Python makes of undecodable bytes, are written as U+FFFD or escapes."""
    profile = wide(1)
    content = flamegraph.report.render(replace(profile, meta=replace(profile.meta, command=("caf\udce9.py",))), ReportOptions())
    assert b"x.py" not in content
    content.decode("utf-8")


def changed(n: int) -> tuple[Profile, Profile]:
    """Two sides of n callees; one small callee takes a thousand times as long on the new side, one is gone, one is new."""
    base, new = wide(n), wide(n)
    leaf = np.flatnonzero(base.cells.value == 3)
    value = new.cells.value.copy()
    value[leaf] = 3_000_000_000
    return base, replace(new, cells=replace(new.cells, value=value))


def few() -> Diff:
    """The same with three callees."""
    return diff(*([side] * 3 for side in changed(3)), names=("a", "b"))


def test_what_is_known_of_a_change_follows_folding() -> None:
    """The certain part of every node's change is on the page whole, however far the tree is folded, and the functions keep their names."""
    answer = diff(*([side] * 3 for side in changed(20_000)), names=("a", "b"))
    known = np.round((node_self(answer.profile, 1) - node_self(answer.profile, 0)) * answer.node_certainty.astype(float))
    assert known.sum() > 2_000_000_000
    whole = flamegraph.render_diff(answer, ReportOptions())
    bound = between(flamegraph.render_diff(few(), ReportOptions()), whole, share=0.05)
    for content in (whole, flamegraph.render_diff(answer, ReportOptions(max_bytes=bound))):
        head, body = blocks(content)
        assert (head["folded"] is None) == (content is whole)
        assert content is whole or len(content) <= bound
        strings, columns = head["strings"], [Column(**column) for column in head["columns"]]  # type: ignore[arg-type,union-attr]
        found = unpack(columns, body[strings["lengths"]["size"] + strings["size"] :])  # type: ignore[index]
        assert found["diff.known"].sum() == known.sum()
        texts = unpack_strings(
            Text(**{**strings, "lengths": Column(**strings["lengths"])}), body[: strings["lengths"]["size"] + strings["size"]]
        )  # type: ignore[dict-item,index,arg-type]
        told = head["comparison"]["functions"][0]  # type: ignore[index]
        assert told["verdict"] == "slower"
        assert texts[found["functions.qualname"][told["function"]]] == f"callee_{2 * 7919 % 20_000}"
        node = int(np.argmax(found["diff.known"]))
        assert found["frames.function"][found["nodes.frame"][node]] == told["function"]


def test_a_table_of_changes_that_does_not_fit_is_cut_and_says_so() -> None:
    """The flagged and largest rows stay; how many went is told."""
    answer = diff(*([side] * 3 for side in changed(20_000)), names=("a", "b"))
    bound = between(*(flamegraph.render_diff(one, ReportOptions()) for one in (few(), answer)), share=0.15)
    head = blocks(flamegraph.render_diff(answer, ReportOptions(max_bytes=bound)))[0]
    kept = len(head["comparison"]["functions"])  # type: ignore[index,arg-type]
    assert 1_000 <= kept < 20_001
    assert f"{20_001 - kept:,} functions that changed least are not in the table of what changed" in head["thinned"]


def test_a_part_is_what_lies_below_a_node_and_knows_where_it_came_from() -> None:
    """Values of the part are those of the subtree, callers keep their names, and its own nodes are found again in the whole."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("x.py",)))
    frames = [b.frame(b.function(name)) for name in ("main", "left", "right", "leaf")]
    left, right = b.stack(frames[:2]), b.stack([frames[0], frames[2]])
    lane = b.lane()
    for node, value in ((left, 1), (b.node(left, frames[3]), 2), (right, 4), (b.node(right, frames[3]), 8)):
        b.add(node, lane, 0, value)
    whole = b.build()
    at = next(k for k in range(len(whole.nodes)) if names(whole, k) == ("main", "right"))
    part, sources = below(whole, Tree.of(whole), at)
    checked(part)
    assert sorted(names(part, k) for k in range(len(part.nodes))) == [("main",), ("main", "right"), ("main", "right", "leaf")]
    assert [names(part, k) for k in range(len(part.nodes))] == [names(whole, int(k)) for k in sources]
    assert sorted(part.cells.value.tolist()) == [4, 8]
    with pytest.raises(ReportError, match="no node 99"):
        below(whole, Tree.of(whole), 99)
