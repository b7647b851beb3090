"""The main job: a program and wishes in, stored runs and the program's own status out.

    choose -> command -> launch -> read -> lenses -> check -> judge -> store

The target's status is never hidden: a recording that failed is a *loss* beside it, and changes the answer only where the target itself
returned 0. Passes run whatever the status; the first that is not 0 is the answer. Heavy imports happen while the target runs.
"""

from __future__ import annotations

import os
import platform
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from proftool.contracts import Program, Recording
from proftool.contracts_store import Run
from proftool.errors import BackendFailed, ProftoolError, StoreError, UsageError
from proftool.launch import speed
from proftool.launch.interpreter import inspect
from proftool.launch.replay import Replay
from proftool.launch.start import launch
from proftool.settings import Settings
from proftool.store.runs import SqlRunStore, check_label, draw_id
from proftool.workflows import recover
from proftool.workflows.choose import Choice, Wishes, choose

if TYPE_CHECKING:
    from proftool.model.meta import Git, Speed
    from proftool.model.profile import Profile

RUNS_MAX = 1000
_NEEDED_AFTER = (
    "proftool.formats.native",
    "proftool.model.check",
    "proftool.model.merge",
    "proftool.reports.summary",
    "proftool.store.database",
    "proftool.store.redact",
    "proftool.store.rows",
)
"""Modules that reading, storing and showing will import; loaded while the target runs."""

Say = Callable[[str], None]


def _silent(_text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to record."""

    program: Program
    wishes: Wishes = field(default_factory=Wishes)
    runs: int = 1
    label: str | None = None
    stdout: int | None = None
    """Descriptor for the target's stdout, where it is not ours."""
    stdin: int = 0
    """Descriptor that the target reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One run: its profile, and its row where the store took it."""

    profile: Profile
    run: Run | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a recording left."""

    kept: tuple[Kept, ...]
    target_status: int
    losses: tuple[ProftoolError, ...] = ()
    """What could not be recorded or kept, though the target ran."""

    @property
    def exit_status(self) -> int:
        """The target's own status; where that is 0 and something was lost, 9 for the store, else 5."""
        if self.target_status or not self.losses:
            return self.target_status
        return StoreError.exit_code if all(isinstance(loss, StoreError) for loss in self.losses) else BackendFailed.exit_code


def record(request: Request, store: SqlRunStore, settings: Settings, say: Say = _silent) -> Recorded:
    """Run the program once a mode and run, and keep what was recorded; raises only where the program has not run."""
    if not 1 <= request.runs <= RUNS_MAX:
        raise UsageError(
            f"`--runs {request.runs}` is no number of runs",
            cause=f"it lies from 1 to {RUNS_MAX}",
            fix="`--runs 5` is enough for an honest diff",
        )
    if request.label is not None:
        check_label(request.label)
    choices = choose(request.wishes, settings, inspect(request.program.python))
    for choice in choices:
        if choice.reason:
            say(choice.reason)
    n_passes = len(choices) * request.runs
    if n_passes > 1:
        say(f"runs {n_passes} times: {announced(choices, request.runs)}")
    kept: list[Kept] = []
    losses: list[ProftoolError] = []
    statuses: list[int] = []
    with Replay(request.stdin, n_passes) as stdin:
        for _ in range(request.runs):
            passes: list[Profile] = []
            id = draw_id()
            for choice in choices:
                try:
                    profile, status = _pass(request, choice, store, stdin, id)
                except ProftoolError as error:
                    if not statuses:
                        raise
                    losses.append(error)
                    continue
                statuses.append(status)
                if isinstance(profile, ProftoolError):
                    losses.append(profile)
                else:
                    passes.append(profile)
            if passes:
                try:
                    kept.append(keep(passes, request.label, store, losses, id))
                except ProftoolError as error:
                    losses.append(error)
                except Exception as error:
                    losses.append(fault(error))
    answer = next((status for status in statuses if status), 0)
    return Recorded(kept=tuple(kept), target_status=answer, losses=tuple(losses))


def announced(choices: tuple[Choice, ...], runs: int) -> str:
    """The passes of a run for people: `sample with py-spy, trace with cprofile`."""
    passes = ", ".join(f"{choice.options.mode} with {choice.backend.name}" for choice in choices)
    return passes if runs == 1 else f"{runs} runs of {passes}"


def _pass(request: Request, choice: Choice, store: SqlRunStore, stdin: Replay, id: str) -> tuple[Profile | ProftoolError, int]:
    """
    One pass of the target for the run `id`: its profile, or why there is none, and the target's status. Raises only where the target has
    not run.
    """
    folder = store.recordings_folder()
    try:
        command = choice.backend.command(request.program, choice.options, folder)
        recover.note(folder, request.program, choice, request.label, id)
        circumstances = Circumstances(Path.cwd(), speed.start(), command.reader)
        with stdin.one() as fd:
            if fd is None and request.stdin:
                fd = request.stdin
            recording = launch(
                request.program, command, choice.options, folder, stdin=fd, stdout=request.stdout, meanwhile=circumstances.gather
            )
        status = 0 if recording.exit_status is None else recording.exit_status
        circumstances.finish()
        try:
            return read(choice, recording, circumstances), status
        except ProftoolError as error:
            return error, status
        except Exception as error:
            # A fault of proftool's own must not hide what the target answered.
            return fault(error), status
    finally:
        store.discard_recording(folder)


def fault(error: Exception) -> BackendFailed:
    fault = BackendFailed(
        "what was recorded could not be read",
        cause=f"{type(error).__name__}: {error}",
        fix="this is a fault of proftool's own; please report it",
    )
    fault.__cause__ = error
    return fault


def read(choice: Choice, recording: Recording, circumstances: Circumstances) -> Profile:
    profile = choice.backend.read(recording)
    passes = tuple(replace(one, speed=circumstances.speed) for one in profile.meta.passes)
    meta = replace(profile.meta, passes=passes, git=circumstances.git, host=socket.gethostname(), machine=machine())
    return profile.with_meta(meta)


def keep(passes: list[Profile], label: str | None, store: SqlRunStore, losses: list[ProftoolError], id: str) -> Kept:
    """Store the passes as one run; a store that cannot take it is a loss, and the profile is still there to be shown."""
    from proftool.model.check import checked
    from proftool.model.merge import lenses
    from proftool.model.quality import judge

    # Also what is only shown, or written with `-o`, holds no secret.
    profile = store.redacted(checked(passes[0] if len(passes) == 1 else lenses(passes)))
    profile = profile.with_meta(replace(profile.meta, quality=judge(profile, n_cores=os.cpu_count())))
    try:
        return Kept(profile=profile, run=store.add_redacted(profile, label=label, id=id))
    except StoreError as error:
        losses.append(error)
        return Kept(profile=profile, run=None)


class Circumstances:
    """What is found out while the target runs: the state of the checkout; and the imports that the rest will need."""

    def __init__(self, cwd: Path, before: speed.Before, reader: str) -> None:
        self._cwd, self._before, self._reader = cwd, before, reader
        self._witness: speed.Witness | None = None
        self.git: Git | None = None
        self.speed: Speed | None = None

    def finish(self) -> None:
        """Called once, when the target has ended: how fast the machine was."""
        self.speed = self._before.finish(self._witness)

    def gather(self, pid: int) -> None:
        """Called once, when the code of the target, that process, may run."""
        self._witness = speed.Witness(pid)
        asking = threading.Thread(target=self._ask_git, name="proftool-git", daemon=True)
        asking.start()
        for name in filter(None, (self._reader, *_NEEDED_AFTER)):
            import_module(name)
        asking.join()

    def _ask_git(self) -> None:
        """Beside the imports: git's two answers take as long as a third of them."""
        from proftool.launch import git

        self.git = git.describe(self._cwd)


def machine() -> str:
    """Processor and number of cores."""
    model = None
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), None)
    except OSError:
        pass
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count() or 1} cores"  # platform starts a `uname`
