"""`run --against`: both sides in turn, from a label and from a revision, through the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from store.stores import store_in

from proftool.errors import ProftoolError, RunNotFound
from proftool.workflows.against import find_base, program_of

OLD = """import sys
def transform(n):
    total = 0
    for i in range(n): total ^= i
    return total
def parse(n):
    total = 0
    for i in range(n): total += i % 7
    return total
def main():
    for _ in range(5):
        transform(200_000), parse(200_000)
main()
print(sys.stdin.read())
"""
NEW = OLD.replace("transform(200_000)", "transform(800_000)")


def git(root: Path, *words: str) -> str:
    """stdout of git, with an identity."""
    own = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *own, *words], cwd=root, check=True, capture_output=True, text=True).stdout


def proftool(root: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a project."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")} | {"NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "proftool", *words], cwd=root, env=env, input=stdin, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose commit holds the old program and whose working tree the new one."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "app.py").write_text(OLD)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "old")
    (tmp_path / "app.py").write_text(NEW)
    return tmp_path


def test_a_revision_is_recorded_in_turn_with_the_working_tree(project: Path) -> None:
    """ABBA: base, new, new, base; the base runs the committed code, piped input reaches every run, and nothing is left behind."""
    words = ("--against", "main", "--runs", "4", "--backend", "cprofile", "--json", "--", "app.py")
    done = proftool(project, "run", *words, stdin="told")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["functions"][0]["name"] == "transform"
    assert answer["functions"][0]["verdict"] == "slower"
    assert (answer["base"]["runs"], answer["new"]["runs"]) == (4, 4)
    assert done.stderr.count("told") == 8
    assert "the same code" not in done.stderr
    listed = json.loads(proftool(project, "list", "--json").stdout)["runs"]
    order = ["base" if run["label"].endswith("-base") else "new" for run in reversed(listed)]
    assert order == ["base", "new", "new", "base"] * 2
    assert {run["command"][0] if isinstance(run["command"], list) else run["command"] for run in listed} == {"app.py"}
    assert len(git(project, "worktree", "list").splitlines()) == 1
    assert (project / "app.py").read_text() == NEW


def test_a_label_brings_its_command_and_its_commit(project: Path) -> None:
    """`run --against LABEL` without a command repeats the label's own at the commit that it was recorded at."""
    git(project, "stash", "-q")
    first = proftool(project, "run", "--backend", "cprofile", "--label", "before", "--quiet", "--", "app.py")
    assert first.returncode == 0, first.stderr
    git(project, "stash", "pop", "-q")
    done = proftool(project, "run", "--against", "before", "--runs", "1", "--label", "after", "-o", "change.md")
    assert done.returncode == 0, done.stderr
    assert "commit" in done.stderr
    assert "proftool diff after-base after" in done.stderr
    assert "transform" in (project / "change.md").read_text()
    calls = json.loads(proftool(project, "diff", "after-base", "after", "--json").stdout)
    assert {f["name"] for f in calls["functions"]} >= {"transform", "parse"}


def test_the_same_code_twice_is_said(project: Path) -> None:
    """A clean tree against its own commit compares noise with noise."""
    git(project, "stash", "-q")
    done = proftool(project, "run", "--against", "main", "--runs", "1", "--backend", "cprofile", "--", "app.py")
    assert done.returncode == 0, done.stderr
    assert "both sides run the same code" in done.stderr


def test_a_base_is_a_run_or_a_revision(project: Path) -> None:
    """A revision needs no run; a name of neither is an error."""
    store = store_in(project)
    with pytest.raises(RunNotFound):
        find_base("nothing", store, project, lambda _: None)
    assert find_base("main", store, project, lambda _: None).commit == git(project, "rev-parse", "main").strip()


def test_commands_are_read_as_they_were_typed() -> None:
    """`-m` and `-c` are not scripts."""
    assert program_of(("-m", "json.tool", "x"), None).module == "json.tool"
    assert program_of(("-c", "pass"), None).code == "pass"
    with pytest.raises(ProftoolError):
        program_of((), None)
