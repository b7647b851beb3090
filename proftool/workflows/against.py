"""`run --against BASE`: record both sides of a comparison in turn, so that a machine that drifts meets both alike, and compare them.

    what BASE ran (its stored command, at its commit in a worktree) and what is there now: ABBA ABBA … -> two labels -> one diff

BASE is a run's name, or a git revision at which the same command is run. The order is base, new, new, base, …: a drift that goes on
in one direction falls on both sides in equal parts.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from proftool.bench import checkouts
from proftool.contracts import Program
from proftool.contracts_store import Run, RunStore
from proftool.errors import ProftoolError, RunNotFound, UsageError
from proftool.launch import git, targets
from proftool.launch.replay import Replay
from proftool.settings import Settings
from proftool.store.names import resolve
from proftool.store.redact import HIDDEN
from proftool.store.runs import SqlRunStore
from proftool.workflows.compare import Compared, compare
from proftool.workflows.record import Kept, Recorded, Request, Say, record

RUNS = 5
"""Of each side, where `--runs` is not given: enough for a firm verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What the other side is."""

    name: str
    command: tuple[str, ...] | None
    """As typed; None: the same as the new side's."""
    commit: str | None
    """Where its code is; None: in the working tree."""
    run: Run | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InTurn:
    """Both sides as recorded, and their diff where both have runs."""

    base_label: str
    new_label: str
    base: tuple[Kept, ...]
    new: tuple[Kept, ...]
    compared: Compared | None
    target_status: int
    losses: tuple[ProftoolError, ...]

    @property
    def exit_status(self) -> int:
        """As of a recording: the first status that is not 0 of either side."""
        return Recorded(kept=(), target_status=self.target_status, losses=self.losses).exit_status


def find_base(name: str, store: RunStore, cwd: Path, say: Say) -> Base:
    """
    What a name stands for as the base of `run --against`.

    Raises:
        RunNotFound: neither a run nor a revision.
        UsageError: a run that cannot be repeated.
    """
    try:
        found = resolve(name, store, cwd)
    except RunNotFound:
        commit = git.commit_of(cwd, name.removeprefix("@"))
        if commit is None:
            raise
        return Base(name=name, command=None, commit=commit, run=None)
    run = found.run
    if run is None or run.command is None:
        raise UsageError(
            f"`{name}` cannot be recorded again",
            cause="it is a file, which does not say how it was made" if run is None else "its command is not known",
            fix="name a run that proftool recorded, or a git revision",
        )
    if any(HIDDEN in word for word in run.command):
        raise UsageError(
            f"`{name}` cannot be recorded again",
            cause="a secret in its command line was not stored",
            fix="name a git revision instead, and type the command: `proftool run --against main -- app.py …`",
        )
    commit = run.commit if run.commit is not None and git.commit_of(cwd, run.commit) is not None else None
    if commit is not None and run.dirty:
        say(f"`{name}` was recorded with edits that were not committed; commit {commit[:10]} itself is its side now")
    return Base(name=name, command=run.command, commit=commit, run=run)


def program_of(command: Sequence[str], python: Path | None) -> Program:
    """The program of a command as it was typed; paths are relative to the working folder."""
    if len(command) > 1 and command[0] == "-m":
        return targets.resolve(command[2:], module=command[1], python=python)
    if len(command) > 1 and command[0] == "-c":
        return targets.resolve(command[2:], code=command[1], python=python)
    return targets.resolve(command, python=python)


def record_in_turn(request: Request, base: Base, store: SqlRunStore, settings: Settings, *, python: Path | None = None, say: Say) -> InTurn:
    """
    Record `request.runs` runs a side and compare them.

    Args:
        request: the new side; its label, or one that is free, becomes `LABEL` and `LABEL-base`.
        python: the interpreter that was asked for, used for both sides.
    """
    label = request.label or _free_label(base.name, store)
    labels = {"base": f"{label}-base", "new": label}
    cwd = Path.cwd()
    kept: dict[str, list[Kept]] = {"base": [], "new": []}
    losses: list[ProftoolError] = []
    statuses: list[int] = []
    said: set[str] = set()

    def say_once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    here = git.describe(cwd)
    checkout = base.commit is not None and here is not None and (here.commit != base.commit or here.dirty is not False)
    where = f"commit {base.commit[:10]} in a worktree" if checkout and base.commit else "the working tree"
    say(f"runs {2 * request.runs} times, in turn: `{base.name}` ({where}) and the working tree")
    if not checkout and base.command in (None, request.program.typed):
        say("both sides run the same code: what differs is noise")
    with (
        _folders(cwd, base.commit if checkout else None, request.program.python) as folders,
        Replay(request.stdin, 2 * request.runs) as stdin,
    ):
        programs: dict[str, Program] = {"new": request.program}
        for at in range(request.runs):
            for side in ("base", "new") if at % 2 == 0 else ("new", "base"):
                folder, env = folders[side]
                with chdir(folder), _environment(env), stdin.one() as fd:
                    if side not in programs:
                        words = base.command or request.program.typed
                        # A path that was typed in full would run the other side's code.
                        own, other = f"{cwd.resolve()}{os.sep}", f"{folder}{os.sep}"
                        programs[side] = program_of([other + w.removeprefix(own) if w.startswith(own) else w for w in words], python)
                    one = replace(request, program=programs[side], runs=1, label=labels[side], stdin=request.stdin if fd is None else fd)
                    recorded = record(one, store, settings, say=say_once)
                kept[side].extend(recorded.kept)
                losses.extend(recorded.losses)
                statuses.append(recorded.target_status)
    both = all(any(one.run is not None for one in kept[side]) for side in kept)
    compared = compare(labels["base"], labels["new"], store, cwd, floor_share=settings.diff_floor) if both else None
    return InTurn(
        base_label=labels["base"],
        new_label=labels["new"],
        base=tuple(kept["base"]),
        new=tuple(kept["new"]),
        compared=compared,
        target_status=next((status for status in statuses if status), 0),
        losses=tuple(losses),
    )


@contextmanager
def _folders(cwd: Path, commit: str | None, python: Path) -> Generator[dict[str, tuple[Path, dict[str, str]]]]:
    """Where each side runs, and with what in its environment."""
    if commit is None:
        yield {"base": (cwd, {}), "new": (cwd, {})}
        return
    setting = checkouts.Setting(python=python)
    with checkouts.sides(cwd, commit, None, settings=(setting, setting)) as (old, new):
        yield {"base": (old.root, dict(old.env)), "new": (new.root, dict(new.env))}


@contextmanager
def _environment(env: dict[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _free_label(name: str, store: RunStore) -> str:
    """A label that no run bears yet: `NAME-turn1`, …; runs of an earlier state of the code must not be mixed in."""
    from proftool.contracts_store import RunQuery

    stem = "".join(c if c.isalnum() or c in "._-" else "-" for c in name.removeprefix("@"))[:40].strip("-") or "base"
    number = 1
    while any(store.find(RunQuery(label=f"{stem}-turn{number}{ending}", limit=1)) for ending in ("", "-base")):
        number += 1
    return f"{stem}-turn{number}"
