"""What a profile says, free of the order of its rows: two profiles are the same recording exactly if these are equal."""

from __future__ import annotations

from collections import Counter
from typing import Any

from proftool.model.profile import ROOT, TABLES, Profile

_TEXTS = {"name", "qualname", "module", "file", "code_hash", "process_name", "thread_name", "task"}


def canonical(profile: Profile) -> dict[str, Counter[Any]]:
    """Table -> its rows with every reference replaced by what it refers to, counted. Unused functions and frames are left out."""
    s = profile.strings

    def rows(name: str) -> list[dict[str, Any]]:
        columns = getattr(profile, name).columns()
        cells = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [{c: s[v] if c in _TEXTS else v for c, v in zip(columns, row, strict=True)} for row in cells]

    functions = [tuple(row.values()) for row in rows("functions")]
    frames = [(functions[row["function"]], row["line"]) for row in rows("frames")]
    paths: list[tuple[Any, ...]] = []
    for row in rows("nodes"):
        paths.append((*(() if row["parent"] == ROOT else paths[row["parent"]]), frames[row["frame"]]))
    lanes = [tuple(row.values()) for row in rows("lanes")]
    refer = {
        "node": paths,
        "lane": [*lanes, None],
        "metric": profile.metrics,
        "caller": [*functions, None],
        "callee": functions,
    }
    result: dict[str, Counter[Any]] = {"nodes": Counter(paths), "lanes": Counter(lanes), "metrics": Counter(profile.metrics)}
    for name in TABLES:
        if name not in ("functions", "frames", "nodes", "lanes"):
            result[name] = Counter(tuple(refer[c][v] if c in refer else v for c, v in row.items()) for row in rows(name))
    return result
