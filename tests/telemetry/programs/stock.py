"""The second service: answers from a database."""

import sqlite3
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import proftool
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing_start import Options


def stock(request):
    connection = sqlite3.connect(sys.argv[2])
    try:
        rows = connection.execute("SELECT amount FROM stock WHERE sku = 'beans'").fetchall()
    finally:
        connection.close()
    return JSONResponse({"amount": rows[0][0]})


if __name__ == "__main__":
    # A busy machine would make findings of blocked loops, which keep their traces.
    watching = proftool.watch("stock", options=Options(keep=Keep(slow_ns=10**12, share=0.0), every_s=0.1, blocked_ns=10**15))
    uvicorn.run(ASGIMiddleware(Starlette(routes=[Route("/stock/{sku}", stock)])), port=int(sys.argv[1]), log_level="warning")
    watching.stop()
