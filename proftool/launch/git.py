"""The state of the checkout that a target runs from, asked of git itself, never waiting for anyone."""

from __future__ import annotations

from pathlib import Path

from proftool.launch.ask import Answer, ask
from proftool.model.meta import Git

_LIMIT_S = 2.0
_DIFF_LIMIT_S = 10.0


def describe(cwd: Path) -> Git | None:
    """Commit, branch and dirt of the checkout around `cwd`; None outside of one, without git, or where git may not look."""
    told = _git(cwd, "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=all")
    if told is None:
        return None
    commit = branch = None
    dirty = False
    for line in told.splitlines():
        if line.startswith("# branch.oid "):
            commit = line.split()[2]
        elif line.startswith("# branch.head "):
            branch = line.removeprefix("# branch.head ")
        elif not line.startswith("#"):
            dirty = True
    if commit is None or commit == "(initial)":
        return None
    root = _git(cwd, "rev-parse", "--show-toplevel")
    return Git(commit=commit, branch=None if branch == "(detached)" else branch, dirty=dirty, root=root.rstrip("\n") if root else None)


def answer(cwd: Path, *words: str, within_s: float = _LIMIT_S, session: bool = False) -> Answer:
    """What git says to a command, in English: no prompt, no pager, no lock that is not needed, no monitor of the repository started."""
    env = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_PAGER": "cat", "LC_ALL": "C"}
    return ask(["git", "-c", "core.fsmonitor=false", *words], within_s=within_s, cwd=cwd, env=env, session=session)


def _git(cwd: Path, *words: str, within_s: float = _LIMIT_S) -> str | None:
    told = answer(cwd, *words, within_s=within_s)
    return told.text if told.status == 0 else None


def changed_lines(cwd: Path, *commits: str) -> str | None:
    """`git diff` of the Python files below `cwd` without context lines, paths from there; None where git cannot tell."""
    words = ("diff", "--no-ext-diff", "--no-color", "--relative", "-U0", *commits, "--", "*.py")
    return _git(cwd, *words, within_s=_DIFF_LIMIT_S)


def untracked(cwd: Path, pattern: str) -> frozenset[str] | None:
    """Files of a pattern below `cwd` that git does not hold and does not ignore; None where git cannot tell."""
    told = _git(cwd, "ls-files", "--others", "--exclude-standard", "--", pattern, within_s=_DIFF_LIMIT_S)
    return None if told is None else frozenset(told.splitlines())


def refs(cwd: Path) -> tuple[str, ...]:
    """Branches and tags of the checkout around `cwd`, the newest first; empty outside of one."""
    told = _git(
        cwd, "for-each-ref", "--sort=-creatordate", "--count=200", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes"
    )
    return tuple(told.splitlines()) if told else ()


def commit_of(cwd: Path, ref: str, *, within_s: float = _LIMIT_S) -> str | None:
    """The full hash of the commit that a revision names in the checkout around `cwd`; None where git knows none."""
    if ref.startswith("-"):
        return None
    told = _git(cwd, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", within_s=within_s)
    return told.strip() if told else None
