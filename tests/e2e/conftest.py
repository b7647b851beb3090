"""A project for the command line."""

from pathlib import Path

import pytest
from cli.command import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with a pyproject.toml and a store of its own."""
    return Project(tmp_path)
