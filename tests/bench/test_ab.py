"""`ab` on a real repository: the verdict, the function behind it, calls or cost, and the page that shows it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

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
    assert answer["beside"]
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
