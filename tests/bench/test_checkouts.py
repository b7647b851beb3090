"""Two sides of a repository: each runs its own code, and the repository is left as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proftool.bench.checkouts import Setting, import_roots, sides
from proftool.bench.processes import discover, measure, measure_command
from proftool.errors import BackendFailed, UsageError
from proftool.launch.ending import Ended, ending, undisturbed

SETTINGS = (Setting(python=Path(sys.executable)), Setting(python=Path(sys.executable)))
SUBJECT = """from settings import FACTOR
def bench_sum():
    return sum(range(int(20_000 * FACTOR)))
def bench_sizes(n):
    return sorted(range(n))
bench_sizes.params = [10, 1000]
async def bench_async():
    return 1
"""


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "settings.py").write_text("FACTOR = 1\n")
    (tmp_path / "bench_subject.py").write_text(SUBJECT)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "base")
    git(tmp_path, "tag", "base")
    (tmp_path / "settings.py").write_text("FACTOR = 50\n")
    return tmp_path


def test_each_side_runs_its_own_code(repository: Path) -> None:
    """The working tree's edit of an imported module is in the new side alone, and no module comes from outside."""
    with sides(repository, "base", None, settings=SETTINGS) as (base, new):
        old, edited = (measure(side, Path("bench_subject.py"), "bench_sum", seed=1, values=3, least_ns=1_000_000) for side in (base, new))
    assert edited.cpu_ns > 10 * old.cpu_ns
    assert not old.outside
    assert not edited.outside


def test_the_repository_is_left_as_it_was(repository: Path) -> None:
    """No worktree, branch, stash or index entry stays, also where the comparison raised."""
    looks = (["status", "--porcelain"], ["worktree", "list"], ["branch", "-a"], ["stash", "list"])
    state = [git(repository, *words) for words in looks]
    with pytest.raises(RuntimeError, match="on the way"), sides(repository, "base", "base", settings=SETTINGS):
        raise RuntimeError("on the way")
    assert state == [git(repository, *words) for words in looks]


def test_a_worktree_that_git_was_interrupted_over_is_removed(repository: Path) -> None:
    """git locks what it has not filled yet; a locked worktree goes too."""
    with sides(repository, "base", None, settings=SETTINGS) as (base, _):
        git(repository, "worktree", "lock", str(base.tree))
        (base.tree / ".git").unlink()  # half made
    assert git(repository, "worktree", "list").count("\n") == 1


def test_what_must_not_stay_half_done_is_not_disturbed() -> None:
    """A cancelled job is sent SIGINT and then SIGTERM: the second does not stop what the first began, and is not lost."""
    done: list[str] = []

    def told_to_end_meanwhile() -> None:
        with ending(), undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("all")

    with pytest.raises(Ended) as told:
        told_to_end_meanwhile()
    assert (done, told.value.exit_status) == (["all"], 143)


def test_benchmarks_are_found_with_their_parameters(repository: Path) -> None:
    """Functions named bench_*, one row a parameter, coroutines too."""
    with sides(repository, "base", None, settings=SETTINGS) as (_, new):
        names = [name for _, name in discover([Path()], new).benchmarks]
    assert names == ["bench_sum", "bench_sizes[10]", "bench_sizes[1000]", "bench_async"]


def test_a_raising_benchmark_says_what_it_said(repository: Path) -> None:
    """The error holds the benchmark's own last line and no line of the worker's."""
    (repository / "bench_broken.py").write_text("def bench_broken():\n    raise ValueError('my own')\n")
    with sides(repository, "base", None, settings=SETTINGS) as (_, new), pytest.raises(BackendFailed) as told:
        measure(new, Path("bench_broken.py"), "bench_broken", seed=1)
    assert "ValueError: my own" in told.value.cause
    assert "_worker.py" not in told.value.cause


def test_a_command_is_measured_as_a_whole(repository: Path) -> None:
    """CPU time of a command counts the children it waited for; a failing command is an error with its status."""
    with sides(repository, "base", None, settings=SETTINGS) as (base, _):
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(3_000_000))'])"
        assert measure_command(base, [sys.executable, "-c", code], seed=1).cpu_ns > 20e6
        with pytest.raises(BackendFailed, match="status 4"):
            measure_command(base, [sys.executable, "-c", "raise SystemExit(4)"], seed=1)


def test_an_unknown_revision_names_the_known_ones(repository: Path) -> None:
    """The fix lists what git does know."""
    with pytest.raises(UsageError) as told, sides(repository, "nowhere", None, settings=SETTINGS):
        pass
    assert "base" in told.value.fix


def test_a_built_extension_is_refused(repository: Path) -> None:
    """A compiled file that git ignores would be missing on the other side: refused, naming it."""
    (repository / ".gitignore").write_text("*.so\n")
    (repository / "fast.so").write_bytes(b"")
    with pytest.raises(UsageError, match=r"fast\.so"), sides(repository, "base", None, settings=SETTINGS):
        pass


def test_import_roots_follow_the_project(tmp_path: Path) -> None:
    """`src` and what pyproject names come before the top."""
    (tmp_path / "src").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "pyproject.toml").write_text('[tool.setuptools.packages.find]\nwhere = ["lib"]\n')
    assert import_roots(tmp_path) == [tmp_path / "src", tmp_path / "lib", tmp_path]
