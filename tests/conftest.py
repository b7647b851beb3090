"""Servers and the browser that tests of several rooms share; started when the first test asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="session")
def servers() -> Iterator[object]:
    """PostgreSQL and an S3 server, for as long as the session lasts (`store.servers.Servers`)."""
    from store.servers import Servers

    both = Servers()
    yield both
    both.close()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """The ClickHouse engine, for as long as the session lasts (`store.clickhouse.ClickHouse`)."""
    from store.clickhouse import ClickHouse

    server = ClickHouse(tmp_path_factory.mktemp("clickhouse"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, until the module is over: while Playwright runs, `asyncio.run` in the same thread is refused."""
    from playwright.sync_api import expect, sync_playwright

    if not Path(CHROMIUM).exists():
        pytest.skip("no chromium on this machine")
    expect.set_options(timeout=120_000)  # a busy machine is no failure
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests on these servers go to one worker, so that a session starts them once."""
    for item in items:
        for name in ("servers", "clickhouse"):
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(name))
        if config.getoption("loadgroup", False):
            _name_group(item)


def _name_group(item: pytest.Item) -> None:
    """
    Write the group behind the test's name, where pytest-xdist's scheduler looks for it.

    pytest-xdist 3.8 does so itself, into `_nodeid`, which pytest 9.2 does not read any more: its names are `NodeId`s.
    """
    groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
    id = getattr(item, "_id", None)
    if groups and id is not None:
        object.__setattr__(id, "_str_cache", f"{item.nodeid}@{'_'.join(groups)}")
