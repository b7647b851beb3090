"""A profiler in a process of its own, attached to a target by PID.

It runs in a process group of its own, so that a terminal's signals are the target's alone, and its chatter goes to a file in the
recording's folder: evidence for an error, never parsed for a result. It dies with proftool.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from proftool.contracts import Outside
from proftool.errors import BackendFailed, PermissionNeeded, ProftoolError

_ATTACH_S = 20.0
_END_S = 20.0
_CHATTER_BYTES = 1 << 16
_NICE = -15


def _go_first(pid: int) -> None:
    """
    Put the profiler first in line for a processor, where that is allowed.

    A profiler that has to wait for its turn takes its samples late and then several at once: on a busy machine they say where the
    profiler got a processor and not where the program spends its time. It needs a few percent of one.
    """
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _NICE)


class ExternalProfiler:
    """The running profiler of one recording."""

    def __init__(self, command: Outside, pid: int, folder: Path, before_exec: Callable[[], None]) -> None:
        """Start it; BackendFailed where its program is not there."""
        self.command = command
        self._chatter = folder / "chatter"
        argv = [word.replace("{pid}", str(pid)) for word in command.argv]
        # A file and not a pipe: nobody has to read it for the profiler to go on.
        with open(self._chatter, "wb") as chatter:
            try:
                self._process = subprocess.Popen(
                    argv,
                    env=dict(os.environ) | dict(command.env),
                    stdin=subprocess.DEVNULL,
                    stdout=chatter,
                    stderr=chatter,
                    process_group=0,
                    preexec_fn=before_exec,
                )
                _go_first(self._process.pid)
            except OSError as error:
                cause = (error.strerror or str(error)).lower()
                raise BackendFailed(f"`{argv[0]}` cannot be started", cause=cause, fix="run `proftool doctor`") from error

    def await_ready(self, target_has_ended: Callable[[], bool], pause: Callable[[float], None]) -> None:
        """Until it has said that it is attached, or the target has ended; BackendFailed or PermissionNeeded where it gives up."""
        end = time.monotonic() + _ATTACH_S
        while self.command.ready not in self._said():
            if target_has_ended():
                return
            if self.has_ended() or time.monotonic() > end:
                raise self._refusal()
            pause(0.005)

    @property
    def pid(self) -> int:
        """Its PID."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Is it gone?"""
        return self._process.poll() is not None

    def interrupt(self) -> None:
        """Ask it to write what it has."""
        if not self.has_ended():
            self._process.send_signal(signal.SIGINT)

    def end(self) -> str:
        """Wait for its end, asking ever more firmly; its chatter."""
        for limit_s, number in ((_END_S / 4, signal.SIGINT), (_END_S, signal.SIGKILL)):
            end = time.monotonic() + limit_s
            while not self.has_ended() and time.monotonic() < end:
                time.sleep(0.005)
            if self._process.returncode is None:
                self._process.send_signal(number)
        self._process.wait()
        return self._said()

    def kill(self) -> None:
        """At once."""
        if not self.has_ended():
            self._process.kill()
        self._process.wait()

    def _refusal(self) -> ProftoolError:
        words = self._said().strip()
        last = next(
            (line.strip() for line in reversed(words.splitlines()) if line.strip() and "RUST_BACKTRACE" not in line), "it said nothing"
        )
        name = Path(self.command.argv[0]).name
        if "ermission denied" in words or "peration not permitted" in words:
            return PermissionNeeded(
                f"{name} may not read the target",
                cause=last,
                fix="allow tracing (`sysctl kernel.yama.ptrace_scope=0`, or CAP_SYS_PTRACE in a container)",
            )
        return BackendFailed(f"{name} could not attach to the target", cause=last, fix="`proftool doctor` says which backends work here")

    def _said(self) -> str:
        with open(self._chatter, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _CHATTER_BYTES))
            return file.read().decode(errors="replace")
