"""What is added to a request, without a server or a socket in which it would be lost: CPU time of the thread, in µs.

Every round serves `BLOCK` requests by each stack, in an order that is turned round every time; what a stack adds is taken from the block
of the bare application in the same round. Shown are the median over the rounds and its quartiles, for the machine does other things too.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import apps
from apps import App
from opentelemetry import trace
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from proftool.telemetry import asgi_compiled, setup, tracing
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.request import HOOKS, Hook
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing import Tracing

BLOCK = 100
HEADERS = [(b"host", b"localhost"), (b"user-agent", b"perf"), (b"accept", b"*/*")]

Hooks = tuple[tuple[Hook, ...], tuple[Hook, ...]]


class NullStore:
    """Takes everything and keeps nothing: what the store takes, a thread in the background takes, and the served application counts it."""

    def add_spans(self, spans: Any) -> None: ...

    def add_findings(self, findings: Any) -> None: ...

    def kept_traces(self, ids: Any) -> frozenset[str]:
        return frozenset()


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Any) -> None:
    return None


def scope() -> dict[str, Any]:
    """As uvicorn makes one."""
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1), "scheme": "http", "root_path": "", "headers": HEADERS, "state": {}, "method": "GET",
        "path": "/hello/you", "raw_path": b"/hello/you", "query_string": b"",
    }  # fmt: skip


async def serve(app: App, n: int, clock: Callable[[], float] = time.thread_time) -> float:
    """Seconds a request."""
    started = clock()
    for _ in range(n):
        await app(scope(), _receive, _send)
    return (clock() - started) / n


async def _hello_with_span(_request: Request) -> PlainTextResponse:
    with trace.get_tracer("perf").start_as_current_span("inner"):
        return PlainTextResponse("hello")


async def stacks(rounds: int) -> None:
    """Print the table."""
    setup("perf")
    tracings: list[Tracing] = []
    hooks: list[Hooks] = []
    for share in (0.01, 1.0):
        made = Tracing("perf", NullStore(), keep=Keep(share=share, most_per_s=math.inf))  # type: ignore[arg-type]
        made.start()
        tracings.append(made)
        hooks.append((HOOKS.start[-1:], HOOKS.end[-1:]))
    few, all_ = tracings
    none: Hooks = ((), ())
    measured, with_span = apps.metrics(), ASGIMiddleware(apps.hello(_hello_with_span))
    rows: dict[str, tuple[App, Hooks, Tracing | None]] = {
        apps.NONE: (apps.hello(), none, None),
        apps.BARE: (apps.Timer(apps.hello()), none, None),
        apps.METRICS: (measured, none, None),
        apps.METRICS_PYTHON: (measured, none, None),
        "proftool: and a span, 1 % kept": (measured, hooks[0], few),
        "proftool: and a span within it, 1 % kept": (with_span, hooks[0], few),
        "proftool: and a span, all kept": (measured, hooks[1], all_),
        "prometheus-fastapi-instrumentator": (apps.instrumentator(), none, None),
        "OpenTelemetry ASGI, no SDK": (apps.otel(None), none, None),
        "OpenTelemetry ASGI, metrics": (apps.otel(0.0, metrics=True), none, None),
        "OpenTelemetry ASGI, 1 % traced": (apps.otel(0.01), none, None),
        "OpenTelemetry ASGI, all traced": (apps.otel(1.0), none, None),
        "OpenTelemetry ASGI, all traced, a span within it": (apps.otel(1.0, inner=True), none, None),
    }
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(rounds + 1):
        for name in list(rows) if turn % 2 else reversed(rows):
            app, (HOOKS.start, HOOKS.end), now = rows[name]
            tracing.CURRENT.tracing = now
            HOOKS.spare = (HOOKS.end[0], now.keep.slow_ns, now.chance.below) if now is not None else None
            asgi_compiled.use(compiled=name != apps.METRICS_PYTHON)
            provider = trace.get_tracer_provider()
            if now is not None and isinstance(provider, tracing.Follower):
                provider.tracing = now
            await serve(app, 5)
            spent = await serve(app, BLOCK)
            if turn:
                taken[name].append(spent * 1e6)
    HOOKS.start = HOOKS.end = ()
    HOOKS.spare = None
    for made in tracings:
        made.stop()
    print("| stack | CPU µs a request | added µs | median of the rounds | quartiles |\n|---|---|---|---|---|")
    bare = _decile(taken[apps.NONE])
    for name, values in taken.items():
        added = sorted(value - one for value, one in zip(values, taken[apps.NONE], strict=True))
        low, middle, high = added[len(added) // 4], statistics.median(added), added[3 * len(added) // 4]
        print(f"| {name} | {_decile(values):.1f} | {_decile(values) - bare:.1f} | {middle:.1f} | {low:.1f}–{high:.1f} |")


def _decile(values: list[float]) -> float:
    return sorted(values)[len(values) // 10]
