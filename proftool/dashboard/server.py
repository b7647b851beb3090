"""How it starts and ends: one port of loopback, one line with the URL on stdout, an orderly end at SIGTERM and Ctrl-C."""

from __future__ import annotations

import gc
import ipaddress
import secrets
import socket
from collections.abc import Callable, Sequence

import uvicorn

from proftool.dashboard.guard import Guard
from proftool.dashboard.pages import application, open_stores
from proftool.dashboard.receiver import PATHS, routes
from proftool.errors import UsageError
from proftool.settings import Settings
from proftool.workflows.receive import open_receiver

_GRACE_S = 1
"""How long requests under way may take once the end is asked for."""


def serve(settings: Settings, *, host: str, port: int, token: str | None, names: Sequence[str] = (), ready: Callable[[str], None]) -> None:
    """Answer until a signal ends it; `ready` gets the URL once it answers. UsageError for another interface without a token.

    Args:
        names: by which others know it, as of a proxy before it; addresses, `localhost` and this machine's own are known.
    """
    if not _is_loopback(host) and token is None:
        raise UsageError(
            f"`--host {host}` can be reached from other machines",
            cause="profiles hold source code and command lines",
            fix="choose a token of your own, `--token T`, and put TLS before it; or leave `--host` away",
        )
    if token is not None and len(token) < 16:
        raise UsageError("the token is too short", cause=f"{len(token)} characters can be guessed", fix="give 16 or more")
    key = token or secrets.token_urlsafe(24)
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        cause = (error.strerror or str(error)).lower()
        raise UsageError(f"cannot listen on {host}:{port}", cause=cause, fix="`--port 0` takes a free one") from error
    port = listening.getsockname()[1]
    named = f"[{host}]" if ":" in host else host
    own = {"localhost", host, socket.gethostname()} if not _is_loopback(host) else {"localhost"}
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else named  # nobody can go to a wildcard
    receiver = open_receiver(settings)
    app, feed = application(open_stores(settings), settings)
    app.router.routes.extend(routes(receiver))
    config = uvicorn.Config(
        Guard(app, token=key, port=port, names=own, proxied=names, posts=PATHS, posts_are_open=_is_loopback(host)),
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        lifespan="off",
    )

    def ends() -> None:
        receiver.refuse()
        feed.close()

    server = _Server(config, lambda: ready(f"http://{shown}:{port}/?token={key}"), ends)
    try:
        with listening:
            server.run([listening])
    finally:
        receiver.close()


class _Server(uvicorn.Server):
    """Tells when it answers, and when it is asked to end."""

    def __init__(self, config: uvicorn.Config, told: Callable[[], None], ends: Callable[[], None]) -> None:
        super().__init__(config)
        self._told, self._ends = told, ends

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # A view makes some hundred thousand objects that live as long as its answer, and the collector walks them all every 700: without
        # that the statements of 16,000 spans took 0.33 s instead of 0.42, a trace of 20,000 0.27 s instead of 0.42.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        if not self.should_exit:
            self._told()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._ends()
        await super().shutdown(sockets)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
