"""A comparison that is told to end leaves the repository as it was and no process behind: SIGTERM as Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import git

pytestmark = pytest.mark.timeout(120)


def waits(shop: Path, pids: Path) -> None:
    """A program of the repository that says its process and then stays."""
    (shop / "stay.py").write_text(f"import os, time\nopen({str(pids)!r} + str(os.getpid()), 'x')\ntime.sleep(600)\n")
    git(shop, "add", "-A")
    git(shop, "commit", "-qm", "stay")


def started(pids: Path, process: subprocess.Popen[str]) -> int:
    """The PID of the first program that runs."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if found := list(pids.parent.glob(f"{pids.name}*")):
            return int(found[0].name.removeprefix(pids.name))
        time.sleep(0.05)
    raise AssertionError(f"nothing was started: {process.communicate()[1]}")


def is_there(pid: int) -> bool:
    """Does the process run?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("words", "number", "status"),
    [
        (("ab", "HEAD", "HEAD", "--", "python", "stay.py"), signal.SIGTERM, 143),
        (("ab", "HEAD", "HEAD", "--", "python", "stay.py"), signal.SIGHUP, 129),
        (("bisect", "base", "HEAD", "--", "python", "stay.py"), signal.SIGTERM, 143),
        (("ab", "HEAD", "HEAD", "--build", "python stay.py", "--", "python", "stay.py"), signal.SIGTERM, 143),
    ],
    ids=["ab-term", "ab-hup", "bisect-term", "build-term"],
)
def test_what_is_told_to_end_cleans_up(shop: Path, tmp_path: Path, words: tuple[str, ...], number: signal.Signals, status: int) -> None:
    """No worktree is registered, the program that ran is over, and the status is that of the signal."""
    pids = tmp_path / "pid-"
    waits(shop, pids)
    if words[0] == "bisect":  # the older end runs it too
        git(shop, "tag", "-f", "base")
        git(shop, "commit", "-q", "--allow-empty", "-m", "next")
    process = subprocess.Popen(
        [sys.executable, "-m", "proftool", *words], cwd=shop, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with process:
        pid = started(pids, process)
        assert git(shop, "worktree", "list").count("\n") > 1
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == status, said
    assert said == f"ended by {number.name}\n"
    assert git(shop, "worktree", "list").count("\n") == 1
    end = time.monotonic() + 20
    while is_there(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_there(pid)
