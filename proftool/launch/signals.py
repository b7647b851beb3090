"""Signals between the terminal, proftool and the target, as if proftool were not there.

The target stays in proftool's process group, so that pipelines, Ctrl-C and job control work. While it runs, proftool blocks the
signals below and takes them one by one with their sender's code:

- from the kernel (a terminal's Ctrl-C, hang-up, window change): the whole group has it already, nothing is forwarded;
- from `kill(2)`: forwarded, unless the *witness*, an idle process of the same group, holds it too: then it was sent to the group;
- SIGTSTP: like the others; when the target has stopped, proftool stops too, and wakes it when it is continued itself.

Linux's siginfo cannot tell `kill` from `killpg`; only another member of the group can.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path
from types import TracebackType

from proftool.launch import woken

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM", "SIGVTALRM", "SIGTSTP")
FORWARDED: frozenset[signal.Signals] = frozenset(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_SI_KERNEL = 0x80
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, number: int = signal.SIGKILL) -> None:
    """Between fork and exec: have the kernel send this process a signal when proftool dies. Linux; elsewhere nothing."""
    prctl = getattr(_LIBC, "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the line above
            os.kill(os.getpid(), number)


class Witness:
    """An idle process of our group that blocks every signal; what is pending there was sent to the whole group."""

    def __init__(self) -> None:
        parent = os.getpid()
        read, self._write = os.pipe()
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        self.pid = os.fork()
        if not self.pid:
            self._idle(parent, read)
        os.close(read)

    @staticmethod
    def _idle(parent: int, read: int) -> None:
        """Body of the witness: drop pending signals when told to, end with proftool."""
        try:
            die_with_parent(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
            highest = max((int(name) for name in os.listdir("/proc/self/fd")), default=255)
            os.dup2(read, 0)
            os.closerange(1, highest + 1)
            while os.read(0, 1):
                while signal.sigtimedwait(FORWARDED, 0):
                    pass
        finally:
            os._exit(0)

    def has(self, number: int) -> bool:
        """Was that signal sent to the group? Clears it."""
        bit = 1 << (number - 1)
        end = time.monotonic() + 0.02  # the kernel signals a group's members one after the other
        while True:
            try:
                with open(f"/proc/{self.pid}/status") as file:
                    pending = [int(line.split()[1], 16) for line in file if line.startswith(("SigPnd", "ShdPnd"))]
            except OSError:
                return False
            if any(mask & bit for mask in pending):
                with contextlib.suppress(OSError):
                    os.write(self._write, b"x")
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.002)

    def end(self) -> None:
        """Let it go."""
        os.close(self._write)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class Guard:
    """Takes proftool's signals while a target runs, and gives the ones that are the target's to it.

    Outside the main thread, where Python cannot wait for them, it does nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.interrupted = False
        self._folder = folder
        self._witness: Witness | None = None
        self._before: set[signal.Signals | int] = set()
        self._waits = FORWARDED | {signal.SIGCHLD, signal.SIGCONT}

    def __enter__(self) -> Guard:
        # SIGCHLD's default is to be ignored, and a blocked, ignored signal is dropped: it needs a handler to be waited for.
        self._chld = signal.signal(signal.SIGCHLD, _nothing)
        self._cont = signal.signal(signal.SIGCONT, _nothing)
        self._witness = Witness() if hasattr(os, "fork") and os.path.isdir("/proc/self") else None
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._waits)
        if self._witness is not None:
            self._before -= {number for number in FORWARDED if number not in self._witness._blocked}  # pyright: ignore[reportPrivateUsage]
        return self

    def unblock(self) -> None:
        """Between fork and exec: give the child the mask that proftool was started with."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, pid: int, within_s: float) -> None:
        """Wait for one signal, a child's change or the time; forward what is to be forwarded to `pid`."""
        info = signal.sigtimedwait(self._waits, within_s)
        if info is None or info.si_signo in (signal.SIGCHLD, signal.SIGCONT):
            return
        number = info.si_signo
        to_group = info.si_code >= _SI_KERNEL or (self._witness is not None and self._witness.has(number))
        if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            self.interrupted = True
        if not to_group and info.si_pid != pid:  # a target that signals its parent does not mean itself
            _send(pid, number)
        if number == signal.SIGTERM and self._folder is not None:
            woken.tell(self._folder, pid)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._witness is not None:
            self._witness.end()
        while signal.sigtimedwait(self._waits, 0) is not None:
            pass  # they were the target's; they must not hit proftool while it saves
        # A default is not put back: what another thread takes at this moment would find no handler in Python, which then writes "Signal 17
        # ignored due to race condition" to stderr. To do nothing is what both defaults do.
        for number, before in ((signal.SIGCHLD, self._chld), (signal.SIGCONT, self._cont)):
            if before not in (signal.SIG_DFL, None):
                signal.signal(number, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


def stop_with(pid: int) -> None:
    """Stop ourselves as the target is stopped; when we are continued, so is the target."""
    os.kill(os.getpid(), signal.SIGSTOP)
    _send(pid, signal.SIGCONT)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _nothing(_number: int, _frame: object) -> None:
    pass


_LIBC = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
