"""Advice on the page: the first sight says the dearest, the panel says all, and each leads to its function and its line."""

from __future__ import annotations

from playwright.sync_api import expect
from viewer.conftest import HOSTILE, Opener, a_run, hostile, insight, rendered

from proftool.contracts import ReportOptions
from proftool.model.insight import Confidence


def options(*insights: object) -> ReportOptions:
    return ReportOptions(insights=insights or (insight(), insight(id="json", function="main", share=0.125, confidence=Confidence.LOW)))  # type: ignore[arg-type]


def test_the_first_sight_says_the_dearest_advice(open_page: Opener) -> None:
    """One line above the graph, and the number of all on the tab."""
    page = open_page(rendered(a_run(), options()))
    expect(page.locator(".answer.first")).to_contain_text("work 50.0 % of the working time (2.00 s) copies objects")
    expect(page.get_by_role("button", name="Advice (2)")).to_be_visible()


def test_an_insight_says_what_share_evidence_advice_and_effect(open_page: Opener) -> None:
    """Everything that a rule knows stands on its card, `code` as code, and the rule links to its page."""
    page = open_page(rendered(a_run(), options()), "tab=advice")
    card = page.get_by_role("region", name="deep-copy: work")
    for told in ("work", "shop.py:2", "50.0 %", "2.00 s", "copy only what is changed", "measured: 3.1–3.6× faster", "high confidence"):
        expect(card).to_contain_text(told)
    assert card.locator("code").all_inner_texts() == ["copy.deepcopy", "dict(row)"]
    assert card.get_by_role("link", name="deep-copy").get_attribute("href") == "https://docs.python.org/3/library/copy.html"
    expect(card.get_by_role("link", name="shop.py:2")).to_have_count(0)  # the recording does not know where its files stood
    expect(page.locator(".advice section").first).to_contain_text("work")


def test_an_insight_leads_to_its_function_in_the_graph(open_page: Opener) -> None:
    """By keys alone: the digit of the tab, Tab to the button, Enter; filters that would hide the function are taken back."""
    page = open_page(rendered(a_run(), options()), "hidden=1&inverted=1&lane=1")
    page.keyboard.press("6")
    expect(page.locator(".advice section")).to_have_count(2)
    page.get_by_role("button", name="Show in flame graph").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".crumbs button[aria-current]")).to_have_text("work")
    assert "hidden" not in page.evaluate("location.hash")


def test_an_insight_leads_to_its_line(open_page: Opener) -> None:
    """The source stands at the line, marked, and the address opens it again."""
    content = rendered(a_run(), options())
    page = open_page(content, "tab=advice")
    page.get_by_role("button", name="Show line 2").first.click()
    expect(page.locator(".code[aria-current]")).to_contain_text("work()")
    assert page.evaluate("document.activeElement.classList.contains('source')")
    again = open_page(content, page.evaluate("location.hash")[1:])
    expect(again.locator(".code[aria-current]")).to_contain_text("work()")


def test_advice_on_bytes_shows_bytes_and_on_waiting_shows_the_waiting(open_page: Opener) -> None:
    """The graph that an insight opens has the metric that it speaks of."""
    page = open_page(
        rendered(a_run(), options(insight(metric="calls"), insight(id="blocked-loop", function="main", metric="waiting_time"))),
        "tab=advice",
    )
    page.get_by_role("button", name="Show in flame graph").first.click()
    assert "metric=calls" in page.evaluate("location.hash")
    page.keyboard.press("6")
    page.get_by_role("button", name="Show in flame graph").last.click()
    assert "metric" not in page.evaluate("location.hash")
    assert "waiting=1" in page.evaluate("location.hash")
    expect(page.locator(".crumbs button[aria-current]")).to_have_text("main")


def test_a_page_without_advice_has_no_panel(open_page: Opener) -> None:
    """No tab and no line; an address that asks for it shows the circumstances."""
    page = open_page(rendered(a_run()), "tab=advice")
    expect(page.get_by_role("button", name="Advice")).to_have_count(0)
    expect(page.locator(".answer.first")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("What was run")


def test_a_function_that_is_not_on_the_page_has_no_button(open_page: Opener) -> None:
    """What was folded away is told, and nothing leads into the void."""
    page = open_page(rendered(a_run(), options(insight(function="elsewhere", file=None, line=None))), "tab=advice")
    expect(page.locator(".advice section")).to_contain_text("elsewhere")
    expect(page.get_by_role("button", name="Show in flame graph")).to_have_count(0)


def test_hostile_advice_stays_text(open_page: Opener) -> None:
    """Markup in any field is shown, and a link that is no web address is none."""
    bad = insight(function=HOSTILE, evidence=HOSTILE, advice=HOSTILE, effect=HOSTILE, file=HOSTILE, link="javascript:window.pwned=1")
    page = open_page(rendered(hostile(), options(bad)), "tab=advice")
    expect(page.locator(".advice")).to_contain_text("onerror=window.pwned=1")
    expect(page.locator("[onerror], img, .advice a[href^=javascript]")).to_have_count(0)
    assert page.evaluate("'pwned' in window") is False
