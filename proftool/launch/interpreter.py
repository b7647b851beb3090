"""What an interpreter is: version, implementation, where its packages lie; asked of itself once, at no cost where it is ours."""

from __future__ import annotations

import functools
import os
import sys
from ast import literal_eval
from pathlib import Path

from proftool.contracts import Interpreter
from proftool.errors import TargetError
from proftool.launch.ask import ask

_ASK = (
    "import sys, sysconfig; p = sysconfig.get_paths(); v = sys.version_info; "
    "print(repr((tuple(v[:3]), sys.implementation.name, bool(sysconfig.get_config_var('Py_GIL_DISABLED')), "
    "(p['purelib'], p['platlib']))))"
)
_NAMES = {"cpython": "CPython", "pypy": "PyPy"}


def inspect(python: Path) -> Interpreter:
    """The facts of that Python; TargetError where it does not run. Cached by path and time of change."""
    try:
        changed_ns = os.stat(python).st_mtime_ns
    except OSError as error:
        raise TargetError(
            f"no interpreter at `{python}`", cause=os.strerror(error.errno or 0).lower(), fix="name another with `--python PATH`"
        ) from error
    return _inspect(python, changed_ns)


@functools.lru_cache(maxsize=64)
def _inspect(python: Path, _changed_ns: int) -> Interpreter:
    if str(python) == sys.executable:
        packages = tuple(dict.fromkeys(Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))))
        name, version = sys.implementation.name, (sys.version_info[0], sys.version_info[1], sys.version_info[2])
        free_threaded = "free-threading" in sys.version
        return Interpreter(
            executable=python, version=version, implementation=_NAMES.get(name, name), free_threaded=free_threaded, site_packages=packages
        )
    name: str
    told = ask([str(python), "-I", "-S", "-c", _ASK], within_s=20)
    try:
        version, name, free_threaded, packages = literal_eval(told.text.strip())
    except (ValueError, SyntaxError) as error:
        cause = told.problem or "it did not answer as a Python 3 does"
        raise TargetError(f"`{python}` is no Python that can be profiled", cause=cause, fix="name another with `--python PATH`") from error
    if tuple(version) < (3, 8):
        raise TargetError(
            f"`{python}` is Python {'.'.join(map(str, version))}",
            cause="recording needs Python 3.8 or newer in the target",
            fix="name another with `--python PATH`",
        )
    venv = _venv_packages(python, version)
    return Interpreter(
        executable=python,
        version=version,
        implementation=_NAMES.get(name, name),
        free_threaded=free_threaded,
        site_packages=tuple(dict.fromkeys([*venv, *map(Path, packages)])),
    )


def _venv_packages(python: Path, version: tuple[int, int, int]) -> list[Path]:
    """A virtual environment's own packages, which `-S` does not tell."""
    root = python.parent.parent
    if not (root / "pyvenv.cfg").is_file():
        return []
    return [root / "lib" / f"python{version[0]}.{version[1]}" / "site-packages"]
