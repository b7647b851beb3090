"""Pages open in the machine's Chromium, offline; every request, console error and page error is kept and must stay none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from proftool.contracts import ReportOptions
from proftool.model.builder import ProfileBuilder
from proftool.model.insight import Confidence, Insight
from proftool.model.meta import Meta, Pass, Quality
from proftool.model.profile import CALLS, WAITING_TIME, WALL_TIME, Category, Metric, Profile, Status
from proftool.reports.flamegraph import report

MS = 1_000_000
HOSTILE = "<img src=x onerror=window.pwned=1></script><script>window.pwned=1</script>"


Opener = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Opener]:
    """`open_page(content, fragment="", **context)` shows a report; at the end nothing may have been asked for or complained of."""
    faults: list[str] = []
    contexts = []

    def opened(content: bytes, fragment: str = "", **options: object) -> Page:
        file = tmp_path / f"report{len(contexts)}.html"
        file.write_bytes(content)
        context = browser.new_context(**{"offline": True, "viewport": {"width": 1200, "height": 760}} | options)  # type: ignore[arg-type]
        contexts.append(context)
        own = file.as_uri()
        context.on(
            "request", lambda r: None if r.url.split("#")[0] == own or r.url.startswith(("data:", "blob:")) else faults.append(r.url)
        )
        page = context.new_page()
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.goto(f"{own}#{fragment}")
        page.wait_for_selector(".legend, .main")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def a_run(metrics: tuple[Metric, ...] = (WALL_TIME, WAITING_TIME, CALLS)) -> Profile:
    """A small sampled run: `main` calls `work` (twice as `helper` of a library) and sleeps; two lanes, a timeline."""
    quality = Quality(verdict="good", reasons=("400 samples",))
    recorded = Pass(
        mode="sample",
        backend="py-spy",
        backend_version="0.4.1",
        clock="wall",
        rate_asked_hz=100.0,
        rate_achieved_hz=98.5,
        samples=400,
        missed=3,
        duration_ns=4_000 * MS,
        exit_status=0,
        unseen=("native frames are not shown",),
    )
    meta = Meta(
        passes=(recorded,),
        command=("shop.py", "--all"),
        python="CPython 3.11.7",
        quality=quality,
        sources=(("shop.py", "def main():\n    work()\n    sleep()\n"),),
    )
    b = ProfileBuilder(metrics, meta)
    project = {"module": "shop", "file": "shop.py", "category": Category.PROJECT}
    main = b.frame(b.function("main", first_line=1, **project), 2)
    work = b.frame(b.function("work", first_line=5, **project), 6)
    again = b.frame(b.function("work", first_line=5, **project), 7)
    helper = b.frame(b.function("helper", module="lib.tools", file="lib/tools.py", first_line=9), 10)
    sleep = b.frame(b.function("sleep", module="time", category=Category.STDLIB))
    lanes = [
        b.lane(pid=7, tid=7, process_name="shop", thread_name="MainThread", is_main=True),
        b.lane(pid=7, tid=8, process_name="shop", thread_name="sorter"),
    ]
    root = b.node(-1, main)
    leaves = [b.stack([work, helper], root), b.stack([again], root), b.stack([sleep], root), b.stack([work, helper])]
    for k in range(400):
        leaf = k // 100 if k < 300 else 3
        lane = lanes[1] if leaf == 3 else lanes[0]
        b.sample(k * 10 * MS, lane, leaves[leaf], 10 * MS, Status.WAITING if leaf == 2 else Status.RUNNING)
        b.add(leaves[leaf], lane, 0, 10 * MS)
        if leaf == 2:
            b.add(leaves[leaf], lane, 1, 10 * MS)
        b.add(leaves[leaf], lane, 2, 1)
    return b.build()


def insight(**other: object) -> Insight:
    """Advice on a line of `a_run`."""
    told = {
        "id": "deep-copy", "function": "work", "file": "shop.py", "line": 2, "confidence": Confidence.HIGH, "share": 0.5,
        "evidence": "50.0 % of the working time (2.00 s) copies objects by `copy.deepcopy`",
        "advice": "copy only what is changed (`dict(row)`)",
        "link": "https://docs.python.org/3/library/copy.html", "metric": "wall_time", "effect": "measured: 3.1–3.6× faster",
    }  # fmt: skip
    return Insight(**told | other)  # type: ignore[arg-type]


def hostile() -> Profile:
    """A run whose every name is markup."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=(HOSTILE,), sources=((HOSTILE, HOSTILE),)))
    functions = [b.frame(b.function(f"{HOSTILE}{k}", module=HOSTILE, file=HOSTILE), 3) for k in range(3)]
    b.add(b.stack(functions), b.lane(thread_name=HOSTILE), 0, 5 * MS)
    b.lane(thread_name="other")
    return b.build()


def rendered(profile: Profile, options: ReportOptions | None = None) -> bytes:
    """The page of a profile."""
    return report.render(profile, options or ReportOptions())
