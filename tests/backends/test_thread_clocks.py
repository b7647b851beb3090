"""Threads by the kernel's clocks: what ran, what stood in line, what stood still while it was read, and what waited."""

from __future__ import annotations

from pathlib import Path

import pytest

from proftool.backends.reading.thread_clocks import ThreadClock, read_clocks
from proftool.launch import clocks

MS = 1_000_000
TID = 7


def watched(
    folder: Path, rows: list[tuple[int, int, int]], profiler: list[tuple[int, int]] | None = None, duration_ms: int = 1000
) -> ThreadClock:
    """The clock of one thread from (ms, ms run, ms in line) and py-spy's own from (ms, ms run)."""
    lines = [f"{at * MS} {TID} {TID} {run * MS} {line * MS}" for at, run, line in rows]
    lines += [f"{at * MS} 0 99 {run * MS} 0" for at, run in profiler or []]
    (folder / clocks.FILE).write_text("\n".join(lines) + "\n", encoding="ascii")
    return read_clocks(folder, duration_ms * MS)[TID]


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
    assert clock.in_line_share(40) == pytest.approx([0.5] * 40)


def test_a_process_that_ended_and_was_not_asked_for_its_status_does_not_wait(tmp_path: Path) -> None:
    """What follows the end of the recording is left out."""
    clock = watched(tmp_path, [(0, 0, 0), (20, 20, 0), (40, 40, 0), (400, 40, 0), (800, 40, 0)], duration_ms=40)
    assert clock.time_ns == [0, 20 * MS, 40 * MS]


def test_a_profiler_that_waits_for_its_turn_does_not_stop_the_target(tmp_path: Path) -> None:
    """It stood in line for 60 of 80 ms, but the target was found stopped for 4 of them: the thread sleeps."""
    rows = [(0, 0, 0), (20, 0, 0), (40, 0, 0), (60, 0, 0), (80, 0, 0)]
    lines = [f"{at * MS} {TID} {TID} {run * MS} {line * MS}" for at, run, line in rows]
    lines += [f"{at * MS} 0 99 {at // 4 * MS} {at // 2 * MS}" for at, _, _ in rows]
    (tmp_path / clocks.FILE).write_text("\n".join(lines) + "\n", encoding="ascii")
    blind, looked = (read_clocks(tmp_path, 1000 * MS, stopped_ns)[TID] for stopped_ns in (None, 4 * MS))
    assert blind.shares(0, 79 * MS) == pytest.approx((0.0, 0.75))
    assert looked.shares(0, 79 * MS) == pytest.approx((0.0, 0.05))
