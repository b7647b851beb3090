"""A run that one page cannot hold, opened by `proftool open` and followed in a real browser."""

from __future__ import annotations

from threading import Thread

from playwright.sync_api import Browser, expect

from proftool.contracts import ReportOptions
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta
from proftool.model.profile import WALL_TIME, Profile
from proftool.reports.flamegraph import report
from proftool.workflows.serve import PageServer


def bushy() -> Profile:
    """Eight callees of `main`, each with three thousand small callees of its own."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("large.py",)))
    root, lane = b.node(-1, b.frame(b.function("main", module="m"), 1)), b.lane()
    for k in range(8):
        branch = b.node(root, b.frame(b.function(f"branch_{k}", module="m"), 1))
        for leaf in range(3000):
            b.add(b.node(branch, b.frame(b.function(f"leaf_{k}_{leaf}", module="m"), 1)), lane, 0, 1000 + leaf * 7919 % 100_003)
    return b.build()


def test_a_click_on_others_opens_what_is_folded(browser: Browser) -> None:
    """The first page folds; a click leads to a page of that part, where nothing is folded, and a link leads back."""
    run = bushy()
    with PageServer(run, ReportOptions(max_bytes=len(report.render(run, ReportOptions())) - 25_000)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 1200, "height": 760})
        asked: list[str] = []
        page.on("request", lambda r: asked.append(r.url))
        page.goto(server.url)
        expect(page.locator("header .chip", has_text="folded")).to_be_visible()
        page.keyboard.press("/")
        page.keyboard.type("/others\\)/")
        page.keyboard.press("Escape")
        box = page.locator(".flame").bounding_box()
        assert box
        page.mouse.move(box["x"] + 8, box["y"] + 19 * 3 + 9)
        for level in (2, 3):
            for share in range(1, 100, 2):
                page.mouse.move(box["x"] + box["width"] * share / 100, box["y"] + 19 * level + 9)
                if page.locator(".tooltip").count() and "a click opens them" in page.locator(".tooltip").inner_text():
                    break
            else:
                continue
            page.mouse.down()
            page.mouse.up()
            break
        expect(page.locator(".within")).to_contain_text("only what lies below main")
        assert "node=" in page.url
        page.get_by_role("link", name="the whole run").click()
        expect(page.locator(".within")).to_have_count(0)
        page.close()
        server.shutdown()
    assert all(url.startswith(server.url) for url in asked)
