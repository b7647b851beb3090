"""Every recipe does what its docstring promises, in an empty folder and within its time."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.py"))
LIMIT_S = 120


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_keeps_its_promise(recipe: Path, tmp_path: Path) -> None:
    """It ends with status 0 (its own assertions held), and its last line is the answer."""
    (tmp_path / "pyproject.toml").write_text("")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")} | {"NO_COLOR": "1"}
    done = subprocess.run([sys.executable, str(recipe)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1].endswith(".")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_answers(recipe: Path) -> None:
    """Question, Run, Read the answer, Clean up, in that order."""
    told = ast.get_docstring(ast.parse(recipe.read_text())) or ""
    places = [told.find(f"{part}:") for part in ("Question", "Run", "Read the answer", "Clean up")]
    assert -1 not in places
    assert places == sorted(places)


def test_there_are_recipes() -> None:
    """A moved folder would leave nothing to test."""
    assert len(RECIPES) >= 4
