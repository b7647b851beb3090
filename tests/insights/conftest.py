"""Real recordings of the programs, each made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from proftool.model.profile import Profile

PROGRAMS = Path(__file__).with_name("programs.py")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Profile]:
    """(program, mode) -> its profile, recorded by the mode's own backend."""
    import subprocess
    import sys

    from proftool.store.names import read_file

    folder = tmp_path_factory.mktemp("insights")

    @cache
    def record(name: str, mode: str) -> Profile:
        file = folder / f"{name}-{mode}.proftool"
        asked = [sys.executable, "-m", "proftool", "run", "-q", "--mode", mode, "-o", str(file), "--", str(PROGRAMS), name]
        env = {"PROFTOOL_STORE": str(folder / "store")}
        import os

        done = subprocess.run(asked, capture_output=True, text=True, timeout=120, env=os.environ | env, cwd=PROGRAMS.parent)
        assert done.returncode == 0, done.stderr
        return read_file(file)

    return record
