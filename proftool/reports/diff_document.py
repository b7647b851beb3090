"""The JSON document `proftool.diff/1` (docs/reference/json.md). Values are means per exposure, rounded; keys are never renamed."""

from __future__ import annotations

from collections.abc import Mapping

from proftool.model.diff import Diff, FunctionChange


def diff_document(diff: Diff, base: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """The document; `base` and `new` are the RUN documents of the sides."""
    functions = [_function(diff, change) for change in diff.functions]
    return {
        "schema": "proftool.diff/1",
        "base": dict(base),
        "new": dict(new),
        "metric": diff.metric.name,
        "unit": str(diff.metric.unit),
        "comparable": {"verdict": str(diff.comparability.verdict), "reasons": list(diff.comparability.reasons)},
        "total": {"base": round(diff.base_total), "new": round(diff.new_total), "delta": round(diff.new_total) - round(diff.base_total)},
        "explanation": diff.explanation,
        "explained_share": diff.explained_share,
        "functions": functions,
    }


def _function(diff: Diff, c: FunctionChange) -> dict[str, object]:
    f, strings = diff.profile.functions, diff.profile.strings
    base, new, base_total, new_total = (round(v) for v in (c.base_self, c.new_self, c.base_total, c.new_total))
    line = int(f.first_line[c.function])
    return {
        "name": strings[int(f.qualname[c.function])],
        "module": strings[int(f.module[c.function])] or None,
        "file": strings[int(f.file[c.function])] or None,
        "line": line if line > 0 else None,
        "base_self": base,
        "new_self": new,
        "delta_self": new - base,
        "base_total": base_total,
        "new_total": new_total,
        "delta_total": new_total - base_total,
        "interval": None if c.low is None or c.high is None else [c.low, c.high],
        "q": c.q,
        "verdict": str(c.verdict),
        "weak": c.weak,
        "moved_from": c.moved_from,
        "more_calls": c.more_calls,
        "dearer_calls": c.dearer_calls,
        "code_changed": c.code_changed,
    }
