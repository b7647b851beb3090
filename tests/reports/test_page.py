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
from proftool.formats.columns import Column, unpack
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta
from proftool.model.profile import WALL_TIME, Profile
from proftool.reports import flamegraph


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


def test_a_page_that_would_be_too_large_is_folded_and_keeps_its_sum() -> None:
    """The bound holds, the sum is exact, and the head says how much lies in `(n others)`."""
    profile = wide(30_000)
    content = flamegraph.report.render(profile, ReportOptions(max_bytes=200_000))
    assert len(content) <= 200_000
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
