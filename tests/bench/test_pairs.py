"""Rounds of pairs: false alarms and power on a simulated machine that drifts, early stopping, the null control."""

from __future__ import annotations

import random

from proftool.bench.pairs import ALPHA, Plan, Series, SideName, compare, one_by_one
from proftool.bench.processes import Value
from proftool.bench.statistics import Verdict


class DriftingMachine:
    """A process takes `base_ns` times a speed that wanders as a real shared machine's does, and now and then a burst."""

    def __init__(self, seed: int, factor: float = 1.0, bias: float = 0.0) -> None:
        self.rng, self.speed, self.factor, self.bias, self.calls = random.Random(seed), 0.0, factor, bias, 0

    def measure(self, side: SideName, seed: int) -> Value:
        self.speed = 0.83 * self.speed + self.rng.gauss(0, 0.08)
        burst = self.rng.expovariate(8) if self.rng.random() < 0.1 else 0.0
        self.calls += 1
        order_bias = self.bias if self.calls % 2 == 0 else 0.0
        cost = 1e6 * (1 + abs(self.speed) + burst + order_bias) * (self.factor if side == "new" else 1.0)
        return Value(cpu_ns=cost, wall_ns=cost, loops=1, peak_bytes=1, involuntary_switches=0)


def answer(seed: int, factor: float) -> Verdict:
    machine = DriftingMachine(seed, factor)
    found, _ = compare([Series(name="it", measure=one_by_one(machine.measure))], Plan(), seed=seed)
    return found[0].verdict


def test_identical_code_raises_almost_no_alarm() -> None:
    """300 comparisons of identical code on a drifting machine: at most 1 % of them flag anything (binomial slack: 6)."""
    alarms = sum(answer(seed, 1.0) in (Verdict.SLOWER, Verdict.FASTER) for seed in range(300))
    assert alarms <= 6


def test_a_planted_slowdown_is_found() -> None:
    """+20 % against a drift of ±8 % is found in nearly every one of 40 comparisons, and always as slower."""
    verdicts = [answer(seed, 1.2) for seed in range(40)]
    assert verdicts.count(Verdict.SLOWER) >= 38
    assert Verdict.FASTER not in verdicts


def test_an_obvious_effect_stops_at_the_first_look() -> None:
    """Three times as slow needs five or six pairs and no more."""
    machine = DriftingMachine(1, 3.0)
    found, _ = compare([Series(name="it", measure=one_by_one(machine.measure))], Plan(), seed=1)
    assert found[0].verdict is Verdict.SLOWER
    assert len(found[0].base_ns) in (5, 6)


def test_a_verdict_has_the_p_of_the_rule_that_decided() -> None:
    """Slower after five or six pairs has the p of early stopping, not the 0.03 that so many signs give; any other claim has at most alpha,
    also where more pairs were measured for the interval."""
    found, _ = compare([Series(name=str(at), measure=one_by_one(DriftingMachine(at, 3.0).measure)) for at in range(3)], Plan(), seed=1)
    early = [one for one in found if len(one.base_ns) < 10]
    assert early
    assert all(one.p < 1e-3 and one.test == "t" for one in early)
    later = [
        compare([Series(name="it", measure=one_by_one(DriftingMachine(seed, 1.2).measure))], Plan(), seed=seed)[0][0] for seed in range(30)
    ]
    claims = [one for one in later if one.verdict is Verdict.SLOWER]
    assert len(claims) > 20
    assert all(one.p <= ALPHA for one in claims)


def test_the_first_six_rounds_hold_no_null_pair() -> None:
    """What is obvious is decided before a null pair could speak: two processes a pair and no more; ten pairs hold two null pairs."""
    obvious, long = DriftingMachine(1, 3.0), DriftingMachine(2)
    found, _ = compare([Series(name="it", measure=one_by_one(obvious.measure))], Plan(), seed=1)
    assert obvious.calls == 2 * len(found[0].base_ns)
    found, control = compare([Series(name="it", measure=one_by_one(long.measure))], Plan(most_pairs=10), seed=1)
    assert (len(found[0].base_ns), control.n_pairs, control.ratio) == (10, 2, None)
    assert long.calls == 24


def test_both_sides_of_a_pair_share_a_hash_seed() -> None:
    """Each pair has one seed for both arms, and pairs have different ones."""
    seen: list[tuple[str, int]] = []

    def measure(side: SideName, seed: int) -> Value:
        seen.append((side, seed))
        return Value(cpu_ns=1e6, wall_ns=1e6, loops=1, peak_bytes=1, involuntary_switches=0)

    compare([Series(name="it", measure=one_by_one(measure))], Plan(most_pairs=10, null_every=100), seed=4)
    base, new = ([seed for side, seed in seen if side == which] for which in ("base", "new"))
    assert set(new) <= set(base)
    assert len(set(new)) == len(new)


def test_a_machine_that_disagrees_with_itself_gives_no_verdict() -> None:
    """Where the second process of every pair of equals is slower, the null control is suspect and all is inconclusive."""
    found, control = compare([Series(name="it", measure=one_by_one(DriftingMachine(8, 3.0, bias=4.0).measure))], Plan(null_every=1), seed=3)
    assert control.verdict == "suspect"
    assert found[0].verdict is Verdict.INCONCLUSIVE
