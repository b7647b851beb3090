"""The pytest plugin: pytest-benchmark's call shape where that is absent, silence where it is there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

TESTS = """import pytest
def test_returns(benchmark):
    assert benchmark(sorted, [3, 1, 2]) == [1, 2, 3]
    assert benchmark.stats["mean"] > 0
    assert benchmark.stats.stats.rounds >= 5
def test_keywords(benchmark):
    assert benchmark(int, "11", base=2) == 3
@pytest.mark.benchmark(group="lists", disable_gc=True, min_rounds=6)
def test_pedantic(benchmark):
    ended = []
    got = benchmark.pedantic(lambda rows: rows.pop(), setup=lambda: (([1, 2],), {}), teardown=ended.append, rounds=5, warmup_rounds=2)
    assert got == 2
    assert len(ended) == 7
    assert benchmark.group == "lists"
def test_decorates(benchmark):
    @benchmark
    def answer():
        return 42
    assert answer == 42
def test_async(benchmark):
    async def answer():
        return 7
    assert benchmark(answer) == 7
"""
MODULE = "proftool.integrations.pytest_benchmark"
# Where proftool is installed, pytest finds the plugin by itself; from a mere checkout on the path it has to be named.
OURS = [] if MODULE in {point.value for point in entry_points(group="pytest11")} else ["-p", MODULE]
BARE = ["-q", "-c", "/dev/null", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist"]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        *BARE,
        "--rootdir",
        str(folder),
        *OURS,
        *options,
        "test_it.py",
    ]
    # pytest-benchmark measures nothing in a worker of pytest-xdist, which it knows by the environment.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_call_shape_is_pytest_benchmarks(tmp_path: Path) -> None:
    """Call, keywords, pedantic, decorator and coroutine all work, and a table stands at the end."""
    done = run(tmp_path, "-p", "no:benchmark")
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
    assert "test_it.py::test_returns" in done.stdout.partition("= benchmarks =")[2]


def test_it_gives_way_to_pytest_benchmark(tmp_path: Path) -> None:
    """With both loaded the same tests run with the other's fixture: no conflict of options, none of our table."""
    done = run(tmp_path, "--benchmark-max-time=0.01", "-k", "not async")
    assert done.returncode == 0, done.stdout
    assert "OPS" in done.stdout
    assert "one process each" not in done.stdout


def test_it_can_be_switched_off_and_selected(tmp_path: Path) -> None:
    """`--benchmark-disable` calls once; `--benchmark-skip` runs none of them."""
    assert "benchmarks =" not in run(tmp_path, "-p", "no:benchmark", "--benchmark-disable", "-k", "keywords or decorates").stdout
    assert "5 deselected" in run(tmp_path, "-p", "no:benchmark", "--benchmark-skip").stdout
