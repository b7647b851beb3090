"""How often does a diff cry wolf, and what does it find? False alarms with their upper limit, power as a table, speed at a million nodes.

    PYTHONPATH=tests python -m perf.diff simulate [--rounds N]     drawn runs on a drifting machine: seconds a row
    PYTHONPATH=tests python -m perf.diff record [--rounds N]       real programs through the command line: hours
    PYTHONPATH=tests python -m perf.diff million                   two profiles of a million nodes

The upper limit is Clopper and Pearson's, one-sided 95 %.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from model.sides import SHARES, flagged, sampled
from scipy.stats import beta

from proftool.model.builder import finish
from proftool.model.compare import diff
from proftool.model.profile import WALL_TIME, Cells, Frames, Functions, Lanes, Nodes, Profile

PROGRAM = """import os
T = float(os.environ.get("TRANSFORM", "1"))
def parse(n):
    t = 0
    for i in range(n): t += i % 7 * 3
    return t
def transform(n):
    t = 0
    for i in range(n): t ^= i * 5 + 1
    return t
def render(n):
    t = 0
    for i in range(n): t += i // 3
    return t
KEPT = []
def hold(): KEPT.append([str(i) for i in range(20_000)])
for _ in range(10):
    parse(300_000), transform(int(500_000 * T)), render(200_000), hold()
"""


def upper_limit(hits: int, n: int) -> float:
    """Of a share that was seen `hits` times in `n`, with 95 % confidence."""
    return 1.0 if hits == n else float(beta.ppf(0.95, hits + 1, n - hits))


def told(what: str, hits: int, n: int) -> None:
    """One line of the answer."""
    print(f"{what:<60} {hits:>4}/{n:<4} {100 * hits / n:5.1f} %   upper limit {100 * upper_limit(hits, n):5.1f} %", flush=True)


def simulate(rounds: int) -> None:
    """A/A and power over drawn runs."""
    for runs in (1, 5):
        for drift in (1.0, 1.3):
            rng = np.random.default_rng(runs)
            alarms = sum(
                bool(flagged(diff([sampled(rng) for _ in range(runs)], [sampled(rng, drift=drift) for _ in range(runs)])))
                for _ in range(rounds)
            )
            told(f"A/A, {runs} a side, second side {drift:g} x slower machine", alarms, rounds)
    for share in (0.05, 0.2, 0.5):
        others = {name: value * (1 - share) / (1 - SHARES["transform"]) for name, value in SHARES.items() if name != "transform"}
        for effect in (0.03, 0.05, 0.10, 0.30):
            for runs in (1, 5, 10):
                rng = np.random.default_rng([runs, round(100 * share), round(100 * effect)])
                shares = {"transform": share} | others
                found = 0
                n = max(rounds // 4, 20)
                for _ in range(n):
                    base = [sampled(rng, shares=shares) for _ in range(runs)]
                    new = [sampled(rng, shares=shares, plant={"transform": 1 + effect}) for _ in range(runs)]
                    found += next(iter(flagged(diff(base, new)).items()), None) == ("transform", "slower")
                told(f"first: +{100 * effect:.0f} % in {100 * share:.0f} % of the time, {runs} a side", found, n)


def record(rounds: int) -> None:
    """A/A and +30 % of one program in every mode, sides recorded in turn."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "pyproject.toml").touch()
        (root / "program.py").write_text(PROGRAM)

        def run(label: str, mode: str, **env: str) -> None:
            words = [sys.executable, "-m", "proftool", "run", "--mode", mode, "--label", label, "--quiet", "--", "program.py"]
            subprocess.run(words, cwd=root, env=os.environ | env, check=True, stdout=subprocess.DEVNULL)

        def compared(base: str, new: str) -> list[tuple[str, str]]:
            words = [sys.executable, "-m", "proftool", "diff", base, new, "--json"]
            answer = json.loads(subprocess.run(words, cwd=root, check=True, capture_output=True).stdout)
            return [(f["name"], f["verdict"]) for f in answer["functions"] if f["verdict"] not in ("same", "inconclusive")]

        for mode, runs in (("sample", 1), ("sample", 5), ("trace", 5), ("memory", 1)):
            alarms = found = 0
            for n in range(rounds):
                names = [f"{mode}-{runs}-{n}-{side}" for side in ("a", "b", "c")]
                for _ in range(runs):
                    for name, factor in zip(names, ("1", "1", "1.3"), strict=True):
                        run(name, mode, TRANSFORM=factor)
                alarms += bool(compared(names[0], names[1]))
                found += compared(names[0], names[2])[:1] == [("transform", "slower")]
            told(f"real A/A, {mode}, {runs} a side", alarms, rounds)
            if mode != "memory":
                told(f"real: +30 % in half of the time, {mode}, {runs} a side", found, rounds)


def million() -> None:
    """Two profiles of a million nodes that share nine tenths of their paths."""
    base = large(0)
    new = large(100_000)
    for _ in range(3):
        begin = time.perf_counter()
        answer = diff([base], [new])
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"{len(answer.profile.nodes):,} nodes in the union: {time.perf_counter() - begin:.2f} s, peak of the process {peak_mb:,.0f} MB"
        )


def large(other: int, n: int = 1_000_000, n_functions: int = 5000) -> Profile:
    """A tree of fan-out ten below chains; the last `other` nodes call other functions than in the twin."""
    rng = np.random.default_rng(1)
    parent = np.maximum((np.arange(n) - 1) // 10, -1)
    parent[n // 2 :] = np.arange(n // 2 - n // 4, n - n // 4)
    parent[0] = -1
    function = rng.integers(0, n_functions, n)
    if other:
        function[-other:] = (function[-other:] + 1) % n_functions
    zero, rows = np.zeros(n_functions, np.int64), np.arange(n_functions)
    columns = dict.fromkeys(Functions.__dataclass_fields__, zero) | {"name": rows + 1, "qualname": rows + 1, "first_line": rows + 1}
    return finish(
        Profile(
            strings=("", *(f"f{i}" for i in range(n_functions))),
            functions=Functions(**columns),  # pyright: ignore[reportArgumentType]
            frames=Frames(function=rows, line=zero),  # pyright: ignore[reportArgumentType]
            nodes=Nodes(parent=parent, frame=function),  # pyright: ignore[reportArgumentType]
            lanes=Lanes(**{name: np.zeros(1, np.int64) for name in Lanes.__dataclass_fields__}),  # pyright: ignore[reportArgumentType]
            metrics=(replace(WALL_TIME, mode="sample"),),
            cells=Cells(node=np.arange(n), lane=np.zeros(n, int), metric=np.zeros(n, int), value=rng.integers(1, 10**6, n)),  # pyright: ignore[reportArgumentType]
        )
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("what", choices=("simulate", "record", "million"))
    options.add_argument("--rounds", type=int, default=200)
    given = options.parse_args()
    {"simulate": lambda: simulate(given.rounds), "record": lambda: record(given.rounds), "million": million}[given.what]()
