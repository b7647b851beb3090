"""Run a command to its end in a session of its own; whoever stops waiting ends all of it, the processes that it started too.

`subprocess.run` kills the one process that it started: of a shell's command line the command itself stayed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_whole(
    argv: Sequence[str] | str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    wants_stdout: bool = False,
    grace_s: float = 0.0,
) -> subprocess.CompletedProcess[bytes]:
    """
    Run it with nothing on its stdin; its status and what it said.

    Args:
        argv: a text is a line for the shell.
        grace_s: when it is left early, it is sent SIGTERM and has so long before all of it is killed.
    """
    with subprocess.Popen(
        argv,
        shell=isinstance(argv, str),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if wants_stdout else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            if grace_s:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(grace_s)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(argv, process.returncode, out or b"", err)
