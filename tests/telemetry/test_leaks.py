"""When a search for a leak begins, what it may cost while it lasts, and whose line it tells."""

from __future__ import annotations

import importlib.util
import json.decoder
import threading
import time
import tracemalloc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from proftool.contracts_telemetry import Finding
from proftool.telemetry import leaks
from proftool.telemetry.leaks import LeakWatch
from proftool.telemetry.spans_writer import Writer

MB = 1 << 20
PROGRAM = """import json
TEXT = json.dumps([f"{n:040d}" for n in range(3000)])
KEPT = []
def remember():
    KEPT.append(json.loads(TEXT))  # leak
def churn():
    return len(json.loads(TEXT))
"""


def watch_of(found: list[Finding], **more: float) -> LeakWatch:
    """Small windows; what it finds goes to the list."""
    writer = cast(Writer, SimpleNamespace(service="shop", found=found.append))
    return LeakWatch(writer, **({"window_s": 20.0, "trace_s": 0.4} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([80] * 20, False),
        ([60] * 8 + [90] * 12, False),
        ([60] * 4 + [80] * 8 + [90] * 8, False),
        ([60 + n for n in range(20)], True),
        ([60 + n + 15 * (n % 3) for n in range(21)], True),
        ([60 + 0.2 * n for n in range(20)], False),
    ],
    ids=["steady", "a step", "two steps", "a leak", "a leak among garbage", "a trickle"],
)
def test_a_search_begins_where_memory_grows_all_the_time(values: list[float], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that begins to be used takes a step of some 20 MB and no more: nothing is traced for that."""
    watch, now = watch_of([]), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for value in values:
        now += 1.0
        monkeypatch.setattr(leaks, "resident_bytes", lambda value=value: int(value * MB))
        watch.beat()
        if tracemalloc.is_tracing():
            break
    assert tracemalloc.is_tracing() == expected
    watch.stop()
    assert not tracemalloc.is_tracing()


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """No test leaves tracing on for the others."""
    yield
    tracemalloc.stop()


@pytest.fixture
def program(tmp_path: Path) -> ModuleType:
    """A module of a project."""
    (tmp_path / "shop.py").write_text(PROGRAM)
    spec = importlib.util.spec_from_file_location("shop", tmp_path / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(*functions: object) -> Generator[None]:
    """Calls them over and over in a thread."""
    stop = threading.Event()

    def serve() -> None:
        while not stop.wait(0.005):
            for function in functions:
                function()  # type: ignore[operator]

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_leak_through_a_library_is_told_at_the_line_of_the_project(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """`json` allocates what one line keeps and another lets go; until that is known one frame is traced, whole stacks in bursts alone."""
    found: list[Finding] = []
    watch, limits = watch_of(found, growth_bytes=MB), set[int]()
    monkeypatch.setattr(watch, "grows", lambda: True)
    with serving(program.remember, program.churn):
        end = time.monotonic() + 120
        while not found and time.monotonic() < end:
            watch.beat()
            if tracemalloc.is_tracing():
                limits.add(tracemalloc.get_traceback_limit())
            time.sleep(0.05)
    (one,) = found
    assert limits == {1}
    assert not tracemalloc.is_tracing()
    line = next(n for n, text in enumerate(PROGRAM.splitlines(), 1) if text.endswith("# leak"))
    assert (one.function, one.line) == ("remember", line)
    assert "decoder.py" in one.evidence
    assert one.confidence == "medium"


def test_one_burst_is_not_believed(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """In it only who lets go of it again may have run: a machine with too much to do gave a burst one call."""
    at = json.decoder.__file__, 353
    callers = [("churn", 7)] + [("remember", 5)] * 9
    shop, found = str(program.__file__), list[Finding]()
    told: list[tuple[str, int]] = []
    allowed: list[float] = []

    def burst(_frames: int, cpu_s: float, *, starts: bool) -> list[tracemalloc.Trace]:
        told.append(callers[len(told)])
        allowed.append(cpu_s / leaks.BURST_CPU_S)
        frames = (at, (shop, told[-1][1]))  # the innermost first
        return [tracemalloc.Trace((0, 1000, frames))]  # type: ignore[call-arg]

    monkeypatch.setattr(leaks, "_burst", burst)
    watch = watch_of(found)
    watch._growing = [leaks._Growing(at, 100 * MB, 10.0)]  # pyright: ignore[reportPrivateUsage]
    while not found:
        watch.beat()
    assert (found[0].function, found[0].line) == ("remember", 5)
    assert allowed == [1, 2, 4]


def test_a_burst_ends_soon() -> None:
    """After 30 ms of processor time, whatever is allocated; of a process that sleeps after half a second."""
    with serving(lambda: [str(n) for n in range(3000)]):
        begin = time.process_time()
        traces = leaks._burst(16, leaks.BURST_CPU_S, starts=True)  # pyright: ignore[reportPrivateUsage]
        assert time.process_time() - begin < 10 * leaks.BURST_CPU_S
    assert traces
    assert not tracemalloc.is_tracing()
