"""Collapsed stacks against the obvious reader (split, nested dicts), side by side in one run: time, peak memory, nodes.

    python tests/perf/formats.py [LINES]

1M lines are about 200 MB; once of many different stacks, once of few. Each reader runs in a process of its own, the two by
turns, and the ratio is that of the medians. polars is measured too where it is installed.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = 3

DICTS = """
root, n = {}, 0
for line in open(sys.argv[1]):
    stack, _, count = line.rpartition(" ")
    node = root
    for frame in stack.split(";"):
        below = node.get(frame)
        if below is None:
            below = node[frame] = {}
            n += 1
        node = below
    node[None] = node.get(None, 0) + int(count)
"""
OURS = """
n = len(format.read(Path(sys.argv[1])).nodes)
"""
POLARS = """
lines = pl.read_csv(sys.argv[1], has_header=False, separator="\\x01", new_columns=["line"])
stack = pl.col("line").str.extract(r"^(.*) \\d+$").str.split(";")
frames = lines.with_row_index().with_columns(stack.alias("stack")).explode("stack")
frames = frames.with_columns(pl.col("stack").cast(pl.Categorical).to_physical())
level = frames.with_columns(pl.int_range(pl.len()).over("index").alias("depth"))
place, n = None, 0
for depth in range(int(level["depth"].max()) + 1):
    rows = level.filter(pl.col("depth") == depth)
    rows = rows.with_columns(pl.lit(0, pl.Int64).alias("up")) if place is None else rows.join(place, on="index")
    keys = rows.select("up", "stack").unique().with_row_index("node", offset=n)
    n += len(keys)
    place = rows.join(keys, on=["up", "stack"]).select("index", pl.col("node").cast(pl.Int64).alias("up"))
"""
IMPORTS = {OURS: "from proftool.formats.collapsed import format", POLARS: "import polars as pl"}
MEASURE = """
import resource, sys, time
from pathlib import Path
{}
begin = time.perf_counter()
{}
print(n, time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def write(path: Path, n_lines: int, n_stacks: int) -> None:
    """Stacks of 4 to 8 frames of about 35 bytes, as skewed as those of real programs."""
    rng = random.Random(3)
    frames = [f"function_{i} (package/module_{i % 97}.py:{i % 900})" for i in range(400)]
    with path.open("w") as out:
        for _ in range(n_lines):
            own = random.Random(rng.randrange(n_stacks))
            stack = [
                frames[0],
                frames[int(own.random() ** 3 * 20)],
                *(frames[int(own.random() ** 3 * 400)] for _ in range(own.randint(2, 6))),
            ]
            out.write(f"{';'.join(stack)} {rng.randint(1, 99)}\n")


def measure(code: str, path: Path) -> tuple[int, float, int]:
    """Nodes, seconds and MiB of a fresh process."""
    told = subprocess.run(
        [sys.executable, "-c", MEASURE.format(IMPORTS.get(code, ""), code), str(path)], check=True, capture_output=True, text=True
    ).stdout.split()
    return int(told[0]), float(told[1]), int(told[2])


def main() -> None:
    """Print one line a reader and file."""
    n_lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    readers = {"nested dicts": DICTS, "proftool": OURS}
    try:
        import polars  # noqa: F401  # pyright: ignore[reportMissingImports]

        readers["polars"] = POLARS
    except ImportError:
        print("polars is not installed: not measured")
    with tempfile.TemporaryDirectory() as folder:
        for shape, n_stacks in (("many stacks", 1 << 40), ("few stacks", n_lines // 80)):
            path = Path(folder) / "stacks"
            write(path, n_lines, n_stacks)
            found = {name: [] for name in readers}
            for _ in range(ROUNDS):
                for name, code in readers.items():
                    found[name].append(measure(code, path))
            medians = {name: statistics.median(seconds for _, seconds, _ in rows) for name, rows in found.items()}
            for name, rows in found.items():
                nodes, _, mib = rows[0]
                print(
                    f"{shape}, {path.stat().st_size / 1e6:.0f} MB: {name:13} {medians[name]:6.2f} s  {mib:5} MiB  {nodes:>9,} nodes  "
                    f"{medians['nested dicts'] / medians[name]:.2f}x"
                )


if __name__ == "__main__":
    main()
