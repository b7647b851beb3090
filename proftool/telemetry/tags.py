"""What a thread works on just now, told from another thread: request, trace and span of each sample.

Another thread's context variables cannot be read, so there are three ways to the answer, by what the thread does:
- *It runs a task of an event loop.* The loop's current task can be asked from outside, and the task's own `Context` object can be
  read while the task runs: it holds the current span as it is at this moment, whoever set it. Interleaved requests are
  as right as lone ones.
- *It runs a function for such a task* (a worker thread of anyio or of `asyncio.to_thread`): these call it through `Context.run`, and
  the Context is found in their frame.
- *It serves a WSGI request.* That one holds its thread from start to end: `request.THREADS`.

Reading a Context of a running thread is safe under the GIL: its variables are one immutable map that is replaced as a whole.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from contextvars import Context
from types import FrameType
from typing import Any, Final, NamedTuple, cast

from proftool.telemetry import request as requests
from proftool.telemetry.request import CURRENT, THREADS, Request
from proftool.telemetry.spans import Span
from proftool.telemetry.spans_current import ACTIVE, span_key, span_variable

BEAT_S = 0.02
"""How often a watched loop says that it is alive."""


class Tag(NamedTuple):
    """What a sample belongs to."""

    trace_id: int
    span_id: int
    request: Request | None


class Loop:
    """An event loop that runs in a thread."""

    __slots__ = ("_handle", "beats", "loop", "thread")

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        self.loop = weakref.ref(loop)
        self.thread = thread
        self.beats = 0
        """Grows while the loop comes round: it stands still while a callback blocks it."""
        self._handle: asyncio.TimerHandle | None = None

    def beat(self) -> None:
        """Called by the loop itself."""
        self.beats += 1
        loop = self.loop()
        if loop is not None and not loop.is_closed() and LOOPS.get(self.thread) is self:
            self._handle = loop.call_later(BEAT_S, self.beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._handle is not None:
            self._handle.cancel()


LOOPS: Final[dict[int, Loop]] = {}
"""Thread ident -> the loop that it runs, from its first request on."""
_HAS_GET_CONTEXT: Final = sys.version_info >= (3, 12)


class _Followed:
    """How many requests more are followed."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0


_FOLLOWED: Final = _Followed()


def follow_more(n: int) -> None:
    """Look at the next n requests, for the loop that serves them: a hook on all of them would cost more than the sampler itself."""
    _FOLLOWED.left = max(n, _FOLLOWED.left)
    requests.on_start(follow)


def follow(_request: Request) -> None:
    """A request begins in this thread: know its loop."""
    _FOLLOWED.left -= 1
    if _FOLLOWED.left <= 0:
        requests.forget(follow)
    loop = asyncio._get_running_loop()  # pyright: ignore[reportPrivateUsage]  # get_running_loop raises, at ten times the cost
    if loop is None:
        return
    known = LOOPS.get(threading.get_ident())
    if known is None or known.loop() is not loop:
        watch_loop(loop)


def watch_loop(loop: asyncio.AbstractEventLoop) -> Loop:
    """Look at the tasks of the loop that runs in this thread."""
    thread = threading.get_ident()
    before = LOOPS.get(thread)
    if before is not None:
        before.stop()
    watched = LOOPS[thread] = Loop(loop, thread)
    watched.beat()
    return watched


def stop() -> None:
    """Forget every loop."""
    for watched in list(LOOPS.values()):
        watched.stop()
    LOOPS.clear()


def of_context(context: Context) -> Tag | None:
    """The tag of whatever runs in that Context."""
    variable = span_variable()
    request = context.get(CURRENT)
    if variable is not None:
        held: dict[str, object] | None = context.get(variable)
        span = held.get(span_key()) if held else None
        # An entry that nobody asked for stays so: its ids are the request's.
        if isinstance(span, Span) and (local := span.__dict__.get("local")) is not None:
            return Tag(local.trace_id, span.span_id, request)
    return _of_request(request) if request is not None else None


def _of_request(request: Request) -> Tag:
    # Drawn now where nobody asked before: the request may turn out to be slow, and its samples shall be found then.
    return Tag(request.trace_id, request.span_id, request)


def task_of(thread: int) -> asyncio.Task[Any] | None:
    """The task that the thread's loop runs just now."""
    watched = LOOPS.get(thread)
    loop = watched.loop() if watched is not None else None
    return asyncio.current_task(loop) if loop is not None else None


def of_task(task: asyncio.Task[Any]) -> Tag | None:
    """The tag of a task."""
    if _HAS_GET_CONTEXT:
        return of_context(cast("Any", task).get_context())
    # CPython 3.11 has no such method, but its collector is told of what a task refers to: its own Context before any callback's. A task
    # factory that remembers the Context costs every request what this costs a sample.
    context = next((one for one in gc.get_referents(task) if isinstance(one, Context)), None)
    return of_context(context) if context is not None else None


def of_thread(thread: int) -> Tag | None:
    """The tag of a thread that holds a WSGI request."""
    request = THREADS.get(thread)
    if request is None:
        return None
    span = ACTIVE.get(thread)
    if span is not None and span.local.trace_id == request.trace_id and not span.end_ns:
        return Tag(span.local.trace_id, span.span_id, request)
    return _of_request(request)


_WORKER_FILES: Final = ("anyio/_backends/_asyncio.py", "concurrent/futures/thread.py")


def of_worker(frame: FrameType) -> Tag | None:
    """The tag of a worker thread, by the first of its frames, from the innermost on, that carries a Context; None where none does."""
    inner: FrameType | None = frame
    while inner is not None:
        code = inner.f_code
        if code.co_name == "run" and code.co_filename.endswith(_WORKER_FILES) and (tag := _of_run(inner)) is not None:
            return tag
        inner = inner.f_back
    return None


def _of_run(frame: FrameType) -> Tag | None:
    carried = frame.f_locals
    context = carried.get("context")
    if not isinstance(context, Context):
        item = carried.get("self")
        context = getattr(getattr(getattr(item, "fn", None), "func", None), "__self__", None)
    return of_context(context) if isinstance(context, Context) else None
