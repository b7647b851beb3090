"""The cell magic in a real IPython."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "proftool")
KERNEL
shell.run_cell_magic("proftool", "--label cell", '''
def burn():
    return sum(i * i for i in range(2_000_000))
value = burn()
''')
print("value", shell.user_ns["value"])
shell.run_cell_magic("proftool", "--modus trace", "pass")
"""


def ran(tmp_path: Path, kernel: str) -> str:
    (tmp_path / "pyproject.toml").touch()
    env = {k: v for k, v in os.environ.items() if not k.startswith("PROFTOOL_")} | {
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", CELL.replace("KERNEL", kernel)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_cell_is_recorded_and_its_names_stay(tmp_path: Path) -> None:
    """The summary names the cell's function, the namespace has its value, a wrong option says so."""
    out = ran(tmp_path, "")
    assert "burn" in out
    assert "value 2666664666667000000" in out
    assert "cause: `--modus` is not an option" in out


def test_a_notebook_gets_the_page_in_a_frame(tmp_path: Path) -> None:
    """Where the shell has a kernel, the offline page is displayed inline."""
    show = "import IPython.display as d; shell.kernel = True; d.display = lambda shown: print('FRAME', shown.data[:60], len(shown.data))"
    out = ran(tmp_path, show)
    assert "FRAME <iframe" in out
    assert int(out.split("FRAME")[1].split("\n")[0].split()[-1]) > 50_000
