"""Every view of a running service in Chromium: what a person sees first, the keys, links from one to the next, axe, narrow windows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from dashboard.serving import Shop, until
from playwright.sync_api import Browser, Page, expect

import proftool.viewer

AXE = Path(proftool.viewer.__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
RUN = """axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(r => r.violations.map(v =>
  `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 120) + ' ' + n.failureSummary.slice(0, 200)).join(' | ')}`))"""
WAIT_MS = 120_000
VIEWS = {
    "runs": "/",
    "services": "/services",
    "service": "/service?name=shop&range=15m",
    "route": "/service?name=shop&range=15m&route=" + quote("GET /checkout"),
    "compare": "/service/compare?name=shop",
    "traces": "/traces?range=15m",
    "queries": "/queries",
    "alerts": "/alerts",
    "error": "/trace/" + "0" * 32,
}
Opener = Callable[..., Page]

pytestmark = [pytest.mark.xdist_group("dashboard"), pytest.mark.timeout(900)]


@pytest.fixture
def open_view(shop: Shop, browser: Browser) -> Iterator[Opener]:
    """`open_view(path)` shows it with a cookie already; at the end nothing may have gone wrong, or have been asked of anybody else."""
    faults: list[str] = []
    contexts = []

    def opened(path: str, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 860}} | options)  # type: ignore[arg-type]
        contexts.append(context)
        context.add_cookies([shop.served.cookie()])
        context.on("request", lambda r: None if r.url.startswith((shop.served.base, "data:", "blob:")) else faults.append(r.url))
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") and "404" not in m.text else None)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.goto(shop.served.base + path)
        page.wait_for_selector("h1")
        page.wait_for_selector("[role=status]", state="detached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def is_sampled(shop: Shop, place: str, name: str) -> bool:
    """Did the sampler see something of that span in the trace of that address?"""
    trace = shop.api(place)
    spans, names = trace["name"], trace["names"]
    return any(names[spans[row]] == name for row in trace["sampled"])  # type: ignore[index, attr-defined]


def test_from_all_services_to_the_line_that_is_slow(shop: Shop, open_view: Opener) -> None:
    """Services → shop → a route → its slowest trace → a span's flame graph, by links and keys alone."""
    page = open_view("/services")
    row = page.locator("tbody tr", has_text="shop")
    expect(row).to_contain_text("/s")
    row.get_by_role("link", name="shop", exact=True).click()
    expect(page.locator(".tiles")).to_contain_text("p95")
    assert page.locator(".plot canvas").count() >= 6
    page.locator("table a", has_text="GET /checkout").first.click()
    expect(page.locator("button", has_text="× GET /checkout")).to_be_visible()
    assert "route=GET" in page.url
    page.locator("tr", has_text="GET /checkout").get_by_role("link", name="traces").first.click()
    rows = page.locator("a[data-row]", has_text="GET /checkout")
    rows.first.wait_for()

    places: list[str] = []

    def with_samples() -> bool:
        """Not every trace of the list has them in its slow span: a busy machine's sampler looks seldom, a slice is later than its trace."""
        page.reload()
        rows.first.wait_for()
        shown = rows.evaluate_all("links => links.map(link => link.getAttribute('href'))")
        places[:] = [place for place in shown if is_sampled(shop, place, "pack")]
        return bool(places)

    until(with_samples, "a trace with samples in its slow span")
    page.locator(f"a[data-row][href='{places[0]}']").click()
    expect(page.locator("h1")).to_have_text("GET /checkout")
    expect(page.locator(".blame")).to_contain_text("pack")
    page.locator(".span", has_text="pack").click()
    page.locator(".water").press("Enter")
    expect(page.locator("aside")).to_contain_text("critical")
    assert "#span=" in page.url
    page.get_by_role("link", name="Flame graph of this span").click()
    page.locator(".flame canvas").wait_for()
    expect(page.locator("h1")).to_contain_text(" of trace ")


def test_a_waterfall_is_walked_by_keys(shop: Shop, open_view: Opener) -> None:
    """Down, close, open, zoom, search; the address reopens the chosen span."""
    found = shop.api("/traces", range="15m", text="GET /cart", order="slowest")["found"]
    trace_id = found["traces"][0]["trace_id"]  # type: ignore[index]
    page = open_view(f"/trace/{trace_id}")
    tree = page.get_by_role("tree")
    tree.focus()
    n_rows = page.locator(".span").count()
    assert n_rows >= 12
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".span.chosen")).to_contain_text("load cart")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".span.chosen")).to_have_attribute("aria-expanded", "false")
    expect(page.locator(".span")).not_to_have_count(n_rows)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".span")).to_have_count(n_rows)
    page.keyboard.press("z")
    assert float(page.locator(".window").evaluate("e => parseFloat(e.style.width)")) < 100
    page.locator("main").focus()
    page.keyboard.press("0")
    assert float(page.locator(".window").evaluate("e => parseFloat(e.style.width)")) == 100
    page.keyboard.press("/")
    page.keyboard.type("price")
    expect(page.locator(".span.faint")).to_have_count(n_rows - 1)
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator(".span.chosen")).to_contain_text("price")
    again = open_view(page.url.removeprefix(shop.served.base))
    expect(again.locator(".span.chosen")).to_contain_text("price")


def test_the_heat_map_leads_to_traces_of_its_cell(open_view: Opener) -> None:
    """By keys: arrows move over it, Enter opens the traces of that time and length."""
    page = open_view("/service?name=shop&range=15m")
    heat = page.get_by_role("application")
    heat.focus()
    page.keyboard.press("p")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".heat .hint")).to_contain_text("requests of")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".heat .hint")).to_have_text(re.compile(r"^[1-9][\d,.]* requests of"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/traces?*since=*")
    expect(page.locator("h1")).to_have_text("Traces")


def test_dragging_over_a_chart_chooses_a_range(open_view: Opener) -> None:
    """The range becomes fixed, the address keeps it, the flame graph of it opens, and a key goes back to now."""
    page = open_view("/service?name=shop&range=5m")
    box = page.locator(".u-over").first.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.99, y, steps=6)
    page.mouse.up()
    page.wait_for_url("**since=*")
    expect(page.locator(".range .fixed")).to_be_visible()
    expect(page.locator(".feed")).to_have_count(0)
    page.keyboard.press("1")
    page.wait_for_url("**range=15m*")
    page.locator(".feed.live").wait_for()
    page.keyboard.press("f")
    page.locator(".flame canvas").wait_for()
    expect(page.locator("h1")).to_contain_text("shop ")


def test_the_service_moves_by_itself_and_stands_when_paused(shop: Shop, open_view: Opener) -> None:
    """Requests are counted up live; after `p` the number stays as it is."""
    page = open_view("/service?name=shop&range=15m")
    count = page.locator(".tiles div", has_text="requests").locator("dd")
    page.locator(".feed.live").wait_for()
    first = count.inner_text()
    expect(count).not_to_have_text(first, timeout=WAIT_MS)
    page.keyboard.press("p")
    expect(page.locator(".feed")).to_have_text("paused")
    page.wait_for_function("document.querySelector('.bar-loading.on') === null")
    stands, before = count.inner_text(), shop.api("/service", name="shop", range="15m")["requests"]["whole"]["n"]  # type: ignore[index]
    until(lambda: shop.api("/service", name="shop", range="15m")["requests"]["whole"]["n"] > before, "more requests")  # type: ignore[index, operator]
    assert count.inner_text() == stands


def test_traces_are_narrowed_and_two_compared(open_view: Opener) -> None:
    """Failed ones, a minimum, words; two are picked and set against each other."""
    page = open_view("/traces?range=15m")
    page.keyboard.press("f")
    page.wait_for_url("**failed=1*")
    expect(page.locator("tbody tr").first).to_contain_text("GET /search")
    expect(page.locator("tbody tr", has_text="GET /cart")).to_have_count(0)
    page.keyboard.press("f")
    page.wait_for_function("!location.search.includes('failed')")
    page.get_by_label("Name").fill("/cart")
    page.get_by_label("Name").press("Enter")
    page.wait_for_url("**text=*")
    expect(page.locator("tbody tr", has_text="GET /search")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.get_by_role("checkbox").nth(1).check()
    page.get_by_role("checkbox").nth(2).check()
    page.get_by_role("button", name="Compare two").click()
    expect(page.locator("h1")).to_have_text("Compare two traces")
    expect(page.locator("tbody tr", has_text="load cart").first).to_be_visible()
    expect(page.locator("tbody tr", has_text="SELECT items").first).to_be_visible()


def test_queries_name_the_line_that_asks_again_and_again(open_view: Opener) -> None:
    """The N+1 is marked, with its caller, its route and a link to a trace; the statement has no values."""
    page = open_view("/queries")
    row = page.locator("tbody tr", has_text="N+1")
    expect(row).to_contain_text("load.<locals>.<listcomp>")
    expect(row).to_contain_text("shop.py:")
    expect(row).to_contain_text("GET /cart/{n}")
    row.locator("summary").click()
    expect(row.locator("pre")).to_have_text("select * from items where id = ?")
    expect(page.locator(".findings li", has_text="N+1")).to_contain_text("ask once for all")
    row.get_by_role("link", name="×").click()
    expect(page.locator("h1")).to_have_text("GET /cart/{n}")


def test_alerts_show_what_fires_and_the_budget(open_view: Opener) -> None:
    """The slow route fires, the error rule does not, the objective's budget is spent; the incident opens."""
    page = open_view("/alerts")
    expect(page.locator("tr", has_text="too-slow").first.locator(".state")).to_contain_text("firing", timeout=WAIT_MS)
    expect(page.locator("tr", has_text="failing").first.locator(".state")).to_contain_text("ok")
    expect(page.locator(".card", has_text="shop")).to_contain_text("requests failed or took more than 250 ms")
    incident = page.locator("a[href^='/incident/']").first
    incident.wait_for()
    incident.click()
    expect(page.locator(".incident")).to_contain_text("What ran")


def test_two_ranges_are_compared(open_view: Opener) -> None:
    """The last minute against the time before opens the diff's viewer; a service with nothing in a range says so."""
    page = open_view("/service/compare?name=shop&range=1h")
    now = int(page.evaluate("Date.now()"))
    ask = f"name=shop&base_since={now - 900_000}&base_until={now - 4000}&new_since={now - 8000}&new_until={now}"
    page.goto(page.url.split("/service")[0] + f"/service/compare?{ask}")
    page.locator("main").focus()
    page.get_by_role("link", name="Compare", exact=True).click()
    page.locator(".flame canvas").wait_for()
    expect(page.locator(".answer").first).to_contain_text("against")
    page.go_back()
    page.goto(page.url.split("/service")[0] + "/service/flame?name=shop&since=1000&until=2000")
    expect(page.locator(".problem")).to_contain_text("nothing was sampled in that time")


def test_help_lists_the_keys_of_the_page_and_of_all(open_view: Opener) -> None:
    """`?` opens it, Escape gives the focus back; `g` and a letter go to a view; `t` is kept by the next page."""
    page = open_view("/traces")
    page.get_by_label("Service").focus()
    page.locator("main").focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    for words in ("only failed", "pause", "next and previous row", "queries"):
        expect(dialog).to_contain_text(words)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("t")
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_url("**/queries")
    assert page.locator("html").get_attribute("data-theme") == "dark"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_view: Opener, shop: Shop, scheme: str) -> None:
    """Every view holds the rules of WCAG 2.1 A and AA that axe-core checks, contrast included."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: `python proftool/viewer/build.py test` does it")
    found: list[str] = []
    traces = [row["trace_id"] for row in shop.api("/traces", range="15m", text="/cart")["found"]["traces"][:2]]  # type: ignore[index]
    views = VIEWS | {"trace": f"/trace/{traces[0]}", "two traces": f"/traces/compare?base={traces[0]}&new={traces[1]}"}
    for name, path in views.items():
        page = open_view(path, color_scheme=scheme, bypass_csp=True)
        if name == "trace":
            page.locator(".span").first.click()  # the request itself: it has attributes
            page.locator(".water").press("Enter")
            page.locator("aside dl.attributes").wait_for()
        page.evaluate(AXE.read_text("utf-8"))
        found += [f"{name}: {violation}" for violation in page.evaluate(RUN)]
    assert found == []


def test_no_view_scrolls_sideways_in_a_narrow_window(open_view: Opener, shop: Shop) -> None:
    """390 pixels hold every view."""
    trace = shop.api("/traces", range="15m", text="/cart")["found"]["traces"][0]["trace_id"]  # type: ignore[index]
    wide: dict[str, int] = {}
    for name, path in (VIEWS | {"trace": f"/trace/{trace}"}).items():
        page = open_view(path, viewport={"width": 390, "height": 760})
        wide[name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 390} == {}
