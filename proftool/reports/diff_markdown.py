"""A diff as Markdown for a pull request: the gate's answer, the paragraph, a table of what changed, the rest folded."""

from __future__ import annotations

from proftool.model.diff import Diff, FunctionChange, Verdict
from proftool.model.explain import QUIET
from proftool.reports.diff import function_name, interval_text, q_text
from proftool.units import people, signed

_ROWS_MAX = 50


def render_markdown(diff: Diff, *, outcome: str | None = None, rule: str | None = None) -> str:
    """The text; `outcome` is the gate's pass, fail or inconclusive."""
    title = f"### proftool: `{diff.base.name}` → `{diff.new.name}`" + (f": **{outcome}**" if outcome else "")
    lines = [title, ""]
    if rule:
        lines += [f"Rule: `{rule}`", ""]
    lines += [diff.explanation, ""]
    flagged = [c for c in diff.functions if c.verdict not in QUIET or c.verdict is Verdict.MOVED]
    others = [c for c in diff.functions if c.verdict is Verdict.INCONCLUSIVE]
    if flagged:
        lines += [*_table(diff, flagged[:_ROWS_MAX]), ""]
    if len(flagged) > _ROWS_MAX:
        lines += [f"{len(flagged) - _ROWS_MAX} more are not shown.", ""]
    if others:
        lines += [f"<details><summary>{len(others)} inconclusive</summary>", "", *_table(diff, others[:_ROWS_MAX]), "", "</details>", ""]
    lines += [f"- {reason}" for reason in diff.comparability.reasons]
    return "\n".join(lines).rstrip() + "\n"


def _table(diff: Diff, rows: list[FunctionChange]) -> list[str]:
    unit = diff.metric.unit
    lines = ["| verdict | function | before | after | change | 95 % interval | q | code changed |", "|---|---|--:|--:|--:|--:|--:|---|"]
    for c in rows:
        name = function_name(diff, c).replace("|", "\\|").replace("`", "'")
        moved = f" (was `{c.moved_from}`)" if c.moved_from else ""
        changed = "–" if c.code_changed is None else "yes" if c.code_changed else "no"
        lines.append(
            f"| {c.verdict}{' (weak)' if c.weak and c.verdict not in QUIET else ''} | `{name}`{moved} | {people(c.base_self, unit)} "
            f"| {people(c.new_self, unit)} | {signed(c.delta_self, unit)} | {interval_text(diff, c)} | {q_text(c)} | {changed} |"
        )
    return lines
