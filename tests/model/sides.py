"""Runs of a pretended program, drawn by a seeded random number generator: what a sampler would see on a machine whose speed drifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from proftool.model.builder import ProfileBuilder
from proftool.model.diff import Diff, FunctionChange
from proftool.model.meta import Meta, Pass, Speed
from proftool.model.profile import CALLS, PREEMPTED_TIME, WALL_TIME, Category, Profile

SHARES = {"transform": 0.45, "parse": 0.25, "render": 0.14, "encode": 0.10, "pad": 0.04, "escape": 0.02}
CLUMP = 30
QUANTUM_NS = 1_000_000
FLAGGED = {"slower", "faster", "more", "less", "new", "gone"}


def sampled(
    rng: np.random.Generator,
    *,
    plant: Mapping[str, float] | None = None,
    drift: float = 1.0,
    n_samples: int = 800,
    speed_cv: float = 0.15,
    own_cv: float = 0.01,
    shares: Mapping[str, float] = SHARES,
    machine: float | None = None,
    started_ns: int | None = None,
    random_gaps: bool = False,
    in_line: float = 0.0,
    beside_sd: float | None = None,
    at_returns: bool = False,
) -> Profile:
    """
    One run: ten rounds of all functions, sampled every millisecond; `plant` multiplies functions, `drift` everything.

    Args:
        machine: the machine was so many times slower, for the program and for its probe, which knows it to 5 %; None: no probe.
        random_gaps: the sampler draws the gaps between samples from an exponential distribution, as py-spy does.
        in_line: in that part of the time the program stands in line for a processor, for 30 samples at a time on average, which the
            kernel's clocks tell as a whole.
        beside_sd: the machine was measured during the run too, so well; None: it was not.
        at_returns: the sampler looks when a function returns, and nowhere else: a sample for each of the ten rounds of a function.
    """
    speed_told = None
    if machine is not None:
        before, after = (round(1_300_000 * machine * np.exp(rng.normal(0, 0.05))) for _ in range(2))
        during = None if beside_sd is None else round(1_900_000 * machine * np.exp(rng.normal(0, beside_sd)))
        speed_told = Speed(before_ns=before, after_ns=after, during_ns=during)
        drift *= machine
    recorded = Pass(
        mode="sample", backend="drawn", clock="wall", speed=speed_told, started_ns=started_ns,
        visit_error_ns=QUANTUM_NS if at_returns else None,
    )  # fmt: skip
    metrics = [WALL_TIME, *([PREEMPTED_TIME] if in_line else [])]
    builder = ProfileBuilder([replace(metric, mode="sample") for metric in metrics], Meta(passes=(recorded,)))
    lane = builder.lane()
    root = builder.node(-1, builder.frame(builder.function("main", module="app", file="app.py", category=Category.PROJECT)))
    names = list(shares)
    nodes = [builder.node(root, builder.frame(_function(builder, name))) for name in names]
    speed = drift * np.exp(rng.normal(0, speed_cv))
    own = np.exp(rng.normal(0, own_cv, len(names)))
    each = np.array([shares[name] * (plant or {}).get(name, 1.0) for name in names]) * own * speed * n_samples * QUANTUM_NS / 10
    ends = np.cumsum(np.concatenate([each * np.exp(rng.normal(0, 0.05)) for _ in range(10)]))
    if at_returns:
        for at, (begin, end) in enumerate(pairwise([0.0, *ends.tolist()])):
            weight = round(end - begin + rng.uniform(-0.5, 0.5) * QUANTUM_NS)
            builder.add(nodes[at % len(names)], lane, 0, weight)
            builder.sample(round(end), lane, nodes[at % len(names)], weight)
        return builder.build()
    if random_gaps:
        times = np.cumsum(rng.exponential(QUANTUM_NS, int(2 * ends[-1] / QUANTUM_NS) + 50))
        times = times[times < ends[-1]]
    else:
        times = np.arange(rng.uniform(0, QUANTUM_NS), ends[-1], QUANTUM_NS)
    met = np.searchsorted(ends, times) % len(names)
    if in_line:
        clumps = np.where(rng.random(len(met)) < in_line / (1 - in_line) / CLUMP, rng.geometric(1 / CLUMP, len(met)), 0)
        met = np.repeat(met, 1 + clumps)
        times = QUANTUM_NS * np.arange(len(met), dtype=np.float64)
    for time, at in zip(times.tolist(), met.tolist(), strict=True):
        builder.add(nodes[at], lane, 0, QUANTUM_NS)
        if in_line:
            builder.add(nodes[at], lane, 1, round(QUANTUM_NS * in_line))
        builder.sample(int(time), lane, nodes[at], QUANTUM_NS)
    return builder.build()


def counted(calls: Mapping[str, int], cost_ns: Mapping[str, int]) -> Profile:
    """One traced run: calls and time of each function."""
    builder = ProfileBuilder([replace(WALL_TIME, mode="trace"), replace(CALLS, mode="trace")])
    lane = builder.lane()
    for name, count in calls.items():
        node = builder.node(-1, builder.frame(_function(builder, name)))
        builder.add(node, lane, 0, count * cost_ns[name])
        builder.add(node, lane, 1, count)
    return builder.build()


def _function(builder: ProfileBuilder, name: str) -> int:
    return builder.function(name, module="app", file="app.py", category=Category.PROJECT)


def name_of(diff: Diff, change: FunctionChange) -> str:
    """The qualified name of a row."""
    return diff.profile.text(int(diff.profile.functions.qualname[change.function]))


def flagged(diff: Diff) -> dict[str, str]:
    """Functions that are claimed to have changed, and how, in order."""
    return {name_of(diff, c): str(c.verdict) for c in diff.functions if str(c.verdict) in FLAGGED}


def by_name(diff: Diff) -> dict[str, FunctionChange]:
    """Rows by qualified name."""
    return {name_of(diff, c): c for c in diff.functions}
