"""The verb `diff`: names of runs in, one `Diff` and the runs behind it out. Nothing is printed here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proftool.contracts_store import Run, RunStore
from proftool.model.compare import FLOOR_SHARE, diff
from proftool.model.diff import Diff
from proftool.model.meta import Meta
from proftool.store.names import Resolved, resolve_side
from proftool.workflows.changed import with_changes
from proftool.workflows.run_document import run_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A diff, and the newest run of each side; None for a file."""

    diff: Diff
    base: Run | None
    new: Run | None


def compare(
    base: str,
    new: str,
    store: RunStore,
    cwd: Path,
    *,
    metric: str | None = None,
    force: bool = False,
    floor_share: float = FLOOR_SHARE,
) -> Compared:
    """
    Compare two sides by name.

    Args:
        floor_share: changes below this part of the total are never flagged (the setting `diff-floor`).

    Raises:
        RunNotFound: a name that stands for nothing.
        NotComparable: the sides measure different things.
    """
    found = [resolve_side(name, store, cwd) for name in (base, new)]
    like = next((side[0].run for side in reversed(found) if len(side) == 1), found[1][0].run)
    sides = [_alike(side, like) for side in found]
    # Oldest first, so that the last is the newest on either side.
    profiles = [[resolved.load(store) for resolved in reversed(side)] for side in sides]
    result = diff(profiles[0], profiles[1], metric=metric, floor_share=floor_share, names=(base, new), force=force)
    return Compared(diff=with_changes(result, cwd), base=sides[0][0].run, new=sides[1][0].run)


def _alike(side: tuple[Resolved, ...], like: Run | None) -> tuple[Resolved, ...]:
    """Of several runs those recorded in the same way as `like`, of the same program where some are; the newest alone where none is."""
    if len(side) == 1 or like is None:
        return side
    runs = [r for r in side if r.run is not None and (r.run.modes, r.run.backends) == (like.modes, like.backends)]
    program = [r for r in runs if r.run is not None and (None in (r.run.command, like.command) or r.run.command == like.command)]
    return tuple(program or runs) or side[:1]


def side_document(run: Run | None, name: str, meta: Meta, n_runs: int) -> dict[str, object]:
    """RUN of one side: the newest run's circumstances, or what the file knows; `runs` says of how many values are the mean."""
    if run is not None:
        return run_document(run) | {"name": name, "runs": n_runs}
    git, quality, first = meta.git, meta.quality, meta.passes[0] if meta.passes else None
    return {
        "id": None,
        "label": None,
        "modes": list(meta.modes),
        "backends": list(meta.backends),
        "command": list(meta.command or ()),
        "exit_status": meta.exit_status,
        "started_at": _iso(meta.started_ns),
        "duration_s": None if meta.duration_ns is None else meta.duration_ns / 1e9,
        "git": {"commit": git.commit, "branch": git.branch, "dirty": git.dirty} if git else None,
        "python": meta.python,
        "host": meta.host,
        "quality": {
            "verdict": quality.verdict if quality else None,
            "reasons": list(quality.reasons) if quality else [],
            "samples": first.samples if first else None,
            "rate_asked_hz": first.rate_asked_hz if first else None,
            "rate_achieved_hz": first.rate_achieved_hz if first else None,
        },
        "name": name,
        "runs": n_runs,
    }


def _iso(started_ns: int | None) -> str | None:
    from datetime import UTC, datetime

    return None if started_ns is None else datetime.fromtimestamp(started_ns / 1e9, UTC).isoformat()
