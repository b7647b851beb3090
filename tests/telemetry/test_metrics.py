"""Instruments are exact whatever records at the same time, and cheap enough to be left alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from proftool.errors import UsageError
from proftool.telemetry import metrics
from proftool.telemetry.metrics import REGISTRY, SERIES_LIMIT, Registry, counter, gauge, histogram, timer, updown
from proftool.telemetry.points import Sample
from proftool.telemetry.segments import Segment


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No instrument of another test."""
    monkeypatch.setattr(metrics, "REGISTRY", Registry())
    return


def samples(name: str) -> list[Sample]:
    return [sample for sample in metrics.REGISTRY.own() if sample.description.name == name]


def one(name: str) -> Sample:
    (found,) = samples(name)
    return found


def test_counts_of_many_threads_add_up() -> None:
    """8 threads, 20,000 additions and measurements each, none lost."""
    count, times = counter("c"), histogram("h", buckets=(1, 2))

    def work(_: int) -> None:
        for _ in range(20_000):
            count.add(1, kind="a")
            times.record(1.5)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert one("c").value == 160_000
    assert one("h").counts == (0, 160_000, 0)
    assert one("h").value == 240_000


def test_threads_that_come_and_go_share_a_cell() -> None:
    """A thousand threads one after the other cost the memory of a few."""
    count = counter("c")
    for _ in range(1000):
        thread = threading.Thread(target=count.add)
        thread.start()
        thread.join()
    assert one("c").value == 1000
    (series,) = count.every()
    assert len(series.cells) < 10


def test_reading_while_others_record_sees_a_whole_histogram() -> None:
    """The count is the sum of the buckets at any moment, and never falls."""
    times, stop = histogram("h", buckets=(1, 2)), threading.Event()

    def work() -> None:
        while not stop.is_set():
            times.record(1.5)

    thread = threading.Thread(target=work)
    times.record(1.5)
    thread.start()
    seen = [one("h").count for _ in range(200)]
    stop.set()
    thread.join()
    assert seen == sorted(seen)


def test_labels_are_the_same_in_any_order() -> None:
    """Keyword order, and 1 or "1", are one series."""
    count = counter("c")
    count.add(1, a=1, b=True)
    count.add(2, b="true", a="1")
    assert one("c").value == 3
    assert one("c").labels == (("a", "1"), ("b", "true"))


def test_a_label_without_bounds_costs_no_measurement() -> None:
    """What is beyond the limit of series is counted as overflow."""
    count = counter("c")
    for number in range(SERIES_LIMIT + 500):
        count.add(1, user=number)
    found = samples("c")
    assert len(found) == SERIES_LIMIT + 1
    assert sum(sample.value for sample in found) == SERIES_LIMIT + 500
    assert next(sample.value for sample in found if sample.labels == (("otel.metric.overflow", "true"),)) == 500


def test_a_value_on_a_bound_is_in_its_bucket() -> None:
    """Upper bounds are inclusive, as Prometheus's and OpenTelemetry's are."""
    times = histogram("h", buckets=(1, 2))
    for value in (0.5, 1, 1.0001, 2, 3):
        times.record(value)
    times.record(float("nan"))
    assert one("h").counts == (2, 2, 1)


@pytest.mark.parametrize("value", [1e-6, 0.003, 1.0, 17.0, 86_400.0])
def test_an_exponential_histogram_is_precise_everywhere(value: float) -> None:
    """Quantiles are within the width of a bucket, 9 %, from microseconds to days."""
    times = histogram("h", exponential=True)
    for _ in range(100):
        times.record(value)
    assert one("h").quantile(0.5) == pytest.approx(value, rel=0.09)


def test_a_counter_does_not_go_down() -> None:
    """A negative or not a number is refused."""
    for value in (-1, float("nan")):
        with pytest.raises(ValueError, match="cannot go down"):
            counter("c").add(value)


def test_gauges_are_set_and_changed() -> None:
    """The last value stands, changes of several threads all count."""
    level, open_now = gauge("g"), updown("u")
    level.set(5)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: level.add(1), range(1000)))
    open_now.add(2)
    open_now.add(-1)
    assert one("g").value == 1005
    assert one("u").value == 1


def test_a_name_means_one_instrument() -> None:
    """Asking again gives the same one; another kind, unit or no name at all is a usage error."""
    assert counter("c", unit="By") is counter("c", unit="By")
    for wrong in (lambda: gauge("c"), lambda: counter("c", unit="s"), lambda: counter("9 lives"), lambda: histogram("h", buckets=(2, 1))):
        with pytest.raises(UsageError):
            wrong()


def test_a_timer_times_blocks_calls_and_coroutines() -> None:
    """Each kind of use is one measurement, nested and concurrent ones of one timer too."""
    watch = timer("t", kind="x")

    @watch
    def call(depth: int) -> int:
        return call(depth - 1) if depth else 7

    @watch
    async def wait() -> int:
        await asyncio.sleep(0.01)
        return 8

    async def both() -> list[int]:
        async with timer("t", kind="x"):
            return await asyncio.gather(wait(), wait())

    with watch:
        assert call(2) == 7
    assert asyncio.run(both()) == [8, 8]
    with pytest.raises(ZeroDivisionError), watch:
        _ = 1 / 0
    found = one("t")
    assert found.count == 1 + 3 + 2 + 1 + 1
    assert found.value >= 0.03  # three waits of 10 ms, each whole


def test_recording_goes_on_in_another_segment() -> None:
    """What was counted before `setup` is not lost by it."""
    count = counter("c")
    count.add(5)
    metrics.REGISTRY.move(Segment())
    count.add(1)
    assert one("c").value == 6


def test_a_forked_child_counts_from_nothing() -> None:
    """The parent's numbers stay the parent's: their sum is exact."""
    count = counter("c")
    count.add(5)
    metrics.REGISTRY.forget()
    count.add(1)
    assert one("c").value == 1


def test_the_import_is_light() -> None:
    """A service that counts pays for no numpy, no SQLAlchemy, no web framework."""
    code = (
        "import sys; from proftool.telemetry import ASGIMiddleware, WSGIMiddleware, counter, exposition, setup;"
        "heavy = {'numpy', "
        "'sqlalchemy', 'starlette', 'typer', 'rich', 'opentelemetry', 'msgspec'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_the_registry_is_one() -> None:
    """Instruments that are made at import time are those that are read."""
    assert isinstance(REGISTRY, Registry)
