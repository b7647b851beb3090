"""workflows/causes.py: which functions the change between two checkouts edited."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from proftool.bench.processes import Side
from proftool.workflows.causes import touched

OLD = """\
def first():
    return 1


def uses():
    return compare(1)


def compare(x):
    return [y for y in range(x)]
"""
NEW = OLD.replace("    return 1\n", "    a = 1\n    b = 2\n    c = 3\n    return a + b + c\n").replace("compare(1)", "1")


def test_a_function_of_the_old_side_is_looked_up_where_it_was(tmp_path: Path) -> None:
    """`uses` was edited and `compare`, no more called, was not, though the line where it stood is an edited one now."""
    sides: dict[str, Side] = {}
    for name, text in (("base", OLD), ("new", NEW)):
        folder = tmp_path / name
        if name == "base":
            folder.mkdir()
            words = [["init", "-q"]]
        else:
            subprocess.run(["git", "clone", "-q", tmp_path / "base", folder], check=True, capture_output=True)
            words = []
        (folder / "app.py").write_text(text)
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        for command in (*words, ["add", "."], [*identity, "commit", "-qm", name]):
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
        sides[name] = Side(name=name, root=folder, python=Path(sys.executable))
    was, now = touched(sides, "base"), touched(sides, "new")
    assert (was("app.py", 1), was("app.py", 5), was("app.py", 9)) == (2, 6, None)
    assert (now("app.py", 1), now("app.py", 8), now("app.py", 12)) == (2, 9, None)
    assert now("app.py", 9) == 9
