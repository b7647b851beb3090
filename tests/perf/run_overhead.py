"""`proftool run --backend X` against bare X and bare Python on the same program, interleaved in one run; ratios, nothing asserted.

Pairs of bare X and proftool, in turn the one and the other first, so that a slow moment of the machine meets both; the ratio is the
median of the pairs' ratios. CPU seconds of both (children counted) stand beside, which another program's load hardly touches.

Run: `python tests/perf/run_overhead.py [PAIRS [tiny|short|long]]`; PAIRS is 5 unless told: about five minutes on an idle machine.
"""

from __future__ import annotations

import os
import resource
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
TINY = "for n in range(400_000): pass\n"
PYTHON = sys.executable
BARE = {
    "pyinstrument": [PYTHON, "-m", "pyinstrument", "-o", "bare.txt"],
    "cprofile": [PYTHON, "-m", "cProfile", "-o", "bare.prof"],
    "py-spy": [shutil.which("py-spy", path=str(Path(PYTHON).parent)) or "py-spy", "record", "-f", "raw", "-o", "bare.raw", "--", PYTHON],
    "memray": [PYTHON, "-m", "memray", "run", "-f", "-q", "-o", "bare.bin"],
}


LENGTHS = {"tiny": 0, "short": 30, "long": 1500}
"""Rounds of the program; a tiny one counts to 400,000, 10 ms that a sampler can see."""


def seconds(command: list[str], folder: Path) -> tuple[float, float] | None:
    """Wall and CPU seconds of a command; None where it fails."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    # Bytecode is cached, as it is where a package was installed.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return None
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) if done.returncode == 0 else None


def compare(length: str, backend: str, pairs: int, folder: Path) -> str:
    """One row of the table."""
    script = f"{length}.py"
    bare = [*BARE[backend], script]
    ours = [PYTHON, "-m", "proftool", "run", "--quiet", "--backend", backend, script]
    found: list[tuple[tuple[float, float], tuple[float, float]]] = []
    seconds(ours, folder)  # makes the store and the bytecode
    for turn in range(pairs):
        took = {key: seconds({"bare": bare, "ours": ours}[key], folder) for key in (("bare", "ours") if turn % 2 else ("ours", "bare"))}
        if took["bare"] is None or took["ours"] is None:
            return f"| {length} | {backend} | {'bare' if took['bare'] is None else 'proftool'} did not run | | | | |"
        found.append((took["bare"], took["ours"]))
    middle = statistics.median
    walls, cpus = [(b[0], o[0]) for b, o in found], [(b[1], o[1]) for b, o in found]
    return (
        f"| {length} | {backend} | {middle(b for b, _ in walls):.2f} | {middle(o for _, o in walls):.2f}"
        f" | {middle(o / b for b, o in walls):.3f} | {middle(o - b for b, o in walls):+.2f} | {middle(o - b for b, o in cpus):+.2f} |"
    )


def main() -> None:
    """A row for every length and backend."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    lengths = sys.argv[2:] or list(LENGTHS)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {pairs} pairs")
    print("| program | backend | bare, s | proftool, s | ratio | more, s | more CPU, s |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text("")
        for length in lengths:
            (folder / f"{length}.py").write_text(PROGRAM.format(rounds=LENGTHS[length]) if LENGTHS[length] else TINY)
            for backend in BARE:
                print(compare(length, backend, pairs, folder), flush=True)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
