"""A run too large for one page, whole: served on loopback, a page at a time, to one browser.

The first page is the one that a file would hold; what is folded on it is a link to a page of its own, which may fold again.
Nobody else gets in: the server listens on 127.0.0.1, a secret stands in every path, and a request for another host name
(a web page that makes its own name point here) is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from proftool.contracts import ReportOptions
from proftool.errors import ProftoolError

if TYPE_CHECKING:
    from proftool.model.profile import Profile


class PageServer(ThreadingHTTPServer):
    """Serves one profile; `url` is its first page."""

    daemon_threads = True

    def __init__(self, profile: Profile, options: ReportOptions) -> None:
        from proftool.reports.flamegraph import Parts

        super().__init__(("127.0.0.1", 0), _Handler)
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.hosts = tuple(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))
        self.url = f"http://{self.hosts[0]}{self.path}"
        self._parts = Parts(profile, options, url=self.path)
        self._lock = Lock()

    def page(self, node: int | None) -> bytes:
        """A page; one at a time, for each takes the memory of a whole profile."""
        with self._lock:
            return self._parts.page(node)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, asked = self.server, urlsplit(self.path)
        assert isinstance(server, PageServer)
        if self.headers.get("Host") not in server.hosts or asked.path != server.path:
            return self._answer(404, "text/plain; charset=utf-8", b"not here\n")
        word = parse_qs(asked.query).get("node", [""])[0]
        try:
            content = server.page(int(word) if word.isascii() and word.isdigit() else None)
        except ProftoolError as error:
            return self._answer(404, "text/plain; charset=utf-8", f"{error.what}: {error.cause}\n".encode("utf-8", "replace"))
        return self._answer(200, "text/html; charset=utf-8", content)

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: what was asked for is on the reader's screen."""


def serve(profile: Profile, options: ReportOptions, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; `ready` gets the first page's address."""
    with PageServer(profile, options) as server:
        ready(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
