"""By which names a dashboard is asked, and from where: the guard around an application that answers everything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proftool.dashboard.guard import Guard

TOKEN = "t" * 16


def status(host: str, *, own: tuple[str, ...] = ("localhost",), proxied: tuple[str, ...] = (), origin: str | None = None) -> int:
    """Of a request that carries the token's cookie."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = [(b"host", host.encode()), (b"cookie", f"proftool-8000={TOKEN}".encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers}
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    asyncio.run(Guard(app, token=TOKEN, port=8000, names=own, proxied=proxied)(scope, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["localhost:8000", "localhost", "LocalHost.:8000", "127.0.0.1:8000", "10.0.0.5", "[::1]:8000", "[::1]"])
def test_an_address_or_an_own_name_is_answered(host: str) -> None:
    """With any port or none: clients leave out 80 and 443, and a proxy listens elsewhere."""
    assert status(host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "[evil", "::1"]
)
def test_a_name_that_could_be_rebound_is_refused(host: str) -> None:
    """Whatever it begins with."""
    assert status(host) == 421


def test_a_proxy_goes_by_the_names_that_were_given() -> None:
    """Whether it hands the Host on or not; a page of that name may ask."""
    given = {"proxied": ("profiles.example.org",)}
    assert status("profiles.example.org", **given) == 200  # type: ignore[arg-type]
    assert status("profiles.example.org", origin="https://profiles.example.org", **given) == 200  # type: ignore[arg-type]
    assert status("10.0.0.5:8000", origin="https://profiles.example.org", **given) == 200  # type: ignore[arg-type]


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8000", "https://evil.example", "null"])
def test_another_site_is_refused(origin: str) -> None:
    """Another port of this machine is one too."""
    assert status("localhost:8000", origin=origin) == 403
