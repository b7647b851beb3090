"""What every stack allocated in all, of a memray recording: the one sum that memray's reader has no aggregate for.

The reader hands out a record an allocation, millions of them. A plain loop over these is the quickest: handing them to `Counter` by way of
`attrgetter`, with no step in Python, took a quarter longer (2.1 against 1.7 s for 3 million). Run as a program, this file does the same
in a process of its own, beside memray's aggregates of the same file, and writes the rows to stdout.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memray import AllocationRecord, FileReader
    from memray._memray import TemporalAllocationRecord

Site = tuple[str, str, int]
"""(bare name, file, executing line), as memray gives a frame."""
Row = tuple[int, str, list[Site], int, int]
"""tid, the thread's name, its stack innermost first, bytes, number of allocations."""

DEEPEST = 1 << 20
NATIVE = "\0"
"""Before the file of a frame that is not Python's."""
MANY_BYTES = 128 << 10
"""Of a file that is worth a second process: 12 million records of a loop were 260 kB, the start and end of an interpreter 40."""


def begin(path: Path, *, is_own: bool) -> Beside | None:
    """Start to sum up a file in a process of its own; None where that does not pay and the file is our own."""
    return Beside(path, is_own=is_own) if not is_own or (cores() > 1 and path.stat().st_size >= MANY_BYTES) else None


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sites(record: AllocationRecord | TemporalAllocationRecord, *, is_own: bool, native: bool) -> list[Site]:
    """
    Its stack, innermost first; `is_own`: nothing is left out. With native frames where the file has them.

    What called the outermost Python function is how the interpreter came to run it, and goes. memray 1.20 leaves out the outermost
    frames of the main thread whatever it is asked for where it puts the native ones in, so those are put back.
    """
    python = record.stack_trace(max_stacks=DEEPEST) if is_own else record.stack_trace()
    if not native:
        return python
    found: list[Site] = []
    at = end = 0
    for site in record.hybrid_stack_trace(max_stacks=DEEPEST):
        if at < len(python) and site == python[at]:
            found.append(site)
            at, end = at + 1, len(found)
        else:
            found.append((site[0], NATIVE + site[1], site[2]))
    return (found[:end] if at else found) + python[at:]


def sums(reader: FileReader, *, is_own: bool) -> list[Row]:
    """One row a thread and stack. `is_own`: no frames are left out of the stacks."""
    freeing = _freeing()
    native = reader.metadata.has_native_traces
    totals: dict[tuple[int, int, int], list[int]] = {}
    samples: dict[tuple[int, int, int], AllocationRecord] = {}
    for record in reader.get_allocation_records():
        if record.allocator in freeing:
            continue
        key = (record.tid, record.stack_id, record.native_stack_id if native else 0)
        total = totals.get(key)
        if total is None:
            totals[key] = [record.size, 1]
            samples[key] = record
        else:
            total[0] += record.size
            total[1] += 1
    rows: list[Row] = []
    for key, (size, number) in totals.items():
        record = samples[key]
        rows.append((record.tid, str(record.thread_name or ""), sites(record, is_own=is_own, native=native), size, number))
    return rows


class Beside:
    """Summed up by another process, which opens the file itself."""

    def __init__(self, path: Path, *, is_own: bool) -> None:
        # The same modules as here, whatever lies in the folder where the user works.
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-P", "-m", __name__, str(path), "own" if is_own else "foreign"]
        self._process = subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def rows(self) -> list[Row]:
        """Waits for it. RuntimeError where it failed, with its reader's words."""
        told, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"memray's reader ended with status {self._process.returncode}")
        found: list[Row] | str = marshal.loads(told)
        if isinstance(found, str):
            raise RuntimeError(found)
        return found

    def abandon(self) -> None:
        """Ends it if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _freeing() -> frozenset[int]:
    from memray import AllocatorType

    return frozenset(int(kind) for kind in (AllocatorType.FREE, AllocatorType.MUNMAP, AllocatorType.PYMALLOC_FREE))


def main() -> None:
    """`memray_sums PATH own|foreign`: the rows, or why there are none, marshalled on stdout."""
    sys.stdout.buffer.write(marshal.dumps(_answer(sys.argv[1], is_own=sys.argv[2] == "own")))


def _answer(path: str, *, is_own: bool) -> list[Row] | str:
    from memray import FileReader

    try:
        return sums(FileReader(path), is_own=is_own)
    except (OSError, RuntimeError, ValueError, EOFError) as problem:
        return str(problem) or type(problem).__name__


if __name__ == "__main__":
    main()
