"""A page of the documentation as a reader meets it: its fenced blocks, in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
_FENCED = re.compile(r"^```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^```$", re.S | re.M)


class Block(NamedTuple):
    """What stands between two fences."""

    language: str
    line: int
    """Of its first line of text, from 1."""
    text: str


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page's Markdown."""
    return [Block(found["language"], page.count("\n", 0, found.start("text")) + 1, found["text"]) for found in _FENCED.finditer(page)]
