"""`trend`: one function over the runs of a command, from the table that the store keeps of each run's largest functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from proftool.contracts_store import Trend, TrendQuery
from proftool.errors import RunNotFound, UsageError
from proftool.store import trends
from proftool.store.rows import iso
from proftool.store.runs import SqlRunStore

LIMIT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The trend of a function, and what was left out."""

    trend: Trend
    command: tuple[str, ...] | None
    """Of all points; None where runs of every command were asked for."""
    other_commands: int
    """Commands that have the function and are not in the trend."""


def trend(function: str, store: SqlRunStore, *, metric: str | None = None, limit: int = LIMIT, every: bool = False) -> Found:
    """
    One function over the newest runs, oldest first.

    Args:
        function: `qualname`, `module:qualname` or the bare name.
        every: runs of all commands; else those of the command that ran it last.

    Raises:
        RunNotFound: no run has it among its largest functions.
        UsageError: several functions bear the name; a metric that no trend is kept of.
    """
    if metric is not None and metric not in trends.METRICS:
        raise UsageError(
            f"no trend of `{metric}` is kept", cause="it is none of those that are", fix=f"known are: {', '.join(trends.METRICS)}"
        )
    trends.fill(store, limit)
    # A command is known by its words alone; the newest run of all says which one is meant.
    found = store.trends(TrendQuery(function=function, metric=metric, limit=limit))
    if not found:
        raise RunNotFound(
            f"no run has `{function}` among its largest functions",
            cause="of each run the 30 largest by self time or bytes and the project's 20 largest by total are kept",
            fix="`proftool show` lists the functions of a run",
        )
    if len(found) > 1:
        names = ", ".join(f"`{one.module}:{one.qualname}`" for one in found[:8])
        raise UsageError(f"`{function}` names {len(found)} functions", cause=f"these: {names}", fix="name one of them whole")
    (whole,) = found
    commands = {point.command for point in whole.points}
    if every or len(commands) == 1:
        only = next(iter(commands)) if len(commands) == 1 else None
        return Found(trend=whole, command=_words(only), other_commands=0)
    last = _words(whole.points[-1].command)
    if last is None:
        own = tuple(point for point in whole.points if point.command is None)
        return Found(trend=replace(whole, points=own), command=None, other_commands=len(commands) - 1)
    query = TrendQuery(function=f"{whole.module}:{whole.qualname}", metric=whole.metric, command=last, limit=limit)
    same = [one for one in store.trends(query) if one.file == whole.file]
    return Found(trend=same[0], command=last, other_commands=len(commands) - 1)


def trend_document(found: Found) -> dict[str, object]:
    """The JSON document of `trend`."""
    one = found.trend
    return {
        "schema": "proftool.trend/1",
        "function": {"name": one.qualname, "module": one.module, "file": one.file or None},
        "metric": one.metric,
        "command": None if found.command is None else list(found.command),
        "points": [
            {
                "run": point.run_id,
                "added_at": iso(point.added_ns),
                "label": point.label,
                "commit": point.commit,
                "command": None if point.command is None else list(_words(point.command) or ()),
                "self": point.self_value,
                "total": point.total,
            }
            for point in one.points
        ],
    }


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(cast(Sequence[str], json.loads(text)))
