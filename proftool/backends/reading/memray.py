"""What memray recorded, as a profile; see proftool/backends/memray.py for what it means."""

from __future__ import annotations

import memray as memray  # loaded while the target runs: its front brings rich and takes 0.1 s

from proftool.backends import circumstances
from proftool.backends.memray import NAME, package_version
from proftool.contracts import Process, Recording
from proftool.errors import BackendFailed, CorruptProfile
from proftool.formats import memray as recordings
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import UNKNOWN, Profile

_BOOTSTRAP = ("/launch/_child.py", "/launch/_blind.py", "/inside/memray.py", "/hook/sitecustomize.py")
"""Files of proftool's own, whose frames do not show."""
_INJECTED = ("_memray_attach_hook.py",)
"""What memray calls the script that it was brought in with: all that was allocated below is the profiler's own."""


def read(recording: Recording) -> Profile:
    """Every process's threads as lanes of one profile."""
    who = circumstances.identifier(recording)
    builder = ProfileBuilder(recordings.METRICS)
    notes: list[str] = []
    attached = isinstance(recording.target, Process)
    n_read, arenas = 0, False
    for process in recording.processes:
        for path in process.parts:
            part = recordings.Part(
                path,
                pid=process.pid,
                ppid=UNKNOWN if process.ppid is None else process.ppid,
                process_name=process.name,
                thread_names=process.thread_names,
                main_tid=UNKNOWN if attached else 1,
                is_own=True,
            )
            try:
                arenas |= recordings.add(builder, who, part, hidden=_BOOTSTRAP, dropped=_INJECTED)
                n_read += 1
            except CorruptProfile as problem:
                notes.append(f"the part of process {process.pid} cannot be read: {problem.cause}")
    if not n_read:
        first = [*notes, *(note for process in recording.processes for note in process.notes), *recording.notes]
        raise BackendFailed(
            "memray recorded nothing",
            cause=first[0] if first else "no process left a recording",
            fix="run the program without proftool and see whether it works",
        )
    if attached:
        notes.append("what was allocated before the attach is not seen; leaked is what was allocated since and still lived at the end")
        if recording.options.children:
            notes.append("child processes were not recorded: memray attaches to one process")
    if n_read > 1:
        notes.append("peaks of several processes are a sum of peaks: they need not have been at the same moment")
    features = tuple(name for name in ("children", "native") if getattr(recording.options, name) and not (attached and name == "children"))
    unseen = ("allocations of small objects come from arenas that Python keeps, seen when an arena is taken",) if arenas else ()
    meta = circumstances.meta(recording, who, backend=NAME, version=package_version(), features=features, unseen=unseen, notes=notes)
    return builder.build(meta)
