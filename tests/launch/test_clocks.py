"""What is watched of threads while an external profiler samples: rows that only grow, whose family, and files that are let go."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from proftool.launch import clocks

if not sys.platform.startswith("linux"):
    pytest.skip("/proc is Linux's", allow_module_level=True)

PARENT = """
import subprocess, sys, threading
def wait(): sys.stdin.read()
threading.Thread(target=wait, daemon=True).start()
one = subprocess.Popen([sys.executable, "-c", {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(one.pid, one.stdout.readline().decode().strip(), flush=True)
one.wait()
"""
CHILD = """
import subprocess, sys
one = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
print(one.pid, flush=True)
one.wait()
"""


@contextmanager
def running(*argv: str) -> Generator[subprocess.Popen[str]]:
    """A process with pipes, ended afterwards."""
    with subprocess.Popen([sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(what: Callable[[], bool]) -> None:
    """Wait for it, for a minute at most."""
    for _ in range(6000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true within a minute")


def _exists(path: str) -> bool:
    return not path.endswith("/children") and os.access(path, os.F_OK)


@pytest.mark.parametrize("kernel_tells", [True, False])
def test_a_family_is_a_process_and_all_that_descend_from_it(kernel_tells: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children of children too, whether the kernel lists them or all processes have to be looked at."""
    if not kernel_tells:
        monkeypatch.setattr(clocks.os.path, "exists", _exists)
    with running("-c", PARENT.format(child=CHILD)) as parent:
        assert parent.stdout
        told = [int(word) for word in parent.stdout.readline().split()]
        assert sorted(clocks.family(parent.pid)) == sorted([parent.pid, *told])
        for pid in reversed(told):
            os.kill(pid, 9)


READER = """
import sys
for line in sys.stdin:
    for _ in range(int(line)):
        open("/proc/self/stat", "rb", buffering=0).read(10)
    print("done", flush=True)
"""


@pytest.mark.parametrize("held", [300, 1])
def test_what_a_profiler_read_and_what_a_target_ran_only_grow(held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row a thread and look; the profiler's threads stand under pid 0 and say how often they read, held open or not."""
    monkeypatch.setattr(clocks, "_HELD_MAX", held)
    with running("-c", "while True: pass") as target, running("-c", READER) as profiler:
        assert profiler.stdin
        assert profiler.stdout
        watch = clocks.ThreadClocks(target.pid, tmp_path, children=False, profiler_pid=profiler.pid)
        watch.start()
        until(lambda: watch.counts()[0] > 2)
        profiler.stdin.write("1000\n")
        profiler.stdin.flush()
        assert profiler.stdout.readline() == "done\n"
        seen = watch.counts()[0]
        until(lambda: watch.counts()[0] > seen + 1)
        assert watch.stop() == ()
    rows = np.fromfile(tmp_path / clocks.FILE, np.int64).reshape(-1, clocks.COLUMNS)
    assert set(rows[:, 1].tolist()) == {target.pid, 0}
    for tid in (target.pid, profiler.pid):
        own = rows[rows[:, 2] == tid]
        assert (np.diff(own, axis=0) >= 0).all()
    assert rows[rows[:, 1] == 0][-1, 5] - rows[rows[:, 1] == 0][0, 5] >= 1000
    assert np.ptp(rows[rows[:, 1] == target.pid][:, 3]) > 0
    assert not rows[rows[:, 1] == target.pid][:, 5].any()


def test_files_of_what_ended_are_let_go(tmp_path: Path) -> None:
    """As many descriptors are open after a recording as before, and while it goes on none of a thread that is gone."""
    open_before = len(os.listdir("/proc/self/fd"))
    go = threading.Event()
    threads = [threading.Thread(target=go.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    watch = clocks.ThreadClocks(os.getpid(), tmp_path, children=True)
    watch.start()
    until(lambda: watch.counts()[0] > 2)
    most = len(os.listdir("/proc/self/fd"))
    assert most >= open_before + 20
    go.set()
    for thread in threads:
        thread.join()
    until(lambda: len(os.listdir("/proc/self/fd")) <= most - 20)
    watch.stop()
    assert len(os.listdir("/proc/self/fd")) <= open_before
