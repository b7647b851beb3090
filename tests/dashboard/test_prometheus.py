"""A real Prometheus beside the dashboard, of the same service under load: both count the same requests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from dashboard.serving import Shop, until
from ports import free_port

pytestmark = [pytest.mark.xdist_group("dashboard"), pytest.mark.timeout(900)]
COUNT = "sum(http_server_request_duration_seconds_count)"


@pytest.fixture
def prometheus(shop: Shop, tmp_path: Path) -> Iterator[str]:
    """Debian's, scraping the shop every second; its query address."""
    program = shutil.which("prometheus")
    assert program, "install Debian's `prometheus`"
    port = free_port()
    target = shop.base.removeprefix("http://")
    config = tmp_path / "prometheus.yml"
    config.write_text(f"scrape_configs: [{{job_name: shop, scrape_interval: 1s, static_configs: [{{targets: ['{target}']}}]}}]")
    words = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/api/v1/query"
    finally:
        process.terminate()
        process.wait(120)


def test_prometheus_and_the_dashboard_count_the_same_requests(shop: Shop, prometheus: str) -> None:
    """Once the load has ended, the last scrape and the last point hold the same number."""

    def stored() -> int:
        return shop.api("/service", name="shop", range="1h")["requests"]["whole"]["n"]  # type: ignore[index, no-any-return]

    def scraped() -> int:
        try:
            found = httpx.get(prometheus, params={"query": COUNT}, timeout=60).json()["data"]["result"]
        except (httpx.TransportError, ValueError, KeyError):
            return 0
        return int(found[0]["value"][1]) if found else 0

    until(lambda: scraped() > 50, "scrapes")
    shop.stop.set()
    until(lambda: stored() == scraped(), "the same count in both")
