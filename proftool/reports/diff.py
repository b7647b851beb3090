"""A diff as text for the terminal: the paragraph, then one row a function, the flagged first; readable without colour."""

from __future__ import annotations

from proftool.contracts import ReportOptions
from proftool.model.diff import Diff, FunctionChange, Verdict
from proftool.model.explain import QUIET
from proftool.units import people, signed

_COLORS = {
    Verdict.SLOWER: "31",
    Verdict.MORE: "31",
    Verdict.NEW: "31",
    Verdict.FASTER: "32",
    Verdict.LESS: "32",
    Verdict.GONE: "32",
    Verdict.MOVED: "36",
}
_LEAST_NAME = 20
"""Columns that a function's name has at least."""


def render_text(diff: Diff, options: ReportOptions) -> str:
    """The text; rows that neither changed nor matter are counted, not shown."""
    unit = diff.metric.unit
    lines = [_wrapped(diff.explanation, options.width), ""]
    rows = shown_rows(diff, options.limit)
    table = [("verdict", "function", "before", "after", "change", "95 % interval", "q")]
    table += [
        (
            str(c.verdict) + (" (weak)" if c.weak and c.verdict not in QUIET else ""),
            function_name(diff, c) + (f"  (was {c.moved_from})" if c.moved_from else ""),
            people(c.base_self, unit),
            people(c.new_self, unit),
            signed(c.delta_self, unit),
            interval_text(diff, c),
            q_text(c),
        )
        for c in rows
    ]
    table = _that_fits(table, options.width)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    widths[1] = min(widths[1], max(_LEAST_NAME, options.width - sum(widths) + widths[1] - 2 * (len(widths) - 1)))
    for at, row in enumerate(table):
        cells = [
            _clipped(text, width).ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        if options.color and at and (code := _COLORS.get(rows[at - 1].verdict)):
            cells[0] = f"\x1b[{code}m{cells[0]}\x1b[0m"
        lines.append("  ".join(cells).rstrip())
    rest = len(diff.functions) - len(rows)
    if rest:
        lines.append(_wrapped(f"{rest} more functions did not change or are below the floor", options.width))
    lines += [_wrapped(f"note: {reason}", options.width) for reason in diff.comparability.reasons if reason not in diff.explanation]
    return "\n".join(lines) + "\n"


def _that_fits(table: list[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """Without the columns that a narrow terminal has no room for: q, then what it was before, then the interval."""
    for column in (6, 2, 4):
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        if sum(widths) - widths[1] + min(widths[1], _LEAST_NAME) + 2 * (len(widths) - 1) <= width:
            break
        table = [(*row[:column], *row[column + 1 :]) for row in table]
    return table


def shown_rows(diff: Diff, limit: int) -> list[FunctionChange]:
    """All flagged and moved functions up to the limit, then the largest others up to half of it."""
    loud = [c for c in diff.functions if c.verdict not in QUIET or c.verdict is Verdict.MOVED]
    others = [c for c in diff.functions if c.verdict in (Verdict.INCONCLUSIVE, Verdict.SAME) and c.delta_self]
    return loud[:limit] + others[: max(0, min(limit // 2, limit - len(loud)))]


def function_name(diff: Diff, c: FunctionChange) -> str:
    """`module:qualname`, the qualified name alone where no module is known."""
    f, strings = diff.profile.functions, diff.profile.strings
    module, name = strings[int(f.module[c.function])], strings[int(f.qualname[c.function])]
    return f"{module}:{name}" if module else name


def interval_text(diff: Diff, c: FunctionChange) -> str:
    """`+1.2 ms … +3.4 ms`; a dash where nothing was estimated."""
    if c.low is None or c.high is None:
        return "–"
    if c.low == c.high:
        return "exact"
    return f"{signed(c.low, diff.metric.unit)} … {signed(c.high, diff.metric.unit)}"


def q_text(c: FunctionChange) -> str:
    """The adjusted p with two digits."""
    return "–" if c.q is None else "0" if c.q == 0 else f"{c.q:.2g}"


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
