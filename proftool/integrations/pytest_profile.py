"""`pytest --proftool`: the session as one run, the slowest tests with what each spent its time on, and a diff against a stored run.

Loaded by pytest in every session of an environment that has proftool, so it imports nothing until it is asked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from proftool.contracts_store import Run
    from proftool.model.profile import Profile

_SLOWEST = 10
_KEY = pytest.StashKey["Session"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("proftool", "profile the tests")
    group.addoption("--proftool", action="store_true", help="Record the session as a run of proftool; show the slowest tests and why.")
    group.addoption("--proftool-label", metavar="TEXT", help="A name for the run.")
    group.addoption("--proftool-against", metavar="RUN", help="Also compare with that run (id, label, @main, file).")


def pytest_configure(config: pytest.Config) -> None:
    """Begin, where asked; under pytest-xdist the tests are in other processes."""
    if not (config.getoption("--proftool") or config.getoption("--proftool-against")):
        return
    if getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        raise pytest.UsageError("--proftool records one process: leave -n away, or record all workers by `proftool run -m pytest -n 2 …`")
    session = Session(config.getoption("--proftool-label"), config.getoption("--proftool-against"))
    config.stash[_KEY] = session
    config.pluginmanager.register(session, "proftool-session")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the profiler where the session ended before its summary."""
    session = config.stash.get(_KEY, None)
    if session is not None:
        session.end()


class Session:
    """One recording from the first collected test to the last."""

    def __init__(self, label: str | None, against: str | None) -> None:
        from proftool.workflows.api import profile

        self._recording = profile(mode="sample", label=label)
        self._against = against
        self._spans: list[tuple[str, int, int]] = []
        self._start_ns = 0
        self._is_on = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """The recording is around the tests, without collection."""
        self._recording.__enter__()
        self._is_on, self._start_ns = True, time.monotonic_ns()
        try:
            return (yield)
        finally:
            self.end()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Remember when each test ran, its fixtures included."""
        begun = time.monotonic_ns()
        try:
            return (yield)
        finally:
            self._spans.append((item.nodeid, begun - self._start_ns, time.monotonic_ns() - self._start_ns))

    def end(self) -> None:
        """Stop and store; once."""
        if self._is_on:
            self._is_on = False
            self._recording.__exit__(None, None, None)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What was recorded."""
        profile, run = self._recording.profile, self._recording.run
        if profile is None:
            return
        terminalreporter.section("proftool")
        for line in slowest(profile, self._spans):
            terminalreporter.write_line(line)
        if run is not None:
            terminalreporter.write_line(f"run {run.id} kept · next: `proftool open {run.id}` · `proftool show {run.id} --by line`")
        if self._against is not None:
            terminalreporter.write_line("")
            terminalreporter.write_line(_compared(self._against, run))


def slowest(profile: Profile, spans: list[tuple[str, int, int]]) -> list[str]:
    """The slowest tests, each with its three functions of the most self time that are not pytest's own."""
    import numpy as np

    from proftool.model.select import time_range
    from proftool.model.tree import function_self
    from proftool.reports.rows import name, place
    from proftool.units import Unit, people

    lines = [f"{'time':>9}  the slowest of {len(spans)} tests, and the functions with the most time of their own"]
    wall = profile.metric_index("wall_time")
    for test, begun, ended in sorted(spans, key=lambda span: span[1] - span[2])[:_SLOWEST]:
        lines.append(f"{people(ended - begun, Unit.NANOSECONDS):>9}  {test}")
        part = time_range(profile, max(begun, 0), ended)
        own = function_self(part, wall)
        runner = ("_pytest.", "pluggy.")
        dearest = [
            index
            for index in np.argsort(-own, kind="stable").tolist()
            if own[index] and not part.text(int(part.functions.module[index])).startswith(runner)
        ][:3]
        for index in dearest:
            where = place(part, index)
            lines.append(f"{'':9}  {people(int(own[index]), Unit.NANOSECONDS):>9}  {name(part, index)}" + (f"  {where}" if where else ""))
    return lines


def _compared(against: str, run: Run | None) -> str:
    from pathlib import Path

    from proftool import settings
    from proftool.contracts import ReportOptions
    from proftool.errors import ProftoolError
    from proftool.reports.diff import render_text
    from proftool.store import open_store
    from proftool.workflows.compare import compare

    if run is None:
        return "not compared: the run was not kept"
    try:
        return render_text(compare(against, run.id, open_store(settings.load()), Path.cwd()).diff, ReportOptions(limit=10))
    except ProftoolError as error:
        return f"not compared: {error.what}\ncause: {error.cause}\nfix:   {error.fix}"
