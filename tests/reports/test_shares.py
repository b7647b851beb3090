"""Whose code a total is, and what is nobody's."""

from __future__ import annotations

from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta, Pass
from proftool.model.profile import OUTSIDE, PEAK_BYTES, Category, Kind
from proftool.reports.rows import shares


def test_what_was_allocated_outside_of_python_is_no_librarys() -> None:
    """It is told apart, and the parts still add up to the whole."""
    builder = ProfileBuilder([PEAK_BYTES])
    lane = builder.lane(pid=1, tid=1, is_main=True)
    outside = builder.frame(builder.function(OUTSIDE, kind=Kind.SYNTHETIC))
    for frame, value in (
        (outside, 700),
        (builder.frame(builder.function("mine", file="a.py", category=Category.PROJECT), 1), 200),
        (builder.frame(builder.function("theirs", file="b.py", category=Category.LIBRARY), 1), 100),
    ):
        builder.add(builder.stack([frame]), lane, 0, value)
    found = shares(builder.build(Meta(passes=(Pass(mode="memory", backend="memray"),))), 0)
    assert (found.outside, found.project, found.library, found.whole) == (700, 200, 100, 1000)
    assert (found.stdlib, found.native, found.waiting) == (0, 0, 0)
