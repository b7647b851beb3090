"""What middleware adds to a request, in µs: `python tests/perf/telemetry.py [ROUNDS]`. Nothing is asserted.

All stacks in one process, interleaved in rounds of 25 requests; the first decile of the rounds, for a busy machine interrupts the others.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from proftool.telemetry import ASGIMiddleware, setup

HEADERS = [(b"host", b"x"), (b"user-agent", b"perf"), (b"accept", b"*/*")]


def hello() -> Starlette:
    async def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    return Starlette(routes=[Route("/hello/{name}", answer)])


class Timer:
    """The least that could be done: a time, and one dictionary of buckets."""

    def __init__(self, app: Any) -> None:
        self._app, self._buckets = app, dict[tuple[str, int], list[int]]()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        begun, status = time.perf_counter_ns(), 0

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._app(scope, receive, sending)
        self._buckets.setdefault((scope["method"], status), [0] * 64)[(time.perf_counter_ns() - begun).bit_length()] += 1


async def rounds(count: int) -> dict[str, float]:
    setup("perf")
    stacks: dict[str, Any] = {
        "none": hello(),
        "a bare timer": Timer(hello()),
        "proftool": ASGIMiddleware(hello()),
        "proftool, Server-Timing": ASGIMiddleware(hello(), server_timing=True),
        "prometheus-fastapi-instrumentator": PrometheusInstrumentatorMiddleware(hello()),
        "OpenTelemetry ASGI, no SDK": OpenTelemetryMiddleware(hello()),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(_: Any) -> None:
        pass

    taken: dict[str, list[float]] = {name: [] for name in stacks}
    for _ in range(count):
        for name, app in stacks.items():
            begun = time.perf_counter()
            for _ in range(25):
                scope = {"type": "http", "method": "GET", "path": "/hello/a", "raw_path": b"/hello/a", "query_string": b""}
                scope |= {"headers": HEADERS, "http_version": "1.1", "scheme": "http", "server": ("a", 80), "client": ("b", 1)}
                await app(scope, receive, send)
            taken[name].append((time.perf_counter() - begun) / 25 * 1e6)
    return {name: sorted(times)[len(times) // 10] for name, times in taken.items()}


if __name__ == "__main__":
    found = asyncio.run(rounds(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
    for name, micros in found.items():
        print(f"{name:36} {micros:7.1f} µs   added {micros - found['none']:6.1f}")
