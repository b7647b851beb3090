"""A backend of proftool in a package of its own: `sys._current_frames` of every thread, asked by a thread of the target's own process.

It works wherever Python does, and shows what a backend is: it says what it can do, names how to record, and reads what was recorded.
"""

from __future__ import annotations

import marshal
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from proftool.backends import circumstances
from proftool.contracts import Available, Capabilities, Clock, Inside, Interpreter, Mode, Program, Recording, RecordOptions, Target
from proftool.errors import BackendFailed, BackendUnavailable
from proftool.model.builder import ProfileBuilder
from proftool.model.profile import SAMPLES, UNKNOWN, WALL_TIME, Profile

DEFAULT_RATE_HZ = 100.0


class Frames:
    """The backend; proftool.contracts.Backend says what each part is."""

    name = "frames"
    summary = "where wall time goes, by call stack, on any Python; rough, and slows the program where it is asked for often"
    capabilities = Capabilities(modes=frozenset({Mode.SAMPLE}), rate=True, children=True, threads=True, in_process=True)

    def availability(self, interpreter: Interpreter | None = None) -> Available:
        """It needs nothing but the standard library."""
        return Available(version="1.0")

    def command(self, target: Target, options: RecordOptions, folder: Path) -> Inside:
        """Loaded by the bootstrap; what it cannot honour is refused, with what can."""
        if not isinstance(target, Program) or options.duration_ns is not None:
            raise BackendUnavailable(
                "frames records from the start", cause="it is loaded by the program", fix="`--backend py-spy` attaches"
            )
        if options.native or options.clock is not Clock.WALL:
            raise BackendUnavailable("frames knows wall time and Python alone", cause="it asks Python", fix="`--backend py-spy`")
        bootstrap = find_spec("proftool.launch._child")
        assert bootstrap is not None
        return Inside(
            recorder=Path(__file__).with_name("inside.py"),
            options={"interval_s": 1 / (options.rate_hz or DEFAULT_RATE_HZ), "hidden": str(bootstrap.origin)},
        )

    def read(self, recording: Recording) -> Profile:
        """Every thread of every process as a lane of one profile."""
        who = circumstances.identifier(recording)
        builder = ProfileBuilder([replace(metric, mode="sample") for metric in (WALL_TIME, SAMPLES)])
        n_samples, notes = 0, list[str]()
        for process in recording.processes:
            for part in process.parts:
                try:
                    frames, threads = marshal.loads(part.read_bytes())
                except (EOFError, ValueError, TypeError, OSError) as error:
                    notes.append(f"the part of process {process.pid} cannot be read: {error}")
                    continue
                rows: list[int] = []
                for file, first_line, qualname, name, line in frames:
                    function = circumstances.function(
                        builder, who, file=file, name=name, qualname=qualname, first_line=first_line, line=line
                    )
                    rows.append(builder.frame(function, line))
                for tid, stacks in threads:
                    lane = builder.lane(
                        pid=process.pid,
                        ppid=UNKNOWN if process.ppid is None else process.ppid,
                        tid=tid,
                        process_name=process.name,
                        thread_name=process.thread_names.get(tid, ""),
                        is_main=tid == process.main_tid,
                    )
                    for stack, n, wall_ns in stacks:
                        node = builder.stack(rows[frame] for frame in stack)
                        builder.add(node, lane, 0, wall_ns)
                        builder.add(node, lane, 1, n)
                        n_samples += n
        if not n_samples:
            told = [*notes, *(note for process in recording.processes for note in process.notes), *recording.notes]
            raise BackendFailed(
                "frames saw nothing", cause=told[0] if told else "the program ended before the first sample", fix="`--rate 1000`"
            )
        seconds = recording.duration_ns / 1e9 * max(len(recording.processes), 1)
        return builder.build(
            circumstances.meta(
                recording,
                who,
                backend=self.name,
                version="1.0",
                clock="wall",
                rate_asked_hz=recording.options.rate_hz or DEFAULT_RATE_HZ,
                rate_achieved_hz=n_samples / seconds if seconds else None,
                samples=n_samples,
                features=("children",) if recording.options.children else (),
                unseen=("time in a call of C counts for the line that calls it, and waiting is not told apart",),
                notes=notes,
            )
        )


backend = Frames()
