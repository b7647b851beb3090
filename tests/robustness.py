"""Writes docs/pages/reference/robustness.md from a real run of the contract that every backend is held to.

`python tests/robustness.py` runs tests/contracts/test_backend_contract.py (`--full` for the long list) and writes the page;
`--junit FILE` writes it from the report of a run that has been. Cells are counts of that run: nothing is typed by hand.
"""

from __future__ import annotations

import argparse
import ast
import platform
import subprocess
import sys
import tempfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
CONTRACT = ROOT / "tests" / "contracts" / "test_backend_contract.py"
PAGE = ROOT / "docs" / "pages" / "reference" / "robustness.md"
BACKENDS = {"pyinstrument": "pyinstrument", "py-spy": "py-spy", "cprofile": None, "memray": "memray"}
"""Columns, with the distribution whose version heads each (None: Python's own)."""

_FRONT = """# What recording withstands

Each row is a promise that every backend is held to: a real program runs plain and recorded, and its exit status, its streams and what
was recorded are compared. *Kept* includes the case in which a backend cannot see something and the run says so; it never includes a
silent loss.

This page is written by `python tests/robustness.py` from a run of `tests/contracts/test_backend_contract.py`
({scope}, Python {python}, {system}). A cell counts the variants that held; what did not hold stands below the table.

"""


def promises() -> dict[str, str]:
    """Test name -> its docstring, in the order of the contract."""
    tree = ast.parse(CONTRACT.read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))
    return {node.name: " ".join((ast.get_docstring(node) or node.name).split()) for node in found}


def page(report: Path, *, full: bool) -> str:
    """The page's text."""
    cells: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        test, _, variant = case.get("name", "").rstrip("]").partition("[")
        backend = next((name for name in BACKENDS if variant == name or variant.startswith(f"{name}-")), None)
        if backend is None:
            continue
        outcome = next((kind for kind in ("failure", "error", "skipped") if case.find(kind) is not None), "held")
        element = case.find(outcome)
        message = (element.get("message") or "") if element is not None else ""
        cells[test, backend].append((outcome, variant[len(backend) + 1 :], message.splitlines()[0] if message else ""))
    heads = [f"{name} {version(package) if package else platform.python_version()}" for name, package in BACKENDS.items()]
    lines = ["| Promise | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    short: list[str] = []
    for test, promise in promises().items():
        row = [cells[test, backend] for backend in BACKENDS]
        if not any(row):
            continue
        lines.append(f"| {promise} | " + " | ".join(map(_cell, row)) + " |")
        for backend, outcomes in zip(BACKENDS, row, strict=True):
            for outcome, variant, message in outcomes:
                if outcome != "held":
                    which = f" ({variant})" if variant else ""
                    why = "not tried: " + message if outcome == "skipped" else "did not hold in this run"
                    short.append(f"- **{backend}**, {test.removeprefix('test_').replace('_', ' ')}{which}: {why}")
    scope = "all variants" if full else "the variants of a normal test run"
    front = _FRONT.format(scope=scope, python=platform.python_version(), system=f"{platform.system()} {platform.machine()}")
    below = "\n## Did not hold, or was not tried\n\n" + ("\n".join(short) if short else "Nothing.") + "\n"
    return front + "\n".join(lines) + "\n" + below + _LIMITS


def _cell(outcomes: list[tuple[str, str, str]]) -> str:
    tried = [outcome for outcome, _, _ in outcomes if outcome != "skipped"]
    if not tried:
        return "not tried"
    held = tried.count("held")
    return "kept" if held == len(tried) == 1 else f"{held} of {len(tried)}"


_LIMITS = """
## What a target can notice

- memray writes while the program runs, so a target sees one open descriptor more than in a plain run.
- An in-process backend (pyinstrument, cprofile, memray) loses the recording of a process that SIGKILL ends; the run says so.
- py-spy looks for child processes every now and then: one that lives for a fraction of a second may be missed, and the run names it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the long list of variants too")
    parser.add_argument("--junit", type=Path, help="the report of a run that has been")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asked.junit or Path(folder) / "report.xml"
        if asked.junit is None:
            marked = [] if asked.full else ["-m", "not full"]
            subprocess.run([sys.executable, "-m", "pytest", str(CONTRACT), *marked, "-q", f"--junit-xml={report}"], cwd=ROOT, check=False)
        PAGE.write_text(page(report, full=asked.full), encoding="utf-8")


if __name__ == "__main__":
    main()
