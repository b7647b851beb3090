"""Results in other tools' files: what the real pyperf and pytest-benchmark read and write."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from proftool.bench.exchange import read, write
from proftool.bench.measured import Measured
from proftool.errors import CorruptProfile, UnknownFormat

pyperf = pytest.importorskip("pyperf", reason="a test dependency")

VALUES = ((1e6, 1e6), (2e6,), (3e6,))
ROWS = [
    Measured(name="a.py::bench_a", clock="cpu", values_ns=np.array([1e6, 2e6, 3e6]), inner_ns=VALUES, loops=8, peak_bytes=9_000_000),
    Measured(name="a.py::bench_b", clock="cpu", values_ns=np.array([5e3, 5e3, 6e3]), inner_ns=((5e3,), (5e3,), (6e3,)), loops=16),
]


def test_pyperf_reads_what_is_written(tmp_path: Path) -> None:
    """Names, number of runs, values and loops arrive in pyperf's own objects, and in its command."""
    path = tmp_path / "o.json"
    path.write_bytes(write(ROWS, "pyperf"))
    suite = pyperf.BenchmarkSuite.load(str(path))
    assert suite.get_benchmark_names() == ["a.py::bench_a", "a.py::bench_b"]
    first = suite.get_benchmark("a.py::bench_a")
    assert first.get_values() == pytest.approx((1e-3, 1e-3, 2e-3, 3e-3))
    assert (first.get_nrun(), first.get_loops()) == (3, 8)
    shown = subprocess.run([sys.executable, "-m", "pyperf", "stats", str(path)], capture_output=True, text=True, check=True).stdout
    assert "a.py::bench_b" in shown


def test_what_pyperf_writes_is_read(tmp_path: Path) -> None:
    """A real run of pyperf: one value a process, its median the same as pyperf's."""
    path = tmp_path / "o.json"
    subprocess.run(
        [sys.executable, "-m", "pyperf", "timeit", "-p3", "-n2", "-w1", "-l100", "-q", "--name", "it", "-o", str(path), "sum(range(100))"],
        check=True, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    (row,) = read(path)
    theirs = pyperf.BenchmarkSuite.load(str(path)).get_benchmark("it")
    assert (row.name, len(row.values_ns), row.loops) == ("it", 3, 100)
    assert statistics.fmean(value for run in row.inner_ns for value in run) == pytest.approx(theirs.mean() * 1e9)


def test_pytest_benchmark_round_trip(tmp_path: Path) -> None:
    """What the plugin saves is read with its values; what is written, its own `compare` shows."""
    (tmp_path / "test_it.py").write_text("def test_sum(benchmark):\n    benchmark(sum, range(100))\n")
    saved = tmp_path / "o.json"
    # pytest-benchmark measures nothing in a worker of pytest-xdist, which it knows by the environment.
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        env=env,
        args=[
            sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path),
            "-p", "no:cacheprovider", f"--benchmark-json={saved}", "--benchmark-save-data", "--benchmark-max-time=0.05", "test_it.py",
        ],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert saved.exists(), done.stdout + done.stderr
    theirs = json.loads(saved.read_text())["benchmarks"][0]
    (row,) = read(saved)
    assert row.name == theirs["fullname"]
    assert row.values_ns.tolist() == pytest.approx([value * 1e9 for value in theirs["stats"]["data"]])
    assert row.metadata["note"] == "all values come from one process"
    ours = tmp_path / "ours.json"
    ours.write_bytes(write(ROWS, "pytest-benchmark"))
    shown = subprocess.run([sys.executable, "-m", "pytest_benchmark", "compare", str(ours)], capture_output=True, text=True, check=False)
    assert "bench_b" in shown.stdout, shown.stderr


def test_other_files_are_refused(tmp_path: Path) -> None:
    """No JSON, and JSON of somebody else's."""
    path = tmp_path / "o.json"
    path.write_text("{")
    with pytest.raises(CorruptProfile):
        read(path)
    path.write_text('{"version": 1}')
    with pytest.raises(UnknownFormat):
        read(path)
