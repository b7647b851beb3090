"""Which functions a commit touched, asked of a real checkout."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from model.sides import by_name

from proftool.model.builder import ProfileBuilder
from proftool.model.compare import diff
from proftool.model.diff import Verdict
from proftool.model.meta import Git, Meta
from proftool.model.profile import WALL_TIME, Category, Profile
from proftool.workflows.changed import with_changes

SOURCE = "def slow():\n    return 1\n\n\ndef same():\n    return 2\n"


def git(folder: Path, *words: str) -> str:
    """Run git with an identity of its own."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def history(folder: Path, *texts: str) -> list[str]:
    """A checkout with a commit for each text of `app.py`."""
    git(folder, "init", "-q")
    commits: list[str] = []
    for text in texts:
        (folder / "app.py").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "x")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return commits


def run(commit: str, source: str, slow_ns: int | None, dirty: bool = False) -> Profile:
    """A run at that commit."""
    builder = ProfileBuilder([WALL_TIME], Meta(git=Git(commit=commit, dirty=dirty), sources=(("app.py", source),)))
    lane = builder.lane()
    for name, value in (("slow", slow_ns), ("same", 10**8)):
        if value is None:
            continue
        line = 1 + source[: source.index(f"def {name}")].count("\n")
        function = builder.function(name, module="app", file="app.py", first_line=line, category=Category.PROJECT)
        builder.add(builder.node(-1, builder.frame(function, line)), lane, 0, value)
    return builder.build()


def test_changed_functions_are_told_from_those_that_only_shifted(tmp_path: Path) -> None:
    """An edit in one function, the other merely lower in the file."""
    edited = SOURCE.replace("return 1", "x = 1\n    return x")
    commits = history(tmp_path, SOURCE, edited)
    answer = with_changes(diff([run(commits[0], SOURCE, 10**8)], [run(commits[1], edited, 2 * 10**8)]), tmp_path)
    rows = by_name(answer)
    assert rows["slow"].code_changed is True
    assert rows["same"].code_changed is False


def test_a_function_that_went_is_looked_for_where_it_was(tmp_path: Path) -> None:
    """Its lines are the base's: on the new side others stand there, which nobody touched."""
    before = "def same():\n    return 2\n\n\ndef slow():\n    return 1\n\n\ndef more():\n    return 3\n"
    after = before.replace("def slow():\n    return 1\n\n\n", "")
    commits = history(tmp_path, before, after)
    rows = by_name(with_changes(diff([run(commits[0], before, 3 * 10**8)], [run(commits[1], after, None)]), tmp_path))
    assert rows["slow"].verdict is Verdict.GONE
    assert rows["slow"].code_changed is True
    assert rows["same"].code_changed is False


def test_without_commits_nothing_is_claimed(tmp_path: Path) -> None:
    """Unknown stays unknown, also where the base was recorded from edited files."""
    base, new = run("a" * 40, SOURCE, 10**8, dirty=True), run("b" * 40, SOURCE, 10**8)
    assert {c.code_changed for c in with_changes(diff([base], [new]), tmp_path).functions} == {None}
    bare = base.with_meta(replace(base.meta, git=None))
    assert {c.code_changed for c in with_changes(diff([bare], [new]), tmp_path).functions} == {None}
