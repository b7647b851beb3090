"""Everybody can use the page: axe's rules, keys, contrast, a narrow window, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from viewer.conftest import Opener, a_run, insight, rendered
from viewer.test_diff_page import a_diff

import proftool.viewer
from proftool.contracts import ReportOptions
from proftool.reports.flamegraph import render_diff

AXE = Path(proftool.viewer.__file__).parent / "node_modules" / "axe-core" / "axe.min.js"

RUN = """axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']}).then(r => r.violations.map(v =>
  `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 120) + ' ' + n.failureSummary.slice(0, 200)).join(' | ')}`))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Opener, scheme: str) -> None:
    """Every view of a run and of a diff holds the rules of WCAG 2.1 A and AA that axe-core checks, contrast included."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed: `python proftool/viewer/build.py test` does it")
    found: list[str] = []
    for content, tabs in (
        (
            rendered(a_run(), ReportOptions(insights=(insight(), insight(id="json", line=None)))),
            ("flame", "table&chosen=1", "tree", "sandwich", "source&chosen=0&line=2", "advice", "quality"),
        ),
        (render_diff(a_diff(), ReportOptions()), ("flame", "changes")),
    ):
        page = open_page(content, color_scheme=scheme)
        page.evaluate(AXE.read_text("utf-8"))
        for tab in tabs:
            page.evaluate(f"location.hash = 'tab={tab}'")
            page.wait_for_timeout(80)
            broken = page.evaluate(RUN)
            found += [f"{tab}: {violation}" for violation in broken]
    assert found == []


def test_every_key_that_help_names_does_something(open_page: Opener) -> None:
    """`?` lists them; i, f, c, w, t and the digits change the page's own state, in the address bar too."""
    page = open_page(rendered(a_run()))
    page.keyboard.press("?")
    listed = page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    for key, told in (
        ("i", "inverted=1"),
        ("f", "flame=1"),
        ("c", "collapse=1"),
        ("w", "waiting=1"),
        ("t", "theme=dark"),
        ("2", "tab=table"),
        ("4", "tab=sandwich"),
    ):
        assert key in listed or key.isdigit()
        page.keyboard.press(key)
        expect(page.locator("body")).to_be_visible()
        assert told in page.evaluate("location.hash"), key


def test_a_whole_state_is_reopened_from_its_address(open_page: Opener) -> None:
    """Metric, level, lane, direction, order, search, range, colour, theme: what the address bar says is what is shown, and it is kept."""
    content = rendered(a_run())
    fragment = "tab=table&level=line&lane=0&inverted=1&order=name&range=0-2000000000&colour=module&flame=1&q=work&theme=dark&chosen=1"
    page = open_page(content, fragment)
    assert set(page.evaluate("location.hash")[1:].split("&")) == set(fragment.split("&"))
    expect(page.locator(".found")).to_contain_text("match")
    expect(page.locator("aside h2")).to_have_text("work")


@pytest.mark.parametrize("tab", ["flame", "table&chosen=1", "tree", "sandwich", "source", "advice", "quality"])
def test_no_view_scrolls_sideways_in_a_narrow_window(open_page: Opener, tab: str) -> None:
    """Four hundred pixels hold every view."""
    page = open_page(rendered(a_run(), ReportOptions(insights=(insight(),))), f"tab={tab}", viewport={"width": 400, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_focus_comes_back_from_menu_and_help(open_page: Opener) -> None:
    """Who opens and leaves them by keys stands where they stood."""
    page = open_page(rendered(a_run()))
    page.locator(".flame").focus()
    page.keyboard.press("ArrowDown")
    for opener in ("m", "?"):
        page.keyboard.press(opener)
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.classList.contains('flame')")
