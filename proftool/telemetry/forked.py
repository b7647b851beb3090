"""What objects do in a forked child, as long as they live: a function that is registered at fork itself is never let go again."""

from __future__ import annotations

import os
from itertools import count
from typing import Final, Protocol
from weakref import WeakValueDictionary


class Forked(Protocol):
    """Begins anew in a child."""

    def after_fork(self) -> None:
        """Only the calling thread lives here; locks may be held by those that do not."""
        ...


_NUMBERS = count()
_ALL: Final[WeakValueDictionary[int, Forked]] = WeakValueDictionary()
"""In the order in which they were made: a sampler begins after the writer that it tells."""


def follow(one: Forked) -> None:
    """Call its `after_fork` in every child from now on, while somebody holds it."""
    _ALL[next(_NUMBERS)] = one


def _in_child() -> None:
    for one in tuple(_ALL.values()):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
