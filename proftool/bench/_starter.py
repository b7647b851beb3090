"""A small process that starts one command and says what it cost: standard library only, run by path as `python -I -S _starter.py`.

    python -I -S _starter.py PROCESSOR LEVELS COMMAND…        -> one JSON object on file descriptor `PROFTOOL_BENCH_FD`

PROCESSOR: the number of the one that the command is bound to, or `-`. LEVELS: how many levels of niceness it yields to others, 0 or more.

A process begins with the peak memory of the process that it was forked from (Linux keeps `ru_maxrss` over `exec`), so a command
that a large process starts is said to need at least what that one does. This one needs less than any Python program.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time


def main(argv: list[str]) -> None:
    """Run the command; its cost and how it ended."""
    descriptor, command = int(os.environ.pop("PROFTOOL_BENCH_FD")), argv[2:]
    os.set_inheritable(descriptor, False)
    if argv[0] != "-":
        os.sched_setaffinity(0, {int(argv[0])})
    if argv[1] != "0":
        yield_by(int(argv[1]))
    before = steal()
    begin = time.perf_counter_ns()
    try:
        pid = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        answer: dict[str, object] = {"error": f"{command[0]}: {error.strerror}"}
    else:
        _, status, usage = os.wait4(pid, 0)
        answer = {
            "wall_ns": time.perf_counter_ns() - begin,
            "cpu_ns": (usage.ru_utime + usage.ru_stime) * 1e9,
            "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "involuntary_switches": usage.ru_nivcsw,
            "steal_ns": steal() - before,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "status": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
        }
    with os.fdopen(descriptor, "wb") as out:
        out.write(json.dumps(answer).encode())


def yield_by(levels: int) -> None:
    """Take less of a shared processor; where the kernel groups processes by session (`sched(7)`, autogroup), that of the session counts."""
    os.nice(levels)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w", encoding="ascii") as file:
        file.write(str(levels))


def steal() -> int:
    """Time that the hypervisor gave to others, all processors of this machine together, ns; 0 where the system does not say."""
    # The same as in _worker.py: both are run by path, in interpreters where proftool cannot be imported.
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return int(file.readline().split()[8]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0


if __name__ == "__main__":
    main(sys.argv[1:])
