"""Writes down at the end of a Python process which modules it imported and from where; first on PYTHONPATH for one run of a command.

Standard library only. It takes itself off the path and imports the user's own `sitecustomize`, if there is one.
"""

from __future__ import annotations

import atexit
import os
import sys


def chain() -> None:
    """Hand over to the sitecustomize that this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != here]
    own = sys.modules.pop("sitecustomize", None)
    try:
        __import__("sitecustomize")  # the next one on the path
    except ImportError:
        if own is not None:
            sys.modules["sitecustomize"] = own


def told(path: str) -> None:
    """Append `name<TAB>file` of every module."""
    rows = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    with open(path, "a", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{name}\t{os.path.abspath(place)}\n" for name, place in rows if place and name != "__main__")


if os.environ.get("PROFTOOL_BENCH_SEEN"):
    atexit.register(told, os.environ["PROFTOOL_BENCH_SEEN"])
    chain()
