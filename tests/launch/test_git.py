"""The state of a checkout, as git tells it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from proftool.launch.git import describe


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    def git(*words: str) -> None:
        identity = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=tmp_path,
            check=True,
            env=os.environ | identity,
            capture_output=True,
        )

    git("init", "-q", "-b", "trunk")
    (tmp_path / "app.py").write_text("x = 1\n")
    git("add", "app.py")
    git("commit", "-qm", "first")
    return tmp_path


def test_commit_branch_and_dirt(checkout: Path) -> None:
    """A clean checkout, then an edited one; untracked files are no dirt."""
    clean = describe(checkout)
    assert clean is not None
    assert (len(clean.commit), clean.branch, clean.dirty, clean.root) == (40, "trunk", False, str(checkout))
    (checkout / "new.py").write_text("")
    (checkout / "sub").mkdir()
    assert describe(checkout / "sub") == clean
    (checkout / "app.py").write_text("x = 2\n")
    dirty = describe(checkout)
    assert dirty is not None
    assert dirty.dirty is True


def test_detached_head_has_no_branch(checkout: Path) -> None:
    """A commit without a name."""
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=checkout, check=True, capture_output=True)
    found = describe(checkout)
    assert found is not None
    assert found.branch is None


def test_no_checkout_no_git_no_answer(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a checkout, in an empty one, and where git is missing or hangs, nothing is claimed."""
    assert describe(Path("/proc")) is None
    subprocess.run(["git", "init", "-q", str(tmp_path / "empty")], check=True, capture_output=True)
    assert describe(tmp_path / "empty") is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert describe(checkout) is None
