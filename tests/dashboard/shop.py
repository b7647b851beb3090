"""A small shop that is watched: a query a row, a scan, a handler that blocks its loop, now and then a failure. Run by uvicorn in tests."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time

from opentelemetry import trace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import proftool
from proftool.telemetry import ASGIMiddleware
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing_start import Options

proftool.watch(os.environ.get("SHOP", "shop"), options=Options(keep=Keep(share=1.0), slice_s=1.0, slow_query_ns=50_000_000))
tracer = trace.get_tracer("shop")
db = sqlite3.connect(":memory:", check_same_thread=False)
db.execute("create table items(id integer primary key, name text, price real)")
db.executemany("insert into items(name, price) values(?, ?)", [(f"item {n}", n * 1.5) for n in range(2000)])


def price(n: int) -> int:
    return sum(i * i % 7 for i in range(n))


def load(n: int) -> list[object]:
    with tracer.start_as_current_span("load cart"):
        return [db.execute("select * from items where id = ?", (k + 1,)).fetchone() for k in range(n)]


async def cart(request: Request) -> JSONResponse:
    rows = load(int(request.path_params["n"]))
    with tracer.start_as_current_span("price"):
        return JSONResponse({"rows": len(rows), "total": price(60_000)})


async def search(request: Request) -> JSONResponse:
    rows = db.execute("select * from items where name like ? order by price", (f"%{request.query_params.get('q', '9')}%",)).fetchall()

    async def part(k: int) -> None:
        with tracer.start_as_current_span(f"enrich {k}"):
            await asyncio.sleep(0.004 * (k + 1))

    await asyncio.gather(*(part(k) for k in range(3)))
    if request.query_params.get("q") == "fail":
        raise RuntimeError("the index is being rebuilt")
    return JSONResponse({"rows": len(rows)})


async def checkout(_request: Request) -> JSONResponse:
    with tracer.start_as_current_span("wait for stock"):
        await asyncio.sleep(0.05)
    with tracer.start_as_current_span("pack"):
        time.sleep(0.25)
        price(300_000)
    return JSONResponse({})


routes = [Route("/cart/{n}", cart), Route("/search", search), Route("/checkout", checkout)]
app = ASGIMiddleware(Starlette(routes=routes), metrics_path="/metrics")
