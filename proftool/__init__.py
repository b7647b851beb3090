"""proftool: sampling, tracing and memory profiles of Python programs, comparable between runs.

Public names resolve on first use, so that `import proftool` loads neither numpy nor a profiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proftool.workflows.api import diff, load, profile

__all__ = ["diff", "load", "profile"]
__version__ = "0.1.0"

_PUBLIC = {
    "profile": "proftool.workflows.api",
    "load": "proftool.workflows.api",
    "diff": "proftool.workflows.api",
    "load_ipython_extension": "proftool.integrations.notebook",
}


def __getattr__(name: str) -> object:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'proftool' has no attribute {name!r}")
