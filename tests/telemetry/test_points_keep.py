"""A watched service's own metrics come into its store, and nothing of them counts twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from proftool import settings
from proftool.contracts_telemetry import PointQuery
from proftool.store import open_metrics, open_telemetry
from proftool.telemetry.points import Sample
from proftool.telemetry.points_keep import point
from proftool.telemetry.segments import EXPONENTIAL_BOUNDS, Description

PROGRAM = """
import proftool
from proftool.telemetry import counter, histogram
proftool.watch("shop")
counter("orders", unit="{order}").add(3, kind="new")
for value in (0.3, 0.6, 40.0):
    histogram("waited", unit="s").record(value)
"""


def test_a_service_that_ends_leaves_its_metrics(tmp_path: Path) -> None:
    """Counted from zero though it lived shorter than a period; a second life adds to the first; the store's statements make no spans."""
    (tmp_path / "pyproject.toml").touch()
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PROFTOOL_", "OTEL_"))}
    since = time.time_ns()
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    found = settings.load(tmp_path, environ={})
    step = 3600 * 1_000_000_000
    query = PointQuery(service="shop", since_ns=since // step * step, until_ns=time.time_ns() // step * step + step, step_ns=step)
    series = {one.name: one for one in open_metrics(found).find_series(query)}
    assert sum(value or 0 for value in series["orders"].values) == 6
    assert series["orders"].labels == (("kind", "new"),)
    assert sum(sum(counts) for counts in series["waited"].counts if counts) == 6
    assert series["process.memory.usage"].kind == "gauge"
    assert open_telemetry(found).services() == ()


def test_an_exponential_histogram_keeps_every_count_by_powers_of_two() -> None:
    """A count stays below the bound that it was below."""
    description = Description("waited", "exponential", "s", "", ())
    counts = [0] * (len(EXPONENTIAL_BOUNDS) + 1)
    for index in (0, 240, 241, 248, len(EXPONENTIAL_BOUNDS)):
        counts[index] += 1
    made = point(Sample(description, (), 5.0, tuple(counts)), "shop", "p", None, 1)
    assert (made.kind, sum(made.counts), len(made.counts)) == ("histogram", 5, len(made.edges) + 1)
    assert [edge for edge, n in zip((*made.edges, float("inf")), made.counts, strict=True) for _ in range(n)] == [
        EXPONENTIAL_BOUNDS[0], 1.0, 2.0, 2.0, float("inf"),
    ]  # fmt: skip
