"""The tutorial is walked: every command of the page as written, in order, in a checkout of its program alone."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from docs.page import ROOT, blocks

PAGE = ROOT / "docs/pages/tutorial/first-fix.md"
PROGRAM = "recipes/programs/word_ladder.py"
LIMIT_S = 900
"""Of a command. `ab` takes 15 s on an idle machine and took 260 s on one with a load of 20."""


@dataclass(frozen=True)
class Step:
    """A command of the page and what came of it."""

    command: str
    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Walk:
    """The whole page."""

    steps: tuple[Step, ...]
    n_calls: int
    """Of `differ_by_one` in one run of the program as it comes."""
    ladders: str
    """What the program prints, as it comes."""

    def of(self, *words: str) -> Step:
        """The first command that has all of these words."""
        return next(step for step in self.steps if set(words) <= set(step.command.split()))


def counted() -> int:
    """Calls of `differ_by_one`, counted without any profiler."""
    program = runpy.run_path(str(ROOT / PROGRAM), run_name="counted")
    scope: dict[str, object] = program["main"].__globals__
    compare: Callable[[str, str], bool] = program["differ_by_one"]
    calls = 0

    def counting(left: str, right: str) -> bool:
        nonlocal calls
        calls += 1
        return compare(left, right)

    scope["differ_by_one"] = counting
    program["main"]()
    return calls


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    folder = tmp_path_factory.mktemp("tutorial")
    tools, checkout = folder / "bin", folder / "proftool"
    tools.mkdir()
    # The command of the proftool that is tested, whatever else of that name is installed.
    (tools / "proftool").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m proftool "$@"\n')
    (tools / "proftool").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PROFTOOL", "GIT_"))}
    path = os.pathsep.join((str(tools), str(Path(sys.executable).parent), kept["PATH"]))
    env = kept | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "140", "BROWSER": "true"}

    def done(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, cwd=checkout, env=env, input=given, capture_output=True, text=True, timeout=LIMIT_S)

    (checkout / PROGRAM).parent.mkdir(parents=True)
    shutil.copy(ROOT / PROGRAM, checkout / PROGRAM)
    (checkout / "pyproject.toml").write_text("[project]\nname = 'proftool'\nversion = '0'\n")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "as it comes")):
        done("git", *words).check_returncode()
    ladders = done(sys.executable, PROGRAM).stdout

    steps: list[Step] = []
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        if block.language == "diff":
            applied = done("git", "apply", given=block.text)
            assert applied.returncode == 0, applied.stderr
            continue
        assert block.language == "sh", f"line {block.line}: nothing else of the page is run"
        for command in block.text.splitlines():
            ended = done("sh", "-c", command)
            steps.append(Step(command, ended.returncode, ended.stdout, ended.stderr))
    return Walk(tuple(steps), counted(), ladders)


# In full only: 70 s of processor time, and most of it is `ab`, which measures for longer the busier the machine is.
pytestmark = [pytest.mark.full, pytest.mark.xdist_group("tutorial"), pytest.mark.timeout(2400)]


def test_every_command_of_the_page_ends_well(walk: Walk) -> None:
    """Status 0, no traceback, and the program printed what it always prints, before and after the change."""
    assert len(walk.steps) >= 9
    for step in walk.steps:
        assert step.status == 0, f"{step.command}\n{step.out}{step.err}"
        assert "Traceback" not in step.err, step.command
    for label, runs in (("first", 1), ("calls", 1), ("before", 5), ("after", 5)):
        assert walk.of("--label", label).out == walk.ladders * runs


def test_the_first_recording_names_the_function_and_the_line(walk: Walk) -> None:
    """The summary and the table by line begin with the comparison of letters; the report is there."""
    summary = walk.of("--label", "first").err
    table = summary.partition("wall_time,")[2].splitlines()
    assert "differ_by_one" in table[1]
    line = 1 + (ROOT / PROGRAM).read_text().splitlines().index("    return sum(a != b for a, b in zip(left, right, strict=True)) == 1")
    rows = walk.of("show", "first", "line").out.splitlines()
    assert any(f"differ_by_one  {PROGRAM}:{line}" in row for row in rows[1:3]), rows
    assert all("differ_by_one" in row for row in rows[1:3]), rows
    report = Path(walk.of("open", "first").err.split()[-1])
    assert b"word_ladder.py" in report.read_bytes()


def test_the_trace_counts_every_call_and_names_the_caller(walk: Walk) -> None:
    """As many calls as without a profiler; hundreds of thousands, as the page says; all of one method."""
    assert 100_000 <= walk.n_calls < 1_000_000
    row = next(row for row in walk.of("show", "calls", "--function", "differ_by_one").out.splitlines()[1:] if "differ_by_one  " in row)
    assert f" {walk.n_calls:,} " in row
    callers = walk.of("show", "callers").out.splitlines()
    assert callers[0].startswith("callers of differ_by_one")
    assert "Dictionary.neighbours" in callers[2]
    assert f" {walk.n_calls:,} " in callers[2]


def test_the_change_is_proved(walk: Walk) -> None:
    """`diff` and `ab` tell the same gain, most of the time, and its cause, and the gate passes."""
    told = walk.of("diff", "before", "after").out
    gain = re.search(r"changed by −[^,]+, -(\d+\.\d) %", told)
    assert gain, told
    assert float(gain[1]) > 50
    assert "`differ_by_one` is gone" in " ".join(told.split())
    both = walk.of("ab", "HEAD").out
    gain = re.search(r"FASTER +-(\d+\.\d) %", both)
    assert gain, both
    assert float(gain[1]) > 50
    assert f"differ_by_one   {PROGRAM}:" in both
    assert f"calls {walk.n_calls:,} → 0" in both
    rows = both.splitlines()
    compared = next(at for at, row in enumerate(rows) if "differ_by_one.<locals>.<genexpr>" in row)
    assert rows[compared + 1].endswith("← not edited"), rows[compared + 1]
    assert walk.of("gate", "before").err.startswith("pass")
