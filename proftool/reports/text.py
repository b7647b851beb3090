"""Pieces of text reports: columns that fit a width, bars, colour that may be off."""

from __future__ import annotations

import unicodedata

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def styled(text: str, style: str, color: bool) -> str:
    """The text in a style, or as it is."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color and text else text


def columns(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def clip(text: str, width: int) -> str:
    """The text in at most that many columns, cut at its end; control characters never reach a terminal."""
    text = "".join(c if c.isprintable() else "�" for c in text)
    if columns(text) <= width:
        return text
    kept, used = "", 0
    for c in text:
        used += columns(c)
        if used > width - 1:
            break
        kept += c
    return kept + "…"


def pad(text: str, width: int) -> str:
    """Clipped and filled up to that many columns."""
    text = clip(text, width)
    return text + " " * (width - columns(text))


def bar(part: float, whole: float, width: int) -> str:
    """A bar of eighths of a column, filled up with spaces to its width."""
    if whole <= 0 or part <= 0:
        return " " * width
    eighths = max(1, min(round(part / whole * width * 8), width * 8))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)
