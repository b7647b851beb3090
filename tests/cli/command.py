"""The real command line in a project of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Done:
    """An ended command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """stdout as a JSON document."""
        return json.loads(self.out)


class Project:
    """A folder that looks like a user's project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "pyproject.toml").write_text("[project]\nname = 'subject'\nversion = '0'\n")

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text)
        return path

    def proftool(self, *words: object, stdin: str | None = None) -> Done:
        env = {name: value for name, value in os.environ.items() if not name.startswith("PROFTOOL")} | {"NO_COLOR": "1", "BROWSER": "true"}
        done = subprocess.run(
            [sys.executable, "-m", "proftool", *map(str, words)],
            cwd=self.root,
            env=env,
            input="" if stdin is None else stdin,
            capture_output=True,
            text=True,
            timeout=600,  # a busy machine, not a measure
        )
        return Done(done.returncode, done.stdout, done.stderr)
