"""A request is counted by one of two paths: what is usual is looked up by what the first such request taught, all else is worked out."""

from __future__ import annotations

import asyncio
import io
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from telemetry.measured import PARENT, fresh, samples, served_by

from proftool.telemetry import metrics
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.request import THREADS, current
from proftool.telemetry.segments import Segment
from proftool.telemetry.wsgi import WSGIMiddleware

__all__ = ["fresh", "served_by"]  # the fixtures are used by being here


def scope(**more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "headers": [], "scheme": "http"} | more


def repeat(app: Any, scopes: list[dict[str, Any]]) -> None:
    """Requests one after the other through one middleware, so that the later ones are counted by what the first ones taught."""
    wrapped = ASGIMiddleware(app)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(_: Any) -> None:
        pass

    async def all_of_them() -> None:
        for one in scopes:
            await wrapped(one, receive, send)

    asyncio.run(all_of_them())


def answering(status: int = 200, size: int = 5) -> Any:
    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * size})

    return app


@pytest.mark.parametrize("size", [0, 1, 256, 257, 4096, 100_000])
def test_a_known_route_is_counted_in_the_same_buckets(size: int) -> None:
    """The first request of a route and the ones after it take two paths to one count."""
    repeat(answering(size=size), [scope() for _ in range(5)])
    (sent,) = samples("http.server.response.body.size")
    assert sent.count == 5
    assert sent.value == 5 * size
    assert sent.counts.index(5) == bisect_left(sent.description.bounds, size)
    assert samples()[0].count == 5


def test_a_route_that_the_application_names_is_its_own() -> None:
    """Named in one request and not in the next: two series, whatever was learnt of the scope."""

    async def app(got: Any, receive: Any, send: Any) -> None:
        if got["path"] != "/":
            made = current()
            assert made is not None
            made.route = "/{named}"
        await answering()(got, receive, send)

    repeat(app, [scope(), scope(), scope(path="/a"), scope(), scope(path="/b")])
    assert [(dict(sample.labels).get("http.route"), sample.count) for sample in samples()] == [("/{named}", 2), (None, 3)]


def test_a_template_that_comes_later_is_not_overlooked() -> None:
    """A framework that says no route for some paths, and a template for others."""

    async def app(got: Any, receive: Any, send: Any) -> None:
        if got["path"] != "/":
            got["path_template"] = "/{id}"
        await answering()(got, receive, send)

    repeat(app, [scope(), scope(), scope(path="/1"), scope(path="/2"), scope()])
    assert [(dict(sample.labels).get("http.route"), sample.count) for sample in samples()] == [("/{id}", 2), (None, 3)]


def test_a_sampled_trace_is_known_while_it_is_served() -> None:
    """Headers are read when somebody asks: a measurement of the application's own gets its exemplar."""
    times = metrics.histogram("own", buckets=(1.0,))

    async def app(got: Any, receive: Any, send: Any) -> None:
        times.record(0.5)
        await answering()(got, receive, send)

    repeat(app, [scope(), scope(headers=[(b"traceparent", PARENT.encode())])])
    ((_, exemplar),) = samples("own")[0].exemplars
    assert f"{exemplar.trace_id:032x}" == PARENT[3:35]


def test_a_request_that_is_kept_on_its_way_leaves_an_exemplar() -> None:
    """Also where headers were just found to hold nothing."""

    async def app(got: Any, receive: Any, send: Any) -> None:
        made = current()
        assert made is not None
        made.kept = got["path"] == "/kept"
        await answering()(got, receive, send)

    repeat(app, [scope(), scope(), scope(path="/kept")])
    assert len(samples()[0].exemplars) == 1


def test_requests_under_way_outlive_a_change_of_the_segment() -> None:
    """`setup` while a request is served: it is counted once, and none is left under way."""

    async def app(got: Any, receive: Any, send: Any) -> None:
        if got["path"] == "/setup":
            metrics.REGISTRY.move(Segment())
        await answering()(got, receive, send)

    repeat(app, [scope(), scope(path="/setup"), scope()])
    assert samples()[0].count == 3
    assert samples("http.server.active_requests")[0].value == 0


def test_a_wsgi_response_closed_by_another_thread_is_exact() -> None:
    """Each thread counts in its own cell: one begins, another ends."""

    def app(_: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [])
        yield b"one"

    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            environ: dict[str, Any] = {"PATH_INFO": "/", "wsgi.input": io.BytesIO()}
            setup_testing_defaults(environ)
            response: Any = pool.submit(WSGIMiddleware(app), environ, lambda *_: lambda _: None).result()
            assert list(response) == [b"one"]
    assert samples()[0].count == 3
    assert samples("http.server.active_requests")[0].value == 0
    assert THREADS == {}
