"""A run as Markdown, for an issue or a pull request: what it was, how far it can be trusted, its largest functions."""

from __future__ import annotations

import shlex

from proftool.contracts import ReportOptions
from proftool.model.profile import Profile
from proftool.model.tree import metric_total
from proftool.reports.advice import where
from proftool.reports.rows import By, by
from proftool.reports.table import metric_of
from proftool.units import Unit, people, percent


class Markdown:
    """The report; see the module."""

    name = "markdown"
    suffix = ".md"

    def render(self, profile: Profile, options: ReportOptions) -> bytes:
        """The text as UTF-8; at most `options.limit` functions."""
        return (text(profile, options) + "\n").encode("utf-8", "backslashreplace")


def text(profile: Profile, options: ReportOptions) -> str:
    """A heading, a list of circumstances, a table of functions with the largest self first."""
    meta = profile.meta
    metric = metric_of(profile, options.metric)
    index = profile.metric_index(metric)
    unit, whole = profile.metrics[index].unit, metric_total(profile, index)
    lines = [f"### proftool: {_code(shlex.join(meta.command) if meta.command else meta.source or 'a process')}", ""]
    for one in meta.passes:
        profiler = f"{one.backend} {one.backend_version or ''}".strip()
        lines.append("- " + " · ".join(part for part in (one.mode, profiler) if part))
    if meta.duration_ns is not None:
        lines.append(f"- took {people(meta.duration_ns, Unit.NANOSECONDS)}")
    if meta.exit_status is not None:
        lines.append(f"- exit status {meta.exit_status}")
    if meta.quality is not None:
        lines.append(f"- {'; '.join([meta.quality.verdict, *meta.quality.reasons])}")
    rows = by(profile, metric, By.FUNCTION)
    has_calls = any(row.calls is not None for row in rows)
    lines += ["", f"{metric}: {people(whole, unit)}", "", f"| self | % | total |{' calls |' if has_calls else ''} function | where |"]
    lines.append(f"|--:|--:|--:|{'--:|' if has_calls else ''}---|---|")
    for row in rows[: options.limit]:
        value, total = row.self_value or 0, row.total or 0
        calls = f" {'' if row.calls is None else format(row.calls, ',')} |" if has_calls else ""
        lines.append(
            f"| {people(value, unit)} | {percent(value, whole)} | {people(total, unit)} |{calls} {_code(row.name)} | {_code(row.where)} |"
        )
    if len(rows) > options.limit:
        lines += ["", f"{len(rows) - options.limit} more functions are not shown."]
    if options.insights:
        lines += ["", *_advice(options)]
    return "\n".join(lines)


def _advice(options: ReportOptions) -> list[str]:
    """A list entry an insight: where, what was measured, what to do and what that gave where it was measured."""
    lines = ["#### Advice", ""]
    for insight in options.insights[: options.limit]:
        told = [f"- {_code(where(insight))} {insight.evidence}", f"→ {insight.advice}", *([insight.effect] if insight.effect else [])]
        lines.append(
            " ".join("; ".join([" ".join(told[:2]), *told[2:]]).split())
            + f" ([{insight.id}]({insight.link}), confidence {insight.confidence})"
        )
    return lines


def _code(words: str) -> str:
    """Inline code that neither a pipe nor a backtick nor a new line can break."""
    flat = " ".join(words.split()).replace("|", "\\|").replace("`", "'")
    return f"`{flat}`" if flat else ""


report = Markdown()
