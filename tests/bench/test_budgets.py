"""Budgets: how they are read, when they are kept, and `gate --budgets` on a real project."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from proftool.bench.budgets import Outcome, judge_absolute, judge_relative, parse
from proftool.errors import UsageError

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"time": "1s"}, "does not say what is measured"),
        ({"command": "x", "bench": "y::z", "time": "1s"}, "does not say what is measured"),
        ({"command": "x"}, "has no limit"),
        ({"command": "x", "tiem": "1s"}, "`tiem` is no quantity"),
        ({"command": "x", "time": "soon"}, "time = soon"),
        ({"command": "x", "time": "+5%"}, "no base"),
        ({"command": "x", "time": "1s", "against": "main"}, "is absolute"),
        ({"bench": "x", "time": "1s"}, "names no benchmark"),
        ({"import": "x", "allocations": 5}, "absolute limits of time, cpu and peak"),
    ],
)
def test_a_wrong_budget_is_refused_with_its_reason(table: dict[str, object], said: str) -> None:
    """The error names the budget and what is wrong with it."""
    with pytest.raises(UsageError) as told:
        parse({"it": table})
    assert "`it`" in told.value.what
    assert said in told.value.cause


def test_a_budget_is_read_in_base_units() -> None:
    """Times become ns, sizes bytes, growth a part."""
    (one,) = parse({"it": {"command": "python -m shop", "time": "1.5s", "peak": "80MB", "allocations": 2000}})
    assert [limit.most for limit in one.limits] == [1.5e9, 80e6, 2000]
    (grown,) = parse({"it": {"bench": "b.py::bench_x", "against": "main", "cpu": "+5%"}})
    assert grown.limits[0].most == pytest.approx(0.05)


def test_a_verdict_needs_most_of_the_processes() -> None:
    """Ten of ten decide, nine of ten do not, and an interval that reaches the limit is undecided."""
    assert judge_absolute([1.0] * 10, 2.0) is Outcome.PASS
    assert judge_absolute([3.0] * 10, 2.0) is Outcome.FAIL
    assert judge_absolute([1.0] * 8 + [3.0] * 2, 2.0) is Outcome.INCONCLUSIVE
    assert judge_relative(1.01, 1.04, 0.05) is Outcome.PASS
    assert judge_relative(1.06, 1.09, 0.05) is Outcome.FAIL
    assert judge_relative(1.01, 1.09, 0.05) is Outcome.INCONCLUSIVE


def test_gate_holds_a_project_to_its_budgets(shop: Path, proftool: Run) -> None:
    """Import time is kept, peak memory is not: status 1, both told; the settings of other verbs are not disturbed by the table."""
    with (shop / "pyproject.toml").open("a") as file:
        file.write('[tool.proftool.budgets.start]\nimport = "shop.model"\ntime = "20s"\npeak = "1MB"\n')
        file.write('[tool.proftool.budgets.count]\nbench = "bench_shop.py::bench_total"\nallocations = 1_000_000\n')
    done = proftool("gate", "--budgets", "--json")
    assert done.returncode == 1, done.stderr
    outcomes = {(row["name"], row["quantity"]): row["outcome"] for row in json.loads(done.stdout)["budgets"]}
    assert outcomes == {("start", "time"): "pass", ("start", "peak"): "fail", ("count", "allocations"): "pass"}
    assert proftool("list").returncode == 0
    assert proftool("gate", "--budgets", "strat").returncode == 2
    assert proftool("gate").returncode == 2
