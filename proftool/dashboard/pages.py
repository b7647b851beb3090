"""What is answered, and where: every view has an address that can be kept, a page, and for the views of services the same as JSON.

`/NAME` is a page with its document inside, `/api/NAME` the document alone, which an open page asks for again when something is new. Numbers
come from the workflows; a view off the event loop that fails is a page, or a document, that says what, cause and fix. A document that
takes longer than `PROMPT_S` follows its page, whose style and front end the browser loads meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from proftool.contracts import ReportOptions
from proftool.contracts_incidents import IncidentStore
from proftool.contracts_store import RunQuery
from proftool.contracts_telemetry import MetricStore, SpanQuery, TelemetryStore
from proftool.dashboard.alerts import AlertViews
from proftool.dashboard.assets import static
from proftool.dashboard.html import Html, embedded, error_answer, json_answer
from proftool.dashboard.live import Feed
from proftool.dashboard.queries import queries
from proftool.dashboard.runs import RunViews
from proftool.dashboard.services import ServiceViews
from proftool.dashboard.traces import TraceViews
from proftool.errors import ProftoolError
from proftool.settings import Settings
from proftool.store import open_incidents, open_metrics, open_store, open_telemetry
from proftool.store.runs import SqlRunStore
from proftool.workflows.under_way import under_way

Answer = Callable[[Request], Response]
Document = Callable[[Request], object]
PROMPT_S = 0.05
"""What fails sooner, as an address of nothing does, is answered with its own status."""
UNFORESEEN = ProftoolError(
    "this view could not be made", cause="an error that was not foreseen: its traceback is in the terminal of `proftool serve`",
    fix="report it with the traceback",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stores:
    """Where everything that is shown stands: one database."""

    runs: SqlRunStore
    telemetry: TelemetryStore
    metrics: MetricStore
    incidents: IncidentStore


def open_stores(settings: Settings) -> Stores:
    """The stores of these settings; StoreError where there is no place for one."""
    return Stores(open_store(settings), open_telemetry(settings), open_metrics(settings), open_incidents(settings))


def application(stores: Stores, settings: Settings) -> tuple[Starlette, Feed]:
    """The views over these stores, without a guard; and the streams, to be closed when the server ends."""
    store, telemetry, metrics = stores.runs, stores.telemetry, stores.metrics
    html = Html()
    options = ReportOptions(max_bytes=settings.html_size_bytes)
    runs, traces = RunViews(html, store, settings), TraceViews(telemetry, options)
    services = ServiceViews(telemetry, metrics, options)
    alerts = AlertViews(metrics, stores.incidents, settings)
    feed = Feed(partial(_newest, store, telemetry))
    page = partial(_page, html)

    def view(path: str, name: str, document: Document, title: str, here: str | None = None) -> list[Route]:
        return [Route(path, view_page(html, name, document, title, here or path)), Route(f"/api{path}", _api(document))]

    routes = [
        Route("/", page(runs.runs)),
        Route("/run/{id}", page(runs.run)),
        Route("/diff", page(runs.diff)),
        Route("/trend", page(runs.trend)),
        *view("/services", "services", services.services, "Services"),
        *view("/service", "service", services.service, "Service", "/services"),
        Route("/service/flame", page(services.flame)),
        *view("/service/compare", "compare", services.compare, "Compare two ranges", "/services"),
        Route("/service/compare/flame", page(services.compare_flame)),
        *view("/traces", "traces", traces.search, "Traces"),
        *view("/traces/compare", "tracesCompared", traces.compare, "Compare two traces", "/traces"),
        *view("/trace/{id}", "trace", traces.trace, "Trace", "/traces"),
        Route("/api/trace/{id}/span/{span}", _api(traces.span)),
        Route("/trace/{id}/flame", page(traces.flame)),
        *view("/queries", "queries", partial(queries, telemetry), "Queries"),
        *view("/alerts", "alerts", alerts.alerts, "Alerts"),
        Route("/incident/{id}", page(alerts.incident)),
        Route("/events", feed.answer),
        Route("/static/{digest}/{name}", static),
    ]
    return Starlette(routes=routes), feed


def _page(html: Html, view: Answer) -> Callable[[Request], object]:
    """The view with its errors as pages."""

    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(view, request)
        except ProftoolError as error:
            return html.error(request, error)

    return endpoint


def _api(document: Document) -> Callable[[Request], object]:
    """The document with its errors as documents."""

    async def endpoint(request: Request) -> Response:
        try:
            return json_answer(await run_in_threadpool(document, request))
        except ProftoolError as error:
            return error_answer(error)

    return endpoint


def view_page(html: Html, name: str, document: Document, title: str, here: str) -> Callable[[Request], object]:
    """The document inside its page; where it is not there promptly, after the page's beginning."""

    def inside(request: Request) -> bytes:
        return embedded(document(request))

    async def endpoint(request: Request) -> Response:
        before, after = html.view(request, name, title=title, here=here)
        asked = asyncio.ensure_future(run_in_threadpool(inside, request))
        await asyncio.wait((asked,), timeout=PROMPT_S)
        if asked.done():
            try:
                return HTMLResponse(before + asked.result() + after)
            except ProftoolError as error:
                return html.error(request, error)

        async def parts() -> AsyncIterator[bytes]:
            yield before
            try:
                yield await asked
            except ProftoolError as error:  # the page has begun with 200: it says itself what is wrong
                yield html.problem(error)
            except Exception:
                yield html.problem(UNFORESEEN)
                yield after
                raise
            yield after

        return StreamingResponse(parts(), media_type="text/html")

    return endpoint


def _newest(store: SqlRunStore, telemetry: TelemetryStore) -> Mapping[str, str | None]:
    run = next(iter(store.find(RunQuery(limit=1))), None)
    span = next(iter(telemetry.find_spans(SpanQuery(entries=True, limit=1))), None)
    return {
        "runs": None if run is None else run.id,
        "progress": " ".join(f"{one.id}:{one.told}" for one in under_way(store)),
        "traces": None if span is None else f"{span.trace_id}{span.span_id}",
    }
