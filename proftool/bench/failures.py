"""A benchmark, or a whole file of them, that failed while others were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from proftool.errors import BackendFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What failed, where, and the error as it would have been raised."""

    name: str
    """`file.py::bench_x`, or `file.py`."""
    error: BackendFailed
    side: Literal["base", "new"] | None = None
    """None of one side alone, and where it failed after it had run."""

    @property
    def last_line(self) -> str:
        """The last line of what it said: Python's exception, or the one that pytest marks."""
        lines = [line.strip() for line in self.error.cause.splitlines() if line.strip()]
        marked = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
        return [*lines, *marked][-1]

    @property
    def row(self) -> dict[str, object]:
        """For programs."""
        return {"name": self.name, "side": self.side, "error": self.last_line}

    @property
    def line(self) -> str:
        """For people."""
        return f"  {'FAILED':<12} {self.name}{f' on side {self.side}' if self.side else ''}: {self.last_line}"


def all_failed(failures: Sequence[Failure]) -> BackendFailed:
    """The error where nothing else is left to answer; the other failures are its notes."""
    error = failures[0].error
    for other in failures[1:]:
        error.add_note(f"{other.name}{f' on side {other.side}' if other.side else ''}: {other.last_line}")
    return error
