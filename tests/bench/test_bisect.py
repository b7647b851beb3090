"""`bisect` finds the commit that planted a change, of a benchmark and of a function, past one that does not run."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from proftool.bench.pairs import Series, SideName
from proftool.bench.processes import Value
from proftool.cli.app import main
from proftool.workflows import bisect

from .conftest import git

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.timeout(240)


def commits(shop: Path) -> None:
    """Six more commits: the second does not run, the fourth makes `Invoice.total` many times as slow."""
    model, bench = shop / "shop/model.py", shop / "bench_shop.py"
    good, own = model.read_text(), bench.read_text()
    slow = good.replace("in self.lines:", "in list(self.lines) * 9:")
    for name, text in (("one", good), ("broken", "raise RuntimeError\n"), ("three", good), ("slow", slow), ("five", slow), ("six", slow)):
        model.write_text(text)
        bench.write_text(f"{own}# {name}\n")
        git(shop, "commit", "-qam", name)


def test_the_commit_of_a_benchmark_is_found(shop: Path, proftool: Run) -> None:
    """One suspect, the planted one; the commits that were looked at are told."""
    commits(shop)
    done = proftool("bisect", "base", "main", "--bench", "bench_shop.py::bench_total", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["subject"] for one in found["suspects"]] == ["slow"]
    assert found["ratio"]["low"] > 1.5
    assert git(shop, "worktree", "list").count("\n") == 1


def test_ends_that_do_not_differ_are_refused(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 8, since there is nothing to look for; what is measured of the same code may differ by luck, so here it does not."""
    git(shop, "commit", "-q", "--allow-empty", "-m", "nothing")
    draw, turns = random.Random(7), cycle([(1.001, 1.0), (1.0, 1.001)])

    def pair(names: tuple[SideName, SideName], seed: int) -> tuple[Value, Value]:
        # Both meet the same machine, and which of them has a thousandth more is as often the one as the other, in whatever order they come.
        together, more = draw.gauss(1e6, 2e4), dict(zip(sorted(names), next(turns), strict=True))
        first, second = (Value(cpu_ns=together * more[name], wall_ns=1e6, loops=1, peak_bytes=1, involuntary_switches=0) for name in names)
        return first, second

    monkeypatch.setattr(bisect, "_series", lambda *_: Series(name="bench_total", measure=pair))
    monkeypatch.chdir(shop)
    assert main(["bisect", "base", "main", "--pairs", "10", "--bench", "bench_shop.py::bench_total"]) == 8
    assert "do not surely differ" in capsys.readouterr().err
