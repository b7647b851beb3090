"""Every recipe does what its docstring promises, in an empty folder and within its time."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from store.servers import Servers

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.py"))
TEAM = next(path for path in RECIPES if path.stem == "postgresql_and_s3")
"""Needs servers."""
LIMIT_S = 120


@pytest.mark.parametrize("recipe", [path for path in RECIPES if path != TEAM], ids=lambda path: path.stem)
def test_a_recipe_keeps_its_promise(recipe: Path, tmp_path: Path) -> None:
    """It ends with status 0 (its own assertions held), and its last line is the answer."""
    _keeps_its_promise(recipe, tmp_path)


def test_the_recipe_for_a_team_keeps_its_promise(servers: Servers, tmp_path: Path) -> None:
    """With a PostgreSQL and an S3 server; without their names it says what it wants."""
    team = {"TEAM_STORE": servers.postgres.new_database(), "TEAM_BLOBS": servers.bucket.url()}
    _keeps_its_promise(TEAM, tmp_path, **team)
    done = subprocess.run([sys.executable, str(TEAM)], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1
    assert "TEAM_STORE=" in done.stderr


def _keeps_its_promise(recipe: Path, tmp_path: Path, **environ: str) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")} | {"NO_COLOR": "1"} | environ
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
