"""`ab` on a real repository: the verdict, the function behind it, calls or cost, and the page that shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from proftool.bench.pairs import Compared, NullControl, Plan, Series
from proftool.bench.report import cause_lines, verdict_lines
from proftool.bench.statistics import Estimate, Verdict
from proftool.workflows import bench as work
from proftool.workflows.causes import Explained

from .conftest import git

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.timeout(240)


def test_more_calls_are_told_with_the_line_that_makes_them(shop: Path, proftool: Run) -> None:
    """A loop in the caller that runs ten times as often: the callee is the cause, by calls; the edited line of the caller is named."""
    report = shop / "shop/report.py"
    report.write_text(report.read_text().replace("range(300)", "range(3000)"))
    done = proftool("ab", "base", "--json", "--", "python", "-m", "shop.report")
    assert done.returncode == 1, done.stderr
    (answer,) = json.loads(done.stdout)["benchmarks"]
    first = answer["causes"][0]
    # On a machine that gives a program less than half of a processor even at best, it is taken for one that waits.
    assert answer["beside"] == (answer["metric"] == "cpu_time")
    assert (answer["verdict"], first["name"], first["file"]) == ("slower", "Invoice.total", "shop/model.py")
    assert first["calls"] == {"base": 300, "new": 3000}
    assert not first["changed_in_diff"]
    assert first["edited"] == "shop/report.py:13"
    assert abs(first["dearer_calls"]) < 0.5 * first["more_calls"]
    assert 0.6 <= first["share"] <= 1.2
    page = proftool("open", "--no-browser", answer["page"])
    assert page.returncode == 0, page.stderr
    assert Path(page.stderr.split("written to ")[1].strip()).read_bytes().startswith(b"<!doctype html>")


def test_dearer_calls_and_memory_are_told(shop: Path, proftool: Run) -> None:
    """The same calls cost more and keep 60 MB: the edited function is the cause, by cost, and the peak is more."""
    model = shop / "shop/model.py"
    model.write_text(
        model.read_text().replace("s += a * 3 % 7", "s += sum((a * 3 % 7, a, a, a)) % 7") + "BALLAST = bytearray(60_000_000)\n"
    )
    done = proftool("ab", "base", "--", "python", "-m", "shop.report")
    assert done.returncode == 1, done.stderr
    assert "SLOWER" in done.stdout
    assert "Invoice.total" in done.stdout
    assert "calls 300 as before" in done.stdout
    assert "edited at shop/model.py:8" in done.stdout
    assert "more      next: proftool open ab-" in done.stdout


def test_two_settings_of_one_commit_are_sides(proftool: Run, shop: Path) -> None:
    """`--new-env` alone makes the difference; asked for, one process follows the other."""
    (shop / "env.py").write_text("import os\nsum(range(int(os.environ.get('N', '1')) * 5_000_000))\n")
    subprocess.run(["git", "add", "env.py"], cwd=shop, check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qm", "env"], cwd=shop, check=True)
    done = proftool("ab", "HEAD", "HEAD", "--new-env", "N=8", "--apart", "--json", "--", "python", "env.py")
    (answer,) = json.loads(done.stdout)["benchmarks"]
    assert answer["verdict"] == "slower"
    assert answer["ratio"]["low"] > 1.5
    assert not answer["beside"]


def test_a_side_that_runs_the_others_code_is_refused(shop: Path, proftool: Run) -> None:
    """A program that puts the edited checkout first on its path is not compared with itself."""
    (shop / "cheat.py").write_text(f"import sys\nsys.path.insert(0, {str(shop)!r})\nimport shop.model\n")
    subprocess.run(["git", "add", "cheat.py"], cwd=shop, check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qm", "cheat"], cwd=shop, check=True)
    done = proftool("ab", "HEAD", "--", "python", "cheat.py")
    assert done.returncode == 2
    assert "would run code that is not its own" in done.stderr
    assert "shop/model.py" in done.stderr or "shop/__init__.py" in done.stderr


def test_a_budget_bounds_the_search_for_causes(shop: Path, proftool: Run) -> None:
    """Pairs are measured whatever the budget, and the verdict stands; the causes are left out, which is said with the way to get them."""
    (shop / "shop/report.py").write_text((shop / "shop/report.py").read_text().replace("range(300)", "range(3000)"))
    done = proftool("ab", "base", "--budget", "1s", "--json", "--", "python", "-m", "shop.report")
    assert done.returncode == 1, done.stderr
    (answer,) = json.loads(done.stdout)["benchmarks"]
    assert (answer["verdict"], answer["causes"], answer["page"]) == ("slower", [], None)
    assert "raise `--budget`" in answer["causes_left_out"]


def test_the_verdict_is_told_before_the_causes_are_looked_for(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with one of several benchmarks undecided; the largest change is explained first."""
    (shop / "bench_shop.py").write_text("def bench_a(): pass\ndef bench_b(): pass\ndef bench_c(): pass\n")
    git(shop, "commit", "-qam", "three")
    monkeypatch.chdir(shop)
    order: list[str] = []

    def compared(series: Sequence[Series], plan: Plan, **_: object) -> tuple[list[Compared], NullControl]:
        answers = [
            answer(one.name, ratio, word)
            for one, ratio, word in zip(series, (1.2, 0.5, 1.0), (Verdict.SLOWER, Verdict.FASTER, Verdict.INCONCLUSIVE), strict=True)
        ]
        return answers, NullControl(verdict="good", n_pairs=7, ratio=1.0, p=0.5)

    def explained(one: Compared, *_: object, **__: object) -> Explained:
        order.append(one.name.partition("::")[2])
        return Explained(left_out="no time")

    monkeypatch.setattr(work, "compare", compared)
    monkeypatch.setattr(work, "explain", explained)
    setting = work.Setting(python=Path(sys.executable))
    asked = work.Asked(base="HEAD", head="HEAD", settings=(setting, setting))
    found = work.ab(asked, say=lambda _: None, tell=lambda early: order.extend(verdict_lines(early)))
    assert [line.split()[0] for line in order[1:]] == ["SLOWER", "FASTER", "INCONCLUSIVE", "bench_b", "bench_a"]
    assert found.left_out == {"bench_shop.py::bench_a": "no time", "bench_shop.py::bench_b": "no time"}
    assert [line for line in cause_lines(found) if "bench_" in line] == ["  bench_shop.py::bench_a", "  bench_shop.py::bench_b"]


def answer(name: str, ratio: float, verdict: Verdict) -> Compared:
    """What was measured of one benchmark."""
    values = np.full(10, 1e6)
    found = Estimate(ratio=ratio, low=ratio, high=ratio, p=0.001, n_pairs=10)
    return Compared(
        name=name, clock="cpu", base_ns=values, new_ns=values * ratio, found=found, p=0.001, verdict=verdict, mde=0.02,
        peak_bytes=(1.0, 1.0), peak=found,
    )  # fmt: skip
