"""Lanes of formats that name threads and processes with each sample, in an order that does not depend on that of the samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from proftool.model.builder import ProfileBuilder
from proftool.model.profile import UNKNOWN, Int32Array


@dataclass(frozen=True, slots=True, order=True)
class LaneKey:
    """What tells a lane from another."""

    pid: int = UNKNOWN
    tid: int = UNKNOWN
    process: str = ""
    thread: str = ""
    task: str = ""
    ppid: int = UNKNOWN


def add_lanes(builder: ProfileBuilder, keys: Iterable[LaneKey]) -> Int32Array:
    """A lane for each different key, ordered by process and thread; the lane of each key. A process's own thread is its main one."""
    told: Sequence[LaneKey] = list(keys)
    distinct = sorted(set(told))
    mains = {key for key in distinct if key.tid == key.pid != UNKNOWN} or set(distinct[:1])
    rows = {
        key: builder.lane(
            pid=key.pid, ppid=key.ppid, tid=key.tid, process_name=key.process, thread_name=key.thread, task=key.task, is_main=key in mains
        )
        for key in distinct
    }
    return np.array([rows[key] for key in told], np.int32)
