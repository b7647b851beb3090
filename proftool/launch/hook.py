"""The start-up hook: how Python itself brings the bootstrap into the target and into its children.

A private folder stands first on PYTHONPATH and holds a `sitecustomize` that takes its own folder off `sys.path`, imports the
user's `sitecustomize` if there is one, and hands over to `_child.py`. Python then runs the target as ever. Options that make
Python ignore PYTHONPATH or `site` (-I, -E, -S) have no such door; there `_blind.py` reads the hook
and runs the target.

Source: ddtrace-run and coverage reach children in the same way; memray and cProfile, which run the script themselves, break
pickling from `__main__` or show their own frames.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from proftool.contracts import Inside, Program

CHILD = Path(__file__).with_name("_child.py")
COLLECTOR = Path(__file__).with_name("_collector.py")
BLIND = Path(__file__).with_name("_blind.py")

_SITECUSTOMIZE = """import os, sys
__proftool__ = True
CONFIG = {config}
CONFIG.update((key, os.fsdecode(value)) for key, value in list(CONFIG.items()) if isinstance(value, bytes))
def chain():
    sys.path[:] = [entry for entry in sys.path if entry != CONFIG["hook"]]
    own = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize
    except ImportError as error:
        sys.modules["sitecustomize"] = own
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
    except BaseException:
        sys.modules["sitecustomize"] = own
        raise
def begin(blind=False):
    if sys.version_info < (3, 8):
        return
    try:
        import _frozen_importlib_external as files
        child = type(sys)("_proftool_child")
        child.__file__ = CONFIG["child"]
        exec(files.SourceFileLoader(child.__name__, CONFIG["child"]).get_code(child.__name__), child.__dict__)
        child.begin(CONFIG, blind)
    except Exception as error:
        try:
            with open(CONFIG["folder"] + "/failure", "a") as file:
                file.write("%s: %s\\n" % (type(error).__name__, error))
        except OSError:
            pass
try:
    chain()
finally:
    begin()
if getattr(sys.modules.get("sitecustomize"), "__proftool__", False):
    raise ImportError("No module named 'sitecustomize'", name="sitecustomize")
"""
"""Its last lines are what Python itself says to a program that has no `sitecustomize`; `site` takes it as that and drops this module."""


def write(
    folder: Path,
    inside: Inside | None,
    *,
    children: bool,
    pythonpath: str | None,
    tracer_pid: int | None = None,
    collector: bool = False,
) -> Path:
    """Write the hook of one recording into its folder; the folder to put first on PYTHONPATH."""
    # A path list cannot hold a folder with its own separator in the name.
    hook = folder / "hook" if os.pathsep not in str(folder) else Path(tempfile.mkdtemp(prefix="proftool-hook-"))
    hook.mkdir(exist_ok=True)
    # Paths as bytes: the target may decode them by another locale than ours.
    config: dict[str, object] = {
        "folder": os.fsencode(folder),
        "hook": os.fsencode(hook),
        "child": os.fsencode(CHILD),
        "recorder": os.fsencode(inside.recorder) if inside else None,
        "options": _options(inside),
        "children": children,
        "collector": os.fsencode(COLLECTOR) if collector else None,
        "tracer_pid": tracer_pid,
        "pythonpath": None if pythonpath is None else os.fsencode(pythonpath),
    }
    (hook / "sitecustomize.py").write_text(_SITECUSTOMIZE.format(config=ascii(config)), encoding="ascii")
    return hook


def remove(folder: Path, hook: Path) -> None:
    """Take the hook away if it does not lie in the recording's folder."""
    if hook.parent != folder:
        shutil.rmtree(hook, ignore_errors=True)


def _options(inside: Inside | None) -> Mapping[str, object]:
    return {**inside.options, "library_paths": [str(path) for path in inside.library_paths]} if inside else {}


def argv(program: Program, hooks: Path) -> list[str]:
    """The command line that runs the program: the user's own, save where the interpreter would not read the hook."""
    start = [str(program.python), *program.interpreter_options]
    if program.module is not None:
        what, how = ["-m", program.module], "module"
    elif program.code is not None:
        what, how = ["-c", program.code], "code"
    else:
        what, how = [program.script or "-"], "script"
    if not is_blind(program):
        return [*start, *what, *program.argv]
    return [*start, str(BLIND), str(hooks), how, what[-1], *program.argv]


def is_blind(program: Program) -> bool:
    """Do the interpreter's options keep it from reading PYTHONPATH or from running `site`?"""
    return any(letter in "IES" for option in _short_options(program.interpreter_options) for letter in option)


def _short_options(options: Sequence[str]) -> list[str]:
    """Letters of the options, without values: (`-X`, `dev`, `-OS`) gives `X`, `OS`."""
    found: list[str] = []
    words = iter(options)
    for word in words:
        if not word.startswith("-") or word.startswith("--"):
            continue
        letters = word[1:]
        for value_option in "XW":
            if value_option in letters:
                head, _, value = letters.partition(value_option)
                letters = head + value_option
                if not value:
                    next(words, None)
        found.append(letters)
    return found
