"""Facts about interpreters, of our own without a process, of others by asking them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proftool.errors import TargetError
from proftool.launch.interpreter import inspect


def test_our_own_costs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """sys.executable is known already."""
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    assert inspect(Path(sys.executable)).version == sys.version_info[:3]


def test_another_one_is_asked(tmp_path: Path) -> None:
    """A virtual environment's version and its own packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    found = inspect(tmp_path / "bin" / "python")
    assert found.version == sys.version_info[:3]
    assert found.implementation == "CPython"
    assert found.site_packages[0] == tmp_path / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", "#!/bin/sh\necho '((2, 7, 18), \"cpython\", False, ())'\n"]
)
def test_what_is_no_python_is_an_error(tmp_path: Path, text: str) -> None:
    """A program that does not answer as Python does, or is too old."""
    (tmp_path / "python").write_text(text)
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(TargetError):
        inspect(tmp_path / "python")


def test_a_missing_one_is_an_error(tmp_path: Path) -> None:
    """No such file."""
    with pytest.raises(TargetError):
        inspect(tmp_path / "python")
