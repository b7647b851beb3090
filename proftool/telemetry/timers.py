"""Timers: how long a block, a call or a coroutine took, into a histogram of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from proftool.telemetry.metrics import Histogram

Param = ParamSpec("Param")
Result = TypeVar("Result")

_UNDER_WAY: ContextVar[tuple[object, ...]] = ContextVar("proftool.timers", default=())
"""(start in ns, the outer tuple): what this task or thread times now. So one timer serves nested and concurrent uses."""


class Timer:
    """Records how long a block or a call took, failed ones too; `with`, `async with`, or a decorator of both kinds of function."""

    __slots__ = ("_histogram", "_labels")

    def __init__(self, histogram: Histogram, labels: dict[str, object]) -> None:
        self._histogram = histogram
        self._labels = labels

    def __enter__(self) -> Timer:
        _UNDER_WAY.set((time.perf_counter_ns(), _UNDER_WAY.get()))
        return self

    def __exit__(self, *_: object) -> None:
        ended = time.perf_counter_ns()
        started, outer = cast(tuple[int, tuple[object, ...]], _UNDER_WAY.get())
        _UNDER_WAY.set(outer)
        self._histogram.record((ended - started) / 1e9, **self._labels)

    async def __aenter__(self) -> Timer:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def __call__(self, function: Callable[Param, Result]) -> Callable[Param, Result]:
        """The function, timed; of a coroutine function the whole of it, not its creation."""
        if iscoroutinefunction(function):

            @wraps(function)
            async def awaited(*args: Param.args, **kwargs: Param.kwargs) -> object:
                with self:
                    return await function(*args, **kwargs)

            return cast(Callable[Param, Result], awaited)

        @wraps(function)
        def timed(*args: Param.args, **kwargs: Param.kwargs) -> Result:
            with self:
                return function(*args, **kwargs)

        return timed
