"""How often does a diff cry wolf, and what does it find? False alarms with their upper limit, power as a table, speed at a million nodes.

    PYTHONPATH=tests python -m perf.diff simulate [--rounds N]     drawn runs on a drifting machine: minutes
    PYTHONPATH=tests python -m perf.diff record --rounds 20        real programs through the command line, twenty blocks a side: two hours
    PYTHONPATH=tests python -m perf.diff million                   two profiles of a million nodes

With `--folder F` the runs of `record` stay there, and those that are there already are only judged again. `--length 6` makes
its programs, which take about a second, run for six; `--mode sample` records that alone.

`record` keeps each side in blocks of five runs, one side after the other, as people do: all pairs of runs and of blocks of one side are
comparisons of identical programs, recorded at different times; blocks of both sides that were recorded next to each other show power.
Each run is in many pairs, so the upper limit (Clopper and Pearson's, one-sided 95 %) is that of as many independent comparisons as
there are disjoint pairs.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from model.sides import SHARES, flagged, sampled
from scipy.stats import beta

from proftool.contracts_store import RunQuery
from proftool.model.builder import finish
from proftool.model.compare import diff
from proftool.model.profile import WALL_TIME, Cells, Frames, Functions, Lanes, Nodes, Profile
from proftool.settings import load
from proftool.store import open_store

LOOPS = """import os
T, L = float(os.environ.get("TRANSFORM", "1")), int(os.environ.get("LENGTH", "1"))
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
for _ in range(10 * L):
    parse(300_000), transform(int(500_000 * T)), render(200_000), hold()
"""
WIDE = """import json, os, re
T, L = float(os.environ.get("TRANSFORM", "1")), int(os.environ.get("LENGTH", "1"))
ONE = "def f{0}(n):\\n d = {{}}\\n for k in range(n): d[k % {1}] = d.get(k % {1}, 0) + k\\n return d\\n"
exec(compile("".join(ONE.format(i, i + 3) for i in range(40)), "many.py", "exec"))
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def transform(n):
    t = 0
    for i in range(n): t ^= i * 5 + 1
    return t
def texts(n): return [re.sub("[0-9]+", "x", f"a{i}b{i}") for i in range(n)]
def documents(n): return json.loads(json.dumps([{"a": i, "b": [1, 2, 3]} for i in range(n)], indent=1))
for _ in range(12 * L):
    for i in range(40): globals()[f"f{i}"](400 + 60 * i)
    fib(17), transform(int(400_000 * T)), texts(6000), documents(1200)
"""
SINGLE = """import os
T, L = float(os.environ.get("TRANSFORM", "1")), int(os.environ.get("LENGTH", "1"))
def transform(n):
    t = 0
    for i in range(n): t ^= i * 5 + 1
    return t
for _ in range(10 * L): transform(int(1_000_000 * T))
"""
PROGRAMS = {"loops": LOOPS, "wide": WIDE, "single": SINGLE}
BLOCK = 5
MODES = ("sample", "trace", "memory")


def upper_limit(hits: int, n: int) -> float:
    """Of a share that was seen `hits` times in `n`, with 95 % confidence."""
    return 1.0 if hits == n else float(beta.ppf(0.95, hits + 1, n - hits))


def told(what: str, hits: int, n: int) -> None:
    """One line of the answer."""
    print(f"{what:<60} {hits:>4}/{n:<4} {100 * hits / n:5.1f} %   upper limit {100 * upper_limit(hits, n):5.1f} %", flush=True)


def drawn(rng: np.random.Generator, drift: float = 1.0, **more: object) -> Profile:
    """A run on a machine whose speed varies by 15 % from run to run, which was measured beside it to 4.5 %, and by 3 % as it does not."""
    machine = drift * float(np.exp(rng.normal(0, 0.15)))
    return sampled(rng, machine=machine, speed_cv=0.03, beside_sd=0.045, **more)  # pyright: ignore[reportArgumentType]


def simulate(rounds: int) -> None:
    """A/A and power over drawn runs."""
    for runs in (1, 5):
        for drift in (1.0, 1.3):
            rng = np.random.default_rng(runs)
            alarms = sum(
                bool(flagged(diff([drawn(rng) for _ in range(runs)], [drawn(rng, drift) for _ in range(runs)]))) for _ in range(rounds)
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
                    base = [drawn(rng, shares=shares) for _ in range(runs)]
                    new = [drawn(rng, shares=shares, plant={"transform": 1 + effect}) for _ in range(runs)]
                    found += next(iter(flagged(diff(base, new)).items()), None) == ("transform", "slower")
                told(f"first: +{100 * effect:.0f} % in {100 * share:.0f} % of the time, {runs} a side", found, n)
    for n_samples in (800, 2400):
        rng, n = np.random.default_rng([1, 50, 30]), max(rounds // 2, 20)
        shares = {"transform": 0.5} | {
            name: value * 0.5 / (1 - SHARES["transform"]) for name, value in SHARES.items() if name != "transform"
        }
        random = {"shares": shares, "random_gaps": True, "n_samples": n_samples}
        pairs = [(drawn(rng, **random), drawn(rng, plant={"transform": 1.3}, **random)) for _ in range(n)]
        found = sum(next(iter(flagged(diff([a], [b])).items()), None) == ("transform", "slower") for a, b in pairs)
        told(f"first: +30 % in 50 % of the time, 1 a side, {n_samples} samples at random times", found, n)
    for drift in (1.0, 1.3):
        for effect in (0.0, 0.3):
            rng = np.random.default_rng([round(10 * drift), round(100 * effect)])
            shares, more, found, n = {"transform": 0.97, "rest": 0.03}, {"plant": {"transform": 1 + effect}}, 0, max(rounds // 4, 20)
            for _ in range(n):
                base, new = [drawn(rng, shares=shares) for _ in range(5)], [drawn(rng, drift, shares=shares, **more) for _ in range(5)]
                found += bool(flagged(diff(base, new)))
            told(f"flagged: {100 * effect:+.0f} % in all of a program, 5 a side, second {drift:g} x slower", found, n)


def record(rounds: int, folder: Path | None, modes: Sequence[str], length: int) -> None:
    """A/A and +30 % in one function, of several programs, sides recorded in blocks one after the other."""
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        root.mkdir(exist_ok=True)
        (root / "pyproject.toml").touch()
        for name, text in PROGRAMS.items():
            (root / f"{name}.py").write_text(text)
        store = open_store(load(root, environ={}))
        alike: dict[int, Alike] = {1: Alike(), BLOCK: Alike()}
        for mode in modes:
            for name in PROGRAMS:
                blocks: dict[str, list[list[Profile]]] = {"1": [], "1.3": []}
                for at in range(rounds):
                    for factor, own in blocks.items():
                        label = f"{mode}-{name}-{at}-{factor}"
                        words = ["run", "--mode", mode, "--runs", str(BLOCK), "--label", label, "--quiet", "--", f"{name}.py"]
                        env = {k: v for k, v in os.environ.items() if not k.startswith("PROFTOOL")} | {
                            "TRANSFORM": factor,
                            "LENGTH": str(length),
                        }
                        if len(store.find(RunQuery(label=label))) < BLOCK:
                            command = [sys.executable, "-m", "proftool", *words]
                            subprocess.run(command, cwd=root, env=env, check=True, stdout=subprocess.DEVNULL)
                        own.append([store.load(run) for run in reversed(store.find(RunQuery(label=label)))])
                for size, found in judged(f"{name} by {recorder(blocks)}", mode, blocks).items():
                    alike[size].add(found)
            for size, all_ in alike.items():
                all_.told(f"A/A of all so far, {size} a side")


def recorder(blocks: dict[str, list[list[Profile]]]) -> str:
    """Backend and version of every run: which one is the default depends on what is installed."""
    passes = {(one.backend, one.backend_version) for own in blocks.values() for block in own for run in block for one in run.meta.passes}
    return ", ".join(f"{name} {version}" for name, version in sorted(passes, key=str))


@dataclass
class Alike:
    """Comparisons of identical programs. `hits` counts each by the share of its runs' pairs, so that a run is in one comparison's worth."""

    alarms: int = 0
    pairs: int = 0
    disjoint: int = 0
    """As many comparisons as there would be if each run were in one only."""
    hits: float = 0.0

    def add(self, other: Alike) -> None:
        """Take those too."""
        self.alarms += other.alarms
        self.pairs += other.pairs
        self.disjoint += other.disjoint
        self.hits += other.hits

    def told(self, what: str) -> None:
        """One line of the answer."""
        share, of_disjoint = 100 * self.alarms / self.pairs, 100 * self.hits / self.disjoint
        limit = 100 * upper_limit(math.ceil(self.hits - 1e-9), self.disjoint)
        flagged_of = f"{self.alarms}/{self.pairs} {share:.1f} %"
        print(f"{what}: {flagged_of}; of {self.disjoint} disjoint ones {of_disjoint:.1f} %, upper limit {limit:.1f} %", flush=True)


def judged(what: str, mode: str, blocks: dict[str, list[list[Profile]]]) -> dict[int, Alike]:
    """The lines of one program in one mode."""
    sets = list(blocks.values()) if mode != "memory" else [[*blocks["1"], *blocks["1.3"]]]
    alike: dict[int, Alike] = {}
    for size in (1, BLOCK):
        found = alike[size] = Alike()
        for own in sets:
            sides = own if size == BLOCK else [[run] for block in own for run in block]
            pairs = list(combinations(sides, 2))
            alarms, disjoint = sum(bool(flagged(diff(*pair))) for pair in pairs), len(sides) // 2
            found.add(Alike(alarms, len(pairs), disjoint, alarms / len(pairs) * disjoint))
        found.told(f"A/A {what}, {size} a side")
    if mode == "memory":
        return alike
    for size in (1, BLOCK):
        near = [(a, b) for at, a in enumerate(blocks["1"]) for b in blocks["1.3"][max(at - 1, 0) : at + 1]]
        found = [next(iter(flagged(diff(a[i : i + size], b[i : i + size])).items()), None) for a, b in near for i in range(0, BLOCK, size)]
        told(f"first: +30 % in {what}, {size} a side", sum(one == ("transform", "slower") for one in found), len(found))
    return alike


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
    options.add_argument("--folder", type=Path)
    options.add_argument("--mode", choices=MODES, action="append")
    options.add_argument("--length", type=int, default=1)
    given = options.parse_args()
    recording = partial(record, given.rounds, given.folder, given.mode or MODES, given.length)
    {"simulate": lambda: simulate(given.rounds), "record": recording, "million": million}[given.what]()
