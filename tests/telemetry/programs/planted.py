"""A service with a slow query, an N+1, a blocking call in an async handler, and a leak."""

import os
import sqlite3
import sys
import time

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import proftool
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.tracing_start import Options

KEPT = []
SLOW = (
    f"SELECT sleep({os.environ['SLEEP']})"
    if "SLEEP" in os.environ
    else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT count(*) FROM n WHERE i % 7 = 3"
)


def database():
    """Where `SLEEP` is set, the slow query takes so many seconds on any machine."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.create_function("sleep", 1, time.sleep)
    connection.execute("CREATE TABLE item (id INTEGER, sku TEXT)")
    connection.executemany("INSERT INTO item VALUES (?, ?)", [(i, f"sku{i}") for i in range(20)])
    return connection


def report(request):
    database().execute(SLOW).fetchall()  # slow query
    return PlainTextResponse("ok")


def items(request):
    connection = database()
    ids = connection.execute("SELECT id FROM item").fetchall()
    names = [name_of(connection, id) for (id,) in ids]
    return PlainTextResponse(",".join(names))


def name_of(connection, id):
    return connection.execute(f"SELECT sku FROM item WHERE id = {id}").fetchone()[0]  # repeated query


async def checkout(request):
    charge_card()
    return PlainTextResponse("ok")


def charge_card():
    time.sleep(0.5)  # blocking call


async def search(request):
    KEPT.append(remember())
    return PlainTextResponse("ok")


def remember():
    return [bytes(bytearray(os.urandom(64)) * 2000) for _ in range(2)]  # leak


if __name__ == "__main__":
    options = Options(
        every_s=0.2, slow_query_ns=200_000_000, leak_window_s=3.0, leak_trace_s=2.0, burst_s=float(os.environ.get("BURST_S", 10))
    )
    # PLAIN: as a user would, everything at its default.
    watching = proftool.watch("planted", options=None if "PLAIN" in os.environ else options)
    routes = [Route("/report", report), Route("/items", items), Route("/checkout", checkout), Route("/search", search)]
    uvicorn.run(ASGIMiddleware(Starlette(routes=routes)), port=int(sys.argv[1]), log_level="warning")
    watching.stop()
