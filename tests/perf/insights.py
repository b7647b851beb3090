"""What the rules of advice claim about the test suites of packages that nobody planted anything in: every claim, for a person to judge.

    python tests/perf/insights.py FOLDER [NAME…]

FOLDER gets a virtual environment, the source archives from the package index, and a run (time, calls, memory) of each suite. Stdout has a
row of Markdown for every claim; docs/pages/explanation/insights.md has the table with the judgement on each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

SUITES: dict[str, tuple[str, ...]] = {
    "attrs": ("tests", "-k", "not mypy and not pyright"),
    "boltons": ("tests",),
    "click": ("tests",),
    "itsdangerous": ("tests",),
    "jinja2": ("tests",),
    "markupsafe": ("tests",),
    "mistune": ("tests",),
    "packaging": ("tests/test_markers.py", "tests/test_requirements.py", "tests/test_tags.py"),
    "parso": ("test",),
    "pluggy": ("testing",),
    "python-dateutil": ("tests", "-k", "not import_star"),
    "sqlparse": ("tests",),
    "tabulate": ("test",),
    "werkzeug": ("tests", "-k", "not serving and not dev_server"),
}
NEEDED = ("pytest", "hypothesis", "freezegun", "pretend", "cloudpickle", "pytest-timeout", "cryptography", "trio", "tomli-w", "six")
LIMIT_S = 600


def run(words: list[object], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """One process, bounded, its output kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")}
    return subprocess.run([str(word) for word in words], cwd=cwd, env=kept | env, capture_output=True, text=True, timeout=LIMIT_S)


def environment(folder: Path, names: list[str]) -> Path:
    """The interpreter with the packages and what their suites need."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", folder / "venv"], folder).check_returncode()
        run([python, "-m", "pip", "install", "-q", *NEEDED, *names], folder).check_returncode()
    return python


def source(folder: Path, name: str, python: Path) -> Path:
    """The unpacked source archive."""
    wanted = name.replace("-", "_")
    if not any(folder.glob(f"{wanted}-*.tar.gz")):
        run([python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder, name], folder).check_returncode()
    archive = next(folder.glob(f"{wanted}-*.tar.gz"))
    place = folder / archive.name.removesuffix(".tar.gz")
    if not place.exists():
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    return place


def claims(folder: Path, name: str, python: Path) -> list[dict[str, object]]:
    """What the rules say of a suite; its own code counts as the project's, whatever is installed."""
    root = source(folder, name, python)
    own = root / "src" if (root / "src").is_dir() else root
    modes = ("--mode", "sample", "--mode", "trace", "--mode", "memory")
    told = run(
        [
            sys.executable,
            "-m",
            "proftool",
            "run",
            "--json",
            *modes,
            "--python",
            python,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            *SUITES[name],
        ],
        root,
        PYTHONPATH=str(own),
    )
    try:
        document = json.loads(told.stdout)
    except ValueError:
        print(f"{name}: no run: {told.stderr[-800:]}", file=sys.stderr)
        return []
    print(f"{name}: status {document['run']['exit_status']}, {document['run']['duration_s']:.1f} s", file=sys.stderr)
    return document["insights"]


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names = sys.argv[2:] or list(SUITES)
    python = environment(folder, list(SUITES))
    print("| package | rule | place | evidence |\n|---|---|---|---|")
    for name in names:
        for claim in claims(folder, name, python):
            place = f"`{claim['function']}` {claim['file']}:{claim['line']}"
            print(f"| {name} | {claim['id']} | {place} | {claim['evidence']} |", flush=True)


if __name__ == "__main__":
    main()
