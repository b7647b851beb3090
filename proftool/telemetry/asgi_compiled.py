"""The usual request in C, where the package was compiled: _exchange.c does what asgi_exchange.py does, and asks that for all else.

Which of both is in use changes no measurement and no answer, only what a request costs: docs/pages/explanation/services.md. An installation
for which there was no compiler has Python's alone; `proftool doctor` says which it is.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from proftool.telemetry import asgi_exchange, request
from proftool.telemetry.asgi_exchange import DONE, GONE, SEEN, Begin, Exchange, Start, receive_no_more, send_no_more
from proftool.telemetry.http import Counts
from proftool.telemetry.metrics import BYTES, SECONDS

try:
    from proftool.telemetry import _exchange
except ImportError:  # there was no compiler where this was installed
    _exchange = None


class _Path:
    """What begins a request."""

    __slots__ = ("begin", "is_compiled", "start")

    begin: Begin
    start: Start
    is_compiled: bool


PATH: Final = _Path()
_PYTHON: Final = (Exchange.sending, Exchange.done)


def use(*, compiled: bool) -> None:
    """Serve requests that begin from now on in this way; in Python where nothing was compiled."""
    PATH.is_compiled = compiled and _exchange is not None
    if not compiled or _exchange is None:
        PATH.begin, PATH.start = asgi_exchange.begin, asgi_exchange.start
        Exchange.sending, Exchange.done = _PYTHON
        return
    PATH.begin, PATH.start = _exchange.begin, _exchange.start
    Exchange.sending, Exchange.done = _exchange.bind(  # pyright: ignore[reportAttributeAccessIssue]  # bound like Python's, positional only
        exchange=Exchange,
        counts=Counts,
        hooks=request.HOOKS,
        done=DONE,
        gone=GONE,
        seen=SEEN,
        tell=request.tell,
        now=time.perf_counter_ns,
        draw=request.draw,
        modules=sys.modules,
        sending=_PYTHON[0],
        done_in_python=_PYTHON[1],
        receive_no_more=receive_no_more,
        send_no_more=send_no_more,
        seconds=SECONDS,
        sizes=BYTES,
    )


use(compiled=True)
