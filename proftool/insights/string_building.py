"""A string that grows by `+` in a loop: each step may copy all that is there, so the time grows with the square of the length."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from proftool.insights.source_lines import function_at
from proftool.insights.view import MIN_NS, Charge, view
from proftool.model.insight import Insight
from proftool.model.profile import Profile

_MIN_SHARE = 0.1


class StringBuilding:
    """Speaks of a line with a tenth of the working time that adds to a name which its function also gives a string."""

    id = "string-building"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a line; nothing without embedded sources."""
        seen = view(profile)
        if seen.is_edges:
            return []
        found: list[Insight] = []
        f, frames = profile.functions, profile.frames
        for frame, value in sorted(seen.lines(seen.working).items(), key=lambda item: -item[1]):
            if value < max(seen.whole * _MIN_SHARE, MIN_NS):
                break
            function, line = int(frames.function[frame]), int(frames.line[frame])
            place = function_at(profile, profile.text(int(f.file[function])), line)
            if place is not None and _grows_a_string(*place):
                found.append(
                    seen.insight(
                        self.id,
                        Charge(function, line, value),
                        "adds to a string step by step",
                        "collect the parts in a list and join them once: `''.join(parts)`, or write into an `io.StringIO`",
                        "https://docs.python.org/3/faq/programming.html#what-is-the-most-efficient-way-to-concatenate-many-strings-together",
                        effect="measured: `join` of 3,000 parts 320–460 times as fast where another name holds the text, else 7–11 times",
                    )
                )
        return found


def _grows_a_string(owner: ast.AST, statement: ast.stmt) -> bool:
    match statement:
        case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=added):
            pass
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(left=ast.Name(id=left), op=ast.Add(), right=added)) if left == name:
            pass
        case _:
            return False
    loops = [node for node in ast.walk(owner) if isinstance(node, ast.For | ast.AsyncFor | ast.While)]
    if not any(node is statement for loop in loops for node in ast.walk(loop)):
        return False
    given = [
        node.value
        for node in ast.walk(owner)
        if isinstance(node, ast.Assign) and node is not statement and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]
    return _is_text(added) or any(_is_text(value) for value in given)


def _is_text(value: ast.expr) -> bool:
    match value:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.Call(func=ast.Name(id="str")):
            return True
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod() | ast.Mult(), right=right):
            return _is_text(left) or (not isinstance(value.op, ast.Mod) and _is_text(right))
        case _:
            return False


rule = StringBuilding()
