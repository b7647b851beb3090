"""Insights for people: a line under the summary, and the whole list with evidence, advice and a link."""

from __future__ import annotations

from collections.abc import Sequence

from proftool.contracts import ReportOptions
from proftool.model.insight import Insight
from proftool.reports.text import styled


def where(insight: Insight) -> str:
    """`Invoice.total shop/model.py:41`."""
    place = f"{insight.file}:{insight.line}" if insight.file and insight.line else insight.file or ""
    return f"{insight.function} {place}".strip()


def headline(insights: Sequence[Insight]) -> str:
    """The first insight in one line, and how many more there are."""
    first = insights[0]
    more = f" (and {len(insights) - 1} more: `proftool show`)" if len(insights) > 1 else ""
    return f"advice: {where(first)}: {first.evidence} → {first.advice}{more}"


def text(insights: Sequence[Insight], options: ReportOptions) -> str:
    """Every insight in three lines."""
    lines = ["advice"]
    for insight in insights:
        lines.append(f"  {styled(where(insight), 'bold', options.color)}  {insight.evidence}")
        lines.append(f"    → {insight.advice}")
        if insight.effect:
            lines.append(f"      {insight.effect}")
        lines.append(styled(f"      {insight.id}, confidence {insight.confidence} · {insight.link}", "dim", options.color))
    return "\n".join(lines)
