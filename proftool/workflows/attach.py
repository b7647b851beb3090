"""Record a running process as a run, and say beforehand which backends can.

    preflight -> choose -> command -> attach -> read -> check -> judge -> store

The process stays what it is: nothing is started in it or read of it before the backend's preflight has said that it may be.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Thread

from proftool import registry
from proftool.contracts import AttachingBackend, Available, Process, Unavailable
from proftool.errors import ProftoolError, TargetError, UsageError
from proftool.launch import attach as attaching
from proftool.launch import preflight, speed
from proftool.settings import Settings
from proftool.store.runs import SqlRunStore, check_label, draw_id
from proftool.workflows import recover
from proftool.workflows.choose import Wishes, choose
from proftool.workflows.record import Circumstances, Kept, Recorded, fault, keep, read

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to record, and for how long; None = until Ctrl-C or the process's end."""

    pid: int
    wishes: Wishes = field(default_factory=Wishes)
    """One mode and one backend at most: two at once would measure each other."""
    duration_ns: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one backend says of a process."""

    backend: str
    summary: str
    answer: Available | Unavailable


def check(pid: int) -> tuple[Answer, ...]:
    """Which backends can attach to the process, in the order of the registry; TargetError where there is no such Python process."""
    preflight.facts(pid)
    answers: list[Answer] = []
    for name in registry.names("backend"):
        backend = registry.backend(name)
        if isinstance(backend, AttachingBackend) and backend.capabilities.attach:
            answer = backend.preflight(Process(pid=pid))
        else:
            answer = Unavailable(cause="it can only record a program that it starts", fix="`proftool run` the program")
        answers.append(Answer(backend=name, summary=backend.summary, answer=answer))
    return tuple(answers)


def find(pid: int | None, match: str | None) -> int:
    """The process that is meant: by number, or by a part of its command line (the master where it has workers)."""
    if (pid is None) == (match is None):
        raise UsageError("which process is not clear", cause="give a PID or `--match TEXT`, one of the two", fix="`proftool attach 4242`")
    if pid is not None:
        return pid
    found = preflight.find(str(match))
    if len(found) == 1:
        return found[0]
    if not found:
        raise TargetError(
            f"no Python process matches `{match}`",
            cause="no command line holds that text",
            fix="`pgrep -a python` lists the Python processes",
        )
    shown = "; ".join(f"{one}: {command_line(one)}" for one in found[:5])
    raise UsageError(f"{len(found)} processes match `{match}`", cause=shown, fix=f"name one: `proftool attach {found[0]}`")


def attach(request: Request, store: SqlRunStore, settings: Settings, say: Say) -> Recorded:
    """Record the process and keep the run; the target's own status is not ours to know, so a full recording answers 0."""
    if request.label is not None:
        check_label(request.label)
    with stand(request.pid) as process:
        (choice,) = choose(request.wishes, settings, process)
        if choice.reason:
            say(choice.reason)
        options = replace(choice.options, duration_ns=request.duration_ns)
        folder = store.recordings_folder()
        losses: list[ProftoolError] = []
        kept: list[Kept] = []
        try:
            command = choice.backend.command(process, options, folder)
            id = draw_id()
            recover.note(folder, process, choice, request.label, id)
            circumstances = Circumstances(process.cwd or Path.cwd(), speed.start(), command.reader)
            gathering = Thread(target=circumstances.gather, args=(request.pid,), name="proftool-circumstances", daemon=True)
            gathering.start()
            until = "" if request.duration_ns is None else f" for {request.duration_ns / 1e9:g} s"
            say(f"records process {request.pid} with {choice.backend.name}{until}; Ctrl-C ends it and keeps what there is")
            recording = attaching.attach(process, command, options, folder)
            gathering.join()
            circumstances.finish()
            try:
                kept.append(keep([read(choice, recording, circumstances)], request.label, store, losses, id))
            except ProftoolError as error:
                losses.append(error)
            except Exception as error:
                losses.append(fault(error))
        finally:
            store.discard_recording(folder)
    return Recorded(kept=tuple(kept), target_status=0, losses=tuple(losses))


@contextlib.contextmanager
def stand(pid: int) -> Generator[Process]:
    """The process with what is known of where it stands, its files reachable while this is open, also after its end."""
    known = preflight.facts(pid)
    with contextlib.ExitStack() as held:
        root = Path("/")
        if "mnt" in known.foreign:
            try:
                descriptor = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY)
            except OSError:
                root = Path("/nonexistent")  # its paths mean other files here
            else:
                held.callback(os.close, descriptor)
                root = Path(f"/proc/self/fd/{descriptor}")
        yield Process(pid=pid, argv=known.argv, cwd=known.cwd, root=root)


def command_line(pid: int) -> str:
    """A process's command as one line of at most 60 letters."""
    line = " ".join(word for word in preflight.read(pid, "cmdline").split("\0") if word)
    return line if len(line) <= 60 else line[:59] + "…"


def refusals(answers: Sequence[Answer]) -> int:
    """Exit status of a check: 0 where any backend can attach, else that of the first which could if it were allowed to."""
    if any(isinstance(one.answer, Available) for one in answers):
        return 0
    return max((one.answer.exit_code for one in answers if isinstance(one.answer, Unavailable)), default=3)
