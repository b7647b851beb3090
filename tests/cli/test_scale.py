"""`proftool scale` on a program with one quadratic function."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
def unique(items):
    found = []
    for item in items:
        if item not in found:
            found.append(item)
def linear(items):
    return [str(item) for item in items]
n = int(sys.argv[1])
unique(range(n))
for _ in range(20):
    linear(range(n))
print("sized", n)
"""


def scale(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "pyproject.toml").touch()
    (folder / "grow.py").write_text(PROGRAM)
    env = {key: value for key, value in os.environ.items() if not key.startswith("PROFTOOL_")}
    return subprocess.run(
        [sys.executable, "-m", "proftool", "scale", *words], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )


def test_the_quadratic_function_is_named(tmp_path: Path) -> None:
    """Time grows with the square and the calls do not; the document carries both and the runs stay."""
    done = scale(tmp_path, "--sizes", "1000,4000,16000", "--json", "--", "grow.py", "{n}")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    first = found["functions"][0]
    assert (found["schema"], first["name"], first["superlinear"]) == ("proftool.scale/1", "unique", True)
    assert first["calls"] == [1, 1, 1]
    assert len(found["runs"]) == 3
    assert "sized 16000" in done.stderr


def test_a_command_without_a_place_for_the_size_is_refused(tmp_path: Path) -> None:
    """Usage, before anything runs; a command that fails is told with its size."""
    assert scale(tmp_path, "--", "grow.py", "9").returncode == 2
    wrong = scale(tmp_path, "--sizes", "10,20", "--", "grow.py", "x{n}")
    assert wrong.returncode == 5
    assert "no measurement at size 10" in wrong.stderr
