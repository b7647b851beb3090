"""Two sides of one repository, each running its own code.

A revision becomes a detached git worktree in a temporary folder; the working tree is itself a side, edits included. An editable
install of the checkout would make both sides import the same files, so each side's import roots go first on PYTHONPATH, and
every project module that was imported is checked to lie inside its side (the worker reports those that do not).

The user's repository is left as it was: no stash, no branch, no index touched; worktrees are removed, also after an error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import tomllib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from proftool.bench.processes import Side
from proftool.errors import UsageError
from proftool.launch import git as asking
from proftool.launch.ask import Answer
from proftool.launch.ending import undisturbed
from proftool.launch.whole import run_whole

LIMIT_S = 600.0
"""Of one git command: filling the worktree of a large project takes minutes."""
EXTENSION_SUFFIXES = (".so", ".pyd", ".dylib")


class _Find(msgspec.Struct):
    where: list[str] = []


class _Packages(msgspec.Struct):
    find: _Find = msgspec.field(default_factory=_Find)


class _Setuptools(msgspec.Struct):
    packages: _Packages = msgspec.field(default_factory=_Packages)


class _Tool(msgspec.Struct):
    setuptools: _Setuptools = msgspec.field(default_factory=_Setuptools)


class _Pyproject(msgspec.Struct):
    tool: _Tool = msgspec.field(default_factory=_Tool)


def git(root: Path, *arguments: str) -> str:
    """stdout of a git command; UsageError with what git said."""
    told = asking.answer(root, *arguments, within_s=LIMIT_S)
    if told.status:
        raise _refused(f"`git {' '.join(arguments)}` failed", told, fix="make that command work here")
    if told.status is None:
        raise _refused("git gave no answer", told, fix="make `git status` work here")
    return os.fsdecode(told.out)


def top_level(folder: Path) -> Path:
    """The root of the checkout that holds a folder."""
    told = asking.answer(folder, "rev-parse", "--show-toplevel", within_s=LIMIT_S)
    if told.status == 0:
        return Path(os.fsdecode(told.out).rstrip("\n"))
    if b"not a git repository" in told.err:
        raise _refused("there is no git repository here", told, fix="go to a checkout of the project, whose revisions are to be compared")
    raise _refused("git does not say what is checked out here", told, fix="make `git status` work here")


def _refused(what: str, told: Answer, *, fix: str) -> UsageError:
    said = os.fsdecode(told.err).strip().splitlines()
    return UsageError(what, cause=said[-1] if said else told.problem or "git said nothing", fix=fix)


def commit_of(root: Path, revision: str) -> str:
    """Full hash of a revision."""
    commit = asking.commit_of(root, revision, within_s=LIMIT_S)
    if commit is None:
        raise UsageError(
            f"no revision named `{revision}`",
            cause="git does not know it as a branch, tag or commit",
            fix=f"known are: {', '.join(asking.refs(root)[:12]) or 'none yet'}",
        )
    return commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a side runs with."""

    python: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])


@contextlib.contextmanager
def sides(
    folder: Path, base: str, head: str | None, *, settings: tuple[Setting, Setting], carry: Sequence[str] = (), build: str | None = None
) -> Generator[tuple[Side, Side]]:
    """
    Base and new side for as long as the context lasts; without head the working tree is the new side.

    Args:
        settings: of the base and of the new side.
        carry: files or folders that git ignores and the program needs, copied from the checkout into each worktree.
        build: a shell command that is run in each worktree before anything is measured.
    """
    root = top_level(folder)
    within = folder.resolve().relative_to(root)
    commits = [(base, commit_of(root, base)), *([(head, commit_of(root, head))] if head else [])]
    temporary = Path(tempfile.mkdtemp(prefix="proftool-ab-"))
    made: list[Path] = []
    try:
        found: list[Side] = []
        for place, (name, commit) in enumerate(commits):
            tree = temporary / f"{place}-{commit[:10]}"
            made.append(tree)
            git(root, "worktree", "add", "--quiet", "--detach", str(tree), commit)
            _carry_over(root, tree, carry)
            setting = settings[place]
            if build:
                _build(build, name, tree, setting)
            if setting.python == settings[1 - place].python:
                _refuse_built(root, tree)
            found.append(_side(f"{name} {commit[:7]}" if not commit.startswith(name) else commit[:7], tree / within, tree, setting))
        if not head:
            found.append(_side("working tree", folder.resolve(), root, settings[1]))
        yield found[0], found[1]
    finally:
        with undisturbed():
            for tree in made:
                # git locks a worktree while it fills it, and one that was interrupted stays locked: without a second `--force` it stays.
                # That one of these fails is no news.
                asking.answer(root, "worktree", "remove", "--force", "--force", str(tree), within_s=LIMIT_S, session=True)
            shutil.rmtree(temporary, ignore_errors=True)
            for tree in made:
                asking.answer(root, "worktree", "unlock", str(tree), within_s=LIMIT_S, session=True)
            asking.answer(root, "worktree", "prune", within_s=LIMIT_S, session=True)


def _build(command: str, name: str, tree: Path, setting: Setting) -> None:
    env = os.environ | dict(setting.env) | {"PATH": f"{setting.python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = run_whole(command, cwd=tree, env=env, wants_stdout=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        raise UsageError(
            f"`{command}` failed on side {name} with status {done.returncode}",
            cause="\n       ".join(said[-8:]) or "it said nothing",
            fix="give `--build` a command that works in a fresh checkout of that revision",
        )


def _side(name: str, folder: Path, tree: Path, setting: Setting) -> Side:
    roots = [*import_roots(tree), folder]
    paths = [str(p) for p in dict.fromkeys(roots)]
    inherited = os.environ.get("PYTHONPATH")
    pythonpath = os.pathsep.join([*paths, *([inherited] if inherited else [])])
    return Side(name=name, root=folder, python=setting.python, env={"PYTHONPATH": pythonpath} | dict(setting.env), checkout=tree)


def import_roots(tree: Path) -> list[Path]:
    """Folders from which the project's packages are imported: `src`, what pyproject names, and the top."""
    roots = [tree / "src"] if (tree / "src").is_dir() else []
    file = tree / "pyproject.toml"
    if file.exists():
        # Its shape is checked by other tools; what does not fit here names no folder.
        with contextlib.suppress(tomllib.TOMLDecodeError, msgspec.ValidationError):
            named = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), _Pyproject).tool.setuptools.packages.find.where
            roots += [tree / place for place in named if (tree / place).is_dir()]
    return [*roots, tree]


def _carry_over(root: Path, tree: Path, carry: Sequence[str]) -> None:
    for name in carry:
        source, goal = root / name, tree / name
        if not source.exists():
            raise UsageError(
                f"no `{name}` to carry over", cause=f"it is not below {root}", fix="name files or folders of the checkout that git ignores"
            )
        if source.is_dir():
            shutil.copytree(source, goal, dirs_exist_ok=True, symlinks=True)
        else:
            goal.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, goal)


def _refuse_built(root: Path, tree: Path) -> None:
    """Compiled extensions that git does not hold would be missing in the worktree, or be the other side's."""
    ignored = git(root, "ls-files", "--others", "--ignored", "--exclude-standard").splitlines()
    built = [
        name
        for name in ignored
        if name.endswith(EXTENSION_SUFFIXES)
        and not any(part.startswith(".") or part in ("build", "dist", "node_modules", "site-packages") for part in Path(name).parts)
    ]
    missing = [name for name in built if not (tree / name).exists()]
    if missing:
        raise UsageError(
            f"the checkout holds compiled extensions that a worktree lacks: {', '.join(missing[:3])}",
            cause="they are built, not committed, so a side at another revision would run without them or with the wrong ones",
            fix="build them in each worktree, `--build 'python setup.py build_ext --inplace'`, or install each side in an environment of "
            "its own: `--base-python A --new-python B`",
        )
