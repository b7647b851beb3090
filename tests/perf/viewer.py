"""How fast is the report, beside other viewers of the same tree, in one run?

`python tests/perf/viewer.py [--nodes 100000,1000000]` prints a Markdown table: seconds to write the file, its size, first
paint, JavaScript heap with array buffers, click to repaint, each the median of three. speedscope and d3-flame-graph come from npm into
a temporary folder and get the same stacks; where they cannot be installed their rows say so. Not part of pytest.
"""

# ruff: noqa: E501  scripts of the page are one line each

from __future__ import annotations

import argparse
import functools
import http.server
import json
import random
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

from proftool.contracts import ReportOptions
from proftool.model.builder import ProfileBuilder, finish
from proftool.model.meta import Meta
from proftool.model.profile import WALL_TIME, Cells, Frames, Nodes, Profile
from proftool.reports.flamegraph import report

PAINTED = """new Promise(done => { const look = () => { const c = [...document.querySelectorAll('canvas')].some(c => { if (c.width * c.height < 9e4) return false;
  const pen = new OffscreenCanvas(64, 64).getContext('2d'); pen.drawImage(c, 0, 0, 64, 64); const p = new Uint32Array(pen.getImageData(0, 0, 64, 64).data.buffer);
  return p.some(v => v !== p[0]); }) || document.querySelectorAll('svg rect').length > 50; c ? done(performance.now()) : requestAnimationFrame(look); }; look(); })"""
REPAINTED = """new Promise(done => addEventListener('pointerdown', e => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - e.timeStamp))), {once: true, capture: true}))"""


def tree(n: int) -> Profile:
    """About n contexts, 30 to 80 deep, few branches near the root and many far from it; always the same."""
    rng, parent, frame, leaves = random.Random(20), [-1], [0], {0: 1}
    stack = [0]
    while len(parent) < n:
        keep = rng.randint(2, 14) if rng.random() < 600 / n else max(15, len(stack) - 1 - int(rng.expovariate(1 / 7)))
        del stack[min(keep, len(stack)) :]
        deep = min(80, max(30, len(stack) + 1 + int(rng.expovariate(1 / 8))))
        while len(stack) < deep:
            parent.append(stack[-1])
            frame.append((len(parent) * 101) % 4999)  # siblings never repeat: rows of one parent are less than 4999 apart or far fewer
            stack.append(len(parent) - 1)
        leaves[stack[-1]] = min(100_000, int(rng.paretovariate(1.1))) * 1_000_000
    b = ProfileBuilder((WALL_TIME,), Meta(command=("synthetic.py",)))
    for k in range(4999):
        b.frame(b.function(f"function_{k}", module=f"package.module_{k % 97}", file=f"package/module_{k % 97}.py", first_line=k + 1), k + 1)
    b.lane()
    built = b.build()
    nodes = np.array(sorted(leaves), np.int32)
    cells = Cells(
        node=nodes,
        lane=np.zeros(len(nodes), np.int32),
        metric=np.zeros(len(nodes), np.int32),
        value=np.array([leaves[k] for k in nodes.tolist()]),
    )
    tables = {"nodes": Nodes(parent=np.array(parent, np.int32), frame=np.array(frame, np.int32)), "cells": cells}
    return finish(Profile(strings=built.strings, functions=built.functions, frames=Frames(function=built.frames.function, line=built.frames.line),
                          lanes=built.lanes, metrics=built.metrics, meta=built.meta, **tables))  # fmt: skip


def nested(profile: Profile) -> dict[str, object]:
    """The tree as d3-flame-graph takes it, values with those of children."""
    n = len(profile.nodes)
    value = np.zeros(n)
    value[profile.cells.node] = profile.cells.value
    parent = profile.nodes.parent.tolist()
    items: list[dict[str, object]] = [{"name": f"function_{f}", "children": []} for f in profile.nodes.frame.tolist()]
    total = value.tolist()
    for k in range(n - 1, 0, -1):
        total[parent[k]] += total[k]
        items[k]["value"] = total[k]
        items[parent[k]]["children"].append(items[k])  # type: ignore[attr-defined]
    items[0]["value"] = total[0]
    return items[0]


def ours(profile: Profile, folder: Path) -> tuple[str, float]:
    begin = time.perf_counter()
    content = report.render(profile, ReportOptions())
    (folder / "ours.html").write_bytes(content)
    return "ours.html", time.perf_counter() - begin


def d3(profile: Profile, folder: Path) -> tuple[str, float]:
    begin = time.perf_counter()
    import sys

    sys.setrecursionlimit(10_000)
    modules = folder / "node_modules"
    script = (modules / "d3" / "dist" / "d3.min.js").read_text() + (
        modules / "d3-flame-graph" / "dist" / "d3-flamegraph.umd.min.js"
    ).read_text()
    draw = "const make=window.flamegraph.default||window.flamegraph.flamegraph||window.flamegraph;d3.select('#c').datum(data).call(make().width(1240).minFrameSize(1))"
    page = f"<meta charset=utf-8><div id=c></div><script>{script}</script><script>const data={json.dumps(nested(profile))};{draw}</script>"
    (folder / "d3.html").write_text(page)
    return "d3.html", time.perf_counter() - begin


def speedscope(profile: Profile, folder: Path) -> tuple[str, float]:
    begin = time.perf_counter()
    parent, frame = profile.nodes.parent.tolist(), profile.nodes.frame.tolist()
    lines = []
    for node, value in zip(profile.cells.node.tolist(), profile.cells.value.tolist(), strict=True):
        names = []
        while node >= 0:
            names.append(f"function_{frame[node]}")
            node = parent[node]
        lines.append(";".join(reversed(names)) + f" {value // 1_000_000}")
    (folder / "stacks.txt").write_text("\n".join(lines))
    return "node_modules/speedscope/dist/release/index.html#profileURL=/stacks.txt", time.perf_counter() - begin


def look(browser: Browser, url: str) -> tuple[float, float, float]:
    """First paint in s, heap in MB, click to repaint in ms."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(url, wait_until="commit", timeout=120_000)
    cdp = page.context.new_cdp_session(page)
    ask = lambda e: cdp.send("Runtime.evaluate", {"expression": e, "awaitPromise": True, "returnByValue": True})["result"].get("value")  # noqa: E731
    paint = float(ask(PAINTED)) / 1000
    page.wait_for_timeout(1500)
    heap = cdp.send("Runtime.getHeapUsage")
    ask(f"void (window.clicked = {REPAINTED})")
    page.mouse.click(640, 330)
    click = float(ask("window.clicked"))
    page.close()
    return paint, (heap["usedSize"] + heap.get("backingStorageSize", 0)) / 1e6, click


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", default="100000,1000000")
    sizes = [int(text) for text in parser.parse_args().nodes.split(",")]
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", name, "speedscope", "d3", "d3-flame-graph"]
        there = subprocess.run(install, capture_output=True, check=False, timeout=300).returncode == 0
        handler = functools.partial(
            type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}), directory=name
        )
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        print("| nodes | viewer | written s | file MB | first paint s | heap MB | click ms |\n|---|---|---|---|---|---|---|")
        for size in sizes:
            profile = tree(size)
            for viewer in (ours, d3, speedscope):
                if viewer is not ours and not there:
                    print(f"| {size:,} | {viewer.__name__} | not installed: the npm registry did not answer | | | | |")
                    continue
                where, wrote = viewer(profile, folder)
                file = folder / ("stacks.txt" if viewer is speedscope else where)
                try:
                    looks = [look(browser, f"http://127.0.0.1:{server.server_port}/{where}") for _ in range(3)]
                except Exception as error:  # a viewer that gives up is a result
                    print(
                        f"| {size:,} | {viewer.__name__} | {wrote:.2f} | {file.stat().st_size / 1e6:.1f} | gave up: {type(error).__name__} | | |"
                    )
                    continue
                paint, heap, click = (statistics.median(column) for column in zip(*looks, strict=True))
                print(
                    f"| {size:,} | {viewer.__name__} | {wrote:.2f} | {file.stat().st_size / 1e6:.1f} | {paint:.2f} | {heap:.0f} | {click:.0f} |"
                )
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
