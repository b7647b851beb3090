"""Words as typed become the program that a shell would have run."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from proftool.errors import TargetError
from proftool.launch.targets import resolve


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "app.py").write_text("print('app')\n")
    return tmp_path


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def python_in(folder: Path, name: str = "python3") -> Path:
    """Another Python, told from ours by its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(sys.executable)
    return folder / name


def test_script_and_its_arguments() -> None:
    """What follows the script is the script's, options and all."""
    program = resolve(["app.py", "-x", "--python", "two words"])
    assert (program.script, program.argv, program.python) == ("app.py", ("-x", "--python", "two words"), Path(sys.executable))
    assert program.typed == ("app.py", "-x", "--python", "two words")


def test_module_and_code() -> None:
    """`-m` and `-c` as proftool's own options."""
    assert (resolve(["x"], module="pack").module, resolve(["x"], module="pack").typed) == ("pack", ("-m", "pack", "x"))
    assert resolve(["x"], code="print(1)").code == "print(1)"


@pytest.mark.parametrize(
    ("line", "options", "what", "argv"),
    [
        ("python3 app.py -m x", (), ("script", "app.py"), ("-m", "x")),
        ("python3 -X dev -W error app.py", ("-Xdev", "-Werror"), ("script", "app.py"), ()),
        ("python3 -Xdev -O -B -m pack a", ("-Xdev", "-O", "-B"), ("module", "pack"), ("a",)),
        ("python3 -Imhttp.server 80", ("-I",), ("module", "http.server"), ("80",)),
        ("python3 -OScprint(1) a", ("-OS",), ("code", "print(1)"), ("a",)),
        ("python3 -u -- app.py b", ("-u",), ("script", "app.py"), ("b",)),
        ("python3 - a", (), ("script", "-"), ("a",)),
        ("python3 --check-hash-based-pycs always app.py", ("--check-hash-based-pycs", "always"), ("script", "app.py"), ()),
    ],
)
def test_a_python_command_line_is_read_as_python_reads_it(
    line: str, options: tuple[str, ...], what: tuple[str, str], argv: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interpreter options, `-m`, `-c`, clusters of letters and `--`."""
    python = python_in(folder / "bin")
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    program = resolve(line.split(" "))
    assert program.python == python
    assert (program.interpreter_options, getattr(program, what[0]), program.argv) == (options, what[1], argv)


def test_a_console_script_brings_its_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first line says which; nothing of proftool's own environment is used."""
    python = python_in(folder / "venv" / "bin")
    script = executable(folder / "venv" / "bin" / "tool", f"#!{python}\nprint(1)\n")
    monkeypatch.setenv("PATH", str(folder / "venv" / "bin"), prepend=os.pathsep)
    program = resolve(["tool", "--x"])
    assert (program.python, program.script, program.argv) == (python, str(script), ("--x",))


def test_pips_trampoline_for_long_paths(folder: Path) -> None:
    """A first line of `/bin/sh` that hands over to Python, as pip writes for paths with spaces."""
    python = python_in(folder / "long path")
    script = executable(folder / "tool", f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\nprint(1)\n")
    assert resolve(["./tool"]).python == python
    assert resolve(["./tool"]).script == "./tool"
    assert script.exists()


def test_env_in_the_first_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`#!/usr/bin/env -S python3` finds it on PATH."""
    python = python_in(folder / "bin")
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    executable(folder / "tool", "#!/usr/bin/env -S python3 -u\n")
    assert resolve(["./tool"]).python == python


def test_the_order_of_interpreters(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--python`, then $VIRTUAL_ENV, then proftool's own."""
    venv, other = python_in(folder / "venv" / "bin", "python"), python_in(folder / "other", "python")
    monkeypatch.setenv("VIRTUAL_ENV", str(folder / "venv"))
    assert resolve(["app.py"]).python == venv
    assert resolve(["app.py"], python=other).python == other
    monkeypatch.setenv("VIRTUAL_ENV", str(folder / "gone"))
    assert resolve(["app.py"]).python == Path(sys.executable)


def test_a_shim_is_looked_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell script named python (pyenv's shims) is asked what it runs."""
    (folder / "bin").mkdir()
    executable(folder / "bin" / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
    assert os.path.samefile(resolve(["python", "app.py"]).python, sys.executable)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ap.py"], "app.py"),
        (["sub/app.py"], "no folder `sub`"),
        (["nothing-like-it-xyz"], "working folder"),
        (["python3", "ap.py"], "app.py"),
        (["sh", "-c", "true"], "no Python program"),
        (["."], "__main__.py"),
        ([], "nothing to run"),
    ],
)
def test_what_is_missing_is_said(words: list[str], says: str) -> None:
    """Status 2 with a cause, a fix and the nearest name."""
    with pytest.raises(TargetError) as caught:
        resolve(words)
    assert says in str(caught.value)
    assert caught.value.cause
    assert caught.value.fix


def test_a_missing_interpreter(folder: Path) -> None:
    """`--python` of something that does not exist."""
    with pytest.raises(TargetError, match="no interpreter"):
        resolve(["app.py"], python=folder / "absent")
