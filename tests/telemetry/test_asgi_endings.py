"""How a request of an ASGI application ends, by hand: answered, left, raised, refused, without an end; and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from telemetry.measured import PARENT, fresh, labels, samples, served_by

from proftool.telemetry import request
from proftool.telemetry.asgi import ASGIMiddleware

__all__ = ["fresh", "served_by"]  # the fixtures are used by being here


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
