"""The page in a real browser: what a person sees and does."""

from __future__ import annotations

from urllib.parse import unquote

from playwright.sync_api import Page, expect
from viewer.conftest import HOSTILE, MS, Opener, a_run, hostile, rendered

from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta
from proftool.model.profile import WALL_TIME, Profile
from proftool.viewer import schema


def at(page: Page, level: int, share: float) -> None:
    """Click the bar of that level at that share of the width; levels are 19 pixels high."""
    box = page.locator(".flame").bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * share, box["y"] + 19 * level + 9)


def crumb(page: Page) -> str:
    return page.locator(".crumbs button[aria-current]").inner_text()


def test_a_newcomer_reads_what_was_run_and_how_far_to_trust_it(open_page: Opener) -> None:
    """Title, duration, backend, verdict and the meaning of the widths stand on the first sight."""
    page = open_page(rendered(a_run()))
    text = page.locator("body").inner_text()
    for told in ("shop.py --all", "4.00 s", "py-spy at 99 Hz", "400 samples", "good recording", "share of the wall time", "your project"):
        assert told in text


def test_waiting_is_folded_at_first_sight_and_said(open_page: Opener) -> None:
    """A second of sleep is not in the widths but on a button that brings it back."""
    page = open_page(rendered(a_run()))
    expect(page.locator(".crumbs")).to_contain_text("3.00 s")
    page.get_by_role("button", name="Waiting folded: 1.00 s").click()
    expect(page.locator(".crumbs")).to_contain_text("4.00 s")


def test_click_zooms_and_a_link_reopens_the_view(open_page: Opener) -> None:
    """The zoom stands in breadcrumb and URL fragment, and the fragment alone restores it."""
    content = rendered(a_run())
    page = open_page(content)
    at(page, 2, 0.1)
    assert crumb(page) == "work"
    fragment = page.evaluate("location.hash")
    assert "zoom=" in fragment
    assert crumb(open_page(content, fragment[1:])) == "work"


def test_search_counts_and_weighs_matches(open_page: Opener) -> None:
    """`/` goes to the field; the count and the share of the time follow the typing; Escape leaves."""
    page = open_page(rendered(a_run()))
    page.keyboard.press("/")
    page.keyboard.type("helper")
    expect(page.locator(".found")).to_have_text("1 match · 66.7 % of the time")
    page.keyboard.press("Escape")
    expect(page.locator(".found")).to_have_text("")


def test_everything_is_reached_by_keys(open_page: Opener) -> None:
    """Arrows select (and say what), Enter zooms, Backspace leaves, `?` explains."""
    page = open_page(rendered(a_run()))
    page.locator(".flame").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".live")).to_contain_text("work, total")
    page.keyboard.press("Enter")
    assert crumb(page) == "work"
    page.keyboard.press("Backspace")
    assert crumb(page) == "main"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("scroll; with Ctrl: zoom")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("2")
    expect(page.get_by_role("listbox", name="Functions")).to_be_visible()


def test_table_sorts_and_shows_callers_and_callees(open_page: Opener) -> None:
    """A click on a function lists who called it and what it calls."""
    page = open_page(rendered(a_run()), "tab=table")
    expect(page.locator(".row").first).to_contain_text("helper")
    page.get_by_role("button", name="total").click()
    page.locator(".row", has_text="helper").click()
    aside = page.locator("aside").inner_text()
    assert "Called by" in aside
    assert "work" in aside


def test_menu_hides_and_focuses(open_page: Opener) -> None:
    """The context menu works by mouse and keeps the sum."""
    page = open_page(rendered(a_run()))
    page.locator(".flame").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    page.get_by_role("menuitem", name="Hide this function").click()
    expect(page.get_by_role("button", name="hidden: work")).to_be_visible()
    expect(page.locator(".crumbs")).to_contain_text("3.00 s")


def test_a_range_of_the_timeline_narrows_every_view(open_page: Opener) -> None:
    """Dragging over the first quarter leaves the first second."""
    page = open_page(rendered(a_run()))
    page.wait_for_selector(".strip canvas")
    box = page.locator(".strip").bounding_box()
    assert box
    page.mouse.move(box["x"] + 1, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20, steps=4)
    page.mouse.up()
    expect(page.locator(".timeline")).to_contain_text("selected")
    assert "range=" in page.evaluate("location.hash")
    total = page.locator(".crumbs > span.dim").last.inner_text()
    assert 0.9 < float(total.split(" ")[0]) <= 1.05 or "ms" in total


def test_metric_level_lane_and_direction_switch_on_the_same_tree(open_page: Opener) -> None:
    """Calls instead of time, lines instead of functions, one lane, inverted: each from the fragment."""
    content = rendered(a_run())
    expect(open_page(content, "metric=calls").locator(".crumbs")).to_contain_text("400 · 100.0 %")
    expect(open_page(content, "lane=1").locator(".crumbs")).to_contain_text("1.00 s")
    expect(open_page(content, "inverted=1").locator(".legend")).to_contain_text("callers")
    page = open_page(content, "level=line")
    at(page, 2, 0.1)
    assert crumb(page) == "work:6"


def test_dark_mode_follows_the_system_and_the_toggle(open_page: Opener) -> None:
    """The ground is dark where the system is, and `t` turns it."""
    page = open_page(rendered(a_run()), color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.evaluate(ground) == "rgb(22, 24, 28)"
    page.keyboard.press("t")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_a_narrow_window_does_not_scroll_sideways(open_page: Opener) -> None:
    """Everything fits into 400 pixels."""
    page = open_page(rendered(a_run()), viewport={"width": 400, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.locator(".flame").bounding_box()["width"] > 300  # type: ignore[index]


def test_hostile_names_stay_text(open_page: Opener) -> None:
    """Names that are markup are shown as they are, in every view, and run nothing."""
    page = open_page(rendered(hostile()))
    assert page.title() == page.locator("h1").inner_text()
    assert HOSTILE in page.locator("h1").inner_text().strip("'")
    at(page, 2, 0.5)
    for key in "23456":
        page.keyboard.press(key)
        page.wait_for_timeout(50)
    assert page.evaluate("'pwned' in window") is False
    expect(page.locator("[onerror], img")).to_have_count(0)


def test_policy_forbids_everything_but_the_page_itself(open_page: Opener) -> None:
    """No eval, no inline script, no image from outside: the policy allows the bundle by its hash alone."""
    page = open_page(rendered(a_run()))
    policy = page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content") or ""
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def deep(n: int) -> Profile:
    b = ProfileBuilder((WALL_TIME,), Meta(command=("deep.py",)))
    frame = b.frame(b.function("down", module="m", file="m.py"), 1)
    b.add(b.stack([frame] * n), b.lane(), 0, 5 * MS)
    return b.build()


def test_a_stack_of_fifty_thousand_opens(open_page: Opener) -> None:
    """Depth is no recursion in the page."""
    page = open_page(rendered(deep(50_000)))
    expect(page.locator(".crumbs")).to_contain_text("5.00 ms")
    page.keyboard.press("2")
    expect(page.locator(".row").first).to_contain_text("down")


def test_schema_is_what_python_says() -> None:
    """src/schema.ts is generated; edit proftool/model and run `python -m proftool.viewer.schema`."""
    if schema.PLACE.exists():
        assert schema.PLACE.read_text() == schema.typescript()


def test_fragment_is_readable(open_page: Opener) -> None:
    """A search with blanks survives the URL."""
    page = open_page(rendered(a_run()), "q=work+shop")
    expect(page.locator(".found")).to_contain_text("1 match")
    assert unquote(page.evaluate("location.hash")) == "#q=work+shop"


def test_lanes_stand_side_by_side(open_page: Opener) -> None:
    """One bar a thread, named, with its own tree below."""
    page = open_page(rendered(a_run()), "lane=-2")
    at(page, 1, 0.1)
    assert crumb(page) == "shop · MainThread"
    expect(page.locator(".crumbs")).to_contain_text("2.00 s")
