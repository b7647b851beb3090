"""What every stack allocated in all, of a memray recording: the one sum that memray's reader has no aggregate for.

The reader hands out a record an allocation, millions of them, so no step below is taken in Python: the interpreter's own C loops
number equal (thread, stack, allocator, size) and keep one record of each for its stack. Run as a program, this file does the same in
a process of its own, beside memray's aggregates of the same file, and writes the rows to stdout.
"""

from __future__ import annotations

import gc
import marshal
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memray import AllocationRecord, FileReader

Site = tuple[str, str, int]
"""(bare name, file, executing line), as memray gives a frame."""
Row = tuple[int, str, list[Site], int, int]
"""tid, the thread's name, its stack innermost first, bytes, number of allocations."""

DEEPEST = 1 << 20
MANY_BYTES = 128 << 10
"""Of a file that is worth a second process: 12 million records of a loop were 260 kB, the start and end of an interpreter 40."""
_AT_ONCE = 1000
"""Records alive at a time: few enough to stay in the cache; 16,000 took a quarter longer."""
_DIFFERENT = 1 << 18
"""Kinds of records numbered before they are added up: sizes may all differ."""


def begin(path: Path, *, is_own: bool) -> Beside | None:
    """Start to sum up a file in a process of its own; None where that does not pay."""
    return Beside(path, is_own=is_own) if cores() > 1 and path.stat().st_size >= MANY_BYTES else None


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sums(reader: FileReader, *, is_own: bool) -> list[Row]:
    """One row a thread, stack and allocator. `is_own`: no frames are left out of the stacks."""
    freeing = _freeing()
    what, where = attrgetter("tid", "stack_id", "allocator", "size"), attrgetter("tid", "stack_id", "allocator")
    numbers: Counter[tuple[int, int, int, int]] = Counter()
    samples: dict[tuple[int, int, int], AllocationRecord] = {}
    totals: dict[tuple[int, int, int], list[int]] = {}

    def add_up() -> None:
        for (tid, stack_id, allocator, size), number in numbers.items():
            if allocator not in freeing:
                total = totals.setdefault((tid, stack_id, allocator), [0, 0])
                total[0] += size * number
                total[1] += number
        numbers.clear()

    records = iter(reader.get_allocation_records())
    while chunk := list(islice(records, _AT_ONCE)):
        new = Counter(map(what, chunk))
        if not {key[:3] for key in new} <= samples.keys():
            samples.update(zip(map(where, chunk), chunk, strict=True))
        numbers.update(new)
        if len(numbers) > _DIFFERENT:
            add_up()
    add_up()
    rows: list[Row] = []
    for key, (size, number) in totals.items():
        record = samples[key]
        sites = record.stack_trace(max_stacks=DEEPEST) if is_own else record.stack_trace()
        rows.append((record.tid, str(record.thread_name or ""), sites, size, number))
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
    gc.disable()  # records live for a moment only
    sys.stdout.buffer.write(marshal.dumps(_answer(sys.argv[1], is_own=sys.argv[2] == "own")))


def _answer(path: str, *, is_own: bool) -> list[Row] | str:
    from memray import FileReader

    try:
        return sums(FileReader(path), is_own=is_own)
    except (OSError, RuntimeError, ValueError, EOFError) as problem:
        return str(problem) or type(problem).__name__


if __name__ == "__main__":
    main()
