"""Start-up stays light: what `--help` may import."""

import subprocess
import sys

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
