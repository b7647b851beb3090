"""Threads that stand at a lock: the work behind it is done by one at a time."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from proftool.insights.source_lines import function_at
from proftool.insights.view import MIN_NS, view
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import Profile
from proftool.units import Unit, people

_MIN_SHARE = 0.1


class LockWait:
    """Speaks of a `with lock:` or `.acquire()` of the project at which threads waited for a tenth of the time that they worked."""

    id = "lock-wait"

    def look(self, profile: Profile) -> Sequence[Insight]:
        """One insight a line; nothing without embedded sources."""
        seen = view(profile)
        if seen.is_edges or not profile.has_metric("waiting_time"):
            return []
        found: list[Insight] = []
        f, frames = profile.functions, profile.frames
        whole = int(seen.working.sum())
        for frame, value in sorted(seen.lines(seen.still).items(), key=lambda item: -item[1]):
            if value < max(whole * _MIN_SHARE, MIN_NS):
                break
            function, line = int(frames.function[frame]), int(frames.line[frame])
            file = profile.text(int(f.file[function]))
            place = function_at(profile, file, line)
            if place is not None and _takes_a_lock(place[1], line):
                found.append(
                    Insight(
                        id=self.id,
                        function=profile.text(int(f.qualname[function])),
                        file=file or None,
                        line=line or None,
                        confidence=Confidence.MEDIUM,
                        share=value / max(value + whole, 1),
                        evidence=f"threads waited {people(value, Unit.NANOSECONDS)} at this line for a lock that another holds",
                        advice="hold the lock for less: work before it and only publish inside; or give each thread its own data",
                        link="https://docs.python.org/3/library/threading.html#lock-objects",
                        metric="waiting_time",
                    )
                )
        return found


def _takes_a_lock(statement: ast.stmt, line: int) -> bool:
    if isinstance(statement, ast.With | ast.AsyncWith):
        return any(item.context_expr.lineno == line and _is_lock(item.context_expr) for item in statement.items)
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "acquire" for node in ast.walk(statement)
    )


def _is_lock(value: ast.expr) -> bool:
    name = value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""
    return any(word in name.lower() for word in ("lock", "mutex", "semaphore", "condition", "guard"))


rule = LockWait()
