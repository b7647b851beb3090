"""The pytest plugin with the fixture `benchmark`, for projects that have no other one; where pytest-benchmark is installed it stays silent.

In an ordinary run of pytest a benchmark is measured in that one process and shown at the end: a first look, no verdict.
`proftool bench test_x.py` and `proftool ab main --bench -- test_x.py` measure the same tests in fresh processes.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from proftool.bench._fixture import QUICK, Benchmark, wishes

_THEIRS = "benchmark"
"""Name of pytest-benchmark's plugin."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """The switches that pytest-benchmark has too, where it does not define them."""
    if _gives_way(pluginmanager):
        return
    group = parser.getgroup("benchmark")
    group.addoption("--benchmark-disable", action="store_true", help="Call what the fixture `benchmark` is given once, without measuring.")
    group.addoption("--benchmark-only", action="store_true", help="Run only the tests that ask for the fixture `benchmark`.")
    group.addoption("--benchmark-skip", action="store_true", help="Skip the tests that ask for the fixture `benchmark`.")


def pytest_configure(config: pytest.Config) -> None:
    """Bring the fixture in, unless somebody else does."""
    if not _gives_way(config.pluginmanager):
        config.addinivalue_line("markers", "benchmark(group, disable_gc, min_rounds, min_time, max_time, warmup): how to measure")
        config.pluginmanager.register(Fixture(config), "proftool-benchmark-fixture")


def _gives_way(manager: pytest.PytestPluginManager) -> bool:
    return manager.hasplugin(_THEIRS) or (find_spec("pytest_benchmark") is not None and not manager.is_blocked(_THEIRS))


class Fixture:
    """The fixture, and what it measured in this session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.made: list[tuple[str, Benchmark]] = []

    @pytest.fixture
    def benchmark(self, request: pytest.FixtureRequest) -> Benchmark:
        """Measures the function that it is called with, and returns what that returned."""
        from proftool.bench._worker import measure

        node: pytest.Item = request.node
        changed, group = wishes(node)
        made = Benchmark(node.name, {**QUICK, **changed}, measure, enabled=not self.config.getoption("--benchmark-disable"), group=group)
        self.made.append((node.nodeid, made))
        return made

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """`--benchmark-only` and `--benchmark-skip`."""
        only, skip = config.getoption("--benchmark-only"), config.getoption("--benchmark-skip")
        if only and skip:
            raise pytest.UsageError("`--benchmark-only` and `--benchmark-skip` contradict each other")
        if only or skip:
            left_out = [item for item in items if ("benchmark" in getattr(item, "fixturenames", ())) == bool(skip)]
            items[:] = [item for item in items if item not in left_out]
            config.hook.pytest_deselected(items=left_out)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A line a benchmark."""
        rows = [(name, made.stats) for name, made in self.made if made.stats]
        if not rows:
            return
        from proftool.units import Unit, people

        terminalreporter.section("benchmarks")
        wide = max(len(name) for name, _ in rows)
        for name, stats in rows:
            low, middle, high = (people(value * 1e9, Unit.NANOSECONDS) for value in (stats.min, stats.median, stats.max))
            terminalreporter.write_line(
                f"{name:<{wide}}  {middle:>8}  [{low} … {high}]  {stats.rounds} values × {stats.iterations:,} calls"
            )
        terminalreporter.write_line("one process each, so no two of these can be compared; `proftool bench FILE` measures in fresh ones")
