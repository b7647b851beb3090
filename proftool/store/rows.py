"""A profile's circumstances as a row, and a row as the `Run` that people see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from proftool.contracts_store import Run
from proftool.model.meta import Quality
from proftool.units import NS_PER_S

if TYPE_CHECKING:
    from proftool.model.profile import Profile

Value = str | int | float | bool | None


def row_of(profile: Profile, *, id: str, label: str | None, blob: str, size_bytes: int, added_ns: int) -> dict[str, Value]:
    """The columns of a new row."""
    meta, passes = profile.meta, profile.meta.passes
    git, quality = meta.git, meta.quality
    samples = [p.samples for p in passes if p.samples is not None]
    return {
        "id": id,
        "added_ns": added_ns,
        "label": label,
        "modes": json.dumps(meta.modes),
        "backends": json.dumps(meta.backends),
        "command": None if meta.command is None else json.dumps(meta.command),
        "exit_status": meta.exit_status,
        "started_ns": meta.started_ns,
        "duration_ns": meta.duration_ns,
        "git_commit": git.commit if git else None,
        "git_branch": git.branch if git else None,
        "git_dirty": git.dirty if git else None,
        "python": meta.python,
        "host": meta.host,
        "quality": None if quality is None else json.dumps({"verdict": quality.verdict, "reasons": quality.reasons}),
        "samples": sum(samples) if samples else None,
        "rate_asked_hz": next((p.rate_asked_hz for p in passes if p.rate_asked_hz is not None), None),
        "rate_achieved_hz": next((p.rate_achieved_hz for p in passes if p.rate_achieved_hz is not None), None),
        "totals": json.dumps(totals(profile)),
        "blob": blob,
        "size_bytes": size_bytes,
    }


def totals(profile: Profile) -> dict[str, int]:
    """Metric name -> sum of its self values; where two passes have a metric of one name, the first."""
    found: dict[str, int] = {}
    for index, metric in enumerate(profile.metrics):
        if metric.name not in found:
            found[metric.name] = int(profile.cells.value[profile.cells.metric == index].sum())
    return found


def run_of(row: Mapping[str, object]) -> Run:
    """The run of a row."""
    started, duration = cast(int | None, row["started_ns"]), cast(int | None, row["duration_ns"])
    return Run(
        id=cast(str, row["id"]),
        label=cast(str | None, row["label"]),
        modes=_words(row["modes"]) or (),
        backends=_words(row["backends"]) or (),
        command=_words(row["command"]),
        exit_status=cast(int | None, row["exit_status"]),
        started_at=None if started is None else iso(started),
        duration_s=None if duration is None else duration / NS_PER_S,
        commit=cast(str | None, row["git_commit"]),
        branch=cast(str | None, row["git_branch"]),
        dirty=None if row["git_dirty"] is None else bool(row["git_dirty"]),
        python=cast(str | None, row["python"]),
        host=cast(str | None, row["host"]),
        quality=_quality(row["quality"]),
        samples=cast(int | None, row["samples"]),
        rate_asked_hz=cast(float | None, row["rate_asked_hz"]),
        rate_achieved_hz=cast(float | None, row["rate_achieved_hz"]),
        totals=cast(dict[str, int], json.loads(cast(str, row["totals"]))),
        blob=cast(str, row["blob"]),
        size_bytes=cast(int, row["size_bytes"]),
        added_ns=cast(int, row["added_ns"]),
    )


def iso(time_ns: int) -> str:
    """ISO 8601 in UTC, to the millisecond: `2024-05-01T12:00:00.250Z`."""
    whole, rest = divmod(time_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03}Z"


def _words(text: object) -> tuple[str, ...] | None:
    return None if text is None else tuple(cast(list[str], json.loads(cast(str, text))))


def _quality(text: object) -> Quality | None:
    if text is None:
        return None
    found = json.loads(cast(str, text))
    return Quality(verdict=found["verdict"], reasons=tuple(found["reasons"]))
