"""The one exception tree: what happened, its cause, its fix, and the exit status it means.

Library code raises; only `cli.app` and the dashboard catch. Facts stand in `what` and `cause`, advice in `fix`, so that a
front end may replace the advice. `cause` and `fix` are whole lines without a closing period; what can be typed stands in
backticks. Exit statuses are those of the command-line contract in docs/reference/exit-status.md.
"""

from __future__ import annotations

from typing import ClassVar


class ProftoolError(Exception):
    """Anything that proftool can explain; a bare subclass is never raised without all three texts."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, cause: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}\ncause: {self.cause}\nfix:   {self.fix}"


class UsageError(ProftoolError):
    """Flags that contradict, a target that does not exist."""

    exit_code = 2


class TargetError(UsageError):
    """The script is missing, the command is not found, the process is gone."""


class BackendError(ProftoolError):
    """A profiler that cannot do what was asked."""

    exit_code = 5


class BackendUnavailable(BackendError):
    """The profiler is not installed, or does not fit this platform, Python or option."""

    exit_code = 3


class PermissionNeeded(BackendError):
    """The system forbids it (ptrace, another user's process, a container without the capability)."""

    exit_code = 4


class BackendFailed(BackendError):
    """The profiler ran and failed, or recorded nothing."""


class FormatError(ProftoolError):
    """A file that cannot be read as a profile."""

    exit_code = 6


class UnknownFormat(FormatError):
    """No format recognises the content."""


class CorruptProfile(FormatError):
    """The format is known, its content is cut short or breaks its own rules."""


class NewerVersion(FormatError):
    """Written by a newer proftool, or by a newer release of a profiler than is supported."""


class LimitExceeded(FormatError):
    """Larger, deeper or longer than is safe to read."""


class RunNotFound(ProftoolError):
    """No run answers to that name."""

    exit_code = 7


class AmbiguousRun(RunNotFound):
    """Several runs begin with that prefix."""


class NotComparable(ProftoolError):
    """The two sides of a diff measure different things."""

    exit_code = 8


class StoreError(ProftoolError):
    """The run history cannot be read or written."""

    exit_code = 9


class StoreBusy(StoreError):
    """Another process holds the store for longer than proftool waits."""


class ReportError(ProftoolError):
    """A report that cannot be made of this profile."""

    exit_code = 2


class AssetsMissing(ReportError):
    """The viewer was not built when proftool was installed."""


class ModelError(ProftoolError):
    """An invariant of the model broke: a fault of proftool's own, worth a report."""
