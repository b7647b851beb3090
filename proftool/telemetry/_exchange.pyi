from collections.abc import Awaitable, Callable
from typing import Any

from proftool.telemetry.asgi_exchange import Exchange, Message, Receive, Scope, Send
from proftool.telemetry.http import Counts

SOURCE_DIGEST: str

def bind(
    *,
    exchange: type[Exchange],
    counts: type[Counts],
    hooks: object,
    done: dict[Any, Any],
    gone: Scope,
    seen: str,
    tell: Callable[..., None],
    now: Callable[[], int],
    draw: Callable[[int], int],
    modules: dict[str, Any],
    sending: Callable[[Exchange, Message], Awaitable[None]],
    done_in_python: Callable[[Exchange], None],
    receive_no_more: Receive,
    send_no_more: Send,
    seconds: tuple[float, ...],
    sizes: tuple[float, ...],
) -> tuple[Callable[[Exchange, Message], Awaitable[None]], Callable[[Exchange], None]]: ...
def begin(
    made: type[Exchange],
    lanes: dict[int, dict[str, dict[str, Counts]]],
    lane: int,
    scope: Scope,
    receive: Receive,
    send: Send,
    aside: str | None,
    /,
) -> Exchange | None: ...
def start(made: type[Exchange], counts: Counts, scope: Scope, receive: Receive, send: Send, /) -> Exchange: ...
