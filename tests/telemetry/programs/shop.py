"""The first of two services: asks the stock over HTTP and puts a message into the queue (a FIFO)."""

import os
import sys
from pathlib import Path

import httpx
import uvicorn
from opentelemetry import propagate, trace
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import proftool
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing_start import Options

PORT, STOCK, QUEUE = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])


async def order(request):
    async with httpx.AsyncClient(timeout=120) as client:
        answer = await client.get(f"{STOCK}/stock/{request.path_params['id']}?secret=42")
    carrier = {}
    with trace.get_tracer("shop").start_as_current_span("send", kind=trace.SpanKind.PRODUCER):
        propagate.inject(carrier)
        with QUEUE.open("w") as queue:
            queue.write(carrier["traceparent"] + "\n")
    return JSONResponse(answer.json())


async def fails(request):
    raise RuntimeError("no such order")


if __name__ == "__main__":
    keep = Keep(slow_ns=1 if os.environ.get("SLOW") else 10**12, share=0.0)
    # A busy machine would make findings of blocked loops, which keep their traces.
    watching = proftool.watch("shop", options=Options(keep=keep, every_s=0.1, blocked_ns=10**15))
    app = ASGIMiddleware(Starlette(routes=[Route("/orders/{id}", order), Route("/fails", fails)]))
    uvicorn.run(app, port=PORT, log_level="warning")
    watching.stop()
