"""The request being served now: who else wants to know of it, and where to look for it.

One mutable record a request, made by the ASGI and WSGI middleware and by nobody else. It stands in the context variable
`CURRENT` (follows await, new tasks and `asyncio.to_thread`) and, for a WSGI request, which holds its thread from start to end, in
`THREADS` under the thread's ident, because another thread's context variables cannot be read.

Tracing and the sampler register with `on_start` and `on_end`; both are called in the task or thread that serves the request.
`on_end` comes before the request's metrics are recorded: what it writes to `kept` decides whether an exemplar points to the trace.
A hook runs on the request path, so it does no I/O. One that raises is taken off and reported once, the request goes on.

Identifiers are W3C trace context (https://www.w3.org/TR/trace-context/): an id that arrives is kept, an absent or a malformed
one is drawn. Times are `time.perf_counter_ns()`; `wall_ns` turns one into the time since the epoch.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from proftool.telemetry.raised import Raised

Kind = Literal["http", "websocket"]

_LOG = logging.getLogger("proftool.telemetry")

SAMPLED: Final = 1
"""The one bit of trace-flags that version 00 of the trace context gives a meaning."""
RANDOM_BITS: Final = 56
"""The low bits of a trace id: the part that the trace context asks to be random."""

Context = tuple[Sequence[str], Sequence[str]]
"""Values of the headers traceparent and tracestate."""

_BEGINNING = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_BEGINNING.acquire, after_in_parent=_BEGINNING.release, after_in_child=_BEGINNING.release)


class Request:
    """A request under way, or just over.

    Fields that are None are not known yet: `route` until the framework has matched one (`route_now` asks it), `status` and
    `first_byte_ns` until the response starts, `ended_ns` until its last byte was handed on.
    """

    # Class attributes are the defaults of what is not known yet: a request sets seven fields and not twenty. The ASGI middleware's
    # own kind (asgi.py) sets five, and makes properties of the rest.
    span_id_drawn = 0
    trace_id_drawn = 0
    parent_id = 0
    """Span of the caller; 0 = this request begins the trace. Read `trace_id` first: it reads the header."""
    flags = 0
    """The caller's trace-flags; what tracing decides here goes to `kept`."""
    tracestate = ""
    kept = False
    """Is the trace kept by somebody: the caller's sampled flag, or what tracing decided at the end."""
    route: str | None = None
    """Template (`/users/{id}`), as it stands in the framework; an application without routes may set one."""
    status: int | None = None
    """Status that was sent; 101 of an accepted WebSocket."""
    error: str | None = None
    """`error.type`: a qualified exception name, `client_disconnect`, `incomplete_response`, or a status from 500 on."""
    first_byte_ns: int | None = None
    ended_ns: int | None = None
    received = 0
    """Bytes of the request's body, as far as they are known."""
    sent = 0
    """Bytes of the response's body."""
    streamed = False
    """Did the response come in several parts?"""
    raised: Raised | None = None
    """What the application raised, as text; only where somebody asked to be told of it."""
    span: object = None
    """For tracing: the span of this request, while it has one."""
    unread: Callable[[dict[str, object]], Context] | None = None
    """Finds the trace context in the carrier; None once it was read, or where there is none."""

    def __init__(
        self,
        kind: Kind,
        method: str,
        scheme: str,
        path: str,
        carrier: dict[str, object],
        resolve: Callable[[dict[str, object]], str | None],
        started_ns: int,
    ) -> None:
        self.kind: Kind = kind
        self.method = method
        """One that HTTP knows, or `_OTHER`."""
        self.scheme = scheme
        self.path = path
        """The path as it was asked for: never a metric's label."""
        self.carrier = carrier
        """The ASGI scope or the WSGI environ: headers, state, what the framework wrote to it."""
        self.resolve = resolve
        """Finds the route in the carrier once the framework has matched one."""
        self.started_ns = started_ns

    @property
    def trace_id(self) -> int:
        """The caller's, or one drawn now; safe from another thread."""
        return self.trace_id_drawn or self.begin()

    @property
    def span_id(self) -> int:
        """This request's own."""
        if not self.span_id_drawn:
            self.begin()
        return self.span_id_drawn

    def begin(self) -> int:
        """Read the caller's trace context or draw one; again changes nothing. Gives the trace id."""
        # Nobody reads the ids of most requests: neither the header nor the generator is touched for those.
        with _BEGINNING:
            if not self.trace_id_drawn:
                self.span_id_drawn = draw(64) or 1
                unread, self.unread = self.unread, None
                if unread is None or not continue_trace(self, *unread(self.carrier)):
                    self.trace_id_drawn = (HOOKS.around(self) if HOOKS.around else 0) or draw(128) or 1
            return self.trace_id_drawn

    def draw_id(self, low: int) -> None:
        """Draw the trace id, its low `RANDOM_BITS` being those; nothing where it is drawn already."""
        with _BEGINNING:
            if not self.trace_id_drawn:
                self.span_id_drawn = draw(64) or 1
                self.trace_id_drawn = draw(128 - RANDOM_BITS) << RANDOM_BITS | low or 1

    @property
    def has_parent(self) -> bool:
        """Did a trace context come with the request?"""
        return self.unread is not None or bool(self.parent_id or self.flags)

    @property
    def trace_id_hex(self) -> str:
        """32 lower-case digits."""
        return f"{self.trace_id:032x}"

    @property
    def span_id_hex(self) -> str:
        """16 lower-case digits."""
        return f"{self.span_id:016x}"

    @property
    def sampled(self) -> bool:
        """Did the caller say that it keeps the trace?"""
        self.begin()
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> str:
        """The header for what this request calls."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{SAMPLED if self.kept else 0:02x}"

    def route_now(self) -> str | None:
        """The route, asked of the framework if it has matched one since; safe from another thread."""
        if self.route is None:
            self.route = self.resolve(self.carrier)
        return self.route


CURRENT: ContextVar[Request | None] = ContextVar("proftool.request", default=None)

THREADS: Final[dict[int, Request]] = {}
"""Thread ident -> the WSGI request that holds the thread. A thread writes its own entry; whoever ends the request takes it out."""

Hook = Callable[[Request], None]
RaisedHook = Callable[[Request, BaseException], None]


class _Hooks:
    """Who is told, as tuples: the request path iterates, registration replaces."""

    __slots__ = ("around", "asked", "end", "raised", "spare", "start")

    def __init__(self) -> None:
        self.start: tuple[Hook, ...] = ()
        self.asked: tuple[Hook, ...] = ()
        self.raised: tuple[RaisedHook, ...] = ()
        self.around: Callable[[Request], int] | None = None
        """Gives the trace id of what was opened around the request, which nobody sent; 0 where there is none."""
        self.end: tuple[Hook, ...] = ()
        self.spare: tuple[Hook, int, int] | None = None
        """
        A hook of `end`, ns and a bound: it need not hear of a request that took less and went well, whose caller sent no trace and of which
        nobody asked for anything, but where `RANDOM_BITS` drawn now are below the bound: those become the low ones of its trace id.
        """


HOOKS: Final = _Hooks()


def on_start(hook: Hook) -> None:
    """Call the hook with every request as soon as its ids are known; registering it again changes nothing."""
    if hook not in HOOKS.start:
        HOOKS.start = (*HOOKS.start, hook)


def on_asked(hook: Hook) -> None:
    """Call the hook when somebody asks of a request under way whether its trace is kept: it writes `kept`. Again changes nothing."""
    if hook not in HOOKS.asked:
        HOOKS.asked = (*HOOKS.asked, hook)


def on_end(hook: Hook) -> None:
    """Call the hook with every request when it is over, before its metrics are recorded; again changes nothing."""
    if hook not in HOOKS.end:
        HOOKS.end = (*HOOKS.end, hook)


def on_raised(hook: RaisedHook) -> None:
    """Call the hook with what the application raised, or made a 500 of, while the exception is at hand; again changes nothing."""
    if hook not in HOOKS.raised:
        HOOKS.raised = (*HOOKS.raised, hook)


def forget(hook: Hook | RaisedHook) -> None:
    """Call the hook no more."""
    HOOKS.raised = tuple(known for known in HOOKS.raised if known != hook)
    HOOKS.start = tuple(known for known in HOOKS.start if known != hook)
    HOOKS.asked = tuple(known for known in HOOKS.asked if known != hook)
    HOOKS.end = tuple(known for known in HOOKS.end if known != hook)
    if HOOKS.spare is not None and HOOKS.spare[0] == hook:
        HOOKS.spare = None


def tell(hooks: tuple[Hook, ...], request: Request) -> None:
    """Call them all; one that raises is taken off, logged once, and never fails the request."""
    for hook in hooks:
        try:
            hook(request)
        except Exception:
            forget(hook)
            _LOG.exception("a request hook failed and was taken off: %r", hook)


def raised(request: Request, error: BaseException) -> None:
    """The application raised that; whoever wants to remember it takes what it needs now, for nobody keeps an exception and its frames."""
    for hook in HOOKS.raised:
        try:
            hook(request, error)
        except Exception:
            forget(hook)
            _LOG.exception("a request hook failed and was taken off: %r", hook)


def current() -> Request | None:
    """The request that this task or thread serves."""
    return CURRENT.get()


def wall_ns(monotonic_ns: int) -> int:
    """A time of `time.perf_counter_ns` as ns since the epoch."""
    return time.time_ns() - time.perf_counter_ns() + monotonic_ns


# --- W3C trace context ------------------------------------------------------------------------------------------------------

_RANDOM = random.Random()
# Its own generator, so that a program's `random.seed(1)` does not repeat ids; seeded anew in a forked worker for the same reason.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RANDOM.seed)
draw = _RANDOM.getrandbits
"""`draw(128)` is a trace id, `draw(64)` a span id."""

_HEX = frozenset("0123456789abcdef")


def continue_trace(request: Request, traceparents: Sequence[str], tracestates: Sequence[str]) -> bool:
    """
    Take trace id, parent and flags from the headers; False, and nothing taken, where they are absent, doubled or malformed.

    Tracestate is kept as it came (several headers joined), up to 32 members; the caller draws the ids on False.
    """
    if len(traceparents) != 1:
        return False
    text = traceparents[0].strip()
    if len(text) < 55 or text[2] != "-" or text[35] != "-" or text[52] != "-":
        return False
    version, trace, parent, flags = text[:2], text[3:35], text[36:52], text[53:55]
    if not _HEX.issuperset(version + trace + parent + flags) or version == "ff":
        return False
    if len(text) > 55 and (version == "00" or text[55] != "-"):
        return False
    trace_id, parent_id = int(trace, 16), int(parent, 16)
    if not trace_id or not parent_id:
        return False
    request.parent_id, request.flags = parent_id, int(flags, 16)
    if request.flags & SAMPLED:
        request.kept = True
    members = [member for header in tracestates for member in header.split(",") if member.strip()]
    if members and len(members) <= 32:
        request.tracestate = ",".join(member.strip() for member in members)
    request.trace_id_drawn = trace_id
    return True
