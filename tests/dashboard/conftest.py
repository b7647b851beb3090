"""The service that all views are walked with; started for each module of tests: it costs a fifth of a core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dashboard.serving import Shop, shop_in


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """`serving.Shop`, under load until the module is over."""
    with shop_in(tmp_path_factory.mktemp("shop")) as made:
        yield made
