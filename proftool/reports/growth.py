"""How functions grow with the input, for people: the exponent of time, that of calls, and what ten times the size would cost."""

from __future__ import annotations

from collections.abc import Sequence

from proftool.contracts import ReportOptions
from proftool.model.growth import SUPERLINEAR, Exponent, Growth
from proftool.reports.table import named
from proftool.reports.text import styled
from proftool.units import Unit, people


def text(sizes: Sequence[int], functions: Sequence[Growth], options: ReportOptions) -> str:
    """A table, the function that will hurt first on top; those that outgrow their input are marked."""
    at, later = f"self at {sizes[-1]:,}", f"at {sizes[-1] * 10:,}"
    head = f"{'time':>7} {'range':>12} {'calls':>7} {at:>14} {later:>10}  function"
    lines = [styled(f"growth with n = {', '.join(f'{n:,}' for n in sizes)}", "dim", options.color), styled(head, "dim", options.color)]
    for one in functions[: options.limit]:
        expected = round(one.self_ns[-1] * 10**one.time.estimate)
        spread = f"{one.time.low:.1f} to {one.time.high:.1f}"
        calls = "same" if one.call_count is None else _power(one.call_count)
        own = people(one.self_ns[-1], Unit.NANOSECONDS)
        left = f"{_power(one.time):>7} {spread:>12} {calls:>7} {own:>14} {people(expected, Unit.NANOSECONDS):>10}  "
        where = f"{one.key.file}:{one.line}" if one.key.file and one.line else one.key.file
        mark = "  ← outgrows its input" if one.time.estimate >= SUPERLINEAR else ""
        lines.append(
            left
            + named(one.key.qualname, where, max(options.width - len(left) - len(mark), 16), options.color)
            + styled(mark, "yellow", options.color)
        )
    if not functions:
        lines.append("no function has 1 ms of its own at the largest size: take larger ones")
    return "\n".join(lines)


def _power(exponent: Exponent) -> str:
    return f"n^{exponent.estimate:.2f}"
