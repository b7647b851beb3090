"""An exception as text, by OpenTelemetry's conventions: whoever keeps the text keeps no traceback, frame or local variable of anybody.

Source: semantic conventions 1.44 for exceptions (`exception.type`, `exception.message`, `exception.stacktrace`).
"""

from __future__ import annotations

import time
import traceback
from typing import NamedTuple

MAX_FRAMES = 30
MAX_STACK = 4000
"""Characters; a web framework's own frames fill them, and it is the innermost that tell: what is too long is cut at its beginning."""
MAX_MESSAGE = 1000


class Raised(NamedTuple):
    """What was raised, and where."""

    type: str
    """Qualified, as it would be imported."""
    message: str
    stack: str
    time_ns: int
    of: int
    """Identity of the exception while it lives: one that is told of twice is formatted once."""

    @property
    def attributes(self) -> dict[str, str]:
        """Of the event `exception`."""
        return {"exception.type": self.type, "exception.message": self.message, "exception.stacktrace": self.stack}

    @property
    def summary(self) -> str:
        """For a span's status."""
        return f"{self.type.rpartition('.')[2]}: {self.message}"


def qualified(error: BaseException) -> str:
    """`error.type` of an exception: its class as it would be imported."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def told(error: BaseException) -> Raised:
    """The exception as text; it may be let go then."""
    return Raised(qualified(error), text_of(error)[:MAX_MESSAGE], _stack(error), time.time_ns(), id(error))


def text_of(error: BaseException) -> str:
    """Its message; an exception of a program's own may fail to say one."""
    try:
        return str(error)
    except Exception:
        return "(its text cannot be read)"


def _stack(error: BaseException) -> str:
    try:
        whole = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-MAX_FRAMES))
    except Exception:  # a source or an attribute of somebody's own that cannot be read
        return ""
    if len(whole) <= MAX_STACK:
        return whole
    return "…\n" + whole[-MAX_STACK:].partition("\n")[2]
