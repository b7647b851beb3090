"""`merge`: several runs, or files, as one run with a lane for each thread of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts_store import Run
from proftool.errors import UsageError
from proftool.store.names import Resolved, resolve_side
from proftool.store.runs import SqlRunStore, check_label

if TYPE_CHECKING:
    from proftool.model.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A run made of others."""

    run: Run
    parts: tuple[str, ...]
    """Ids of the runs and paths of the files that it was made of."""
    n_lanes: int


def merge_runs(names: Sequence[str], store: SqlRunStore, cwd: Path, *, label: str | None = None) -> Merged:
    """
    Store one run of all that are named; a label that several runs bear names them all, and no run counts twice.

    Values stay in the lanes that they were measured in, so that flows add up over lanes and peaks stay apart.

    Raises:
        UsageError: fewer than two runs.
        NotComparable: a metric of one name means different things in them.
    """
    from proftool.model.merge import merge

    if label is not None:
        check_label(label)
    chosen: dict[str, Resolved] = {}
    for name in names:
        for found in resolve_side(name, store, cwd):
            chosen.setdefault(found.run.id if found.run else str(found.path), found)
    if len(chosen) < 2:
        raise UsageError(
            "there is nothing to merge", cause="the names stand for fewer than two runs", fix="name two runs or more, for example two ids"
        )
    profiles = [with_lane_names(found.load(store), _spoken(key, found)) for key, found in chosen.items()]
    merged = merge(profiles)
    return Merged(run=store.add(merged, label=label), parts=tuple(chosen), n_lanes=len(merged.lanes))


def with_lane_names(profile: Profile, name: str) -> Profile:
    """The profile with `name` as the process of every lane of which neither process nor number is known."""
    from proftool.model.builder import table, with_tables
    from proftool.model.profile import UNKNOWN, Lanes

    lanes = profile.lanes
    unnamed = (lanes.pid == UNKNOWN) & (lanes.process_name == 0)
    if not unnamed.any():
        return profile
    strings = profile.strings if name in profile.strings else (*profile.strings, name)
    columns = lanes.columns() | {"process_name": lanes.process_name.copy()}
    columns["process_name"][unnamed] = strings.index(name)
    return with_tables(profile, {"lanes": table(Lanes, columns)}, strings=strings)


def _spoken(key: str, found: Resolved) -> str:
    return (found.run.label if found.run and found.run.label else None) or Path(key).name
