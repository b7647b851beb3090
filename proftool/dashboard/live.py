"""What is new, told as it comes: server-sent events, one look at the store a second for all who listen.

Events carry no data but what is new (`runs`, `progress` of those under way, `traces`), and `tick` every five seconds; a page then asks
for its own view again. So what a page shows comes from one place, and an event that was lost while a connection broke is made good by the
next. Where nobody listens, nothing looks.
A stream ends with its connection (a comment every fifteen seconds finds the dead ones), or at once when the server ends.

Source: HTML Living Standard, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from proftool.errors import ProftoolError

LOOK_S = 1.0
TICK_S = 5.0
BEAT_S = 15.0
MAX_STREAMS = 64
RETRY_MS = 2000

Newest = Callable[[], Mapping[str, str | None]]
"""Event -> what the newest is; looks at the store, in a thread."""


class Feed:
    """All open streams."""

    def __init__(self, newest: Newest) -> None:
        self._newest = newest
        self._streams: set[asyncio.Queue[str | None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._is_over = False

    async def answer(self, request: Request) -> Response:
        """A stream of events; 503 where there are too many."""
        if self._is_over or len(self._streams) >= MAX_STREAMS:
            return PlainTextResponse("too many pages listen\n", 503, headers={"retry-after": "5"})
        return StreamingResponse(self._events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _events(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=100)
        self._streams.add(queue)
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            yield f"retry: {RETRY_MS}\n\nevent: hello\ndata:\n\n"
            while not self._is_over:
                try:
                    event = await asyncio.wait_for(queue.get(), BEAT_S)
                except TimeoutError:
                    yield ":\n\n"
                    continue
                if event is None:
                    return
                yield f"event: {event}\ndata:\n\n"
        finally:
            self._streams.discard(queue)
            if not self._streams and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look(self) -> None:
        known: dict[str, str | None] = {}
        is_first = True
        ticked = asyncio.get_running_loop().time()
        while True:
            with contextlib.suppress(ProftoolError):  # a store that cannot be read now may be again; the page itself says what is wrong
                for name, value in (await run_in_threadpool(self._newest)).items():
                    if not is_first and known.get(name) != value:
                        self._tell(name)
                    known[name] = value
                is_first = False
            if asyncio.get_running_loop().time() - ticked >= TICK_S:
                ticked = asyncio.get_running_loop().time()
                self._tell("tick")
            await asyncio.sleep(LOOK_S)

    def _tell(self, event: str | None) -> None:
        for queue in tuple(self._streams):
            with contextlib.suppress(asyncio.QueueFull):  # a reader that is a hundred events behind asks for all at the next one
                queue.put_nowait(event)

    def close(self) -> None:
        """End every stream now."""
        self._is_over = True
        self._tell(None)
        for queue in self._streams:
            if queue.full():
                queue.get_nowait()
                queue.put_nowait(None)
