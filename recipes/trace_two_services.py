"""
Question: an order takes a second, and three programs have a part in it. Which one, and where in it?

Run: `python recipes/trace_two_services.py`. It starts a shop and its stock on loopback, and a packer that takes messages from a queue
(a table), and places one order.

Read the answer: one trace, printed as a tree, runs through all three: the shop asks the stock over HTTP, the stock asks its database,
and the packer goes on with the message. `proftool.watch(NAME)` at the start of each program is all that HTTP needs. A queue is no
library's business: whoever sends puts `inject`'s `traceparent` into the message, whoever takes it begins a span with `extract`. The
shop finds the request slow and keeps the trace; the others join. The line printed last is the one to look at.

Clean up: the programs are ended by the recipe; remove `shop.py`, `stock.py`, `packer.py`, `queue.db`, `stock.db` and the store `.proftool`.
"""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from proftool import settings
from proftool.contracts_telemetry import Span, SpanQuery
from proftool.store import open_telemetry

SHOP = """
import sqlite3, sys, urllib.request
import uvicorn
from opentelemetry import propagate, trace
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import proftool
from proftool.telemetry import ASGIMiddleware

def order(request):
    answer = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/stock/beans").read()
    send(answer.decode())
    return PlainTextResponse(answer)

def send(text):
    with trace.get_tracer("shop").start_as_current_span("send order", kind=trace.SpanKind.PRODUCER):
        headers = {}
        propagate.inject(headers)
        with sqlite3.connect("queue.db") as queue:
            queue.execute("INSERT INTO message VALUES (?, ?)", (text, headers["traceparent"]))

proftool.watch("shop")
app = ASGIMiddleware(Starlette(routes=[Route("/order", order)]))
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""
STOCK = """
import sqlite3, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import proftool
from proftool.telemetry import ASGIMiddleware

COUNT = "SELECT count(*) FROM item AS a, item AS b WHERE a.sku = ? AND a.amount * b.amount % 7 = 3"

def stock(request):
    return PlainTextResponse(str(left(request.path_params["sku"])))

def left(sku):
    with sqlite3.connect("stock.db") as database:
        return database.execute(COUNT, (sku,)).fetchone()[0]

proftool.watch("stock")
app = ASGIMiddleware(Starlette(routes=[Route("/stock/{sku}", stock)]))
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
"""
PACKER = """
import sqlite3, time
from opentelemetry import propagate, trace
import proftool

def take():
    with sqlite3.connect("queue.db") as queue:
        found = queue.execute("DELETE FROM message WHERE rowid = (SELECT min(rowid) FROM message) RETURNING text, traceparent").fetchone()
    return found

def pack(text):
    time.sleep(0.05)

watching = proftool.watch("packer")
while True:
    message = take()
    if message is None:
        time.sleep(0.05)
        continue
    text, traceparent = message
    if text == "end":
        break
    context = propagate.extract({"traceparent": traceparent})
    with trace.get_tracer("packer").start_as_current_span("pack order", context, kind=trace.SpanKind.CONSUMER):
        pack(text)
watching.stop()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Until somebody listens there."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


def prepare() -> None:
    """Three programs, a queue, and a stock whose question is answered slowly."""
    for name, text in (("shop.py", SHOP), ("stock.py", STOCK), ("packer.py", PACKER)):
        Path(name).write_text(text)
    with sqlite3.connect("queue.db") as queue:
        queue.execute("CREATE TABLE message (text, traceparent)")
    with sqlite3.connect("stock.db") as stock:
        stock.execute("CREATE TABLE item (sku, amount)")
        stock.executemany("INSERT INTO item VALUES (?, ?)", [("beans", n) for n in range(3000)])


def place_an_order() -> None:
    """All three programs run, one order is placed, and they end when the packer has packed it."""
    shop, stock = free_port(), free_port()
    commands = (["packer.py"], ["stock.py", str(stock)], ["shop.py", str(shop), str(stock)])
    running = [subprocess.Popen([sys.executable, *command]) for command in commands]
    try:
        wait_for(stock)
        wait_for(shop)
        print("left:", urllib.request.urlopen(f"http://127.0.0.1:{shop}/order", timeout=60).read().decode())
        end = time.monotonic() + 60
        while len(services()) < 3 and time.monotonic() < end:
            time.sleep(0.1)
        with sqlite3.connect("queue.db") as queue:
            queue.execute("INSERT INTO message VALUES ('end', '')")
        running[0].wait(60)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)


def services() -> set[str]:
    """Those that have kept a part of the order's trace."""
    telemetry = open_telemetry(settings.load())
    orders = telemetry.find_spans(SpanQuery(service="shop", entries=True))
    return {span.service for order in orders for span in telemetry.find_spans(SpanQuery(trace_id=order.trace_id))}


def tree(spans: Sequence[Span], parent: str | None = None, depth: int = 0) -> None:
    """Print spans below their parent, by their start."""
    for span in spans:
        if span.parent_id == parent:
            line = f", line {span.attributes['code.line.number']}" if "code.line.number" in span.attributes else ""
            print(f"{'  ' * depth}{span.service}: {span.name}  {span.duration_ns / 1e6:.0f} ms{line}")
            tree(spans, span.span_id, depth + 1)


def main() -> None:
    prepare()
    place_an_order()
    telemetry = open_telemetry(settings.load())
    (order,) = telemetry.find_spans(SpanQuery(service="shop", entries=True))
    spans = telemetry.find_spans(SpanQuery(trace_id=order.trace_id))
    tree(spans)

    entries = {span.service: span for span in spans if span.is_entry}
    assert set(entries) == {"shop", "stock", "packer"}
    assert order.kept == "slow"
    assert entries["stock"].parent_id is not None
    query = max((span for span in spans if "db.query.text" in span.attributes), key=lambda span: span.duration_ns)
    assert (query.service, query.attributes["code.function.name"]) == ("stock", "left")
    share = query.duration_ns / order.duration_ns
    assert share > 0.5, share
    where = f"{query.attributes['code.function.name']} of {query.attributes['code.file.path']}, line {query.attributes['code.line.number']}"
    print(f"{share:.0%} of the order is one query of the stock, asked in {where}.")


if __name__ == "__main__":
    main()
