"""What is measured of a request, in every framework."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import httpx
import pytest
from starlette.testclient import TestClient
from telemetry import apps
from telemetry.measured import PARENT, fresh, labels, samples, served_by

from proftool.telemetry import request
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.request import THREADS, Request, current
from proftool.telemetry.wsgi import WSGIMiddleware

__all__ = ["fresh", "served_by"]  # the fixtures are used by being here


def call(app: Any, path: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> httpx.Response:
    """One request through the real interface; what the application raises is a 500, as it is of a server."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(app, ASGIMiddleware):
        with TestClient(app, raise_server_exceptions=False) as client:
            return client.request(method, path, content=body or None, headers=named)
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://test") as client:
        try:
            return client.request(method, path, content=body, headers=named)
        except LookupError:
            return httpx.Response(500)


FRAMEWORKS: dict[str, Callable[[], Any]] = apps.ASGI | apps.WSGI
TEMPLATES = {"flask": "/items/<id>", "django": "/items/<int:id>"}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_route_is_its_template(name: str) -> None:
    """Two items are one series; what no route matches has none, and never the path."""
    app = FRAMEWORKS[name]()
    answer = call(app, "/items/7")
    call(app, "/items/8")
    call(app, "/nowhere/at/all")
    assert answer.headers["server-timing"].startswith("app;dur=")
    common = {"http.request.method": "GET", "url.scheme": "http"}
    assert labels() == [
        common | {"http.response.status_code": "200", "http.route": TEMPLATES.get(name, "/items/{id}")},
        common | {"http.response.status_code": "404"},
    ]
    assert samples()[0].count == 2
    assert [sample.value for sample in samples("http.server.active_requests")] == [0]
    assert samples("http.server.response.body.size")[0].value == 2 * len(answer.content)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_failure_is_counted_with_its_cause(name: str) -> None:
    """The exception's name where it comes through; a framework that answers it itself leaves the status."""
    assert call(FRAMEWORKS[name](), "/fail").status_code == 500
    (found,) = labels()
    assert found["http.response.status_code"] == "500"
    assert found["error.type"] == ("LookupError" if name not in ("flask", "django") else "500")
    assert samples("http.server.active_requests")[0].value == 0


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_stream_has_a_first_byte_and_an_end(name: str) -> None:
    """Three parts of 20 ms: the first after one, the whole after three."""
    assert call(FRAMEWORKS[name](), "/stream").content == b"onetwothree"
    (whole,), (first,) = samples(), samples("http.server.response.first_byte")
    assert first.count == whole.count == 1
    assert 0.02 <= first.value <= whole.value - 0.035
    assert samples("http.server.response.body.size")[0].value == 11


def test_a_mount_is_part_of_the_template() -> None:
    """Its parameters too are names and not values."""
    call(apps.starlette(), "/team/red/items/7")
    assert labels()[0]["http.route"] == "/team/{team}/items/{id}"


def test_an_included_router_has_its_prefix() -> None:
    """One route included twice is two templates."""
    app = apps.fastapi()
    call(app, "/items/7")
    call(app, "/v2/items/7")
    assert sorted(found["http.route"] for found in labels()) == ["/items/{id}", "/v2/items/{id}"]


def test_sizes_of_requests_are_known_with_and_without_a_length() -> None:
    """A body in chunks is counted as it comes."""
    app = apps.starlette()
    call(app, "/size", method="POST", body=b"x" * 1000)
    with TestClient(app) as client:
        assert client.post("/size", content=iter([b"x" * 500, b"y" * 250])).text == "750"
    assert samples("http.server.request.body.size")[0].value == 1750


def test_a_strange_method_is_other() -> None:
    """A method is a label of few values."""
    for method in ("BREW", "WHEN"):
        call(apps.starlette(), "/items/7", method=method)
    assert {found["http.request.method"] for found in labels()} == {"_OTHER"}


@pytest.mark.parametrize("name", ["starlette", "flask"])
def test_a_kept_trace_leaves_an_exemplar(name: str) -> None:
    """The caller's trace id, on the bucket of the duration; of a trace that nobody keeps there is none."""
    app = FRAMEWORKS[name]()
    call(app, "/items/7", traceparent=PARENT[:-1] + "0")
    assert samples()[0].exemplars == ()
    call(app, "/items/7", traceparent=PARENT)
    ((bucket, exemplar),) = samples()[0].exemplars
    assert f"{exemplar.trace_id:032x}" == PARENT[3:35]
    assert samples()[0].counts[bucket]
    assert 0 < exemplar.value < 5


@pytest.mark.parametrize(
    ("parents", "states", "taken"),
    [
        ([PARENT], ["a=1", "b=2"], True),
        ([PARENT, PARENT], [], False),
        ([PARENT.replace("00-", "ff-", 1)], [], False),
        ([PARENT.upper()], [], False),
        ([PARENT + "-more"], [], False),
        ([PARENT.replace("00-", "01-", 1) + "-more"], [], True),
        (["00-" + "0" * 32 + PARENT[35:]], [], False),
        ([PARENT[:36] + "0" * 16 + "-01"], [], False),
        (["garbage"], [], False),
    ],
)
def test_trace_context_is_the_callers_or_new(parents: list[str], states: list[str], taken: bool) -> None:
    """By the rules of W3C: a malformed header begins a new trace, an unknown version is read as far as it is known."""
    made = Request("http", "GET", "http", "/", {}, lambda _: None, 0)
    made.unread = lambda _: (parents, states)
    assert (made.trace_id_hex == PARENT[3:35]) is taken
    assert made.kept is taken
    assert (made.parent_id != 0) is taken
    assert made.tracestate == ("a=1,b=2" if states else "")
    assert made.trace_id
    assert made.span_id not in (0, made.parent_id)
    assert made.traceparent == f"00-{made.trace_id_hex}-{made.span_id_hex}-0{int(taken)}"


def test_a_websocket_is_measured_as_a_connection() -> None:
    """Open while it is, with its route and 101; not an HTTP request."""
    with TestClient(apps.starlette()) as client, client.websocket_connect("/echo/7") as socket:
        assert samples("websocket.server.active_connections")[0].value == 1
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
    (found,) = labels("websocket.server.connection.duration")
    assert found["http.route"] == "/echo/{room}"
    assert found["http.response.status_code"] == "101"
    assert samples("websocket.server.active_connections")[0].value == 0
    assert samples() == []


def test_an_application_wrapped_twice_is_counted_once() -> None:
    """A framework's own set-up and the server's may both add it."""
    twice = ASGIMiddleware(apps.starlette())
    call(twice, "/items/7")
    assert samples()[0].count == 1


def wsgi(app: Any, path: str = "/", **more: str) -> Any:
    environ: dict[str, Any] = {"PATH_INFO": path, "wsgi.input": io.BytesIO(), **more}
    setup_testing_defaults(environ)
    return WSGIMiddleware(app)(environ, lambda *_: lambda _: None)


def test_a_response_closed_early_is_a_client_that_left() -> None:
    """The server stops to iterate when nobody reads."""

    def app(_: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [])
        yield b"one"
        yield b"two"

    response = wsgi(app)
    next(iter(response))
    response.close()
    assert labels()[0]["error.type"] == "client_disconnect"
    assert THREADS == {}


def test_a_length_that_is_no_number_is_no_error() -> None:
    """Servers hand on what the client sent."""

    def app(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"one"]

    assert list(wsgi(app, CONTENT_LENGTH="²")) == [b"one"]


def test_what_is_no_response_ends_its_request() -> None:
    """The server fails when it iterates; nothing of the request is left."""
    with pytest.raises(TypeError):
        wsgi(lambda _, start: start("200 OK", []) and None)
    assert labels()[0]["error.type"] == "TypeError"
    assert [sample.value for sample in samples("http.server.active_requests")] == [0.0]
    assert THREADS == {}
    assert current() is None


def test_the_request_is_known_where_it_is_served() -> None:
    """In the context, and of WSGI under the thread; hooks see it begin and end."""
    seen: list[str] = []

    def begun(made: Request) -> None:
        seen.append("begun")

    def ended(made: Request) -> None:
        assert made.ended_ns
        made.kept = True
        seen.append(f"ended {made.status}")

    def app(_: Any, start: Any) -> list[bytes]:
        assert current() is next(iter(THREADS.values()))
        start("200 OK", [])
        return [b"x"]

    request.on_start(begun)
    request.on_end(ended)
    try:
        list(wsgi(app))
    finally:
        request.forget(begun)
        request.forget(ended)
    assert seen == ["begun", "ended 200"]
    assert len(samples()[0].exemplars) == 1
    assert current() is None


def test_a_hook_that_fails_does_not_fail_the_request() -> None:
    """It is taken off after its first failure."""
    calls: list[int] = []

    def broken(_: Request) -> None:
        calls.append(1)
        raise RuntimeError("planned")

    request.on_end(broken)
    app = apps.flask()
    assert call(app, "/items/7").status_code == call(app, "/items/7").status_code == 200
    assert calls == [1]
