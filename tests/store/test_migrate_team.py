"""A team's database of every older schema is brought up as a file is."""

from __future__ import annotations

from pathlib import Path

import pytest
from store.servers import Servers

from proftool.contracts_store import RunQuery
from proftool.contracts_telemetry import Point, PointQuery
from proftool.settings import load
from proftool.store import migrate, open_metrics, open_store, revisions
from proftool.units import NS_PER_S

pytestmark = pytest.mark.xdist_group("servers")


@pytest.mark.parametrize("revision", revisions.REVISIONS[:-1])
def test_every_older_schema_of_a_server_becomes_the_newest(servers: Servers, tmp_path: Path, revision: str) -> None:
    """And takes what only the newest has a place for."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    url = servers.postgres.new_database()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(migrate.SCRIPTS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)
    engine.dispose()
    found = load(tmp_path, flags={"store": url, "blobs": servers.bucket.url()}, environ={})
    assert open_store(found).find(RunQuery()) == ()
    store = open_metrics(found)
    assert store.add_points([Point(service="shop", process="p", name="n", kind="gauge", time_ns=5 * NS_PER_S, value=1.0)]) == 0
    (series,) = store.find_series(PointQuery(since_ns=0, until_ns=10 * NS_PER_S, step_ns=10 * NS_PER_S))
    assert series.values == (1.0,)
