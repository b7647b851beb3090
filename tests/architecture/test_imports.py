"""Imports point down and never sideways: the layers contract of pyproject.toml, held by import-linter."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    """import-linter over the package in `house`."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run([sys.executable, "-c", code, "--no-cache"], cwd=house, capture_output=True, text=True, check=False)


def test_imports_point_down_and_never_sideways() -> None:
    """Every room stands in the contract (it is exhaustive), and no room imports one above or beside it."""
    done = lint(HOUSE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_the_contract_finds_an_import_that_points_up(tmp_path: Path) -> None:
    """The check itself works: a model that imports the command line breaks the contract."""
    layers = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    for name in (room.strip() for layer in layers for room in layer.split("|")):
        folder = tmp_path / "proftool" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    (tmp_path / "proftool" / "__init__.py").write_text("")
    (tmp_path / "pyproject.toml").write_text((HOUSE / "pyproject.toml").read_text())
    assert lint(tmp_path).returncode == 0
    (tmp_path / "proftool" / "model" / "__init__.py").write_text("import proftool.cli\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert "proftool.model -> proftool.cli" in done.stdout


STARTERS = {
    "bench": "fresh processes of a benchmark, which are timed by whoever starts them",
    "formats/memray_sums.py": "a reader of its own, so that a broken recording ends that and not proftool",
    "integrations/agent.py": "proftool itself, for an agent",
    "viewer/build.py": "npm, when the package is built",
    "workflows/open.py": "another viewer, for as long as its page is looked at",
}
"""Who else starts a process than `launch/`, and what for."""


def test_programs_are_started_in_one_room() -> None:
    """What is profiled starts in `launch/`; each of the others has its reason."""
    found: set[str] = set()
    for file in (HOUSE / "proftool").rglob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Import) and "node_modules" not in file.parts
            for alias in node.names
        }
        if names & {"subprocess", "multiprocessing"}:
            place = file.relative_to(HOUSE / "proftool")
            found.add("bench" if place.parts[0] == "bench" else place.as_posix())
    assert {place for place in found if not place.startswith("launch/")} == set(STARTERS)


def test_the_model_needs_numpy_and_the_standard_library_only() -> None:
    """And opens no file, starts no process, talks to nobody."""
    allowed = (set(sys.stdlib_module_names) | {"numpy", "proftool"}) - {"pathlib", "os", "io", "subprocess", "socket", "shutil", "tempfile"}
    for file in sorted((HOUSE / "proftool" / "model").glob("*.py")):
        tree = ast.parse(file.read_text())
        found = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        found |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert found <= allowed, f"{file.name}: {sorted(found - allowed)}"
        calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert not calls & {"open", "print", "input"}, file.name


@pytest.mark.parametrize("path", sorted((HOUSE / "tests" / "perf").rglob("*.py")), ids=lambda path: path.stem)
def test_a_measurement_that_is_run_by_hand_finds_what_it_imports(path: Path) -> None:
    """No test runs these, and a name that moved would be missed when somebody measures again."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "proftool":
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}"), f"{node.module}: {name.name}"
