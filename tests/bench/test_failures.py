"""A benchmark that fails, or that one side lacks, is told and does not take the answers of the others with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from proftool.bench.pairs import Plan, Series, SideName, compare, one_by_one
from proftool.bench.processes import Value
from proftool.errors import BackendFailed

from .conftest import git

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.timeout(240)
GOOD = "def bench_good(): return sum(range(1000))\n"
BROKEN = "def inner():\n    raise ValueError('my own')\ndef bench_broken(): inner()\n"


@pytest.fixture
def folder(shop: Path) -> Path:
    """Benchmarks that work, fail and cannot be read."""
    (shop / "bench_shop.py").write_text(GOOD + BROKEN)
    (shop / "bench_syntax.py").write_text("def bench_it(:\n    pass\n")
    return shop


def test_bench_gives_the_results_of_the_others(folder: Path, proftool: Run) -> None:
    """What failed is named with its own last line; the status is 5, and stdout is a document with the rest."""
    assert folder
    done = proftool("bench", "--processes", "3", "--json")
    assert done.returncode == 5
    told = json.loads(done.stdout)
    assert [one["name"] for one in told["benchmarks"]] == ["bench_shop.py::bench_good"]
    failed = {one["name"]: (one["side"], one["error"]) for one in told["failed"]}
    assert failed["bench_shop.py::bench_broken"] == (None, "ValueError: my own")
    assert failed["bench_syntax.py"][1].startswith("SyntaxError")
    text = proftool("bench", "--processes", "3")
    assert "FAILED       bench_shop.py::bench_broken: ValueError: my own" in text.stdout


def test_what_is_all_that_there_is_and_fails_is_an_error(folder: Path, proftool: Run) -> None:
    """Its traceback has the user's frames alone, and no side is named where there is one."""
    (folder / "bench_shop.py").write_text(BROKEN)
    done = proftool("bench", "--processes", "3", "bench_shop.py")
    assert done.returncode == 5
    assert "error: benchmark `bench_shop.py::bench_broken` failed\n" in done.stderr
    assert "in inner" in done.stderr
    assert "ValueError: my own" in done.stderr
    assert not [word for word in ("on side", "call()", "timed", "json.dumps", "importlib") if word in done.stderr]


def test_ab_names_what_one_side_lacks_and_what_failed_on_one(folder: Path, proftool: Run) -> None:
    """In the text and in the document; what both sides have is compared, and the status is 5."""
    (folder / "bench_syntax.py").unlink()
    (folder / "bench_shop.py").write_text(GOOD + "def bench_old(): pass\ndef bench_later(): pass\n")
    git(folder, "commit", "-qam", "before")
    git(folder, "tag", "before")
    (folder / "bench_shop.py").write_text(GOOD + "def bench_new(): pass\ndef bench_later(): raise KeyError('gone')\n")
    done = proftool("ab", "before", "--bench", "--pairs", "10", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 5, done.stderr
    assert [one["name"] for one in told["benchmarks"]] == ["bench_shop.py::bench_good"]
    assert told["only_in"] == {"base": ["bench_shop.py::bench_old"], "new": ["bench_shop.py::bench_new"]}
    assert told["failed"] == [{"name": "bench_shop.py::bench_later", "side": "new", "error": "KeyError: 'gone'"}]
    (folder / "bench_shop.py").write_text("def bench_new(): pass\n")
    done = proftool("ab", "before", "--bench")
    assert done.returncode == 2
    assert "only in new: bench_shop.py::bench_new" in done.stderr


def test_a_benchmark_that_fails_on_the_way_leaves_the_others() -> None:
    """The third process of one fails: the other is answered; where it is the only one, its error is the answer."""
    calls: list[int] = []

    def fails(side: SideName, seed: int) -> Value:
        calls.append(seed)
        if len(calls) >= 3:
            raise BackendFailed("it failed", cause="KeyError: 1", fix="mend it")
        return works(side, seed)

    def works(side: SideName, seed: int) -> Value:
        return Value(cpu_ns=1e6, wall_ns=1e6, loops=1, peak_bytes=1, involuntary_switches=0)

    both = [Series(name="fails", measure=one_by_one(fails)), Series(name="works", measure=one_by_one(works))]
    answers, _ = compare(both, Plan(most_pairs=10), seed=1)
    assert [one.name for one in answers] == ["works"]
    assert both[0].failed is not None
    with pytest.raises(BackendFailed, match="it failed"):
        compare([Series(name="fails", measure=one_by_one(fails))], Plan(most_pairs=10), seed=1)
