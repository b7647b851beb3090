"""Compiles _exchange.c where the package is built; run by the build hook, or by hand: `python proftool/telemetry/compile_exchange.py`.

Without a compiler, or without Python's headers, the package is built all the same, and requests are served by the Python that the C does
again (asgi_compiled.py): it says so, and so does `proftool doctor`.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE, HEADER = HERE / "_exchange.c", HERE / "_exchange.h"
MADE = HERE / f"_exchange{sysconfig.get_config_var('EXT_SUFFIX')}"


def digest() -> str:
    """Of the sources: what was compiled says which it was compiled from."""
    return hashlib.sha256(HEADER.read_bytes() + SOURCE.read_bytes()).hexdigest()[:16]


def build() -> Path | None:
    """Make the module if it is not up to date; None, and why on stderr, where it cannot be made."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None  # it relies on CPython's layout of objects, and on its lock
    if MADE.exists() and MADE.stat().st_mtime >= max(SOURCE.stat().st_mtime, HEADER.stat().st_mtime):
        return MADE
    try:
        from setuptools import Distribution, Extension

        with tempfile.TemporaryDirectory() as folder:
            flags = [] if sys.platform == "win32" else ["-O2", "-g0"]
            macros = [("SOURCE_DIGEST", f'"{digest()}"')]
            module = Extension("_exchange", [str(SOURCE)], define_macros=macros, extra_compile_args=flags)
            command = Distribution({"ext_modules": [module]}).get_command_obj("build_ext")
            command.build_temp, command.build_lib = folder, folder  # type: ignore[attr-defined]
            command.ensure_finalized()
            command.run()
            new = MADE.with_suffix(".new")
            shutil.copyfile(Path(folder) / MADE.name, new)
            new.replace(MADE)
    except Exception as problem:  # whatever a compiler or its absence raises: the package works without
        print(f"proftool: requests will be served without compiled code: {problem}", file=sys.stderr)
        return None
    return MADE


if __name__ == "__main__":
    sys.exit(build() is None)
