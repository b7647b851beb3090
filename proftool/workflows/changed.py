"""Which functions did a commit range touch? `git diff` of two commits, its hunks laid over the functions of the files of each side."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

from proftool.launch import git
from proftool.model.diff import Diff, FunctionChange, Verdict
from proftool.model.explain import explain

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def with_changes(diff: Diff, cwd: Path) -> Diff:
    """The diff whose functions say whether their code changed, where both sides name a commit of the checkout around `cwd`."""
    commits = [next((m.git for m in reversed(side.metas) if m.git), None) for side in (diff.base, diff.new)]
    base, new = commits
    strings, f = diff.profile.strings, diff.profile.functions
    if not base or not new or base.dirty:
        return diff
    range_ = (base.commit,) if new.dirty else (base.commit, new.commit)
    touched = {old: touched_lines(cwd, *range_, old=old) for old in {c.verdict is Verdict.GONE for c in diff.functions}}
    sources = {
        old: {file: text for meta in side.metas for file, text in meta.sources} for old, side in ((False, diff.new), (True, diff.base))
    }
    spans: dict[tuple[bool, str], dict[int, int]] = {}
    changes: list[FunctionChange] = []
    for change in diff.functions:
        file, line = strings[int(f.file[change.function])], int(f.first_line[change.function])
        old = change.verdict is Verdict.GONE  # its lines are those of the base
        lines = touched[old]
        if not line or not file or file.startswith("/") or lines is None:
            changes.append(change)
            continue
        if (old, file) not in spans:
            spans[old, file] = _spans(sources[old].get(file))
        last = spans[old, file].get(line)
        if last is None and lines.get(file):
            changes.append(change)
            continue
        hit = any(low <= (last or line) and line <= high for low, high in lines.get(file, ()))
        changes.append(replace(change, code_changed=hit))
    result = replace(diff, functions=tuple(changes))
    return replace(result, explanation=explain(result))


def touched_lines(cwd: Path, *commits: str, old: bool = False) -> dict[str, list[tuple[int, int]]] | None:
    """File (from the checkout's root) -> ranges of lines of the new side, or the old one, that changed; None where git cannot tell."""
    marker, start_at, count_at = ("--- a/", 1, 2) if old else ("+++ b/", 3, 4)
    told = git.changed_lines(cwd, *commits)
    if told is None:
        return None
    result: dict[str, list[tuple[int, int]]] = {}
    file = ""
    for line in told.splitlines():
        if line.startswith(marker[:4]):
            file = line[6:].strip() if line.startswith(marker) else ""
        elif file and (hunk := _HUNK.match(line)):
            start, count = int(hunk[start_at]), int(hunk[count_at]) if hunk[count_at] is not None else 1
            result.setdefault(file, []).append((start, start + max(count - 1, 0)))
    return result


def untracked(root: Path) -> frozenset[str]:
    """Python files below the root of a checkout that git does not hold and does not ignore: all of each is new."""
    told = git.untracked(root, "*.py")
    return frozenset() if told is None else told


def _spans(source: str | None) -> dict[int, int]:
    """Line of `def` -> last line."""
    if source is None:
        return {}
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {}
    return {n.lineno: n.end_lineno or n.lineno for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
