"""The page of a diff in a real browser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from playwright.sync_api import Page, expect
from reports.test_page import between, changed, few
from viewer.conftest import MS, Opener

from proftool.contracts import ReportOptions
from proftool.model.builder import ProfileBuilder
from proftool.model.compare import diff
from proftool.model.diff import Diff
from proftool.model.meta import Meta, Pass
from proftool.model.profile import WALL_TIME, Category, Profile
from proftool.reports.flamegraph import render_diff


def a_side(slow: int, path: str) -> Profile:
    """`main` calls `steady`, `slow` for that many samples, and `serve` -> `path`."""
    recorded = Pass(mode="sample", backend="py-spy", rate_achieved_hz=100.0, samples=2_000, duration_ns=20_000 * MS)
    b = ProfileBuilder((WALL_TIME,), Meta(passes=(recorded,), command=("shop.py",)))

    def frame(name: str) -> int:
        return b.frame(b.function(name, module="shop", file="shop.py", category=Category.PROJECT), 3)

    root, lane = b.node(-1, frame("main")), b.lane()
    leaves = [
        (b.stack([frame("steady")], root), 900),
        (b.stack([frame("slow")], root), slow),
        (b.stack([frame("serve"), frame(path)], root), 300),
    ]
    for leaf, samples in leaves:
        for k in range(samples):
            b.sample(k * 10 * MS, lane, leaf, 10 * MS)
        b.add(leaf, lane, 0, samples * 10 * MS)
    return b.build()


def a_diff() -> Diff:
    """Three runs a side: `slow` took 200 samples and takes 500, `old_way` became `new_way`."""
    return diff(
        [a_side(200 + k, "old_way") for k in range(3)],
        [a_side(500 + k, "new_way") for k in range(3)],
        names=("before", "after"),
    )


def colours(page: Page, level: int) -> set[str]:
    """Different pixels in the middle of a level of the flame graph, slivers and gaps of a pixel included."""
    return set(
        page.evaluate(
            """level => { const c = document.querySelector('.flame canvas'), s = c.width / c.clientWidth;
            const pen = new OffscreenCanvas(c.width, 1).getContext('2d', {willReadFrequently: true});
            pen.drawImage(c, 0, -Math.round((19 * level + 3) * s));
            const p = pen.getImageData(0, 0, c.width, 1).data, found = new Set();
            for (let k = 0; k < p.length; k += 4) found.add(`${p[k]},${p[k + 1]},${p[k + 2]}`);
            return [...found]; }""",
            level,
        )
    )


def red(colour: str) -> bool:
    r, g, b = map(int, colour.split(","))
    return r > b + 40 and r > g + 20


def blue(colour: str) -> bool:
    r, _, b = map(int, colour.split(","))
    return b > r + 40


def test_the_answer_stands_first(open_page: Opener) -> None:
    """Total, change, runs of each side and the sentence that explains it are read before any picture."""
    page = open_page(render_diff(a_diff(), ReportOptions()))
    text = page.locator(".answer").inner_text()
    for told in ("+3.00 s", "14.0 s → 17.0 s", "3 against 3 runs", "of the change is explained", "slow"):
        assert told in text


def test_a_certain_change_is_coloured_and_chance_is_grey(open_page: Opener) -> None:
    """More is red, less is blue, what is not known to differ is grey; `main` above is tinted by what is known below it."""
    page = open_page(render_diff(a_diff(), ReportOptions()))
    leaves = colours(page, 3)
    assert any(red(colour) for colour in leaves)
    assert any(blue(colour) for colour in leaves)
    page.evaluate("location.hash = 'q=steady'")
    expect(page.locator(".found")).to_contain_text("1 match")
    unsure = replace(a_diff(), node_certainty=np.zeros(len(a_diff().profile.nodes), np.float32))
    plain = open_page(render_diff(unsure, ReportOptions()))
    assert not any(red(colour) or blue(colour) for level in range(1, 4) for colour in colours(plain, level))


def test_new_and_vanished_paths_are_drawn_and_named(open_page: Opener) -> None:
    """Both are on the picture: `before` and `after` widths leave one of them each."""
    content = render_diff(a_diff(), ReportOptions())
    table = open_page(content, "tab=changes").locator(".rows").inner_text()
    assert "old_way" in table
    assert "new_way" in table
    for side, there, away in (("before", "old_way", "new_way"), ("after", "new_way", "old_way")):
        page = open_page(content, f"tab=tree&side={side}")
        rows = page.locator(".row", has_text="serve")
        rows.first.click()
        page.keyboard.press("ArrowRight")
        names = page.locator(".rows").inner_text()
        assert there in names
        assert away not in names


def test_the_table_of_changes_has_intervals_and_verdicts(open_page: Opener) -> None:
    """One row a function that changed; the others are a checkbox away."""
    page = open_page(render_diff(a_diff(), ReportOptions()), "tab=changes")
    row = page.locator(".row", has_text="slow").first
    expect(row).to_contain_text("+3.00 s")
    expect(row).to_contain_text("slower")
    expect(row).to_contain_text("…")
    expect(page.locator(".row", has_text="steady")).to_have_count(0)
    page.get_by_label("also the").check()
    expect(page.locator(".row", has_text="steady")).to_have_count(1)


def test_a_tooltip_tells_both_sides_and_what_is_known(open_page: Opener) -> None:
    """Before, after, change, the part that is certain, and the verdict on the function."""
    page = open_page(render_diff(a_diff(), ReportOptions()))
    box = page.locator(".flame").bounding_box()
    assert box
    for share in (0.05, 0.3, 0.45, 0.6, 0.75, 0.9):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + 19 * 2 + 9)
        if page.locator(".tooltip b").inner_text() == "slow":
            break
    told = page.locator(".tooltip").inner_text()
    for word in ("before → after", "2.01 s", "5.01 s", "known to differ", "slower"):
        assert word in told


def test_a_folded_diff_keeps_its_colours(open_page: Opener) -> None:
    """Thousands of small callees are folded away; what changed is still red, and the page says what it left out."""
    answer = diff(*([side] * 3 for side in changed(20_000)), names=("before", "after"))
    bound = between(*(render_diff(one, ReportOptions()) for one in (few(), answer)), share=0.06)
    content = render_diff(answer, ReportOptions(max_bytes=bound))
    assert len(content) <= bound
    page = open_page(content)
    expect(page.locator("header .chip", has_text="folded")).to_be_visible()
    assert any(red(colour) for colour in colours(page, 2))
    page.get_by_role("button", name="How it was recorded").click()
    expect(page.locator(".cards")).to_contain_text("(n others)")
