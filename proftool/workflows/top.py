"""What a running process does at the moment: short recordings one after the other, each added to what was seen before.

Every look is a whole recording by py-spy in a folder of its own, read by the backend as any other; between two looks lies the time that
py-spy needs to find its way into the process again.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proftool.backends import pyspy
from proftool.contracts import Mode, Process, RecordOptions, Unavailable
from proftool.errors import BackendFailed, BackendUnavailable, PermissionNeeded
from proftool.launch import attach, parts
from proftool.model.profile import Profile
from proftool.reports import rows
from proftool.workflows.attach import stand


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A function: time of this look, and of all looks, in ns; waiting left out."""

    name: str
    where: str
    self_ns: int
    total_ns: int
    self_before_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look: functions by own time, the threads that were seen and how much they worked."""

    lines: tuple[Line, ...]
    n_threads: int
    n_processes: int
    observed_ns: int
    busy_ns: int
    samples: int


def looks(pid: int, *, every_ns: int, rate_hz: float | None, children: bool, stop: threading.Event) -> Iterator[Look]:
    """A look every so often until `stop` or the process's end; raises as `attach` does before the first."""
    options = RecordOptions(mode=Mode.SAMPLE, rate_hz=rate_hz, children=children, duration_ns=every_ns)
    seen: dict[tuple[str, str], int] = {}
    with stand(pid) as process:
        there = pyspy.backend.preflight(process)
        if isinstance(there, Unavailable):
            kind = PermissionNeeded if there.exit_code == PermissionNeeded.exit_code else BackendUnavailable
            raise kind(f"process {pid} cannot be read", cause=there.cause, fix=there.fix)
        while not stop.is_set() and parts.state(pid) not in ("", "Z"):
            try:
                profile = _record(process, options, stop)
            except BackendFailed:
                if stop.is_set() or parts.state(pid) in ("", "Z"):
                    return  # it ended in the middle of the look
                raise
            yield _look(profile, seen)


def _record(process: Process, options: RecordOptions, stop: threading.Event) -> Profile:
    with tempfile.TemporaryDirectory(prefix="proftool-top-") as folder:
        command = pyspy.backend.command(process, options, Path(folder))
        return pyspy.backend.read(attach.attach(process, command, options, Path(folder), stop))


def _look(profile: Profile, seen: dict[tuple[str, str], int]) -> Look:
    lines: list[Line] = []
    for row in rows.by(profile, "cpu_time", rows.By.FUNCTION):
        key = (row.name, row.where)
        seen[key] = seen.get(key, 0) + (row.self_value or 0)
        lines.append(Line(name=row.name, where=row.where, self_ns=row.self_value or 0, total_ns=row.total or 0, self_before_ns=seen[key]))
    own = profile.meta.passes[0]
    return Look(
        lines=tuple(lines),
        n_threads=len(profile.lanes),
        n_processes=len(set(profile.lanes.pid.tolist())),
        observed_ns=own.duration_ns or 0,
        busy_ns=sum(line.self_ns for line in lines),
        samples=own.samples or 0,
    )
