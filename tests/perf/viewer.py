"""How fast is the report, beside other viewers of the same tree, in one run?

`python tests/perf/viewer.py [--nodes 100000,1000000] [--viewers proftool,memray,...]` prints a Markdown table:

- written: seconds and peak memory of the process that makes the file (the tree is in it already, its making is not counted), and the file's size
- first paint: from navigation until the picture shows more than its ground; heap: JavaScript heap with array buffers, 1.5 s later
- click: from the pointer going down until the second frame after it; search: from the last key until a count stands there

The last three are medians of up to three looks (one, where a look takes more than 5 s). Every viewer gets the same stacks with
the same names: memray's and pyinstrument's own HTML reporters (memray's with no_web) as records of their own kind, speedscope and
d3-flame-graph, from npm into a temporary folder, as collapsed stacks and as nested JSON. What cannot be installed or gives up has
a row that says so. `proftool diff` is the page of two such trees of which twenty functions differ. Not part of pytest.
"""

# ruff: noqa: E501  scripts of the pages are one line each

from __future__ import annotations

import argparse
import functools
import http.server
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from proftool.contracts import ReportOptions
from proftool.model.builder import ProfileBuilder, finish
from proftool.model.meta import Meta
from proftool.model.profile import WALL_TIME, Cells, Frames, Nodes, Profile
from proftool.reports.flamegraph import report

FUNCTIONS = 4999
WRITE_TIMEOUT_S = 170
CANVAS = """[...document.querySelectorAll('canvas')].some(c => { if (c.width * c.height < 9e4) return false;
  const pen = new OffscreenCanvas(64, 64).getContext('2d'); pen.drawImage(c, 0, 0, 64, 64); const p = new Uint32Array(pen.getImageData(0, 0, 64, 64).data.buffer);
  return p.some(v => v !== p[0]); })"""
SVG = "document.querySelectorAll('svg rect').length > 50"
TEXT = "document.body && /function_[0-9]/.test(document.body.innerText)"
UNTIL = "new Promise(done => { const look = () => ((%s) ? done(performance.now()) : performance.now() > 60000 ? done(NaN) : requestAnimationFrame(look)); look(); })"
REPAINTED = """new Promise(done => addEventListener('pointerdown', e => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - e.timeStamp))), {once: true, capture: true}))"""
FOUND = """new Promise(done => { let typed = 0; addEventListener('input', e => typed = e.timeStamp, {capture: true});
  const look = () => (typed && /match/.test(document.querySelector('.found').innerText) ? done(performance.now() - typed) : requestAnimationFrame(look)); look(); })"""


def tree(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parents, functions and self values (ns) of about n contexts, 30 to 80 deep, few branches near the root and many far from it; always the same."""
    if n > 1_000_000:  # copies below the root of a smaller one, each with other functions
        parent, function, value = tree(1_000_000)
        copies = n // len(parent)
        own = np.arange(1, len(parent))
        up, moved = parent[own], np.arange(copies)[:, None] * len(own)
        return (
            np.append(-1, np.where(up == 0, 0, up + moved)).astype(np.int32),
            np.append(0, (function[own] + np.arange(copies)[:, None] * 31) % FUNCTIONS).astype(np.int32),
            np.append(0, np.tile(value[own], copies)),
        )
    rng, parent, function, calls, leaves = random.Random(20), [-1], [0], [0], {0: 1}
    stack = [0]
    while len(parent) < n:
        keep = rng.randint(2, 14) if rng.random() < 600 / n else max(15, len(stack) - 1 - int(rng.expovariate(1 / 7)))
        del stack[min(keep, len(stack)) :]
        deep = min(80, max(30, len(stack) + 1 + int(rng.expovariate(1 / 8))))
        while len(stack) < deep:
            up = stack[-1]
            parent.append(up)
            function.append((function[up] * 31 + 17 + calls[up] * 101) % FUNCTIONS)  # siblings never repeat
            calls[up] += 1
            calls.append(0)
            stack.append(len(parent) - 1)
        leaves[stack[-1]] = min(100_000, int(rng.paretovariate(1.1))) * 1_000_000
    value = np.zeros(len(parent), np.int64)
    value[list(leaves)] = list(leaves.values())
    return np.array(parent, np.int32), np.array(function, np.int32), value


def profile(parent: np.ndarray, function: np.ndarray, value: np.ndarray) -> Profile:
    """The tree as a profile of one lane."""
    b = ProfileBuilder((WALL_TIME,), Meta(command=("synthetic.py",)))
    for k in range(FUNCTIONS):
        b.frame(b.function(f"function_{k}", module=f"package.module_{k % 97}", file=f"package/module_{k % 97}.py", first_line=k + 1), k + 1)
    b.lane()
    built = b.build()
    nodes = np.flatnonzero(value).astype(np.int32)
    none = np.zeros(len(nodes), np.int32)
    return finish(
        Profile(
            strings=built.strings, functions=built.functions, frames=Frames(function=built.frames.function, line=built.frames.line),
            lanes=built.lanes, metrics=built.metrics, meta=built.meta, nodes=Nodes(parent=parent, frame=function),
            cells=Cells(node=nodes, lane=none, metric=none, value=value[nodes]),
        )
    )  # fmt: skip


Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def stacks(parent: np.ndarray, function: np.ndarray, value: np.ndarray) -> Iterator[tuple[list[int], int]]:
    """Functions from the root down, and the value, of every node that has one."""
    up, names = parent.tolist(), function.tolist()
    for node in np.flatnonzero(value).tolist():
        found, at = [], node
        while at >= 0:
            found.append(names[at])
            at = up[at]
        yield found[::-1], int(value[node])


# --- the writers: each returns a function that writes and says where, called under the clock ------------------------------------


def proftool(tree: Arrays, folder: Path) -> Callable[[], str]:
    made = profile(*tree)

    def write() -> str:
        (folder / "proftool.html").write_bytes(report.render(made, ReportOptions()))
        return "proftool.html"

    return write


def proftool_diff(tree: Arrays, folder: Path) -> Callable[[], str]:
    from proftool.model.compare import diff

    parent, function, value = tree
    other = np.where(function < 20, value * 3 // 2, value)
    made = diff([profile(parent, function, value)], [profile(parent, function, other)], names=("base", "new"))

    def write() -> str:
        (folder / "diff.html").write_bytes(report.render_diff(made, ReportOptions()))
        return "diff.html"

    return write


def memray(tree: Arrays, folder: Path) -> Callable[[], str]:
    from datetime import datetime

    import memray as package
    from memray.reporters.flamegraph import FlameGraphReporter

    places = [(f"function_{k}", f"package/module_{k % 97}.py", k + 1) for k in range(FUNCTIONS)]

    class Record:
        """What the reporter reads of an AllocationRecord."""

        tid, thread_name, n_allocations = 1, "main", 1

        def __init__(self, stack: list[int], size: int) -> None:
            self.stack, self.size = stack, size

        def stack_trace(self) -> list[tuple[str, str, int]]:
            return [places[k] for k in reversed(self.stack)]

    def write() -> str:
        records = (Record(stack, value) for stack, value in stacks(*tree))
        made = FlameGraphReporter.from_snapshot(records, memory_records=[], native_traces=False)  # type: ignore[arg-type]
        now = datetime(2026, 1, 1)
        about = package.Metadata(
            start_time=now, end_time=now, total_allocations=1, total_frames=1, peak_memory=1, command_line="synthetic.py", pid=1,
            main_thread_id=1, python_allocator="pymalloc", has_native_traces=False, trace_python_allocators=False,
            file_format=package.FileFormat.ALL_ALLOCATIONS,
        )  # fmt: skip
        with (folder / "memray.html").open("w") as out:
            made.render(outfile=out, metadata=about, show_memory_leaks=False, merge_threads=True, inverted=False, no_web=True)
        return "memray.html"

    return write


def pyinstrument(tree: Arrays, folder: Path) -> Callable[[], str]:
    from pyinstrument.renderers import HTMLRenderer
    from pyinstrument.session import Session

    names = [f"function_{k}\0package/module_{k % 97}.py\0{k + 1}" for k in range(FUNCTIONS)]
    records = [([names[k] for k in stack], value / 1e9) for stack, value in stacks(*tree)]

    def write() -> str:
        session = Session(
            frame_records=records, start_time=0, duration=sum(v for _, v in records), min_interval=0.001, max_interval=0.001,
            sample_count=len(records), start_call_stack=[names[0]], target_description="synthetic.py", cpu_time=0, sys_path=[], sys_prefixes=[],
        )  # fmt: skip
        (folder / "pyinstrument.html").write_text(HTMLRenderer().render(session))
        return "pyinstrument.html"

    return write


def d3(tree: Arrays, folder: Path) -> Callable[[], str]:
    modules = folder / "node_modules"
    script = "".join((modules / of).read_text() for of in ("d3/dist/d3.min.js", "d3-flame-graph/dist/d3-flamegraph.umd.min.js"))
    draw = "const make=window.flamegraph.default||window.flamegraph.flamegraph||window.flamegraph;d3.select('#c').datum(data).call(make().width(1240).minFrameSize(1))"

    def write() -> str:
        sys.setrecursionlimit(10_000)
        up, names, total = tree[0].tolist(), tree[1].tolist(), tree[2].tolist()
        items: list[dict[str, object]] = [{"name": f"function_{k}", "children": []} for k in names]
        for k in range(len(up) - 1, 0, -1):
            total[up[k]] += total[k]
            items[k]["value"] = total[k]
            items[up[k]]["children"].append(items[k])  # type: ignore[attr-defined]
        items[0]["value"] = total[0]
        page = f"<meta charset=utf-8><div id=c></div><script>{script}</script><script>const data={json.dumps(items[0])};{draw}</script>"
        (folder / "d3.html").write_text(page)
        return "d3.html"

    return write


def speedscope(tree: Arrays, folder: Path) -> Callable[[], str]:
    def write() -> str:
        with (folder / "stacks.txt").open("w") as out:
            for stack, value in stacks(*tree):
                out.write(";".join([f"function_{k}" for k in stack]) + f" {value // 1_000_000}\n")
        return "node_modules/speedscope/dist/release/index.html#profileURL=/stacks.txt"

    return write


VIEWERS: dict[str, tuple[Callable[[Arrays, Path], Callable[[], str]], str, str]] = {
    "proftool": (proftool, CANVAS, "proftool.html"),
    "proftool diff": (proftool_diff, CANVAS, "diff.html"),
    "pyinstrument": (pyinstrument, TEXT, "pyinstrument.html"),
    "d3-flame-graph": (d3, SVG, "d3.html"),
    "speedscope": (speedscope, CANVAS, "stacks.txt"),
    "memray": (memray, SVG, "memray.html"),
}
"""Name -> (writer, when it has painted, its file)."""


def written(name: str, folder: Path) -> None:
    """In a process of its own: write one file; the address, seconds and MB of memory on stdout."""
    tree = tuple(np.load(folder / f"{column}.npy") for column in ("parent", "function", "value"))
    write = VIEWERS[name][0](tree, folder)  # type: ignore[arg-type]
    begin = time.perf_counter()
    where = write()
    print(json.dumps([where, time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def look(browser: Browser, url: str, painted: str, searches: bool) -> tuple[float, float, float, float]:
    """First paint in s, heap in MB, click to repaint and search in ms."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    try:
        page.goto(url, wait_until="commit", timeout=120_000)
        cdp = page.context.new_cdp_session(page)
        ask = lambda e: cdp.send("Runtime.evaluate", {"expression": e, "awaitPromise": True, "returnByValue": True})["result"].get("value")  # noqa: E731
        if (painted_ms := ask(UNTIL % painted)) is None:
            raise TimeoutError("no picture after 60 s")
        paint = float(painted_ms) / 1000
        page.wait_for_timeout(1500)
        heap = cdp.send("Runtime.getHeapUsage")
        ask(f"void (window.clicked = {REPAINTED})")
        page.mouse.click(640, 330)
        click, found = float(ask("window.clicked")), float("nan")
        if searches:
            page.keyboard.press("/")
            ask(f"void (window.searched = {FOUND})")
            page.keyboard.insert_text("function_77")
            found = float(ask("window.searched"))
        return paint, (heap["usedSize"] + heap.get("backingStorageSize", 0)) / 1e6, click, found
    finally:
        page.close()


def row(size: int, name: str, folder: Path, browser: Browser, port: int) -> str:
    """One line of the table."""
    begin = f"| {size:,} | {name} |"
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--write", name, "--folder", str(folder)],
            capture_output=True,
            text=True,
            timeout=WRITE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{begin} more than {WRITE_TIMEOUT_S} | | | | | | |"
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}"
        return f"{begin} failed: {why} | | | | | | |"
    where, seconds, memory = json.loads(done.stdout.splitlines()[-1])
    _, painted, file = VIEWERS[name]
    begin += f" {seconds:.2f} | {memory:,.0f} | {(folder / file).stat().st_size / 1e6:.1f} |"
    looks: list[tuple[float, float, float, float]] = []
    try:
        while len(looks) < 3 and (not looks or looks[0][0] < 5):
            looks.append(look(browser, f"http://127.0.0.1:{port}/{where}", painted, name.startswith("proftool")))
    except Exception as error:  # a viewer that gives up is a result
        return f"{begin} gave up: {error or type(error).__name__} | | | |"
    paint, heap, click, found = (statistics.median(column) for column in zip(*looks, strict=True))
    return f"{begin} {paint:.2f} | {heap:.0f} | {click:.0f} | {'' if found != found else f'{found:.0f}'} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", default="100000,1000000")
    parser.add_argument("--viewers", default=",".join(VIEWERS))
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        written(options.write, Path(options.folder))
        return
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        asked = options.viewers.split(",")
        from_npm = [package for package in ("speedscope", "d3-flame-graph") if package in asked]
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", name, *from_npm, *(["d3"] if "d3-flame-graph" in asked else [])]
        there = not from_npm or subprocess.run(install, capture_output=True, check=False, timeout=300).returncode == 0
        quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        print("| nodes | viewer | written, s | memory, MB | file, MB | first paint, s | heap, MB | click, ms | search, ms |")
        print("|---|---|---|---|---|---|---|---|---|")
        for size in (int(text) for text in options.nodes.split(",")):
            for column, values in zip(("parent", "function", "value"), tree(size), strict=True):
                np.save(folder / f"{column}.npy", values)
            for viewer in asked:
                missing = viewer in from_npm and not there
                print(
                    f"| {size:,} | {viewer} | not installed: the npm registry did not answer | | | | | | |"
                    if missing
                    else row(size, viewer, folder, browser, server.server_port),
                    flush=True,
                )
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
