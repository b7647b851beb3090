"""First paint and interaction of the dashboard over a full store, in ms.

`PYTHONPATH=tests python -m perf.dashboard [RUNS [POINTS [FOLDER]]]`; 10,000 runs, 10,000,000 points of metrics (1,000 series, a value a
minute for a week), 20,000 spans in 4,000 traces, a trace of 20,000 spans. First paint is the browser's own `first-contentful-paint` with an
empty cache, from the request on, which may be of a page whose numbers are still to come; drawn is the frame after they have; an
interaction is from a key to the next frame after what it changed. A folder that is there already is measured as it is. Nothing is asserted.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from dashboard.serving import Served
from playwright.sync_api import Browser, Page, sync_playwright
from store.stores import profile

from proftool import settings
from proftool.contracts_telemetry import Point, Span
from proftool.store import open_metrics, open_store, open_telemetry
from proftool.store.rows import row_of
from proftool.store.schema import runs

S = 1_000_000_000
EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
SERVICES, ROUTES, STATUSES = 5, 50, ("200", "302", "404", "500")
TIMES = 5
BIG = "ff" * 16


def fill(folder: Path, n_runs: int, n_points: int) -> None:
    """Everything but the profiles of runs, which no list reads."""
    (folder / "pyproject.toml").write_text("[tool.proftool.slo.s0]\nobjective = 0.99\n")
    found = settings.load(folder, environ={})
    store, telemetry, metrics = open_store(found), open_telemetry(found), open_metrics(found)
    store.add(profile(1, command=("python", "app.py")))
    row = row_of(profile(2, command=("python", "app.py")), id="", label=None, blob="", size_bytes=30_000, added_ns=0)
    with store.database.writing() as connection:
        for begin in range(0, n_runs, 5000):
            ids = range(begin, min(begin + 5000, n_runs))
            connection.execute(
                runs.insert(), [row | {"id": f"{n * 2654435761 % 2**32:010x}", "blob": f"{n:064x}", "added_ns": n + 1} for n in ids]
            )
    now = time.time_ns()
    spans = [
        Span(
            trace_id=f"{n // 5:032x}",
            span_id=f"{n:016x}",
            parent_id=None if n % 5 == 0 else f"{n // 5 * 5:016x}",
            service=f"s{n // 5 % SERVICES}",
            name="SELECT items" if n % 5 else "GET /r",
            kind="client" if n % 5 else "server",
            start_ns=now - (n // 5) * 900 * S // 4000 - (5 - n % 5),
            duration_ns=10**6 * (1 + n % 97),
            is_entry=n % 5 == 0,
            route=None if n % 5 else f"GET /route{n // 25 % ROUTES}",
            attributes={"db.query.text": f"select * from t{n % 40} where id = ?", "db.system.name": "sqlite"} if n % 5 else {},
        )
        for n in range(20_000)
    ]
    spans += [
        Span(
            trace_id=BIG,
            span_id=f"{10**6 + n:016x}",
            parent_id=None if n == 0 else f"{10**6 + (n - 1) // 8:016x}",
            service=f"s{n % SERVICES}",
            name=f"step {n % 30}",
            start_ns=now - 50 * S + n * 10_000,
            duration_ns=S - n * 40_000,
            is_entry=n == 0,
            route="GET /big" if n == 0 else None,
        )
        for n in range(20_000)
    ]
    telemetry.add_spans(spans)
    series = [
        (f"s{s}", tuple(sorted({"http.request.method": "GET", "http.route": f"/route{r}", "http.response.status_code": status}.items())))
        for s in range(SERVICES)
        for r in range(ROUTES)
        for status in STATUSES
    ]
    steps = n_points // len(series)
    begin = now - steps * 60 * S
    for step in range(steps):
        counts = tuple(step * k for k in (0, 1, 5, 9, 6, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0))
        metrics.add_points(
            [
                Point(service=service, process="p", name="http.server.request.duration", kind="histogram", unit="s", labels=labels,
                      time_ns=begin + step * 60 * S, start_ns=begin, value=step * 3.2, counts=counts, edges=EDGES)
                for service, labels in series
            ]
        )  # fmt: skip
        if step % 120 == 119:
            while metrics.roll_up(begin + step * 60 * S):  # as the service or the server does every ten minutes
                pass


DRAWN = """new MutationObserver(() => {
  if (document.readyState === 'loading' || window.asked || document.querySelector('#view > [role=status]')) return;
  window.asked = true;
  requestAnimationFrame(() => setTimeout(() => { window.drawn = performance.now(); }, 0));
}).observe(document, {childList: true, subtree: true});"""


def first_paint(browser: Browser, served: Served, path: str) -> tuple[float, float, float]:
    """(first contentful paint, all is drawn, the server's answer) in ms, in a context of its own."""
    context = browser.new_context(viewport={"width": 1300, "height": 860})
    context.add_cookies([served.cookie()])
    page = context.new_page()
    page.add_init_script(DRAWN)
    page.goto(served.base + path, timeout=300_000)
    page.wait_for_selector("#view > [role=status]", state="detached")
    page.wait_for_function("window.drawn")
    paint = page.evaluate(
        """() => new Promise(done => new PerformanceObserver(list => done(list.getEntries()[0].startTime))
           .observe({type: 'paint', buffered: true}))"""
    )
    drawn, answer = page.evaluate("[window.drawn, performance.getEntriesByType('navigation')[0].responseEnd]")
    context.close()
    return paint, drawn, answer


def interaction(page: Page, selector: str, key: str) -> float:
    """From the key to the frame after it, ms."""
    page.locator(selector).first.focus()
    return page.evaluate(
        """key => new Promise(done => {
          const begin = performance.now();
          document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
          requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin), 0));
        })""",
        key,
    )


def main(n_runs: int, n_points: int, folder: Path) -> None:
    if not (folder / "pyproject.toml").exists():
        begin = time.perf_counter()
        fill(folder, n_runs, n_points)
        print(f"filled in {time.perf_counter() - begin:.0f} s")
    size = sum(file.stat().st_size for file in (folder / ".proftool").rglob("*") if file.is_file())
    print(f"{n_runs:,} runs, {n_points:,} points, {size >> 20} MiB")
    served = Served(folder)
    views = {
        "runs": "/",
        "services, 1 h": "/services",
        "service, 1 h": "/service?name=s0&range=1h",
        "service, 7 d": "/service?name=s0&range=7d",
        "traces": "/traces?range=1h",
        "trace of 5 spans": f"/trace/{1:032x}",
        "trace of 20,000": f"/trace/{BIG}",
        "queries": "/queries?range=1h",
        "alerts": "/alerts",
    }
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            print(f"{'view':18} {'first paint':>12} {'drawn':>8} {'answer':>8}   medians of {TIMES}, ms")
            for name, path in views.items():
                first_paint(browser, served, path)
                taken = [first_paint(browser, served, path) for _ in range(TIMES)]
                paint, drawn, answer = (statistics.median(column) for column in zip(*taken, strict=True))
                print(f"{name:18} {paint:12.0f} {drawn:8.0f} {answer:8.0f}")
            context = browser.new_context(viewport={"width": 1300, "height": 860})
            context.add_cookies([served.cookie()])
            page = context.new_page()
            page.goto(served.base + f"/trace/{BIG}")
            page.wait_for_selector(".span")
            print("interaction, trace of 20,000 spans")
            for what, keys in {
                "next span": ["ArrowDown"] * 11,
                "last and first": ["End", "Home"] * 5,
                "close, open all": ["ArrowLeft", "ArrowRight"] * 5,
            }.items():
                taken_ms = [interaction(page, ".water", key) for key in keys]
                print(f"{what:18} {statistics.median(taken_ms):12.0f}")
            context.close()
            browser.close()
    finally:
        served.end()


if __name__ == "__main__":
    given = sys.argv[1:]
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(given[2]) if len(given) > 2 else Path(temporary)
        place.mkdir(exist_ok=True)
        main(int(given[0]) if given else 10_000, int(given[1]) if len(given) > 1 else 10_000_000, place)
