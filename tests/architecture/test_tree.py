"""The house stays as it was designed: few entries at the top, a line for each room, short files, backends known to one room."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
TOP = {".ci", ".gitignore", "LICENSE", "README.md", "docs", "proftool", "pyproject.toml", "recipes", "tests"}
MAX_LINES = 400


def tracked() -> list[Path]:
    """Files of the repository, or of the folder where it is no repository (an unpacked sdist)."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=HOUSE, capture_output=True, check=False
    )
    if done.returncode == 0:
        names = [HOUSE / name for name in done.stdout.decode().split("\0") if name]
    else:
        names = [
            path for path in HOUSE.rglob("*") if not {".venv", "node_modules", "dist", "__pycache__"} & set(path.relative_to(HOUSE).parts)
        ]
    return [path for path in names if path.is_file()]


FILES = tracked()


def test_the_top_level_holds_only_what_was_agreed() -> None:
    """A new top-level entry is a decision, not an accident."""
    assert {path.relative_to(HOUSE).parts[0] for path in FILES} == TOP


def test_every_room_has_a_line_in_the_list_of_rooms() -> None:
    """And every line has its room, so that the list can be trusted."""
    listed = re.findall(r"^\| `([^`]+)` \|", (HOUSE / "proftool" / "README.md").read_text(), re.MULTILINE)
    inside = {path.relative_to(HOUSE / "proftool").parts for path in FILES if path.is_relative_to(HOUSE / "proftool")}
    rooms = {f"{parts[0]}/" for parts in inside if len(parts) > 1} | {
        parts[0] for parts in inside if len(parts) == 1 and parts[0].endswith(".py")
    }
    assert set(listed) == rooms - {"__init__.py", "__main__.py"}
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    "file", [path for path in FILES if path.suffix in (".py", ".ts", ".svelte")], ids=lambda path: str(path.relative_to(HOUSE))
)
def test_no_file_is_longer_than_one_noun_needs(file: Path) -> None:
    """Past 400 lines a file holds two things."""
    assert len(file.read_text().splitlines()) <= MAX_LINES


def test_front_ends_know_no_backend_by_name() -> None:
    """cli, reports and workflows ask capabilities; a new backend is one file and one registry row. Advice to people may name one.

    A string of code that equals a backend's name, or an attribute or import named like one, would be such knowledge.
    """
    registry = ast.parse((HOUSE / "proftool" / "registry.py").read_text())
    table = next(node.value for node in ast.walk(registry) if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "BACKENDS")
    names: set[str] = set(ast.literal_eval(table))  # type: ignore[arg-type]
    assert len(names) >= 4
    found: list[str] = []
    for room in ("cli", "reports", "workflows"):
        for file in sorted((HOUSE / "proftool" / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                is_name = isinstance(node, ast.Constant) and node.value in names
                imported = isinstance(node, ast.ImportFrom | ast.Import) and "proftool.backends." in ast.unparse(node)
                if is_name or imported:
                    found.append(f"{room}/{file.name}:{node.lineno}: {ast.unparse(node)}")
    assert not found, "\n".join(found)


def test_rooms_import_no_numpy_at_the_door() -> None:
    """`__init__` of a room loads nothing heavy: rooms are entered by module."""
    for file in sorted((HOUSE / "proftool").glob("*/__init__.py")):
        for node in ast.parse(file.read_text()).body:
            assert not (isinstance(node, ast.Import | ast.ImportFrom) and "numpy" in ast.unparse(node)), str(file)
