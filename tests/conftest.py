"""Servers that tests of several rooms share; started when the first test asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def servers() -> Iterator[object]:
    """PostgreSQL and an S3 server, for as long as the session lasts (`store.servers.Servers`)."""
    from store.servers import Servers

    both = Servers()
    yield both
    both.close()
