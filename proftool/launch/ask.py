"""Ask another program something and wait for its answer, for a bounded time, with nothing on its stdin."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What it said."""

    status: int | None
    """None where it could not be started or did not end in time; `problem` then says why."""
    out: bytes = b""
    err: bytes = b""
    problem: str = ""

    @property
    def text(self) -> str:
        """Its stdout as text, whatever its bytes."""
        return self.out.decode(errors="replace")


def ask(
    argv: Sequence[str], *, within_s: float, cwd: Path | None = None, env: Mapping[str, str] | None = None, session: bool = False
) -> Answer:
    """
    Run it to its end; `env` is added to ours. Killed when the time is up.

    Args:
        session: in one of its own, where no Ctrl-C of the terminal reaches it.
    """
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=os.environ | dict(env or {}),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=within_s,
            start_new_session=session,
        )
    except subprocess.TimeoutExpired:
        return Answer(status=None, problem=f"it did not answer within {within_s:g} s")
    except OSError as problem:
        return Answer(status=None, problem=problem.strerror or str(problem))
    return Answer(status=done.returncode, out=done.stdout, err=done.stderr)
