"""Which requests the service failed: the one rule of alerts, of what is kept and of every error share.

A status from 500 on, an exception, an answer without an end. A client that goes away is none: it closes every stream of events some time.
It stays told apart by its `error.type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DISCONNECTED: Final = "client_disconnect"
"""`error.type`: the client left before the end of the answer."""
INCOMPLETE: Final = "incomplete_response"
"""The application was done before the end of its answer, and nobody had left: its own fault."""


def is_failure(status: int | None, error: str | None) -> bool:
    """Of one request, by its status and its `error.type`."""
    return (status is not None and status >= 500) or (error is not None and error != DISCONNECTED)


def counts_failures(labels: Mapping[str, str]) -> bool:
    """Of a series of requests, whoever counted them, by its labels."""
    return labels.get("http.response.status_code", "") >= "500" or labels.get("error.type", DISCONNECTED) != DISCONNECTED
