"""The images: `PYTHONPATH=tests python docs/screenshots.py [VIEW…]` takes those of the dashboard of a real service under load, and with
`report` that of a recorded program.

The service is tests/dashboard/shop.py after two minutes; each image is looked at before it is committed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dashboard.serving import Shop, environment, shop_in
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parent / "images"
LOAD_S = float(os.environ.get("LOAD_S", "120"))
SIZE = {"width": 1280, "height": 800}


QUERIES = """import sqlparse
QUERY = "select o.id, c.name, sum(l.price * l.n) as total from orders o join customers c on c.id = o.customer join lines l on " \\
    "l.order_id = o.id where o.placed > '2026-01-01' and c.country in ('DE', 'FR', 'IT') group by o.id, c.name having sum(l.n) > %d"
def pretty(queries):
    return [sqlparse.format(query, reindent=True, keyword_case="upper") for query in queries]
print(len(pretty([QUERY % n for n in range(2500)])))
"""


def report() -> None:
    """The page of a program that formats SQL with a library."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder, page_file = Path(name), Path(name) / "report.html"
        (folder / "pyproject.toml").touch()
        (folder / "format_queries.py").write_text(QUERIES)
        for words in (("run", "-q", "format_queries.py"), ("open", "@latest", "--no-browser", "--output", str(page_file))):
            subprocess.run([sys.executable, "-m", "proftool", *words], cwd=folder, env=environment(), check=True, timeout=300)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(page_file.as_uri())
        page.wait_for_selector(".legend")
        page.screenshot(path=IMAGES / "flame-graph.png")
        browser.close()


def main(wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name, shop_in(Path(name)) as shop, sync_playwright() as playwright:
        _record_runs(shop.folder)
        time.sleep(LOAD_S)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for view, path in _views(shop).items():
            if wanted and view not in wanted:
                continue
            context = browser.new_context(viewport=SIZE, color_scheme="dark" if view.endswith("dark") else "light")
            context.add_cookies([shop.served.cookie()])
            page = context.new_page()
            page.goto(shop.served.base + path)
            page.wait_for_selector("h1, .legend")
            page.wait_for_selector("[role=status]", state="detached")
            _arranged(page, view)
            page.wait_for_timeout(1500)
            page.screenshot(path=IMAGES / f"dashboard-{view}.png", full_page=view in ("service", "alerts"))
            context.close()
        browser.close()


def _views(shop: Shop) -> dict[str, str]:
    def traces(words: str) -> list[str]:
        return [row["trace_id"] for row in shop.api("/traces", range="15m", text=words, order="slowest")["found"]["traces"]]  # type: ignore[index]

    cart, now = traces("/cart"), int(time.time() * 1000)
    return {
        "runs": "/",
        "services": "/services?range=15m",
        "service": "/service?name=shop&range=5m",
        "service-dark": "/service?name=shop&range=5m",
        "traces": "/traces?range=15m",
        "trace": f"/trace/{traces('/search')[0]}",
        "traces-compared": f"/traces/compare?base={cart[-1]}&new={cart[0]}",
        "queries": "/queries",
        "alerts": "/alerts",
        "compare": "/service/compare?name=shop&range=1h",
        "flame": f"/service/flame?name=shop&since={now - 120_000}&until={now}",
    }


def _arranged(page: Page, view: str) -> None:
    if view == "trace":
        page.locator(".span", has_text="SELECT").first.click()
        page.locator(".water").press("Enter")
        page.locator("aside dl.attributes").wait_for()
    if view == "queries":
        page.locator("summary", has_text="N+1").click()


def _record_runs(folder: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=shop", "-c", "user.email=shop@example.org", *words], cwd=folder, check=True)

    git("init", "-q", "-b", "main")
    (folder / ".gitignore").write_text("*\n!report.py\n!.gitignore\n")
    for label, n in (("before", 150), (None, 160), (None, 155), (None, 150), ("slow", 320)):
        (folder / "report.py").write_text(
            f"def total(n):\n    return sum(i * i for i in range(n))\nfor _ in range({n}):\n    total(20_000)\n"
        )
        git("add", "-A")
        git("commit", "-q", "-m", f"{n} parts")
        words = [sys.executable, "-m", "proftool", "run", "-q", "--backend", "pyinstrument", *(["--label", label] if label else [])]
        subprocess.run([*words, "--", "report.py"], cwd=folder, env=environment(), check=True, timeout=120)


if __name__ == "__main__":
    report() if sys.argv[1:] == ["report"] else main(sys.argv[1:])
