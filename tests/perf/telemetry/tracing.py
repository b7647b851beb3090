"""What tracing and the always-on sampler cost a request, beside OpenTelemetry's own SDK in the same run.

    python tests/perf/telemetry/tracing.py [--rounds 30]

A Starlette application answers hello in this process, without a server or a socket, so that what is added is not lost in them.
Stacks take turns, `--requests` requests each, in an order drawn anew every round; the median over the rounds stands in the table.
The sampler's line: blocks of requests with it on and off, in pairs, and the median of the pairs' ratios. All of it is processor time:
of the serving thread for the stacks, of the whole process, the sampler's thread included, for the sampler.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry import trace
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from proftool.telemetry import tracing
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.request import HOOKS
from proftool.telemetry.sampler import Sampler
from proftool.telemetry.spans import Keep
from proftool.telemetry.tracing import Tracing

App = Callable[[Any, Any, Any], Awaitable[None]]


async def hello(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def hello_with_span(_request: Any) -> PlainTextResponse:
    with trace.get_tracer("perf").start_as_current_span("inner"):
        return PlainTextResponse("hello")


def plain() -> Starlette:
    return Starlette(routes=[Route("/hello/{name}", hello)])


SCOPE = {
    "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/hello/you",
    "raw_path": b"/hello/you", "query_string": b"", "root_path": "", "headers": [(b"host", b"localhost"), (b"user-agent", b"perf")],
    "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
}  # fmt: skip


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(_message: Any) -> None:
    return None


async def serve(app: App, n: int, clock: Callable[[], float] = time.thread_time) -> float:
    """Processor seconds a request: on a machine that others use too, the wall's time says more about them."""
    started = clock()
    for _ in range(n):
        await app(dict(SCOPE), receive, send)
    return (clock() - started) / n


class NullStore:
    """Takes everything and keeps nothing: the store's own time is in a background thread, and is another measurement."""

    def add_spans(self, spans: Any) -> None: ...

    def add_findings(self, findings: Any) -> None: ...

    def kept_traces(self, ids: Any) -> frozenset[str]:
        return frozenset()


def sdk_app(ratio: float, inner: bool) -> App:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.metrics import NoOpMeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    class Null(SpanExporter):
        def export(self, spans: Any) -> Any:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio))
    provider.add_span_processor(BatchSpanProcessor(Null()))
    tracer = provider.get_tracer("perf")

    async def handler(_request: Any) -> PlainTextResponse:
        if inner:
            with tracer.start_as_current_span("inner"):
                return PlainTextResponse("hello")
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/hello/{name}", handler)])
    return OpenTelemetryMiddleware(app, tracer_provider=provider, meter_provider=NoOpMeterProvider(), exclude_spans=["receive", "send"])


async def stacks(rounds: int, requests: int) -> None:
    started = Tracing("perf", NullStore(), keep=Keep(share=0.01))  # type: ignore[arg-type]
    started.start()
    traced = HOOKS.start, HOOKS.end
    kept = Tracing("perf", NullStore(), keep=Keep(share=1.0))  # type: ignore[arg-type]
    kept.start()
    kept_hooks = (HOOKS.start[-1:], HOOKS.end[-1:])
    with_span = ASGIMiddleware(Starlette(routes=[Route("/hello/{name}", hello_with_span)]))
    measured = ASGIMiddleware(plain())
    rows: dict[str, tuple[App, tuple[Any, Any], Tracing | None]] = {
        "none": (plain(), ((), ()), None),
        "proftool: metrics and trace context": (measured, ((), ()), None),
        "proftool: and traced, 1 % kept": (measured, traced, started),
        "proftool: and traced, 1 % kept, a span inside": (with_span, traced, started),
        "proftool: and traced, all kept": (measured, kept_hooks, kept),
        "OpenTelemetry SDK: 1 % sampled at the head": (sdk_app(0.01, False), ((), ()), None),
        "OpenTelemetry SDK: 1 %, a span inside": (sdk_app(0.01, True), ((), ()), None),
        "OpenTelemetry SDK: all recorded": (sdk_app(1.0, False), ((), ()), None),
        "OpenTelemetry SDK: all recorded, a span inside": (sdk_app(1.0, True), ((), ()), None),
    }
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    names = list(rows)
    for turn in range(rounds + 1):
        random.shuffle(names)
        for name in names:
            app, (HOOKS.start, HOOKS.end), now = rows[name]
            tracing.CURRENT.tracing = now
            provider = trace.get_tracer_provider()
            if now is not None and isinstance(provider, tracing.Follower):
                provider.tracing = now
            gc.collect()
            spent = await serve(app, requests)
            if turn:
                seconds[name].append(spent)
    base = statistics.median(seconds["none"])
    print("| stack | CPU µs a request | added µs |\n|---|---|---|")
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle * 1e6:.1f} | {(middle - base) * 1e6:.1f} |")
    HOOKS.start = HOOKS.end = ()
    started.stop()
    kept.stop()


async def sampler(rounds: int, requests: int) -> None:
    app = ASGIMiddleware(plain())
    ratios: list[float] = []
    rates: list[float] = []
    for turn in range(rounds + 1):
        pair: dict[bool, float] = {}
        for on in random.sample((True, False), 2):
            looking = Sampler(budget=1.0, min_hz=100.0, max_hz=100.0, start_hz=100.0)
            if on:
                looking.start()
            pair[on] = await serve(app, requests * 20, time.process_time)
            if on:
                looking.stop()
                gathered = looking.take()
                rates.append(gathered.samples / len(gathered.names) / (gathered.duration_ns / 1e9) if gathered.names else 0.0)
        if turn:
            ratios.append(pair[True] / pair[False] - 1)
    low, high = sorted(ratios)[len(ratios) // 4], sorted(ratios)[3 * len(ratios) // 4]
    print(f"sampler at 100 Hz: {100 * statistics.median(ratios):+.2f} % CPU a request (quartiles {100 * low:+.2f} to {100 * high:+.2f} %), "
          f"{statistics.median(rates):.0f} looks a second achieved")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--requests", type=int, default=400)
    chosen = parser.parse_args()
    asyncio.run(stacks(chosen.rounds, chosen.requests))
    asyncio.run(sampler(chosen.rounds, chosen.requests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
