"""Wakes a recorded process that took SIGTERM and went to sleep with it.

A recorded process saves before it dies of SIGTERM, so a Python handler stands where the kernel's default action would be. Python runs
handlers between two bytecodes: a signal that comes after the last look and before a blocking call (`sem_wait`, `read`) is noted, and the
call sleeps on. `Pool.terminate()` then waits for that worker for ever (seen in 1 of 80 pools). Only another signal ends such a call.

So a process keeps a *debt*, a file `debt-PID` with the time of its birth, from when its handler stands until it begins to save. Whoever
sends it SIGTERM and knows of the recording (`os.kill` in another recorded process, proftool itself) writes into it; while it stands with
such a line, the launcher sends SIGTERM again. A program that handles SIGTERM itself has no debt and gets its signal once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

EVERY_S = 0.25
"""How often the launcher looks, and how long a process may take before it is woken."""
_BIRTH_S = 5.0
"""How much younger than its debt's first line a process may be: another that has its PID is younger by far."""


def tell(folder: Path, pid: int) -> None:
    """SIGTERM has been sent to that process: note it if it owes its recording."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder / f"debt-{pid}", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, b"sent\n")
        finally:
            os.close(descriptor)


def wake(folder: Path) -> None:
    """Send SIGTERM again to every process that was sent one a while ago and still owes its recording."""
    now = time.time()
    for debt in folder.glob("debt-*"):
        try:
            born, *sent = debt.read_text(encoding="ascii").split()
            if sent and now - debt.stat().st_mtime >= EVERY_S and _is_same(int(debt.name.split("-")[1]), float(born)):
                os.kill(int(debt.name.split("-")[1]), signal.SIGTERM)
        except (OSError, ValueError):
            continue  # paid between two looks, or being written


def _is_same(pid: int, written_s: float) -> bool:
    """Does the process that wrote the debt still bear that PID?"""
    import psutil

    try:
        return psutil.Process(pid).create_time() <= written_s + _BIRTH_S
    except psutil.Error:
        return False
