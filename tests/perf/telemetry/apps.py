"""Stacks that are measured beside each other: one hello route of Starlette, in nothing and in what watches services.

Also what uvicorn serves for the measurement under load: `app`, the stack that `STACK` names.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

App = Callable[[Any, Any, Any], Awaitable[None]]

NONE = "nothing"
BARE = "a bare timer"
METRICS = "proftool: metrics and trace context"
METRICS_PYTHON = "proftool: metrics and trace context, nothing compiled"
TRACED = "proftool: and requests traced, none kept"
SAMPLED = "proftool: metrics, and a sampler at 100 Hz"
BUDGETED = "proftool: metrics, and the sampler within its budget"
EVERYTHING = "proftool: everything, as `watch` sets it"
FASTAPI = "FastAPI: nothing"
FASTAPI_EVERYTHING = "FastAPI: everything, as `watch` sets it"
FASTAPI_SPANS = "FastAPI: everything, and the framework's own spans"
INSTRUMENTATOR = "prometheus-fastapi-instrumentator"
OTEL = "OpenTelemetry ASGI and SDK: metrics, 1 % traced"
TRACED_LINE, TRACED_STACK = "tracemalloc, one frame", "tracemalloc, 16 frames"


async def _hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def hello(handler: Any = _hello) -> App:
    return Starlette(routes=[Route("/hello/{name}", handler)])


class Timer:
    """The least that could be done: a time, and one dictionary of buckets."""

    def __init__(self, app: App) -> None:
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


def metrics(make: Callable[[], App] = hello) -> App:
    from proftool.telemetry import ASGIMiddleware

    return ASGIMiddleware(make())


def metrics_in_python() -> App:
    """As where there was no compiler."""
    from proftool.telemetry import asgi_compiled

    asgi_compiled.use(compiled=False)
    return metrics()


def instrumentator() -> App:
    from prometheus_fastapi_instrumentator.middleware import PrometheusInstrumentatorMiddleware

    return PrometheusInstrumentatorMiddleware(hello())


def otel(share: float | None, *, metrics: bool = False, inner: bool = False) -> App:
    """OpenTelemetry's middleware: its SDK samples that share at the head and exports to nobody; None = without an SDK."""
    from opentelemetry import trace
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.metrics import NoOpMeterProvider

    if share is None:
        return OpenTelemetryMiddleware(
            hello(), tracer_provider=trace.NoOpTracerProvider(), meter_provider=NoOpMeterProvider(), exclude_spans=["receive", "send"]
        )
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    class Null(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(share))
    provider.add_span_processor(BatchSpanProcessor(Null()))
    tracer = provider.get_tracer("perf")

    async def handler(_request: Request) -> PlainTextResponse:
        with tracer.start_as_current_span("inner"):
            return PlainTextResponse("hello")

    return OpenTelemetryMiddleware(
        hello(handler) if inner else hello(),
        tracer_provider=provider,
        meter_provider=MeterProvider() if metrics else NoOpMeterProvider(),
        exclude_spans=["receive", "send"],
    )


def fastapi() -> App:
    """The same hello route of FastAPI."""
    from fastapi import FastAPI

    app = FastAPI()
    app.get("/hello/{name}", response_class=PlainTextResponse)(_fastapi_hello)
    return app


async def _fastapi_hello(name: str) -> str:
    return "hello"


def everything(make: Callable[[], App] = hello, *, framework_spans: bool = False) -> App:
    """The middleware, tracing with 1 % kept, tracked queries and clients, the always-on sampler, the watchers; all into a local store."""
    from proftool import settings
    from proftool.store import open_telemetry
    from proftool.telemetry.tracing_start import Options, watch

    folder = Path(os.environ["PERF_FOLDER"])
    (folder / "pyproject.toml").touch()
    watch("perf", open_telemetry(settings.load(folder, environ={})), options=Options(project=folder, framework_spans=framework_spans))
    return metrics(make)


def followed() -> App:
    """The middleware, and tracing that keeps nothing."""
    from proftool.telemetry.spans import Keep
    from proftool.telemetry.tracing import start

    start("perf", None, keep=Keep(slow_ns=10**15, share=0.0))
    return metrics()


def traced(frames: int) -> App:
    """Nothing but Python's own tracing of allocations."""
    tracemalloc.start(frames)
    return hello()


def budgeted() -> App:
    """The middleware and the sampler as `watch` sets it."""
    from proftool.telemetry.sampler import Sampler

    Sampler().start()
    return metrics()


def sampled() -> App:
    """The middleware and a sampler that looks a hundred times a second, whatever that takes."""
    from proftool.telemetry.sampler import Sampler

    Sampler(budget=1.0, min_hz=100.0, max_hz=100.0).start()
    return metrics()


SERVED: dict[str, Callable[[], App]] = {
    NONE: hello,
    BARE: lambda: Timer(hello()),
    METRICS: metrics,
    METRICS_PYTHON: metrics_in_python,
    TRACED: followed,
    SAMPLED: sampled,
    BUDGETED: budgeted,
    EVERYTHING: everything,
    FASTAPI: fastapi,
    FASTAPI_EVERYTHING: lambda: everything(fastapi),
    FASTAPI_SPANS: lambda: everything(fastapi, framework_spans=True),
    INSTRUMENTATOR: instrumentator,
    OTEL: lambda: otel(0.01, metrics=True),
    TRACED_LINE: lambda: traced(1),
    TRACED_STACK: lambda: traced(16),
}
BESIDE = (
    (METRICS, NONE),
    (METRICS_PYTHON, NONE),
    (TRACED, METRICS),
    (SAMPLED, METRICS),
    (BUDGETED, METRICS),
    (EVERYTHING, NONE),
    (FASTAPI_EVERYTHING, FASTAPI),
    (FASTAPI_SPANS, FASTAPI),
    (INSTRUMENTATOR, NONE),
    (OTEL, NONE),
    (TRACED_LINE, NONE),
    (TRACED_STACK, NONE),
)
"""Which stack is compared with which."""

app: Any = SERVED[os.environ["STACK"]]() if "STACK" in os.environ else None
