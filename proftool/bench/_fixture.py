"""The `benchmark` fixture, with the call shape of pytest-benchmark: standard library and pytest only, also loaded by path in workers.

    def test_sort(benchmark):
        assert benchmark(sorted, [3, 1, 2]) == [1, 2, 3]           # measures, returns what the function returned

    benchmark.pedantic(f, args=(), kwargs=None, setup=None, teardown=None, rounds=1, warmup_rounds=0, iterations=1)

Coroutine functions are run in an event loop of their own. Where a test is measured, by `proftool bench test_x.py`, the fixture works in
a fresh process and its values leave by `Collected`; in an ordinary run of pytest it measures in that one process.

Source of the shape: pytest-benchmark's documentation, "Usage" and "Pedantic mode".
"""

from __future__ import annotations

import inspect
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

Measure = Callable[..., "dict[str, Any]"]

QUICK: dict[str, Any] = {"loops": 0, "values": 9, "least_ns": 5_000_000, "warmup_ns": 100_000_000}
"""For a benchmark inside an ordinary run of the tests: under a second for most."""


class Stats:
    """What was measured, seconds per call; also as `stats["mean"]` and `stats.stats.mean`, as pytest-benchmark has it."""

    def __init__(self, values_s: Sequence[float], loops: int) -> None:
        ordered = sorted(values_s)
        self.data = list(values_s)
        self.rounds, self.iterations = len(ordered), loops
        self.min, self.max, self.total = ordered[0], ordered[-1], sum(ordered)
        self.mean, self.median = statistics.fmean(ordered), statistics.median(ordered)
        self.stddev = statistics.stdev(ordered) if len(ordered) > 1 else 0.0
        quarters = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else [ordered[0]] * 3
        self.q1, self.q3 = quarters[0], quarters[2]
        self.iqr = self.q3 - self.q1
        self.ops = 1 / self.mean if self.mean else 0.0

    @property
    def stats(self) -> Stats:
        """Itself."""
        return self

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


class Benchmark:
    """The object that a test receives."""

    def __init__(self, name: str, spec: Mapping[str, Any], measure: Measure, *, enabled: bool = True, group: str | None = None) -> None:
        self.name, self.group, self.enabled = name, group, enabled
        self.extra_info: dict[str, Any] = {}
        self.stats: Stats | None = None
        self.answer: dict[str, Any] | None = None
        self._spec, self._measure, self._used = dict(spec), measure, False
        self._end: Callable[[], None] = lambda: None

    @property
    def disabled(self) -> bool:
        """Does it only call the function?"""
        return not self.enabled

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Measure `function(*args, **kwargs)`; what one more call of it returned."""
        run = self._begin(function)
        try:
            if self.enabled:
                # A lambda would add its own call to each of the function's.
                self._take(self._measure(run if not args and not kwargs else lambda: run(*args, **kwargs), self._spec))
            return run(*args, **kwargs)
        finally:
            self._end()

    def pedantic(
        self,
        target: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        """Measure exactly `rounds` values of `iterations` calls; `setup` runs before each value and may return `(args, kwargs)`."""
        if min(rounds, iterations) < 1 or warmup_rounds < 0:
            raise ValueError("rounds and iterations are 1 or more, warmup_rounds is 0 or more")
        if setup and (args or kwargs):
            raise TypeError("`setup` makes the arguments: give no `args` or `kwargs` beside it")
        if setup and iterations != 1:
            raise ValueError("with `setup`, iterations must be 1")
        run, named = self._begin(target), dict(kwargs or {})
        result: list[Any] = [None]
        waiting: list[Callable[[], Any]] = []

        def fresh() -> Callable[[], Any]:
            while waiting:
                waiting.pop()()
            made = setup() if setup else None
            own, keys = (args, named) if made is None else made
            if teardown is not None:
                end = teardown
                waiting.append(lambda: end(*own, **keys))

            def once() -> None:
                result[0] = run(*own, **keys)

            return once

        if not self.enabled:
            fresh()()
        elif iterations == 1:
            for _ in range(warmup_rounds):
                fresh()()
            self._take(self._measure(run, {**self._spec, "values": max(rounds, 1), "warmup_ns": 0}, fresh))
        else:
            spec = {**self._spec, "values": rounds, "loops": iterations, "warmup_ns": 0}
            for _ in range(warmup_rounds * iterations):
                run(*args, **named)
            self._take(self._measure(lambda: run(*args, **named), spec))
            result[0] = run(*args, **named)
        while waiting:
            waiting.pop()()
        self._end()
        return result[0]

    def _begin(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if self._used:
            raise RuntimeError("the fixture `benchmark` measures one function a test; write another test, or parametrize this one")
        self._used = True
        if not inspect.iscoroutinefunction(function):
            return function
        import asyncio

        loop = asyncio.new_event_loop()
        self._end = loop.close
        return lambda *args, **kwargs: loop.run_until_complete(function(*args, **kwargs))

    def _take(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.stats = Stats([ns / 1e9 for ns in answer["values"]["wall"]], answer["loops"])


def wishes(node: pytest.Item) -> tuple[dict[str, Any], str | None]:
    """What `@pytest.mark.benchmark(…)` asks for: a change of the spec, and the group."""
    asked: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("benchmark"))):
        asked.update(marker.kwargs)
    group: str | None = asked.pop("group", None)
    changed: dict[str, Any] = {}
    for name, value in asked.items():
        if name == "disable_gc":
            changed["gc"] = not value
        elif name == "min_rounds":
            changed["values"] = max(int(value), 1)
        elif name == "min_time":
            changed["least_ns"] = int(value * 1e9)
        elif name == "warmup":
            changed.update({} if value else {"warmup_ns": 0})
        elif name != "max_time":  # a wish for less work than is done here anyway
            raise pytest.UsageError(f"{node.nodeid}: `@pytest.mark.benchmark({name}=…)` is not known here; known are group, disable_gc, "
                                    "min_rounds, min_time, max_time, warmup")  # fmt: skip
    return changed, group


class Collected:
    """The pytest plugin of a worker: it collects the tests that ask for the fixture, and measures the one that runs."""

    def __init__(self, spec: Mapping[str, Any] | None = None, measure: Measure | None = None) -> None:
        self.spec, self.measure = spec, measure
        self.names: list[str] = []
        self.made: Benchmark | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember the names, from the file on."""
        self.names = [item.nodeid for item in items if "benchmark" in getattr(item, "fixturenames", ())]

    def pytest_configure(self, config: pytest.Config) -> None:
        """Make the marker known."""
        config.addinivalue_line("markers", "benchmark(group, disable_gc, min_rounds, min_time, max_time, warmup): how to measure")

    @pytest.fixture
    def benchmark(self, request: pytest.FixtureRequest) -> Benchmark:
        """Measures the function that it is called with."""
        assert self.spec is not None, "only a measured test asks for it"
        assert self.measure is not None
        changed, group = wishes(request.node)
        self.made = Benchmark(request.node.name, {**self.spec, **changed, "values": self.spec["values"]}, self.measure, group=group)
        return self.made


_OPTIONS = (
    "-p",
    "no:benchmark",
    "-p",
    "no:proftool_benchmark",
    "-p",
    "no:proftool",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-o",
    "addopts=",
    "-q",
)


def listed(path: str) -> list[str]:
    """Names of the tests of a file that ask for the fixture: `test_sort[10]`, `TestList::test_sort`."""
    plugin = Collected()
    status = pytest.main([*_OPTIONS, "--collect-only", path], plugins=[plugin])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise SystemExit(int(status))
    return [name.partition("::")[2] for name in plugin.names]


def measured(path: str, name: str, spec: Mapping[str, Any], measure: Measure) -> dict[str, Any]:
    """Run one test and answer with what its fixture measured."""
    plugin = Collected(spec, measure)
    status = pytest.main([*_OPTIONS, "--tb=short", f"{os.path.abspath(path)}::{name}"], plugins=[plugin])
    if status != pytest.ExitCode.OK:
        raise SystemExit(int(status) or 1)
    if plugin.made is None or plugin.made.answer is None:
        raise SystemExit(f"{name} did not call its fixture `benchmark`")
    return plugin.made.answer
