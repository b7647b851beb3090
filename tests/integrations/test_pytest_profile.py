"""`pytest --proftool` in sessions of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

TESTS = """
import time

def burn(n):
    end = time.perf_counter() + n
    while time.perf_counter() < end:
        sum(range(500))

def test_slow():
    burn(0.5)

def test_quick():
    assert True

def test_wrong():
    assert False
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "test_things.py").write_text(TESTS)
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "PROFTOOL_"))}
    known = {point.value for point in entry_points(group="pytest11")}
    # Where proftool is installed, pytest finds the plugin by itself; from a mere checkout on the path it has to be named.
    plugin = [] if "proftool.integrations.pytest_profile" in known else ["-p", "proftool.integrations.pytest_profile"]
    asked = [sys.executable, "-m", "pytest", *plugin, "-p", "no:cacheprovider", *words]
    return subprocess.run(asked, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_the_slowest_tests_come_with_the_functions_behind_them(folder: Path) -> None:
    """The slow test first, the function that burns under it, the session's own status unchanged."""
    done = run(folder, "--proftool", "--proftool-label", "first")
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    slow = next(n for n, line in enumerate(lines) if line.rstrip().endswith("test_slow") and " ms" in line)
    assert any("burn" in line or "sum" in line for line in lines[slow + 1 : slow + 4])
    assert "2 passed" in done.stdout
    again = run(folder, "--proftool-against", "first", "-k", "slow")
    assert "burn" in again.stdout
    assert "not compared" not in again.stdout, again.stdout


def test_without_the_option_nothing_is_recorded(folder: Path) -> None:
    """The plugin is loaded in every session and must be silent there."""
    done = run(folder)
    assert not any(word in done.stdout + done.stderr for word in ("= proftool =", " kept", "the slowest of"))
    assert not (folder / ".proftool").exists()


def test_workers_are_refused_with_the_way_that_works(folder: Path) -> None:
    """pytest-xdist runs the tests elsewhere: said, not recorded as an empty run."""
    done = run(folder, "--proftool", "-n", "2")
    assert done.returncode == 4
    assert "proftool run -m pytest" in done.stderr
