"""The always-on sampler: samples go to the request, trace and span that caused them, interleaved or not, within a budget."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace

import pytest
from opentelemetry import trace
from telemetry.serving import serving, telemetry_store

from proftool.contracts_telemetry import SliceQuery, SpanQuery
from proftool.model.profile import Profile
from proftool.telemetry import tags, tracing_start
from proftool.telemetry.on_demand import OnDemand
from proftool.telemetry.sampler import Sampler
from proftool.telemetry.sampler_slices import Lines, innermost_project, of_route, of_span, routes
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing_start import Options, Watching

SLICE_S = 0.03
"""Work between two awaits. Longer than Python's switch interval of 5 ms: a sampler that runs inside looks when it gets the GIL."""


def _watch(folder: Path, **changed: object) -> Watching:
    options = {
        "keep": Keep(share=1.0),
        "budget": 1.0,
        "max_hz": 500.0,
        "slice_s": 3600.0,
        "leaks": False,
        "every_s": 0.1,
        "project": Path(__file__).parents[2],
    }
    watching = tracing_start.watch("shop", telemetry_store(folder), options=Options(**(options | changed)))  # type: ignore[arg-type]
    assert watching.sampler is not None
    watching.sampler.rate_hz = watching.sampler.max_hz
    return watching


def _functions(profile: Profile | None) -> dict[str, int]:
    """Qualified name -> wall time with what it called, project functions of this file only."""
    from proftool.model.tree import function_total

    if profile is None:
        return {}
    totals = function_total(profile, profile.metric_index("wall_time"))
    found: dict[str, int] = {}
    for row, value in enumerate(totals.tolist()):
        if value and profile.text(int(profile.functions.file[row])).endswith("test_sampler.py"):
            name = profile.text(int(profile.functions.qualname[row]))
            found[name] = found.get(name, 0) + value
    return found


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def work_of_a() -> None:
    _spin(SLICE_S)


def work_of_b() -> None:
    _spin(SLICE_S)


def test_interleaved_async_requests_are_told_apart(tmp_path: Path) -> None:
    """Two handlers of one loop take turns all the time; no sample of one is in the other's flame graph."""
    watching = _watch(tmp_path)

    async def handler(route: str, work: object) -> None:
        with serving(route):
            for _ in range(20):
                work()  # type: ignore[operator]
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(handler("/a", work_of_a), handler("/b", work_of_b))

    asyncio.run(both())
    watching.stop()
    slices = telemetry_store(tmp_path).find_slices(SliceQuery())
    a, b = _functions(of_route(slices, "GET /a")), _functions(of_route(slices, "GET /b"))
    assert a["work_of_a"] > 50_000_000
    assert b["work_of_b"] > 50_000_000
    assert "work_of_b" not in a
    assert "work_of_a" not in b
    assert set(routes(slices)) == {"GET /a", "GET /b"}


def test_a_kept_trace_has_a_flame_graph_for_each_span(tmp_path: Path) -> None:
    """Spans that are current in interleaved child tasks get their own samples and nobody else's."""
    watching = _watch(tmp_path)
    tracer = trace.get_tracer("test")

    async def step(name: str, work: object) -> None:
        with tracer.start_as_current_span(name):
            for _ in range(20):
                work()  # type: ignore[operator]
                await asyncio.sleep(0)

    async def request() -> None:
        with serving("/both"):
            await asyncio.gather(step("a", work_of_a), step("b", work_of_b))

    asyncio.run(request())
    watching.stop()
    store = telemetry_store(tmp_path)
    spans = {span.name: span for span in store.find_spans(SpanQuery())}
    slices = store.find_slices(SliceQuery(trace_id=spans["a"].trace_id))
    a, b = _functions(of_span(slices, spans["a"].span_id)), _functions(of_span(slices, spans["b"].span_id))
    assert a["work_of_a"] > 50_000_000
    assert b["work_of_b"] > 50_000_000
    assert "work_of_b" not in a
    assert "work_of_a" not in b
    assert slices[0].route == "GET /both"


def test_threads_of_wsgi_requests_are_told_apart(tmp_path: Path) -> None:
    """A request that holds its thread, and the span within it, get the samples of that thread."""
    watching = _watch(tmp_path)

    def serve(route: str, work: object) -> None:
        with serving(route, thread=True), trace.get_tracer("test").start_as_current_span(f"in {route}"):
            for _ in range(20):
                work()  # type: ignore[operator]

    threads = [threading.Thread(target=serve, args=pair) for pair in (("/a", work_of_a), ("/b", work_of_b))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watching.stop()
    store = telemetry_store(tmp_path)
    slices = store.find_slices(SliceQuery())
    assert "work_of_b" not in _functions(of_route(slices, "GET /a"))
    assert _functions(of_route(slices, "GET /b"))["work_of_b"] > 20_000_000
    inner = next(span for span in store.find_spans(SpanQuery()) if span.name == "in /a")
    assert _functions(of_span(store.find_slices(SliceQuery(trace_id=inner.trace_id)), inner.span_id))["work_of_a"] > 20_000_000


def test_work_moved_to_a_thread_belongs_to_its_request(tmp_path: Path) -> None:
    """`asyncio.to_thread` and anyio's workers run in the request's context; their samples are the request's."""
    import anyio.to_thread

    watching = _watch(tmp_path)

    async def request() -> None:
        with serving("/threads"):
            await asyncio.to_thread(_spin, 0.3)
            await anyio.to_thread.run_sync(work_for_anyio)

    asyncio.run(request())
    watching.stop()
    found = _functions(of_route(telemetry_store(tmp_path).find_slices(SliceQuery()), "GET /threads"))
    assert found["work_for_anyio"] > 50_000_000
    assert found["_spin"] - found["work_for_anyio"] > 50_000_000


def work_for_anyio() -> None:
    _spin(0.3)


def test_a_tight_budget_lowers_the_rate() -> None:
    """The rate goes down to what the budget pays for, and up again no further than its bound."""
    sampler = Sampler(budget=0.01)
    sampler.rate_hz = 100.0
    sampler._adapt(0.04)
    assert sampler.rate_hz == 25.0
    for _ in range(20):
        sampler._adapt(0.001)
    assert sampler.rate_hz == 100.0
    sampler._adapt(10.0)
    assert sampler.rate_hz == 1.0


def test_a_thread_that_does_not_run_is_not_walked_again() -> None:
    """Its samples still count, as waiting."""
    sampler = Sampler(max_hz=200.0, start_hz=200.0, budget=1.0)
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="idler")
    thread.start()
    walked: list[object] = []
    walk = sampler._walk

    def counted(frame: object) -> object:
        walked.append(id(frame))
        return walk(frame)  # type: ignore[arg-type]

    sampler._walk = counted  # type: ignore[method-assign,assignment]
    looked: list[int] = []
    look = sampler._look

    def looks(own: int, now_ns: int, weight_ns: int) -> None:
        look(own, now_ns, weight_ns)
        looked.append(now_ns)

    sampler._look = looks  # type: ignore[method-assign]
    sampler.start()
    _until(lambda: len(looked) >= 40)
    sampler.stop()
    done.set()
    thread.join()
    gathered = sampler.take()
    idle = [seen for (ident, _, _), seen in gathered.seen.items() if gathered.names[ident][1] == "idler"]
    assert sum(seen.samples for seen in idle) >= 20
    assert sum(seen.waiting_ns for seen in idle) >= 0.9 * sum(seen.wall_ns for seen in idle)
    assert len(walked) < gathered.samples


def test_a_hand_over_that_hangs_leaves_the_least_rate() -> None:
    """What the sampler takes itself is bound to the budget; what a crowded machine adds, to the rate that still finds something."""
    sampler = Sampler(budget=0.01)
    sampler.rate_hz = 100.0
    sampler._adapt(0.005, 0.5)
    assert sampler.rate_hz == sampler.min_hz
    sampler.rate_hz = 100.0
    sampler._adapt(0.01, 0.01)
    assert sampler.rate_hz == 50.0
    sampler._adapt(0.5, 0.5)
    assert sampler.rate_hz == 1.0


def test_a_burst_hurries_the_interpreter_and_leaves_it_as_it_was() -> None:
    """A thread that computes keeps the GIL for a switch interval: at 5 ms nobody looks a thousand times a second."""
    before = sys.getswitchinterval()
    sampler = Sampler(budget=1.0)
    sampler.start()
    sampler.burst(1000.0, 3600.0)
    try:
        _until(lambda: sys.getswitchinterval() == pytest.approx(0.0005))
        sampler.burst(1000.0, 0.0)
        _until(lambda: sys.getswitchinterval() == before)
        sampler.burst(1000.0, 3600.0)
        _until(lambda: sys.getswitchinterval() != before)
    finally:
        sampler.stop()
    assert sys.getswitchinterval() == before


def test_a_burst_looks_a_thousand_times_a_second_whatever_the_budget() -> None:
    """What it waits between two looks, also where the sampler had to step back to its least rate; that is what the signal asks for."""
    asked: list[float] = []

    class Running:
        """The lock that the sampler waits for; it is free at the twentieth time."""

        def acquire(self, timeout: float) -> bool:
            asked.append(timeout)
            return len(asked) == 20

        def release(self) -> None: ...

    sampler = Sampler(max_hz=100.0, start_hz=1.0, budget=0.0001)
    slicer = SimpleNamespace(store_slice=lambda: None)
    demand = OnDemand("shop", SimpleNamespace(), SimpleNamespace(beats=[]), sampler=sampler, slicer=slicer, burst_s=3600.0)  # type: ignore[arg-type]
    before = sys.getswitchinterval()
    try:
        demand._begin_burst()
        sampler._run(Running())  # type: ignore[arg-type]
    finally:
        sys.setswitchinterval(before)
    assert len(asked) == 20
    assert all(0.0008 <= seconds <= 0.0012 for seconds in asked)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_task_is_told_by_its_own_context() -> None:
    """Not by that of a callback which waits for its end."""

    async def work() -> None:
        with serving("/own"):
            await asyncio.sleep(0)
            await asyncio.Event().wait()

    async def both() -> tags.Tag | None:
        with serving("/other"):
            other = contextvars.copy_context()
        task = asyncio.ensure_future(work())
        task.add_done_callback(lambda _: None, context=other)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        found = tags.of_task(task)
        task.cancel()
        return found

    found = asyncio.run(both())
    assert found is not None
    assert found.request is not None
    assert found.request.route_now() == "/own"


def test_what_started_a_loop_does_not_block_it() -> None:
    """A process that gets no processor stands still in its selector: that is no call of the project's."""
    seen: list[object] = []

    def here() -> None:
        codes, instructions = [], []
        inner: FrameType | None = sys._getframe()
        while inner is not None:
            codes.append(inner.f_code)
            instructions.append(inner.f_lasti)
            inner = inner.f_back
        held = {id(code): code for code in codes}
        loop = next(index for index, code in enumerate(codes) if code.co_name == "_run_once")
        for start in (0, loop):
            stack = (*map(id, codes[start:]), *instructions[start:])
            seen.append(innermost_project(stack, held, Lines()))

    async def main() -> None:
        here()

    asyncio.run(main())
    within, outside = seen
    assert within is not None
    assert outside is None


def test_a_slow_request_without_spans_has_its_samples(tmp_path: Path) -> None:
    """Nobody asked for its trace before it turned out to be slow, in an event loop or in a thread."""
    watching = _watch(tmp_path, keep=Keep(slow_ns=1, share=0.0))

    async def handler() -> None:
        with serving("/slow"):
            for _ in range(20):
                work_of_a()
                await asyncio.sleep(0)

    def serve() -> None:
        with serving("/thread", thread=True):
            for _ in range(20):
                work_of_b()

    asyncio.run(handler())
    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    watching.stop()
    store = telemetry_store(tmp_path)
    for span, work in zip(sorted(store.find_spans(SpanQuery()), key=lambda span: span.start_ns), ("work_of_a", "work_of_b"), strict=True):
        assert span.kept == "slow"
        found = _functions(of_span(store.find_slices(SliceQuery(trace_id=span.trace_id)), span.span_id))
        assert found[work] > 20_000_000
