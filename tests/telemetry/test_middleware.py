"""What is measured of a request, in every framework."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import io
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import httpx
import pytest
from starlette.testclient import TestClient
from telemetry import apps
from telemetry.measured import DURATION, PARENT, fresh, samples

from proftool.telemetry import request
from proftool.telemetry.asgi import ASGIMiddleware
from proftool.telemetry.request import THREADS, Request, current
from proftool.telemetry.wsgi import WSGIMiddleware

__all__ = ["fresh"]  # the fixture is used by being here


def labels(name: str = DURATION) -> list[dict[str, str]]:
    return [dict(sample.labels) for sample in samples(name) if sample.count]


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


def scope(**more: Any) -> dict[str, Any]:
    return {"type": "http", "method": "GET", "path": "/", "headers": [], "scheme": "http"} | more


def serve(app: Any, incoming: list[dict[str, Any]]) -> list[Any]:
    """Run an ASGI application by hand; what it sent."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(ASGIMiddleware(app)(scope(), receive, send))
    return sent


def test_a_client_that_leaves_is_no_error_of_the_server() -> None:
    """The disconnect came before the end of the response."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await receive()

    serve(app, [{"type": "http.disconnect"}])
    assert labels()[0]["error.type"] == "client_disconnect"


def test_a_disconnect_after_the_end_is_nothing() -> None:
    """Frameworks wait for it once they have answered."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        await receive()

    serve(app, [{"type": "http.disconnect"}])
    assert "error.type" not in labels()[0]


def test_what_another_server_refused_is_no_client_that_left() -> None:
    """Both raise ConnectionError: only that of `send` is the client's."""

    async def database(*_: Any) -> None:
        raise ConnectionRefusedError("planned")

    async def gone(_: Any) -> None:
        raise BrokenPipeError

    async def asking(_: Any, receive: Any, send: Any) -> None:
        await database()

    async def answering(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    for app, sending in ((asking, gone), (answering, gone)):
        with pytest.raises(ConnectionError):
            asyncio.run(ASGIMiddleware(app)(scope(), gone, sending))  # type: ignore[arg-type]
    assert [found["error.type"] for found in labels()] == ["ConnectionRefusedError", "client_disconnect"]


def test_a_file_that_is_not_there_is_no_client_that_left() -> None:
    """Starlette makes ClientDisconnect of any OSError within a stream, where the server is of ASGI 2.4."""
    from starlette.responses import StreamingResponse

    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise FileNotFoundError("planned")

    async def receive() -> Any:
        await asyncio.sleep(3600)

    async def send(_: Any) -> None:
        pass

    with pytest.raises(Exception):  # noqa: B017
        asyncio.run(ASGIMiddleware(StreamingResponse(parts()))(scope() | {"asgi": {"spec_version": "2.4"}}, receive, send))
    assert labels()[0]["error.type"] == "starlette.requests.ClientDisconnect"


def test_an_answer_without_an_end_is_incomplete() -> None:
    """The application returned and had sent nothing, or half."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    serve(app, [])
    assert labels()[0]["error.type"] == "incomplete_response"


def test_background_work_is_not_the_clients_time() -> None:
    """A request ends with the last part of its response."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        answered.append(time.perf_counter())
        assert samples()[0].count == 1
        await asyncio.sleep(0.05)

    answered: list[float] = []
    begun = time.perf_counter()
    serve(app, [])
    assert samples()[0].count == 1
    assert samples()[0].value <= answered[0] - begun


@pytest.mark.parametrize(("kind", "fails"), [("http", False), ("http", True), ("websocket", False), ("websocket", True)])
def test_a_timer_set_while_it_answers_holds_nothing_of_a_request(kind: str, fails: bool) -> None:
    """uvicorn's keep-alive timer has a copy of the context, and asyncio keeps cancelled timers; who it was can still be asked."""

    class State(dict[str, object]):
        pass

    kept: list[contextvars.Context] = []

    async def app(asked: Any, receive: Any, send: Any) -> None:
        if kind == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x"})
        else:
            await send({"type": "websocket.accept"})
        if fails:
            raise LookupError

    async def send(_: Any) -> None:
        kept.append(contextvars.copy_context())

    async def one() -> weakref.ref[State]:
        state = State()
        with contextlib.suppress(LookupError):
            asked = scope(type=kind, state=state, headers=[(b"traceparent", PARENT.encode())])
            await ASGIMiddleware(app)(asked, send, send)  # type: ignore[arg-type]  # receives nothing
        return weakref.ref(state)

    gone = asyncio.run(one())
    assert gone() is None
    was = kept[-1][request.CURRENT]
    assert was is not None
    assert was.path == "/"
    assert was.trace_id_hex == PARENT.split("-")[1]
    assert was.status == (200 if kind == "http" else 101)


def test_an_application_may_take_the_scope_apart() -> None:
    """What it leaves is its own matter: the answer goes out and the request is counted."""

    async def app(asked: Any, receive: Any, send: Any) -> None:
        asked.clear()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    assert [message["type"] for message in serve(app, [])] == ["http.response.start", "http.response.body"]
    assert samples()[0].count == 1


def test_a_server_that_is_gone_is_told_so() -> None:
    """Work that outlives its request hears of a disconnect, and cannot answer any more."""
    ends: list[Any] = []

    async def app(asked: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        ends.extend((receive, send))

    async def later() -> None:
        assert await ends[0]() == {"type": "http.disconnect"}
        with pytest.raises(RuntimeError, match="done with the request"):
            await ends[1]({"type": "http.response.body", "body": b"y"})

    serve(app, [])
    asyncio.run(later())
    assert samples()[0].count == 1


def test_a_response_is_not_changed_in_place() -> None:
    """A message that the application uses again does not collect our headers."""
    start = {"type": "http.response.start", "status": 200, "headers": []}

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b"x"})

    async def send(_: Any) -> None:
        pass

    asyncio.run(ASGIMiddleware(app, server_timing=True)(scope(), send, send))  # type: ignore[arg-type]  # receives nothing
    assert start["headers"] == []


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
