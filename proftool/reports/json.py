"""The document proftool.show/1: every function with its self, total and waiting values, lanes and metrics, in base units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from proftool.contracts import ReportOptions
from proftool.model.insight import Insight
from proftool.model.profile import UNKNOWN, Profile
from proftool.model.tree import Tree, function_self, function_total, lane_total, metric_total

SCHEMA = "proftool.show/1"
_WAITING = {"waiting_time": "wall_time"}
"""A metric that is the waiting part of another stands under `waiting`, under the other's name."""


class Json:
    """The report; see the module."""

    name = "json"
    suffix = ".json"

    def render(self, profile: Profile, options: ReportOptions) -> bytes:
        """The document of a profile that no store holds: what is known of its run stands in its meta."""
        import json

        return json.dumps(document(profile, circumstances(profile), options.insights), ensure_ascii=False, indent=1).encode(
            "utf-8", "backslashreplace"
        )


def circumstances(profile: Profile) -> dict[str, object]:
    """RUN of a profile without an id: a file, or a recording that no store took."""
    from datetime import UTC, datetime

    meta = profile.meta
    first = meta.passes[0] if meta.passes else None
    started_ns, duration_ns = meta.started_ns, meta.duration_ns
    started = None if started_ns is None else datetime.fromtimestamp(started_ns / 1e9, UTC).isoformat().replace("+00:00", "Z")
    return {
        "id": None,
        "label": None,
        "modes": list(meta.modes),
        "backends": list(meta.backends),
        "command": None if meta.command is None else list(meta.command),
        "exit_status": meta.exit_status,
        "started_at": started,
        "duration_s": None if duration_ns is None else duration_ns / 1e9,
        "git": None if meta.git is None else {"commit": meta.git.commit, "branch": meta.git.branch, "dirty": meta.git.dirty},
        "python": meta.python,
        "host": meta.host,
        "quality": {
            "verdict": meta.quality.verdict if meta.quality else None,
            "reasons": list(meta.quality.reasons) if meta.quality else [],
            "samples": first.samples if first else None,
            "rate_asked_hz": first.rate_asked_hz if first else None,
            "rate_achieved_hz": first.rate_achieved_hz if first else None,
        },
    }


def document(profile: Profile, run: Mapping[str, object], insights: Sequence[Insight] = ()) -> dict[str, object]:
    """The whole document, functions by descending self value of the first metric."""
    shown = [(i, m) for i, m in enumerate(profile.metrics) if m.name not in _WAITING]
    tree = Tree.of(profile)
    own = {m.name: function_self(profile, i) for i, m in shown}
    total = {m.name: function_total(profile, i, tree) for i, m in shown}
    waiting = {_WAITING[m.name]: function_total(profile, i, tree) for i, m in enumerate(profile.metrics) if m.name in _WAITING}
    f, text = profile.functions, profile.text
    n = len(f)
    present = np.zeros(n, bool)
    for values in (*own.values(), *total.values()):
        present |= values != 0
    order = np.lexsort(tuple(-values for values in reversed(own.values()))) if own else np.arange(n)
    functions = [
        {
            "name": text(int(f.qualname[i])),
            "module": text(int(f.module[i])),
            "file": text(int(f.file[i])) or None,
            "line": int(f.first_line[i]) or None,
            "category": ("project", "library", "stdlib", "native")[int(f.category[i])],
            "self": {m: int(v[i]) for m, v in own.items() if v[i] or total[m][i]},
            "total": {m: int(v[i]) for m, v in total.items() if v[i] or own[m][i]},
            "waiting": {m: int(v[i]) for m, v in waiting.items() if v[i]},
        }
        for i in order.tolist()
        if present[i]
    ]
    return {
        "schema": SCHEMA,
        "run": dict(run),
        "metrics": [
            {"name": m.name, "unit": str(m.unit), "kind": str(m.kind), "mode": m.mode or None, "total": metric_total(profile, i)}
            for i, m in shown
        ],
        "functions": functions,
        "lanes": _lanes(profile, [(i, m.name) for i, m in shown]),
        "waiting": {_WAITING[m.name]: metric_total(profile, i) for i, m in enumerate(profile.metrics) if m.name in _WAITING},
        "insights": [asdict(insight) for insight in insights],
    }


def _lanes(profile: Profile, metrics: list[tuple[int, str]]) -> list[dict[str, object]]:
    lanes = profile.lanes
    totals = {name: lane_total(profile, i) for i, name in metrics}

    def known(value: int) -> int | None:
        return None if value == UNKNOWN else value

    return [
        {
            "pid": known(int(lanes.pid[i])),
            "ppid": known(int(lanes.ppid[i])),
            "tid": known(int(lanes.tid[i])),
            "process_name": profile.text(int(lanes.process_name[i])),
            "thread_name": profile.text(int(lanes.thread_name[i])),
            "task": profile.text(int(lanes.task[i])) or None,
            "main": bool(lanes.is_main[i]),
            "total": {name: int(values[i]) for name, values in totals.items() if values[i]},
        }
        for i in range(len(lanes))
    ]


report = Json()
