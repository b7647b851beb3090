"""Every test begins and ends without tracing: OpenTelemetry's provider is set once a process, what it leads to is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proftool.telemetry import tracing
from proftool.telemetry.request import HOOKS


@pytest.fixture(autouse=True)
def no_tracing_left() -> Iterator[None]:
    """Stop what a test left running."""
    hooks = HOOKS.start, HOOKS.raised, HOOKS.end
    yield
    if tracing.CURRENT.tracing is not None:
        tracing.CURRENT.tracing.stop()
    HOOKS.start, HOOKS.raised, HOOKS.end = hooks
