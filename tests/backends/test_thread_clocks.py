"""Threads by the kernel's clocks: what ran, what stood in line, what stood still while it was read, and what waited."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from proftool.backends.reading.sample_places import Places, placed
from proftool.backends.reading.thread_clocks import ThreadClock, read_clocks
from proftool.launch import clocks

MS = 1_000_000
TID = 7


def watched(
    folder: Path, rows: list[tuple[int, int, int]], profiler: list[tuple[int, int]] | None = None, duration_ms: int = 1000
) -> ThreadClock:
    """The clock of one thread from (ms, ms run, ms in line) and py-spy's own from (ms, ms run)."""
    of_profiler = [(at, 0, 99, run, 0) for at, run in profiler or []]
    keep(folder, [*((at, TID, TID, run, line) for at, run, line in rows), *of_profiler])
    return read_clocks(folder, duration_ms * MS).threads[TID]


def keep(folder: Path, rows: list[tuple[int, int, int, int, int]]) -> None:
    """A file of the clocks, from (ms, pid, tid, ms run, ms in line)."""
    table = [(at * MS, pid, tid, run * MS, line * MS, 0) for at, pid, tid, run, line in rows]
    (folder / clocks.FILE).write_bytes(np.array(table, np.int64).tobytes())


def evenly(clock: ThreadClock, n: int) -> Places:
    """So many samples, of which nobody knows when they were taken."""
    return placed(n, clock.time_ns[0], clock.time_ns[-1], None)


def test_a_thread_that_stands_in_line_for_long_does_not_wait(tmp_path: Path) -> None:
    """The kernel adds the 60 ms up at the end of them; the rows before it look asleep and are not."""
    clock = watched(tmp_path, [(0, 0, 0), (20, 20, 0), (40, 20, 0), (60, 20, 0), (80, 20, 60), (100, 40, 60)])
    assert clock.queued_ns == [0, 0, 20 * MS, 40 * MS, 60 * MS, 60 * MS]
    assert clock.shares(20 * MS, 60 * MS) == pytest.approx((0.0, 1.0))


def test_a_sleeping_thread_waits(tmp_path: Path) -> None:
    """It neither runs nor wants to."""
    clock = watched(tmp_path, [(0, 0, 0), (20, 20, 0), (40, 20, 0), (60, 20, 0), (80, 40, 0)])
    assert clock.shares(20 * MS, 59 * MS) == pytest.approx((0.0, 0.0))


def test_what_the_profiler_ran_while_the_thread_did_not_is_a_stop(tmp_path: Path) -> None:
    """Never more than the time that is left: the 20 ms in which the thread ran itself are its own."""
    clock = watched(tmp_path, [(0, 0, 0), (20, 20, 0), (40, 25, 5), (60, 45, 5)], profiler=[(0, 0), (20, 3), (40, 9), (60, 12)])
    assert clock.stopped_ns == [0, 0, 6 * MS, 6 * MS]


def test_half_of_the_time_in_line_is_half_of_every_sample(tmp_path: Path) -> None:
    """Over the whole thread the share is exact."""
    clock = watched(tmp_path, [(at, at // 2, at // 2) for at in range(0, 220, 20)])
    assert clock.in_line_share(evenly(clock, 40)) == pytest.approx([0.5] * 40)


def test_a_process_that_ended_and_was_not_asked_for_its_status_does_not_wait(tmp_path: Path) -> None:
    """What follows the end of the recording is left out."""
    clock = watched(tmp_path, [(0, 0, 0), (20, 20, 0), (40, 40, 0), (400, 40, 0), (800, 40, 0)], duration_ms=40)
    assert clock.time_ns == [0, 20 * MS, 40 * MS]


def test_a_profiler_that_waits_for_its_turn_does_not_stop_the_target(tmp_path: Path) -> None:
    """It stood in line for 60 of 80 ms, but the target was found stopped for 4 of them: the thread sleeps."""
    rows = [(0, 0, 0), (20, 0, 0), (40, 0, 0), (60, 0, 0), (80, 0, 0)]
    keep(tmp_path, [*((at, TID, TID, run, line) for at, run, line in rows), *((at, 0, 99, at // 4, at // 2) for at, _, _ in rows)])
    blind, looked = (read_clocks(tmp_path, 1000 * MS, stopped_ns).threads[TID] for stopped_ns in (None, 4 * MS))
    assert blind.shares(0, 79 * MS) == pytest.approx((0.0, 0.75))
    assert looked.shares(0, 79 * MS) == pytest.approx((0.0, 0.05))


def test_what_ran_is_told_to_the_nanosecond() -> None:
    """Whatever was judged to run, the samples hold together what the kernel counted."""
    random = np.random.default_rng(7)
    for _ in range(50):
        n, rows = int(random.integers(1, 200)), int(random.integers(2, 60))
        times, ran = np.cumsum(random.integers(1, 40 * MS, rows)), np.cumsum(random.integers(0, 20 * MS, rows))
        clock = ThreadClock(times.tolist(), ran.tolist(), [0] * rows, [0] * rows)
        found = clock.cpu_ns(evenly(clock, n), random.random(n) < random.random(), random.random(n) < 0.3, random.random())
        assert int(found.sum()) == int(ran[-1] - ran[0])
        assert (found >= 0).all()


def test_what_ran_belongs_to_the_samples_that_ran() -> None:
    """Turns of 20 ms work and 20 ms sleep, four samples each: the work has all of it, whichever of its samples were found out."""
    clock = ThreadClock([at * 20 * MS for at in range(11)], [(at + 1) // 2 * 20 * MS for at in range(11)], [0] * 11, [0] * 11)
    works = np.arange(40) % 8 < 4
    assert clock.cpu_ns(evenly(clock, len(works)), works, ~works).tolist() == [5 * MS if at % 8 < 4 else 0 for at in range(40)]
    some = works & (np.arange(40) % 4 == 1)
    assert clock.cpu_ns(evenly(clock, 40), some, ~works).tolist() == [20 * MS if at % 8 == 1 else 0 for at in range(40)]


def test_a_sample_at_a_wait_leaves_what_ran_to_the_others_in_reach() -> None:
    """A sleep that was placed where the work was: both are said to run, and the work did."""
    clock = ThreadClock([at * 20 * MS for at in range(11)], [(at + 1) // 2 * 20 * MS for at in range(11)], [0] * 11, [0] * 11)
    works = np.arange(40) % 8 < 4
    found = clock.cpu_ns(evenly(clock, 40), np.ones(40, bool), np.roll(~works, 2))
    assert int(found.sum()) == int(found[~np.roll(~works, 2)].sum()) == 100 * MS


def test_a_long_sleep_keeps_what_it_took() -> None:
    """What a thread takes to wake and lie down again, far from any work, is not the work's."""
    ran = [min(at, 10) * 20 * MS + max(at - 10, 0) * MS for at in range(101)]
    clock = ThreadClock([at * 20 * MS for at in range(101)], ran, [0] * 101, [0] * 101)
    works = np.arange(400) < 40
    found = clock.cpu_ns(evenly(clock, len(works)), works, ~works)
    assert 200 * MS <= int(found[works].sum()) < 210 * MS
    assert int(found.sum()) == 290 * MS


def test_a_thread_that_never_ran_when_it_was_looked_at_keeps_what_it_ran() -> None:
    """Where no sample is said to run, the judgement was wrong and the kernel is right."""
    clock = ThreadClock([0, 20 * MS, 40 * MS], [0, 3 * MS, 3 * MS], [0] * 3, [0] * 3)
    assert clock.cpu_ns(evenly(clock, 4), np.zeros(4, bool), np.zeros(4, bool)).sum() == 3 * MS
