"""A view whose document takes its time: its page begins before, and ends with the document or with what went wrong."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from proftool.dashboard import pages
from proftool.dashboard.assets import static
from proftool.dashboard.html import Html
from proftool.errors import RunNotFound

pytestmark = pytest.mark.xdist_group("dashboard")
MISSING = RunNotFound("no such thing <b>", cause="it is gone", fix="look elsewhere")


def view(document: Callable[[Request], object]) -> Starlette:
    """An application of that one view."""
    page = pages.view_page(Html(), "queries", document, "Queries", "/queries")
    return Starlette(routes=[Route("/queries", page), Route("/static/{digest}/{name}", static)])


def asked(app: Starlette, told: Callable[[bytes], None]) -> tuple[int, bytes]:
    """Status and body; each part of the body is told as it comes."""
    scope = {"type": "http", "method": "GET", "path": "/queries", "raw_path": b"/queries", "query_string": b"", "headers": [],
             "scheme": "http", "http_version": "1.1", "server": ("t", 80), "client": ("t", 1), "asgi": {"version": "3.0"}}  # fmt: skip
    status, body = 0, b""
    ended = asyncio.Event()

    async def receive() -> dict[str, object]:
        await ended.wait()  # a client that stays
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = int(str(message["status"]))
        else:
            part = bytes(message.get("body", b""))  # type: ignore[call-overload]
            body += part
            told(part)

    async def run() -> None:
        await app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(run())
    return status, body


def test_the_page_begins_before_its_document_is_known() -> None:
    """Style and front end are named while the document is still being made: it waits here until they were."""
    begun = threading.Event()

    def document(_: Request) -> object:
        assert begun.wait(60)
        return {"found": "</script><b>"}

    status, body = asked(view(document), lambda part: begun.set() if b"dashboard.js" in part and b"Loading" in part else None)
    assert status == 200
    assert body.rstrip().endswith(b"</html>")
    assert body.index(b"dashboard.css") < body.index(b'id="document"')
    assert b"</script><b>" not in body


def test_what_fails_at_once_has_its_own_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the view is begun."""
    monkeypatch.setattr(pages, "PROMPT_S", 60.0)  # at once, also on a busy machine

    def document(_: Request) -> object:
        raise MISSING

    status, body = asked(view(document), lambda _: None)
    assert status == 404
    assert b"no such thing &lt;b&gt;" in body
    assert b"Loading" not in body


@pytest.mark.parametrize(
    ("error", "said"), [(MISSING, b"look elsewhere"), (ZeroDivisionError("secret"), b"its traceback is in the terminal")]
)
def test_what_fails_late_is_said_in_the_page(error: Exception, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is foreseen and what is not; the latter reaches the server's log too, and nothing of it the page."""
    monkeypatch.setattr(pages, "PROMPT_S", 0.0)
    bodies: list[bytes] = []

    def document(_: Request) -> object:
        time.sleep(0.1)
        raise error

    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            asked(view(document), bodies.append)
    else:
        asked(view(document), bodies.append)
    body = b"".join(bodies)
    assert said in body
    assert b"secret" not in body
    assert b"</html>" in body


@contextmanager
def running(app: Starlette) -> Iterator[str]:
    """The application at an address of loopback."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)


def test_a_browser_shows_the_late_problem_and_waits_no_more(browser: Browser) -> None:
    """The view's name, what happened, cause and fix; not that something is still coming."""

    def document(_: Request) -> object:
        time.sleep(1)
        raise MISSING

    with running(view(document)) as base:
        page = browser.new_page()
        page.goto(base + "/queries")
        expect(page.locator("#problem")).to_contain_text("look elsewhere")
        expect(page.locator("h1")).to_have_text("Queries")
        expect(page.locator("[role=status]")).to_have_count(0)
        page.close()
