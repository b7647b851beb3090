"""py-spy's file: stacks are numbered once, labels are no frames, and a thread that it wrote twice is one."""

from __future__ import annotations

import json

import msgspec
import pytest

from proftool.backends.reading.pyspy_file import read_file
from proftool.model.profile import UNKNOWN


def file(*threads: tuple[str, list[list[int]]]) -> bytes:
    """Threads by title and samples, over five frames: a label, one of proftool's own, and three of a program."""
    frames = [
        {"name": "thread (7): worker"},
        {"name": "main", "file": "/x/proftool/launch/_child.py", "line": 1},
        {"name": "run", "file": "/p/app.py", "line": 2},
        {"name": "work", "file": "/p/app.py", "line": 3},
        {"name": "rest", "file": "/p/app.py", "line": 4},
    ]
    profiles = [{"name": name, "samples": samples, "weights": [0.005] * len(samples)} for name, samples in threads]
    return json.dumps({"shared": {"frames": frames}, "profiles": profiles}).encode()


def test_a_stack_is_kept_once_and_without_its_label() -> None:
    """A sample of proftool's own, or of nothing, has no stack and keeps its place."""
    told = read_file(file(('Thread 7 "MainThread"', [[0, 2, 3], [2, 3], [1], [], [2, 4]])), 5)
    (thread,) = told.threads
    assert told.stacks == [(2, 3), (2, 4)]
    assert thread.stacks == [0, 0, -1, -1, 1]
    assert len(thread.kept) == 3
    assert (thread.pid, thread.tid, thread.name) == (5, 7, "MainThread")


@pytest.mark.parametrize("unnamed_first", [True, False])
def test_a_thread_whose_name_was_found_later_is_one_thread(unnamed_first: bool) -> None:
    """py-spy writes it twice, in whichever order; before it had a name it had none."""
    parts = [('Process 5 Thread 9 ""', [[2, 4]]), ('Process 5 Thread 9 "worker"', [[2, 3], [2, 3]])]
    told = read_file(file(*(parts if unnamed_first else parts[::-1])), 5)
    (thread,) = told.threads
    assert [told.stacks[stack] for stack in thread.stacks] == [(2, 4), (2, 3), (2, 3)]
    assert thread.name == "worker"


def test_threads_without_a_number_stay_apart() -> None:
    """Of a native thread that Python does not know py-spy tells a title alone."""
    told = read_file(file(("one", [[2, 3]]), ("other", [[2, 4]]), ('Process 6 Thread 0x9 "x"', [[2, 3]])), 5)
    assert [(thread.pid, thread.tid, thread.name) for thread in told.threads] == [(5, UNKNOWN, "one"), (5, UNKNOWN, "other"), (6, 9, "x")]


def test_a_file_that_was_cut_short_is_refused() -> None:
    """With the parser's own error, which the reader tells."""
    with pytest.raises(msgspec.MsgspecError):
        read_file(file(("one", [[2, 3]]))[:-5], 5)
