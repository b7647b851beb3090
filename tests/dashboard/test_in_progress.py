"""A run in progress in Chromium: in the list, its flame graph so far, growing, held still by a pause, and at the end the stored run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from dashboard.serving import Served, environment, until
from playwright.sync_api import Browser, Page, expect

WAIT_MS = 60_000
PROGRAM = """
import pathlib
def burn():
    return sum(range(300))
def first():
    for _ in range(2000): burn()
def second():
    for _ in range(2000): burn()
while not pathlib.Path("go-on").exists(): first()
while not pathlib.Path("end").exists(): second()
"""

pytestmark = [pytest.mark.xdist_group("dashboard"), pytest.mark.timeout(600)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "work.py").write_text(PROGRAM)
    one = Served(tmp_path)
    yield one
    one.end()


@pytest.fixture
def page(served: Served, browser: Browser) -> Iterator[Page]:
    """With the cookie already; at the end nothing may have gone wrong, or have been asked of anybody else."""
    faults: list[str] = []
    context = browser.new_context(viewport={"width": 1200, "height": 760})
    context.add_cookies([served.cookie()])
    context.on("request", lambda r: None if r.url.startswith((served.base, "data:")) else faults.append(r.url))
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") and "404" not in m.text else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    expect.set_options(timeout=WAIT_MS)
    yield page
    context.close()
    assert faults == []


@contextmanager
def recording(folder: Path, backend: str) -> Iterator[subprocess.Popen[bytes]]:
    """`proftool run` of the program, which ends by the file `end`."""
    command = [sys.executable, "-m", "proftool", "run", "-q", "--backend", backend, "--", "work.py", "--password", "hunter2hunter2"]
    process = subprocess.Popen(command, cwd=folder, env=environment())
    try:
        yield process
    finally:
        (folder / "go-on").touch()
        (folder / "end").touch()
        process.wait(120)


def _seconds(page: Page) -> float:
    """What the page says that it shows: the whole, or what is zoomed to."""
    told = page.locator(".crumbs > .dim").last.inner_text()
    number, unit = re.match(r"([\d.,]+) (\S+)", told).groups()  # type: ignore[union-attr]
    return float(number.replace(",", "")) * {"ms": 1e-3, "s": 1.0, "min": 60.0, "µs": 1e-6}[unit]


def _until(page: Page, check: Callable[[], object], what: str) -> None:
    """Wait for it, while the page goes on."""
    end = time.monotonic() + WAIT_MS / 1000
    while not check():
        assert time.monotonic() < end, f"waited for {what}"
        page.wait_for_timeout(100)


def _until_ticks(served: Served, n: int) -> None:
    """That many events of the server's, each of which would make a page ask again."""
    with (
        httpx.Client(base_url=served.base, cookies=served.cookies, timeout=120) as client,
        client.stream("GET", "/events") as answer,
    ):
        for line in answer.iter_lines():
            n -= line == "event: tick"
            if n == 0:
                return


def test_it_grows_pauses_and_becomes_the_run(served: Served, page: Page, tmp_path: Path) -> None:
    """From the list to the flame graph while the program runs; zoom and search stay; its address is that of the stored run."""
    page.goto(served.base)
    expect(page.locator(".empty")).to_be_visible()
    with recording(tmp_path, "pyinstrument") as process:
        row = page.locator("tr.progress")
        expect(row).to_contain_text("in progress")
        expect(row).to_contain_text("work.py")
        assert "hunter2" not in page.content()
        row.get_by_role("link").click()
        page.locator(".flame canvas").wait_for()
        chip = page.locator("header .chip.progress")
        expect(chip).to_have_text("in progress")
        address = page.url.partition("#")[0]
        page.keyboard.press("/")
        page.keyboard.type("first")
        page.locator("main").click(position={"x": 2, "y": 2})
        expect(page.locator(".found")).to_contain_text("1 match")
        page.keyboard.press("2")
        page.locator(".row", has_text="first").first.click()
        page.get_by_role("button", name="Show in flame graph").click()
        crumbs = page.locator(".crumbs")
        expect(crumbs).to_contain_text("first")
        before = _seconds(page)
        _until(page, lambda: _seconds(page) > before, "the zoomed function to grow")
        expect(crumbs.locator("button[aria-current]")).to_have_text("first")
        expect(page.locator(".found")).to_contain_text("1 match")
        (tmp_path / "go-on").touch()
        page.keyboard.press("/")
        page.keyboard.press("Control+a")
        page.keyboard.type("second")
        expect(page.locator(".found")).to_contain_text("1 match")

        asked: list[str] = []
        page.locator("main").click(position={"x": 2, "y": 2})
        page.keyboard.press("p")
        expect(chip).to_have_text("paused")
        page.on("request", lambda r: asked.append(r.url))
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        held = _seconds(page)
        _until_ticks(served, 2)
        page.evaluate("1")  # requests that were made by now have been told
        assert (_seconds(page), asked) == (held, [])
        page.get_by_role("button", name="Resume").click()
        expect(chip).to_have_text("in progress")
        _until(page, lambda: _seconds(page) > held, "the graph to go on")
        assert asked

        (tmp_path / "end").touch()
        assert process.wait(120) == 0
    expect(chip).to_have_count(0)
    expect(page.locator("header .chip")).to_contain_text("recording")
    listed = subprocess.run(
        [sys.executable, "-m", "proftool", "list", "--json"], cwd=tmp_path, env=environment(), capture_output=True, timeout=120, check=True
    )
    (run,) = json.loads(listed.stdout)["runs"]
    assert address == f"{served.base}/run/{run['id']}"
    whole = page.locator(".crumbs > .dim").last.inner_text()
    assert _seconds(page) > held
    page.reload()
    page.locator(".flame canvas").wait_for()
    assert page.locator(".crumbs > .dim").last.inner_text() == whole
    page.goto(served.base)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tr.progress")).to_have_count(0)


def test_a_profiler_that_tells_at_the_end_leads_to_the_run(served: Served, page: Page, tmp_path: Path) -> None:
    """The page says so, and becomes the run by itself."""
    page.goto(served.base)
    with recording(tmp_path, "cprofile"):
        page.locator("tr.progress").get_by_role("link").click()
        expect(page.locator("main")).to_contain_text("cprofile tells at the end")
        assert "hunter2" not in page.content()
        (tmp_path / "end").touch()
        (tmp_path / "go-on").touch()
    page.locator(".flame canvas").wait_for()
    expect(page.locator("header .chip.progress")).to_have_count(0)


def test_nobody_without_the_token_sees_it(served: Served, tmp_path: Path) -> None:
    """Nor makes its recorder write."""
    with recording(tmp_path, "pyinstrument"):
        with served.client() as client:
            until(lambda: "/run/" in client.get("/").text, "the run in the list")
            path = re.search(r"/run/\w+", client.get("/").text)
        assert path is not None
        assert httpx.get(served.base + path[0], timeout=60).status_code == 401
        assert not list((tmp_path / ".proftool" / "recordings").glob("*/watched"))
