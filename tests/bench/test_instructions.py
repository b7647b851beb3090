"""Instructions by the real valgrind: half a percent is seen, and identical code is the same."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.timeout(240)


def test_half_a_percent_is_seen_and_nothing_is_not(shop: Path, proftool: Run) -> None:
    """201 rounds against 200 of the same loop: slower; the same commit twice: the same."""
    bench = shop / "bench_shop.py"
    bench.write_text("def bench_it():\n    n = 0\n    for i in range(4020):\n        n += i\n    return n\n")
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qam", "new"], cwd=shop, check=True)
    same = json.loads(proftool("ab", "HEAD", "HEAD", "--bench", "--instructions", "--json").stdout)
    assert same["benchmarks"][0]["verdict"] == "same"
    bench.write_text(bench.read_text().replace("4020", "4050"))
    done = proftool("ab", "HEAD", "--bench", "--instructions", "--json")
    assert done.returncode == 1, done.stderr
    (row,) = json.loads(done.stdout)["benchmarks"]
    assert (row["verdict"], row["metric"]) == ("slower", "instructions")
    assert 1.004 < row["ratio"]["estimate"] < 1.011
