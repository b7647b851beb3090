"""Slices on their way: never waited for, bounded, counted where lost, sent again under the same name."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from store.slices import a_slice

from proftool.contracts_telemetry import Slice
from proftool.errors import StoreError
from proftool.telemetry.slices_writer import SliceWriter


class Target:
    """Remembers what it got; fails or hangs as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, list[int], int]] = []
        self.fails = 0
        self.fault: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.closed = 0

    def send(self, slices: Sequence[Slice], *, batch: str, lost: int) -> None:
        self.open.wait(120)
        self.got.append((batch, [one.start_ns for one in slices], lost))
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        if self.fails:
            self.fails -= 1
            raise StoreError("the fleet is away", cause="a test", fix="wait")

    def close(self) -> None:
        self.closed += 1


def made(number: int) -> Slice:
    return a_slice(number, {"work": 1})


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_everything_arrives_in_order_and_the_target_is_closed() -> None:
    """Closing sends what waits; nothing starts before the first slice."""
    target, before = Target(), threading.active_count()
    writer = SliceWriter(lambda: target)
    assert threading.active_count() == before
    for number in range(25):
        writer.put(made(number))
    writer.close(60)
    assert [start for _, starts, _ in target.got for start in starts] == list(range(25))
    assert (writer.counts.sent, writer.counts.lost, target.closed) == (25, 0, 1)


def test_target_that_hangs_keeps_nobody_waiting_and_the_oldest_are_lost_and_told() -> None:
    """The queue is bounded; how many were dropped travels with the next batch."""
    target = Target()
    target.open.clear()
    writer = SliceWriter(lambda: target, max_queued=5)
    writer.put(made(0))
    until(lambda: not writer._queue)  # pyright: ignore[reportPrivateUsage]  # the first is on its way
    for number in range(1, 13):
        writer.put(made(number))  # a request would stand here: the test's own limit ends one that waits
    assert writer.counts.lost == 7
    target.open.set()
    writer.close(60)
    assert [starts for _, starts, _ in target.got] == [[0], [8, 9, 10, 11, 12]]
    assert [lost for _, _, lost in target.got] == [0, 7]
    assert writer.counts.sent == 6


def test_failed_batch_comes_again_under_its_name_and_is_complained_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """So that an engine which has it already counts it once."""
    target = Target()
    target.fails = 3
    writer = SliceWriter(lambda: target, retry_s=(0.01, 0.02))
    with caplog.at_level(logging.WARNING, "proftool.telemetry"):
        writer.put(made(1))
        until(lambda: writer.counts.sent == 1)
    writer.close(60)
    assert len(target.got) == 4
    assert len({batch for batch, _, _ in target.got}) == 1
    assert writer.counts.failures == 3
    assert len([one for one in caplog.records if "cannot be sent, and wait" in one.message]) == 1


def test_fault_loses_its_batch_only_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expects ends no thread; the next batch goes, and says what was lost."""
    target = Target()
    target.fault = ValueError("a fault")
    writer = SliceWriter(lambda: target)
    with caplog.at_level(logging.ERROR, "proftool.telemetry"):
        writer.put(made(1))
        until(lambda: writer.counts.lost == 1)
        writer.put(made(2))
        until(lambda: writer.counts.sent == 1)
    writer.close(60)
    assert target.got[-1][1:] == ([2], 1)
    assert any("a fault" in str(one.exc_info) for one in caplog.records if one.exc_info)


def test_end_of_the_process_does_not_wait_for_a_target_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """What could not be sent is counted and said; so is what comes after the end."""
    target = Target()
    target.fails = 1_000_000
    writer = SliceWriter(lambda: target, retry_s=(0.01, 30.0))
    for number in range(3):
        writer.put(made(number))
    until(lambda: writer.counts.failures > 0)
    with caplog.at_level(logging.WARNING, "proftool.telemetry"):
        writer.close(60)
    assert any("3 profiles of this process were not sent" in one.getMessage() for one in caplog.records)
    writer.put(made(9))
    assert writer.counts.lost == 4


def test_forked_child_has_a_queue_thread_and_target_of_its_own() -> None:
    """What the parent queued is the parent's; the child sends only its own, through its own connection."""
    targets: list[Target] = []

    def make() -> Target:
        targets.append(Target())
        return targets[-1]

    writer = SliceWriter(make)
    writer.put(made(1))
    until(lambda: writer.counts.sent == 1)
    child = os.fork()
    if not child:
        status = 1
        try:
            writer.put(made(2))
            writer.close(60)
            status = 0 if writer.counts.sent == 1 and len(targets) == 2 and targets[1].got[0][1] == [2] else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    writer.close(60)
    assert os.waitstatus_to_exitcode(status) == 0
    assert writer.counts.sent == 1
