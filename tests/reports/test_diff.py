"""A diff in the terminal: what a narrow one leaves out, and that nothing is said twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from text_profile import profile_from_text

from proftool.contracts import ReportOptions
from proftool.model.compare import diff
from proftool.reports.diff import render_text

BASE = profile_from_text("""
    app.main                     app.main
    app.a_function_of_long_name  app.other
    = 900                        100
""")
NEW = profile_from_text("""
    app.main                     app.main
    app.a_function_of_long_name  app.other
    = 2000                       110
""")


@pytest.mark.parametrize(("width", "gone"), [(200, ()), (76, ("q",)), (68, ("q", "before")), (50, ("q", "before", "interval"))])
def test_a_narrow_terminal_gets_fewer_columns(width: int, gone: tuple[str, ...]) -> None:
    """The verdict, the function and its change are always there; no line is wider than the terminal."""
    text = render_text(diff([BASE], [NEW]), ReportOptions(width=width))
    assert max(map(len, text.splitlines())) <= width
    head = next(line for line in text.splitlines() if line.startswith("verdict"))
    words = head.replace("95 % interval", "interval").split()
    assert words == [word for word in ("verdict", "function", "before", "after", "change", "interval", "q") if word not in gone]
    assert any(line.startswith("more (weak)") and "app:a_fun" in line and "+1,100" in line for line in text.splitlines())


def test_a_note_that_the_paragraph_has_is_not_repeated() -> None:
    """The loud ones are in it already."""
    found = diff([BASE], [NEW])
    said = "the machine was busy"
    loud = replace(
        found,
        comparability=replace(found.comparability, reasons=(said, "and another")),
        explanation=f"{found.explanation} Mind: {said}.",
    )
    text = render_text(loud, ReportOptions(width=300))
    assert text.count(said) == 1
    assert "note: and another" in text
