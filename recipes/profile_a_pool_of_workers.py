"""
Question: my program hands its work to a pool of processes. What do the workers do, and is one of them slower than the others?

Run: `python recipes/profile_a_pool_of_workers.py`. It records a program with a `multiprocessing.Pool` and a `ProcessPoolExecutor`.

Read the answer: one run holds every process: `proftool show pool` sums over all of them, and `parse` and `digest`, which only workers
call, stand first. `--by thread` has a row for each process and thread, by name: `ForkPoolWorker-1`, `SpawnProcess-…`. In `pool.html` the
menu *Lane* shows one of them alone, and *side by side* all next to each other. A worker that got one large piece while the others wait
is a wide bar beside narrow ones: give out smaller pieces (`chunksize=1`).

Clean up: `proftool rm pool`, and remove `pool.py` and `pool.html`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def parse(n):
    return sum(int(str(i)) for i in range(n))

def digest(n):
    return sum(i * i % 7 for i in range(n))

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sum(pool.map(parse, [200_000] * 6, chunksize=1)))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        print(sum(executor.map(digest, [400_000] * 6)))
"""


def proftool(*words: str) -> str:
    """Run proftool; what it wrote on stdout. Its talk goes to the terminal."""
    return subprocess.run([sys.executable, "-m", "proftool", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    Path("pool.py").write_text(PROGRAM)
    print(proftool("run", "--label", "pool", "-o", "pool.html", "pool.py"))
    print(proftool("show", "pool", "--by", "thread"))

    shown = json.loads(proftool("show", "pool", "--json"))
    names = {function["name"] for function in shown["functions"]}
    assert any(name.startswith("parse") for name in names), names
    assert any(name.startswith("digest") for name in names), names
    pids = {lane["pid"] for lane in shown["lanes"]}
    workers = {lane["pid"] for lane in shown["lanes"] if lane["ppid"] in pids}
    assert len(workers) >= 4, shown["lanes"]
    assert Path("pool.html").stat().st_size > 10_000
    print(f"One run holds {len(workers)} workers of two pools and what each of them did.")


if __name__ == "__main__":
    main()
