"""Running processes to look at and to attach to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

SERVICE = Path(__file__).parents[1] / "targets" / "service.py"


@contextmanager
def started(*argv: str) -> Generator[subprocess.Popen[str]]:
    """A process that has said `ready`; killed at the end if it still runs."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready")
            yield process
        finally:
            process.kill()


@contextmanager
def service(*words: str) -> Generator[subprocess.Popen[str]]:
    """The service of tests/targets."""
    with started(sys.executable, str(SERVICE), *words) as process:
        yield process
