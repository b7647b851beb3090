"""Sandwich, memory over time, lanes, the picture as a file, the editor: each in a real browser."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Page, expect
from reports.test_page import between
from viewer.conftest import MS, Opener, a_run, rendered

from proftool.contracts import ReportOptions
from proftool.model.builder import ProfileBuilder
from proftool.model.meta import Meta
from proftool.model.profile import LEAKED_BYTES, PEAK_BYTES, WALL_TIME, Profile

MIB = 1 << 20


def heard(page: Page) -> str:
    return page.locator(".live").inner_text()


def test_the_sandwich_shows_callers_and_callees_to_any_depth(open_page: Opener) -> None:
    """Above `work` stands `main`, below it `helper`; a click in a half zooms that half."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("deep.py",)))
    frames = [b.frame(b.function(name, module="m", file="m.py"), 1) for name in "abcdefg"]
    other = b.frame(b.function("x", module="m"), 1)
    b.add(b.stack(frames), b.lane(), 0, 6 * MS)
    b.add(b.stack([other, frames[3]]), 0, 0, 4 * MS)
    page = open_page(rendered(b.build()), "tab=sandwich&chosen=3")
    expect(page.locator(".middle")).to_contain_text("10.0 ms of wall time · 100.0 %")
    above, below = page.get_by_label("Callers of d"), page.get_by_label("Callees of d")
    for half, key, wanted in ((above, "ArrowUp", ["c", "b", "a"]), (below, "ArrowDown", ["e", "f", "g"])):
        half.focus()
        for name in wanted:
            page.keyboard.press(key)
            expect(half.locator(".half-live")).to_contain_text(f"{name}, total")
    expect(above.locator(".half-live")).to_contain_text("6.00 ms")


def memory() -> Profile:
    """1 MiB from 0 to 4 s, 3 MiB from 1 to 2 s, 2 MiB from 3 s on, never freed."""
    b = ProfileBuilder((PEAK_BYTES, LEAKED_BYTES), Meta(command=("hoard.py",)))
    lane = b.lane()
    for name, start, end, size in (("base", 0, 4000, 1), ("burst", 1000, 2000, 3), ("kept", 3000, -1, 2)):
        node = b.stack([b.frame(b.function("main", module="m"), 1), b.frame(b.function(name, module="m"), 2)])
        b.interval(node, lane, start * MS, end * MS if end >= 0 else -1, size * MIB, 1)
        if name != "kept":
            b.add(node, lane, 0, size * MIB)
        else:
            b.add(node, lane, 1, size * MIB)
    return b.build()


def test_memory_over_time_and_a_range_of_it(open_page: Opener) -> None:
    """The strip peaks at 4 MiB; a range shows what was allocated in it and still alive at its end."""
    content = rendered(memory())
    page = open_page(content)
    expect(page.locator(".timeline")).to_contain_text("bytes alive · at most 4.00 MiB")
    expect(page.locator(".crumbs")).to_contain_text("4.00 MiB")
    ranged = open_page(content, f"range={500 * MS}-{1500 * MS}")
    expect(ranged.locator(".timeline")).to_contain_text("500 ms – 1.50 s selected")
    expect(ranged.locator(".crumbs")).to_contain_text("3.00 MiB")
    leaked = open_page(content, "metric=leaked_bytes")
    expect(leaked.locator(".crumbs")).to_contain_text("2.00 MiB")


def test_a_range_is_moved_by_keys(open_page: Opener) -> None:
    """Arrows move its start, with Shift its end; `show all` leaves."""
    page = open_page(rendered(memory()))
    page.wait_for_selector(".strip canvas")
    page.locator(".strip").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".timeline")).to_contain_text("100 ms – 4.00 s selected")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".timeline")).to_contain_text("100 ms – 3.90 s selected")
    page.get_by_role("button", name="show all").click()
    expect(page.locator(".timeline")).to_contain_text("drag to select a range")


def test_a_timeline_that_is_too_long_is_thinned_and_says_so(open_page: Opener) -> None:
    """The strip stays, with coarser steps, and the sum of a range is that of its samples."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("long.py",)))
    lane, leaves = b.lane(), [b.stack([b.frame(b.function(f"f{k}", module="m"), 1)]) for k in range(50)]
    order = random.Random(1)
    for leaf in leaves:
        b.add(leaf, lane, 0, 4800 * MS)
    least = rendered(b.build())
    for k in range(240_000):
        b.sample(k * MS, lane, leaves[order.randrange(50)], MS)
    run = b.build()
    bound = between(least, rendered(run), share=0.5)
    page = open_page(rendered(run, ReportOptions(max_bytes=bound)))
    expect(page.locator(".timeline")).to_contain_text("of 240,000 rows; its sums are exact")
    page.evaluate(f"location.hash = 'range=0-{240_000 * MS}'")
    expect(page.locator(".crumbs")).to_contain_text("240 s · 100.0 %")


def test_any_number_of_lanes_stands_side_by_side(open_page: Opener) -> None:
    """Forty threads are forty bars."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("pool.py",)))
    work = b.frame(b.function("work", module="m"), 1)
    for k in range(40):
        b.add(b.stack([work]), b.lane(pid=1, tid=k, thread_name=f"worker-{k:02}"), 0, MS)
    page = open_page(rendered(b.build()), "lane=-2&order=name")
    page.locator(".flame").focus()
    page.keyboard.press("ArrowDown")
    for _ in range(39):
        page.keyboard.press("ArrowRight")
    assert heard(page).startswith("process 1 · worker-39, total 1.00 ms")


def test_the_picture_is_saved_with_what_it_is(open_page: Opener, tmp_path: Path) -> None:
    """`p` saves a PNG as wide as the graph, a line of text higher, named after the program."""
    page = open_page(rendered(a_run()))
    with page.expect_download() as saved:
        page.keyboard.press("p")
    assert saved.value.suggested_filename == "shop.py-all-flame-graph.png"
    saved.value.save_as(tmp_path / "saved.png")
    content = (tmp_path / "saved.png").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(b"\x89PNG")
    assert (width, height) == tuple(page.evaluate("(c => [c.width, c.height + 30])(document.querySelector('.flame canvas'))"))


def opened_by(page: Page) -> str:
    """What the browser is asked to open by the menu of the selected bar."""
    page.evaluate("""window.asked = []; HTMLAnchorElement.prototype.click = function () { window.asked.push(this.href); }; 0""")
    page.locator(".flame").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    page.get_by_role("menuitem", name="in the editor").click()
    (href,) = page.evaluate("window.asked")
    return str(href)


def test_source_opens_in_the_editor_of_the_settings(open_page: Opener) -> None:
    """VS Code by default; any URL with {path} and {line}; names with blanks and hashes are escaped."""
    run = a_run()
    placed = replace(run, meta=replace(run.meta, project_root="/home/me/my #1 shop"))
    assert opened_by(open_page(rendered(placed))) == "vscode://file/home/me/my%20%231%20shop/shop.py:2"
    asked = ReportOptions(editor="idea://open?file={path}&line={line}")
    assert opened_by(open_page(rendered(placed, asked))) == "idea://open?file=/home/me/my%20%231%20shop/shop.py&line=2"


def test_no_link_without_a_file(open_page: Opener) -> None:
    """A function of no known place has no entry for the editor."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("x",)))
    b.add(b.stack([b.frame(b.function("frozen", file="<frozen importlib._bootstrap>"), 3)]), b.lane(), 0, MS)
    page = open_page(rendered(b.build()))
    page.locator(".flame").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("m")
    expect(page.get_by_role("menuitem", name="Zoom in")).to_be_visible()
    expect(page.get_by_role("menuitem", name="in the editor")).to_have_count(0)


def test_the_inverted_view_says_what_it_leaves_closed(open_page: Opener) -> None:
    """Callers of what is too small are not opened; how much that is stands below the picture."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("x",)))
    lane, root = b.lane(), b.node(-1, b.frame(b.function("main", module="m"), 1))
    b.add(b.stack([b.frame(b.function("large", module="m"), 1)], root), lane, 0, 1_000_000)
    for k in range(10):
        b.add(b.stack([b.frame(b.function(f"tiny_{k}", module="m"), 1)], root), lane, 0, 4)
    page = open_page(rendered(b.build()), "inverted=1")
    expect(page.locator(".legend")).to_contain_text("Callers of 10 stacks, each in a bar below 0.005 %, are not opened: 40 ns in all")


def test_a_long_list_of_callers_goes_on(open_page: Opener) -> None:
    """Sixty are shown, the others are one click away."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("x",)))
    lane, hub = b.lane(), b.frame(b.function("hub", module="m"), 1)
    for k in range(100):
        b.add(b.stack([b.frame(b.function(f"caller_{k}", module="m"), 1), hub]), lane, 0, MS)
    page = open_page(rendered(b.build()), "tab=table&chosen=0")
    expect(page.locator(".pairs").first.locator("li")).to_have_count(60)
    page.get_by_role("button", name="40 more").click()
    expect(page.locator(".pairs").first.locator("li")).to_have_count(100)
