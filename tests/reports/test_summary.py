"""The answer in the terminal: which contexts it draws, below whom, and that it keeps to its lines and columns."""

from __future__ import annotations

import re

from text_profile import profile_from_text

from proftool.contracts import ReportOptions
from proftool.reports.summary import text


def tree(drawn: str, width: int = 100) -> list[tuple[int, str, int]]:
    """Depth, functions and value of every line of the tree."""
    found = re.findall(r"^ *(\d+) +[\d.]+ %  ( *)(?:└ )?(\S.*?)(?:  \S+)?$", drawn, re.MULTILINE)
    return [(len(indent) // 2, path, int(value)) for value, indent, path in found if "█" not in path and "▎" not in path]


def test_children_stand_below_their_own_parent() -> None:
    """Before its sibling, and no child is worth more than what it stands under."""
    profile = profile_from_text("""
        main  main  main  main
        hot   hot   cool  cool
        a     b     c     d
        = 50  30    15    5
    """)
    assert tree(text(profile, ReportOptions())) == [
        (0, "main", 100),
        (1, "hot", 80),
        (2, "a", 50),
        (2, "b", 30),
        (1, "cool", 20),
    ]


def test_the_tree_goes_where_most_is() -> None:
    """Five lines: the largest contexts wherever they are, a stretch without a fork as one line."""
    profile = profile_from_text("""
        main  main  main  main  main  main
        run   run   run   run   run   run
        a     a     a     b     b     c
        d     d     e     f     g
        = 30  5     5     26    24    10
    """)
    assert tree(text(profile, ReportOptions())) == [
        (0, "main → run", 100),
        (1, "b", 50),
        (2, "f", 26),
        (1, "a", 40),
        (2, "d", 35),
    ]
