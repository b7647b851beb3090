"""Start-up stays light: what `--help`, and what a run before its target starts, may import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proftool import registry

HEAVY = ("numpy", "sqlalchemy", "rich", "pyinstrument", "memray", "cProfile", "msgspec", "proftool.model", "proftool.store", "psutil")


def test_help_imports_neither_numpy_nor_a_profiler() -> None:
    """Every verb is in the help, and nothing heavy is loaded for it."""
    code = (
        "import sys; from proftool.cli.app import main, VERBS; status = main(['--help'])\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\nprint(status, *(verb for verb, _ in VERBS), sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, *verbs = done.stdout.splitlines()[-1].split("|")
    assert status == "0"
    assert {"run", "show", "open", "list", "doctor"} <= set(verbs)
    assert all(f"  {verb} " in done.stdout for verb in verbs)


HEAVY_BEFORE_A_RUN = (
    "numpy",
    "sqlalchemy",
    "rich",
    "msgspec",
    "pyinstrument",
    "memray",
    "cProfile",
    "proftool.model.profile",
    "proftool.formats",
)


@pytest.mark.parametrize("backend", registry.names("backend"))
def test_a_run_waits_with_what_its_reading_needs(backend: str, tmp_path: Path) -> None:
    """Between the command line and the target's start nothing is loaded that only reading, storing or showing needs."""
    code = (
        "import sys\nfrom proftool.launch import start\n"
        "def stop(*_, **__):\n"
        f"    print('heavy:', [name for name in {HEAVY_BEFORE_A_RUN!r} if name in sys.modules])\n    raise SystemExit(0)\n"
        "from proftool.workflows import record; record.launch = stop\n"
        "from proftool.cli.app import main\n"
        f"main(['run', '--backend', {backend!r}, '-c', 'pass'])"
    )
    env = os.environ | {"PROFTOOL_STORE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.splitlines()[-1] == "heavy: []"
