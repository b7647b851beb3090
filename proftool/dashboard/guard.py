"""Who may ask: a token, the right Host, no foreign Origin, small requests; and headers that keep a page to itself.

A page on the web can make a browser send requests to loopback. *DNS rebinding* makes its own name point there, so the Host header must name
this server: a name of its own, or an address, which nobody can rebind. The port is not looked at: the request came to ours, whatever a
proxy before it listens on. *Cross-site requests* carry a foreign Origin or none of our cookie, which is never sent across sites. The token
comes in the printed URL, moves into the cookie at once and leaves the address bar. Cookies are a host's, not a port's: each server's has a
name of its own, or two dashboards would log each other out.

Programs that send telemetry know no cookie: the receiver's paths are posted to without one where only this machine can (`posts_are_open`),
and with `Authorization: Bearer TOKEN` elsewhere. Host and Origin are looked at as for all else, so that no page can write.

Source: OWASP, "Cross-Site Request Forgery Prevention" and "DNS Rebinding"; W3C Content Security Policy 3.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proftool.dashboard.assets import PAGE

MAX_URL_BYTES = 8192


class Guard:
    """ASGI middleware around everything."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        port: int,
        names: Iterable[str],
        proxied: Iterable[str] = (),
        posts: Iterable[str] = (),
        posts_are_open: bool = False,
    ) -> None:
        """`names` are this machine's, `proxied` those of whatever hands requests on to it."""
        self._app, self._token, self._cookie = app, token, f"proftool-{port}"
        self._proxied = frozenset(map(str.lower, proxied))
        self._names = self._proxied | frozenset(map(str.lower, names))
        self._posts, self._posts_are_open = frozenset(posts), posts_are_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", PAGE)
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-opener-policy"] = "same-origin"
                headers["cross-origin-resource-policy"] = "same-origin"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (refusal or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL_BYTES:
            return PlainTextResponse("the address is too long\n", 414)
        host = headers.get("host", "").lower()
        if (name := _name(host)) not in self._names and not _is_address(name):
            return PlainTextResponse("this server does not go by that name: `proftool serve --name NAME`\n", 421)
        origin = headers.get("origin")
        # A proxy that does not hand the Host on has a name that was given, and any port.
        if origin is not None and (other := origin.partition("://")[2].lower()) != host and _name(other) not in self._proxied:
            return PlainTextResponse("no requests from other sites\n", 403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return PlainTextResponse("no requests from other sites\n", 403)
        if scope["method"] == "POST" and scope["path"] in self._posts:
            kind, _, given = headers.get("authorization", "").partition(" ")
            if self._posts_are_open or (kind.lower() == "bearer" and self._is_token(given.strip())):
                return None
            return PlainTextResponse("send the token: OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN\n", 401)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("this server is only read\n", 405, headers={"allow": "GET, HEAD"})
        request = Request(scope)
        given = request.query_params.get("token")
        if given is not None and self._is_token(given):
            rest = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != "token"])
            answer = RedirectResponse(request.url.path + (f"?{rest}" if rest else ""), 303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
            return answer
        if not self._is_token(request.cookies.get(self._cookie, "")):
            return PlainTextResponse("open the address that `proftool serve` printed: it carries the token\n", 401)
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _name(host: str) -> str:
    """Of `name:port`, `[address]:port` and either without a port."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
