"""A repository with a function that is called more often in the working tree than at its commit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MODEL = """class Invoice:
    def __init__(self, lines):
        self.lines = lines

    def total(self):
        s = 0
        for a in self.lines:
            s += a * 3 % 7
        return s
"""
REPORT = """from shop.model import Invoice


def steady():
    n = 0
    for i in range(1_000_000):
        n += i % 3
    return n


def report():
    invoice = Invoice(range(1000))
    for _ in range(300):
        invoice.total()


if __name__ == "__main__":
    steady()
    report()
"""
BENCH = """from shop.model import Invoice
def bench_total():
    return Invoice(range(2000)).total()
"""


def git(root: Path, *arguments: str) -> str:
    """stdout of git in a repository."""
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *names, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The repository; its one commit is tagged `base`."""
    root = tmp_path / "shop"
    (root / "shop").mkdir(parents=True)
    (root / "shop/__init__.py").write_text("")
    (root / "shop/model.py").write_text(MODEL)
    (root / "shop/report.py").write_text(REPORT)
    (root / "bench_shop.py").write_text(BENCH)
    (root / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "0"\n')
    (root / ".gitignore").write_text(".proftool/\n__pycache__/\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "base")
    git(root, "tag", "base")
    return root


@pytest.fixture
def proftool(shop: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command, run in the repository."""

    def run(*words: str, cwd: Path = shop) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "proftool", *words], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )

    return run
