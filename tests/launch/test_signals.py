"""Job control: a terminal's Ctrl-Z stops proftool and the target together, `fg` wakes both."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch.trial import Trial

from proftool.launch.signals import Guard

# A shell with job control in a few lines: runs its argument as the foreground job of its terminal and says when it stops.
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if not job:
    os.setpgid(0, 0); os.tcsetpgrp(0, os.getpid()); signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
report = open(sys.argv[1], "a", buffering=1)
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        print("ended", os.waitstatus_to_exitcode(status), file=report); break
    states = [open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] for pid in (job, int(open(sys.argv[1] + ".pid").read()))]
    print("stopped", *states, file=report)
    os.killpg(job, signal.SIGCONT)
"""


def wait_for(condition: object, limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("way", ["terminal", "alone"])
def test_stop_and_resume(tmp_path: Path, way: str) -> None:
    """By Ctrl-Z in a terminal, or SIGTSTP to proftool alone, the shell sees the job stopped, both processes are, and both go on."""
    trial = Trial(tmp_path)
    ready, report = trial.results / "ready", trial.results / "report"
    started = trial.start("cprofile", "subject.py", "end", "", "0", os.devnull, "")  # gives the command line
    started.ended()
    before = f"open({str(report) + '.pid'!r}, 'w').write(str(os.getpid()))"
    asked = json.loads(started.process.args[-1])  # type: ignore[index]
    after = f"while 'stopped' not in open({str(report)!r}).read(): busy(0.05)\nprint('done')"  # still there when the signal comes
    asked["words"] = ["subject.py", "end", before, "0", str(ready), after]
    command = [*started.process.args[:-1], json.dumps(asked)]  # type: ignore[index]
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(trial.work)
        os.execve(sys.executable, [sys.executable, "-c", SHELL, str(report), *command], trial.env())
    try:
        wait_for(lambda: ready.exists() and ready.read_text() == "working")
        if way == "terminal":
            os.write(terminal, b"\x1a")
        else:
            job = int(subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(pid)]).split()[0])
            os.kill(job, signal.SIGTSTP)
        wait_for(lambda: report.exists() and "ended" in report.read_text())
    finally:
        trial.end_all()
        os.close(terminal)
        os.waitpid(pid, 0)
    assert report.read_text().splitlines() == ["stopped T T", "ended 0"]


def test_a_child_that_is_told_of_late_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may take SIGCHLD just before the guard ends, and Python looks for its handler only then."""
    libc, action = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with Guard():
        libc.sigaction(int(signal.SIGCHLD), None, action)
    taken_by_python = ctypes.CFUNCTYPE(None, ctypes.c_int)(int.from_bytes(action.raw[:8], sys.byteorder))
    taken_by_python(int(signal.SIGCHLD))
    assert (sum(range(100)), told) == (4950, [])


def test_a_handler_of_the_caller_is_put_back() -> None:
    """Who watches its own children goes on doing so."""
    seen: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: seen.append(number))
    try:
        with Guard():
            pass
        subprocess.run([sys.executable, "-c", ""], check=True)
        assert seen
    finally:
        signal.signal(signal.SIGCHLD, before)
