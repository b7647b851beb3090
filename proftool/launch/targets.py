"""From words as typed to a Program: which Python, with which options, runs what.

`script.py args`, a folder or zip with `__main__.py`, `python -X dev app.py`, `python -m module`, a console script on PATH (its own
Python is in its first line), `-m module` and `-c code`. The interpreter is `--python`, else the one that the words name, else
$VIRTUAL_ENV's, else proftool's own.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from proftool.contracts import Program
from proftool.errors import TargetError

_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*[a-z]?(?:\.exe)?")
_HEAD_BYTES = 4096


def resolve(words: Sequence[str], *, module: str | None = None, code: str | None = None, python: Path | None = None) -> Program:
    """The program that the words name; TargetError says what is missing and what was meant."""
    words = tuple(words)
    if module is not None:
        return Program(python=_interpreter(python), module=module, argv=words, typed=("-m", module, *words))
    if code is not None:
        return Program(python=_interpreter(python), code=code, argv=words, typed=("-c", code, *words))
    if not words or not words[0]:
        raise TargetError(
            "nothing to run", cause="no script, module or command was named", fix="`proftool run script.py`, or `proftool run -m module`"
        )
    first = words[0]
    if _PYTHON.fullmatch(os.path.basename(first)) and not first.endswith((".py", ".pyc")) and (found := shutil.which(first)):
        return _python_line(words, _real_python(Path(os.path.abspath(found))) if python is None else _interpreter(python))
    if os.path.exists(first):
        return _file(words, first, python)
    if os.sep not in first and (found := shutil.which(first)):
        return _command(words, found, python)
    raise _missing(first)


def _interpreter(python: Path | None) -> Path:
    if python is not None:
        found = shutil.which(str(python))
        if found is None:
            raise TargetError(
                f"no interpreter at `{python}`",
                cause="there is no such program, or it may not be executed",
                fix="give `--python` the path of a Python",
            )
        return _real_python(Path(os.path.abspath(found)))
    folder = os.environ.get("VIRTUAL_ENV")
    if folder:
        for name in ("bin/python", "Scripts/python.exe"):
            if os.access(path := os.path.join(folder, name), os.X_OK):
                return Path(path)
    return Path(sys.executable)


def _python_line(words: tuple[str, ...], python: Path) -> Program:
    """`python [options] (script | -m module | -c code | -) args`, as Python itself reads it."""
    options: list[str] = []
    index = 1
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            index -= 1
            break
        if word.startswith("--"):
            options.append(word)
            if word == "--check-hash-based-pycs" and index < len(words):
                options.append(words[index])
                index += 1
            continue
        for at, letter in enumerate(word[1:], 1):
            if letter in "cmXW":
                value = word[at + 1 :]
                if not value:
                    if index >= len(words):
                        raise TargetError(
                            f"`{' '.join(words)}` is cut short", cause=f"Python's option -{letter} takes a value", fix="add it"
                        )
                    value = words[index]
                    index += 1
                before = word[:at]
                if letter in "XW":
                    options.append(before + letter + value)
                    break
                if len(before) > 1:
                    options.append(before)
                kind = "module" if letter == "m" else "code"
                return Program(
                    python=python,
                    interpreter_options=tuple(options),
                    module=value if kind == "module" else None,
                    code=value if kind == "code" else None,
                    argv=words[index:],
                    typed=words,
                )
        else:
            options.append(word)
    script = words[index] if index < len(words) else "-"
    if script != "-" and not os.path.exists(script):
        raise _missing(script)
    return Program(python=python, interpreter_options=tuple(options), script=script, argv=words[index + 1 :], typed=words)


def _file(words: tuple[str, ...], path: str, python: Path | None) -> Program:
    """A path: a script for the chosen interpreter, or an executable with a Python in its first line."""
    if os.path.isdir(path):
        if not os.path.isfile(os.path.join(path, "__main__.py")):
            raise TargetError(
                f"`{path}` is a folder",
                cause="it holds no `__main__.py`",
                fix=f"name a script in it, or `-m {os.path.basename(os.path.abspath(path))}`",
            )
        return Program(python=_interpreter(python), script=path, argv=words[1:], typed=words)
    if not os.access(path, os.R_OK):
        raise TargetError(f"`{path}` cannot be read", cause="permission is denied", fix=f"run `ls -l {shlex.quote(path)}`")
    if path.endswith((".py", ".pyw", ".pyc", ".pyz")):
        return Program(python=_interpreter(python), script=path, argv=words[1:], typed=words)
    return _command(words, path, python)


def _command(words: tuple[str, ...], path: str, python: Path | None) -> Program:
    """A console script or other executable text."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    named = _shebang_python(head)
    if named is not None:
        chosen = _interpreter(python) if python is not None else _interpreter(Path(named))
        return Program(python=chosen, script=path, argv=words[1:], typed=words)
    if b"pyenv" in head and (real := _behind_pyenv(words[0])) is not None and real != path:
        return _command(words, real, python)
    if not head.startswith(b"#!") and b"\0" not in head:
        return Program(
            python=_interpreter(python), script=path, argv=words[1:], typed=words
        )  # text without a first line: Python's, for all we know
    kind = "a program of another kind" if b"\0" in head else f"run by `{head.splitlines()[0][2:].decode(errors='replace').strip()}`"
    raise TargetError(
        f"`{words[0]}` is no Python program",
        cause=f"{path} is {kind}",
        fix="name the Python script or module that it runs, or start it and `proftool attach PID`",
    )


def _shebang_python(head: bytes) -> str | None:
    """The interpreter in a script's first line, or in the `exec` of pip's sh trampoline; None where it is no Python."""
    if not head.startswith(b"#!"):
        return None
    lines = head.decode(errors="replace").splitlines()
    words = lines[0][2:].split()
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if words and os.path.basename(words[0]) in ("sh", "bash") and len(lines) > 1 and lines[1].startswith("'''exec'"):
        try:
            words = shlex.split(lines[1].removeprefix("'''exec'"))
        except ValueError:
            return None
    if not words or not _PYTHON.fullmatch(os.path.basename(words[0])):
        # A path with spaces has no trampoline on systems that allow it: the whole line is then the interpreter.
        whole = lines[0][2:].strip()
        return whole if _PYTHON.fullmatch(os.path.basename(whole)) and os.path.exists(whole) else None
    return words[0]


def _behind_pyenv(name: str) -> str | None:
    try:
        done = subprocess.run(
            ["pyenv", "which", os.path.basename(name)], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _real_python(python: Path) -> Path:
    """The interpreter behind a shim (pyenv's are shell scripts)."""
    try:
        with open(python, "rb") as file:
            if file.read(2) != b"#!":
                return python
        done = subprocess.run(
            [str(python), "-I", "-S", "-c", "import sys; print(sys.executable)"],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return python
    found = done.stdout.strip()
    if done.returncode or not found:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it did not answer")
        raise TargetError(f"`{python}` does not run", cause=last.strip(), fix="name another with `--python PATH`")
    return Path(found)


def _missing(path: str) -> TargetError:
    """With the nearest names in the folder where it should be."""
    folder, name = os.path.split(path)
    try:
        present = [entry.name for entry in os.scandir(folder or ".") if entry.is_dir() or entry.name.endswith((".py", ".pyw", ".pyz"))]
    except OSError:
        present = []
    near = difflib.get_close_matches(name, present, 1, 0.6) or [entry for entry in present if os.path.splitext(entry)[0] == name]
    if near:
        fix = f"did you mean `{os.path.join(folder, near[0])}`?"
    elif name.isidentifier():
        fix = f"`proftool run -m {name}` if it is a module; else check the path (the working folder is {os.getcwd()})"
    else:
        fix = f"check the path; the working folder is {os.getcwd()}"
    cause = (
        f"there is no folder `{folder}`"
        if folder and not os.path.isdir(folder)
        else "there is no such file" + ("" if folder else ", and no such command on PATH")
    )
    return TargetError(f"cannot find `{path}`", cause=cause, fix=fix)
