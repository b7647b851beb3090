"""`proftool fleet` on the real engine: services, one flame graph, two versions compared, a watched service that sends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from store.clickhouse import ClickHouse
from store.slices import a_slice, paths, send, whole_hour
from store.stores import store_in

from proftool.cli.app import main
from proftool.contracts_store import RunQuery
from proftool.store.fleet.flames import FlameQuery
from proftool.store.fleet.fleet import Fleet


@pytest.fixture
def url(clickhouse: ClickHouse) -> str:
    return clickhouse.url(f"fleet_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def project(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose fleet holds two versions of a service, six processes each; `slow` is slower in the second."""
    fleet = Fleet(url)
    start = whole_hour(1)
    quiet = {f"step_{n}": 300 + 10 * n for n in range(20)}
    for version, slow in (("1", 1000), ("2", 1800)):
        for pid in range(6):
            work = {"slow": slow + 7 * pid} | {name: ms + (pid * 5 + at) % 4 for at, (name, ms) in enumerate(quiet.items())}
            send(fleet, [a_slice(start, work, pid=100 * int(version) + pid)], version=version)
    fleet.close()
    store_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROFTOOL_FLEET", url)
    return tmp_path


def test_command_line_shows_services_and_one_flame_graph(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Services with their versions; a flame graph as a summary, a document, a page and a kept run."""
    assert main(["fleet", "services", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["schema"] == "proftool.fleet/1"
    assert {(one["service"], one["version"], one["processes"]) for one in held["services"]} == {("shop", "1", 6), ("shop", "2", 6)}
    assert main(["fleet", "services"]) == 0
    assert "shop" in capsys.readouterr().out
    assert main(["fleet", "flame", "shop", "--last", "3h", "--json", "--label", "hour"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "proftool.show/1"
    slow = next(one for one in told["functions"] if one["name"] == "slow")
    assert slow["self"]["wall_time"] == sum(1000 + 7 * n + 1800 + 7 * n for n in range(6)) * 1_000_000
    (run,) = store_in(project).find(RunQuery(label="hour"))
    assert run.totals["wall_time"] == sum(one["self"].get("wall_time", 0) for one in told["functions"])
    assert main(["fleet", "flame", "shop", "--last", "3h", "--version", "2", "-o", "hour.html"]) == 0
    assert (project / "hour.html").stat().st_size > 10_000
    assert main(["fleet", "flame", "shop", "--last", "3h"]) == 0
    assert "slow" in capsys.readouterr().out


def test_command_line_finds_what_a_version_made_slower(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Processes are the repeats: the planted function is slower, per second of observation, and nothing else is."""
    assert main(["fleet", "diff", "shop", "--version", "1", "2", "--last", "3h", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["base"]["name"], told["new"]["name"]) == ("proftool.diff/1", "shop 1", "shop 2")
    verdicts = {one["name"]: one["verdict"] for one in told["functions"]}
    assert verdicts.pop("slow") == "slower"
    assert set(verdicts.values()) == {"same"}
    assert main(["fleet", "diff", "shop", "--version", "1", "2", "--last", "3h", "--fail-on", "self>20%"]) == 1
    assert main(["fleet", "diff", "shop", "--version", "1", "1", "--last", "3h", "--fail-on", "self>20%"]) == 0


def test_errors_say_what_is_there(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown service, version or fleet is told with what is known, and no password is."""
    assert main(["fleet", "flame", "shoop"]) == 7
    assert "it knows: shop" in capsys.readouterr().err
    assert main(["fleet", "diff", "shop", "--version", "1", "9", "--last", "3h"]) == 7
    assert "1, 2" in capsys.readouterr().err
    assert main(["fleet", "flame", "shop", "--last", "soon"]) == 2
    monkeypatch.setenv("PROFTOOL_FLEET", "clickhouse://me:secret@127.0.0.1:9/x")
    capsys.readouterr()
    assert main(["fleet", "services"]) == 9
    told = capsys.readouterr().err
    assert "127.0.0.1:9" in told
    assert "secret" not in told
    monkeypatch.setenv("PROFTOOL_FLEET", "pyroscope+http://127.0.0.1:9")
    assert main(["fleet", "services"]) == 2
    monkeypatch.delenv("PROFTOOL_FLEET")
    assert main(["fleet", "services"]) == 2


def test_setup_makes_tables_and_changes_how_long_rows_stay(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a service's help, and again with other times."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROFTOOL_FLEET", url)
    assert main(["fleet", "setup"]) == 0
    assert main(["fleet", "setup", "--keep", "14d", "--keep-hours", "52w"]) == 0
    fleet = Fleet(url)
    assert fleet.kept_days() == (14, 364)
    fleet.close()


def test_watched_service_sends_its_slices(url: str, tmp_path: Path) -> None:
    """PROFTOOL_FLEET is all that a watched service needs: what it did is in the fleet under its version when it has ended."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "shop.py").write_text(
        "import time, proftool\nfrom proftool.telemetry.tracing_start import Options\n"
        "def burn(until):\n    while time.monotonic() < until:\n        sum(range(1000))\n"
        "watching = proftool.watch('shop', options=Options(slice_s=0.2, every_s=0.1, leaks=False))\n"
        "end = time.monotonic() + 90\n"
        "while not watching.slices_to.counts.sent and time.monotonic() < end:\n    burn(time.monotonic() + 0.5)\n"
        "watching.stop()\nprint(watching.slices_to.counts.sent)\n"
    )
    environment = os.environ | {"PROFTOOL_FLEET": url, "PROFTOOL_SERVICE_VERSION": "7.1"}
    done = subprocess.run([sys.executable, "shop.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
    fleet = Fleet(url)
    (held,) = fleet.services(0)
    assert (held.service, held.version, held.processes) == ("shop", "7.1", 1)
    found = fleet.flame(FlameQuery(service="shop", since_ns=0, until_ns=time.time_ns()))
    assert found is not None
    told = paths([found])
    assert any(path[-1][0] == "burn" for path, _ in told)
    fleet.close()
