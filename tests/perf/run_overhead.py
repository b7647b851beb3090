"""`proftool run --backend X` against bare X and bare Python on the same program, interleaved in one run; ratios, nothing asserted.

Run: `python tests/perf/run_overhead.py [ROUNDS]`.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """
import json, re
words = re.compile(r"[a-z]+")
text = " ".join("word%d other" % n for n in range(2000))
for n in range({rounds}):
    json.loads(json.dumps(words.findall(text)))
"""
PYTHON = sys.executable
BARE = {
    "pyinstrument": [PYTHON, "-m", "pyinstrument", "-o", "bare.txt"],
    "cprofile": [PYTHON, "-m", "cProfile", "-o", "bare.prof"],
    "py-spy": [shutil.which("py-spy") or "py-spy", "record", "-f", "raw", "-o", "bare.raw", "--", PYTHON],
    "memray": [PYTHON, "-m", "memray", "run", "-f", "-q", "-o", "bare.bin"],
}


def seconds(command: list[str], folder: Path) -> float | None:
    """Wall seconds of a command; None where it fails."""
    begin = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return None
    return time.perf_counter() - begin if done.returncode == 0 else None


def main() -> None:
    """Short program: the fixed cost; long program: the ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text("")
        for length, repeats in (("short", 30), ("long", 1500)):
            (folder / f"{length}.py").write_text(PROGRAM.format(rounds=repeats))
        for length in ("short", "long"):
            script = f"{length}.py"
            commands = {"python": [PYTHON, script]}
            for backend, bare in BARE.items():
                commands[backend] = [*bare, script]
                commands[f"proftool {backend}"] = [PYTHON, "-m", "proftool", "run", "--quiet", "--backend", backend, script]
            took: dict[str, list[float]] = {key: [] for key in commands}
            for _ in range(rounds):
                for key, command in commands.items():
                    if (value := seconds(command, folder)) is not None:
                        took[key].append(value)
            middle = {key: statistics.median(values) for key, values in took.items() if values}
            print(f"{length}: python {middle['python']:.3f} s, median of {rounds}")
            for backend in BARE:
                ours, bare = middle.get(f"proftool {backend}"), middle.get(backend)
                if ours is None or bare is None:
                    print(f"  {backend:<13} {'did not run' if ours is None else 'has no bare run'}")
                else:
                    print(f"  {backend:<13} bare {bare:.3f} s, proftool {ours:.3f} s: ratio {ours / bare:.3f}, {ours - bare:+.3f} s")


if __name__ == "__main__":
    main()
