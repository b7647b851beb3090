"""What a line of the project's source does, from its syntax tree: the sources that were embedded when the run was recorded."""

from __future__ import annotations

import ast
from functools import lru_cache

from proftool.model.profile import Profile


def function_at(profile: Profile, file: str, line: int) -> tuple[ast.AST, ast.stmt] | None:
    """The innermost function (or module) and statement at a line; None where the source is not embedded or is no Python."""
    text = dict(profile.meta.sources).get(file)
    tree = None if text is None else _tree(text)
    if tree is None:
        return None
    owner: ast.AST = tree
    found: ast.stmt | None = None
    for node in ast.walk(tree):
        first, last = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0) or 0
        if not first <= line <= last:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            owner = node  # walk goes outside in, so the last is the innermost
        if isinstance(node, ast.stmt):
            found = node
    return None if found is None else (owner, found)


@lru_cache(maxsize=64)
def _tree(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None
