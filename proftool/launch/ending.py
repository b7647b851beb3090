"""An end that was asked for by SIGTERM or SIGHUP is as orderly as one by Ctrl-C: an exception, so that what was made is taken away.

By their default these signals end Python at once: `timeout` and a cancelled job of CI left worktrees registered in the user's repository,
and benchmarks running in sessions of their own.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator
from types import FrameType

_ENDS = tuple(signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__)  # Windows has no SIGHUP


class Ended(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def name(self) -> str:
        """`SIGTERM`."""
        return signal.Signals(self.number).name

    @property
    def exit_status(self) -> int:
        """As of a process that the signal ended."""
        return 128 + self.number


@contextlib.contextmanager
def ending() -> Generator[None]:
    """SIGTERM and SIGHUP raise `Ended`, where nobody handles or ignores them (`nohup`); a second one changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in _ENDS if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, _frame: FrameType | None) -> None:
        for one in ours:
            signal.signal(one, signal.SIG_IGN)
        raise Ended(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def undisturbed() -> Generator[None]:
    """For what must not stay half done: SIGINT, SIGTERM and SIGHUP wait until it is over; a cancelled job gets several."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        late.append(number)

    # What is ignored stays so, and a handler that Python did not set cannot be set again.
    held = [number for number in (signal.SIGINT, *_ENDS) if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, note) for number in held}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if late:
            signal.raise_signal(late[0])
