"""The segments of one recording as one profile: the same thread is the same lane, and the timeline stays bounded.

Totals (cells) are exact whatever the length. Of the timeline, neighbours of one lane with the same stack and status become one sample
with the weight of both; where that is not enough, its oldest part is left out, and the profile says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from proftool.model.builder import finish, rows_table, sum_cells, table
from proftool.model.merge import merge
from proftool.model.profile import ROOT, Cells, Int32Array, Lanes, Profile, Samples
from proftool.units import NS_PER_S

TIMELINE_MAX = 400_000
"""Samples of the timeline: 10 MB in memory."""


def in_one(profiles: Sequence[Profile], limit: int = TIMELINE_MAX) -> Profile:
    """Segments in order of time, with times from one origin, as one profile; its passes are those of `merge`."""
    profile = _with_lanes_joined(merge(profiles))
    samples = _joined(profile.samples)
    if len(samples) > limit:
        first_ns = int(samples.time_ns[-limit])
        samples = table(Samples, {name: column[-limit:] for name, column in samples.columns().items()})
        profile = _told(profile, f"the timeline begins at second {first_ns / NS_PER_S:.0f}: earlier samples count in the totals alone")
    return finish(replace(profile, samples=samples))


def _told(profile: Profile, sentence: str) -> Profile:
    """With that said of its last pass, once."""
    mark = sentence.partition(" at ")[0]
    *others, last = profile.meta.passes
    notes = (*(note for note in last.notes if not note.startswith(mark)), sentence)
    return profile.with_meta(replace(profile.meta, passes=(*others, replace(last, notes=notes))))


def _with_lanes_joined(profile: Profile) -> Profile:
    lanes = profile.lanes
    known: dict[tuple[int, int, int], int] = {}
    rows: list[tuple[int, ...]] = []
    place: list[int] = []
    names = list(lanes.columns())
    pid, tid = names.index("pid"), names.index("tid")
    process_name, thread_name, ppid = (names.index(name) for name in ("process_name", "thread_name", "ppid"))
    every = list(zip(*(column.tolist() for column in lanes.columns().values()), strict=True))
    named = {(row[pid], row[tid]): row[thread_name] for row in every if row[thread_name] and row[tid] >= 0}
    for row in every:
        name = row[thread_name] or named.get((row[pid], row[tid]), 0)
        at = known.setdefault((row[pid], row[tid], name), len(rows))
        if at == len(rows):
            rows.append(row)
        own = list(rows[at])  # a process tells its name and parent after the first samples of it, and a thread its name
        own[process_name] = own[process_name] or row[process_name]
        own[thread_name] = name
        own[ppid] = own[ppid] if own[ppid] >= 0 else row[ppid]
        rows[at] = tuple(own)
        place.append(at)
    to: Int32Array = np.array([*place, ROOT], np.int32)
    cells = profile.cells.columns() | {"lane": to[profile.cells.lane]}
    samples = profile.samples.columns() | {"lane": to[profile.samples.lane]}
    return replace(profile, lanes=rows_table(Lanes, rows), cells=sum_cells(table(Cells, cells)), samples=table(Samples, samples))


def _joined(samples: Samples) -> Samples:
    """Neighbours of a lane with equal stack and status as one, unless time lies between them in which nothing was sampled."""
    if not len(samples):
        return samples
    order = np.lexsort((samples.time_ns, samples.lane))
    columns = {name: column[order] for name, column in samples.columns().items()}
    between = np.diff(columns["time_ns"])
    begins = np.ones(len(order), bool)
    begins[1:] = between > 2 * columns["weight"][:-1] + NS_PER_S
    for name in ("lane", "node", "status"):
        begins[1:] |= columns[name][1:] != columns[name][:-1]
    first = np.flatnonzero(begins)
    kept = {name: column[first] for name, column in columns.items()}
    kept["weight"] = np.add.reduceat(columns["weight"], first)
    by_time = np.argsort(kept["time_ns"], kind="stable")
    return table(Samples, {name: column[by_time] for name, column in kept.items()})
