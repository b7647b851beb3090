"""From the target's end to the summary on screen, for a recording of 30 s of real work: one line a backend, nothing asserted.

The program parses, prints and compiles the standard library's sources over and over, and notes the time when its last line has run; the
summary's time is when its last line arrives on a pipe.

Run: `python tests/perf/summary_delay.py [SECONDS [BACKEND...]]`; about a minute and a half on an idle machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """
import ast, pathlib, sys, time, tokenize, io
end = time.time() + float(sys.argv[1])
files = sorted(pathlib.Path(ast.__file__).parent.glob("*.py"))
while time.time() < end:
    for file in files:
        text = file.read_text("utf-8", "replace")
        tree = ast.parse(text)
        ast.unparse(tree)
        list(tokenize.generate_tokens(io.StringIO(text).readline))
        compile(tree, str(file), "exec")
        if time.time() > end:
            break
print(time.time())
"""


def delay_s(backend: str, seconds: str, folder: Path) -> float:
    """Seconds between the program's last line and the summary's."""
    words = [sys.executable, "-m", "proftool", "run", "--backend", backend, "program.py", seconds]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert running.stdout is not None
        told = time.time()
        for line in running.stderr:
            if line.strip():
                told = time.time()
        return told - float(running.stdout.read())


def main() -> None:
    """A line for every backend."""
    seconds = sys.argv[1] if len(sys.argv) > 1 else "30"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text("")
        (folder / "program.py").write_text(PROGRAM)
        for backend in sys.argv[2:] or ("pyinstrument", "py-spy", "cprofile"):
            print(f"{backend:13} {delay_s(backend, seconds, folder):.2f} s (load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    main()
