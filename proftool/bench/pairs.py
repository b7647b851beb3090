"""Pairs of fresh processes, round-robin over the benchmarks, until each is decided; beside.py says how a pair shares the machine.

A round is one pair of every undecided benchmark. After five and six pairs only what is obvious stops: the same sign in all, far beyond
their spread. From then on, at each look (10, 16, 25, … pairs) the benchmarks are judged with the part of
alpha that became free since the look before (a Bonferroni bound over looks: valid whatever their correlation); an obvious effect
stops early, once its interval is narrower than itself, the rest goes on to `most_pairs` or until the time is up. From the seventh on every
other round also holds a null pair, base against base: if those disagree with themselves, the measurement is bad and every verdict becomes
inconclusive.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from proftool.bench.processes import Value
from proftool.bench.statistics import (
    OBVIOUS_T,
    Estimate,
    Floats,
    Verdict,
    alpha_spent,
    estimate,
    holm,
    judge,
    minimum_detectable,
    obvious,
    obvious_p,
    sign_flip_p,
)
from proftool.errors import BackendFailed

SideName = Literal["base", "new"]
Measure = Callable[[tuple[SideName, SideName], int], tuple[Value, Value]]
"""(two sides in the order of their start, hash seed) -> one value from a fresh process of each."""

ALPHA = 0.01
"""For the suite as a whole: the share of comparisons of identical code that may raise an alarm."""
FLOOR = 0.01
"""Relative changes below it are not claimed."""
PEAK_FLOOR_BYTES = 1 << 18
LEAST_NULL_PAIRS = 7
"""Of six pairs no p is below 2/64, so they can't be suspect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to go on."""

    first_look: int = 10
    most_pairs: int = 60
    most_seconds: float | None = None
    """Judge with what there is at the first look after this long; None goes on to the last pair."""
    floor: float = FLOOR
    alpha: float = ALPHA
    null_from: int = 6
    """Rounds before the first null pair: fewer than seven of them can't speak, and what is obvious needs none."""
    null_every: int = 2
    """One null pair in so many rounds from then on."""

    def looks(self) -> list[int]:
        """Numbers of pairs at which is judged."""
        looks = [self.first_look]
        early = [look for look in sorted(OBVIOUS_T) if look < self.first_look]
        while looks[-1] < self.most_pairs:
            looks.append(min(round(looks[-1] * 1.5) + 1, self.most_pairs))
        return early + looks


@dataclass(slots=True, kw_only=True)
class Series:
    """The pairs of one benchmark so far."""

    name: str
    measure: Measure
    clock: Literal["cpu", "wall"] = "cpu"
    base: list[Value] = field(default_factory=list[Value])
    new: list[Value] = field(default_factory=list[Value])
    decided: bool = False
    failed: BackendFailed | None = None
    """Why it is measured no more."""
    claimed: Compared | None = None
    """The answer that said slower or faster, where only the interval is not of use yet."""
    quantity: Literal["time", "peak"] = "time"
    """What is judged: time by the clock, or peak memory."""
    _next_first: SideName | None = None

    def pick(self, value: Value) -> float:
        """The number that this benchmark is judged by."""
        if self.quantity == "peak":
            return float(value.peak_bytes)
        return value.cpu_ns if self.clock == "cpu" else value.wall_ns

    def values(self, side: SideName) -> Floats:
        """One number a process, ns."""
        rows = self.base if side == "base" else self.new
        return np.array([self.pick(row) for row in rows])

    def log_ratio(self) -> Floats:
        """log(new / base) of each pair."""
        return np.array([self.log_of(base, new) for base, new in zip(self.base, self.new, strict=True)])

    def log_of(self, base: Value, new: Value) -> float:
        """log(new / base) of one pair: the median over its turns, where the two took turns."""
        if self.quantity == "time" and base.turns and base.turns == new.turns:
            times = [v.samples if self.clock == "cpu" else v.wall_samples for v in (base, new)]
            return float(np.median(np.log(np.maximum(times[1], 1e-3)) - np.log(np.maximum(times[0], 1e-3))))
        return float(np.log(max(self.pick(new), 1e-3)) - np.log(max(self.pick(base), 1e-3)))

    def pair(self, order: random.Random) -> tuple[Value, Value]:
        """
        One more pair: (base, new).

        Either side comes first, at random, and the other one in the next pair: with orders free of each other, six pairs that all
        began with the same side would now and then take for a change what is the cost of coming second.
        """
        seed = order.randrange(1, 1 << 32)
        first, self._next_first = self._next_first, None
        if first is None:
            first = order.choice(("base", "new"))
            self._next_first = "new" if first == "base" else "base"
        if first == "base":
            return self.measure(("base", "new"), seed)
        new, base = self.measure(("new", "base"), seed)
        return base, new


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The answer for one benchmark."""

    name: str
    clock: Literal["cpu", "wall"]
    base_ns: Floats
    new_ns: Floats
    found: Estimate
    p: float
    """Of the test that decided, adjusted over the suite."""
    verdict: Verdict
    mde: float
    """Relative change that would have been found with 80 % power."""
    peak_bytes: tuple[float, float]
    """Median over processes of either side."""
    peak: Estimate
    """Ratio of the peaks, new / base."""
    test: Literal["signed_rank", "t"] = "signed_rank"
    """Whose p it is: the sign-flip permutation's, adjusted by Holm, or that of the rule for what is obvious, by Bonferroni."""
    peak_verdict: str = "inconclusive"
    """`more`, `less`, `same` or `inconclusive`, by the same rules as time."""
    involuntary_switches: float = 0.0
    """Median over the processes of both sides."""
    steal_share: float = 0.0
    """Part of the measured time that the hypervisor gave to others, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NullControl:
    """Base against base in the same session."""

    verdict: Literal["good", "suspect"]
    n_pairs: int
    ratio: float | None
    p: float | None


def compare(
    series: Sequence[Series], plan: Plan, *, seed: int, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Compared], NullControl]:
    """
    Measure until every benchmark is decided or the pairs are used up; one that fails is `failed` and has no answer.

    Raises:
        BackendFailed: all of them failed.
    """
    order = random.Random(seed)
    null: list[float] = []
    begin, done, spent, free = time.monotonic(), 0, 0.0, 0.0
    answers: dict[str, Compared] = {}
    for look in plan.looks():
        late = False
        while done < look and not late:
            open_series = [s for s in series if not s.decided]
            for one in order.sample(open_series, len(open_series)):
                with _failing(one):
                    base, new = one.pair(order)
                    one.base.append(base)
                    one.new.append(new)
            open_series = [s for s in open_series if s.failed is None]
            if open_series and done >= plan.null_from and (done - plan.null_from) % plan.null_every == 0:
                chosen = order.choice(open_series)
                with _failing(chosen):
                    null.append(_null_pair(chosen, order))
            live = [s for s in series if s.failed is None]
            if not live and series[0].failed is not None:
                raise series[0].failed
            done += 1
            if progress:
                progress(done, plan.most_pairs)
            late = plan.most_seconds is not None and done >= plan.first_look and time.monotonic() - begin > plan.most_seconds
        early = look < plan.first_look
        if not early:
            share = 1.0 if late else look / plan.most_pairs
            free, spent = alpha_spent(share, plan.alpha) - spent, alpha_spent(share, plan.alpha)
        live = [s for s in series if s.failed is None]
        for one, answer in zip(live, _judged(live, plan, free), strict=True):
            if not one.decided:
                if early:
                    answer = _early(answer, one.log_ratio(), len(live), plan.alpha)
                elif one.claimed and sides_with(answer.found, one.claimed.verdict):
                    # More pairs make the interval; what decided stands, with its p.
                    answer = replace(answer, verdict=one.claimed.verdict, p=one.claimed.p)
                answers[one.name] = answer
                one.claimed = answer if answer.verdict in (Verdict.SLOWER, Verdict.FASTER) else None
                one.decided = answer.verdict is not Verdict.INCONCLUSIVE and (early or not is_wide(answer))
        if late or all(one.decided for one in series):
            break
    control = _control(null)
    final = [answers[one.name] for one in series if one.failed is None]
    return ([_inconclusive(answer) for answer in final] if control.verdict == "suspect" else final), control


@contextlib.contextmanager
def _failing(one: Series) -> Generator[None]:
    """What fails takes its benchmark out, and the others go on."""
    try:
        yield
    except BackendFailed as problem:
        one.failed, one.decided = problem, True


def _early(answer: Compared, log_ratio: Floats, n_benchmarks: int, alpha: float) -> Compared:
    """The answer of few pairs: their signs cannot give a p below 0.03, so where it is a verdict it has the p of the rule that gave it."""
    p = min(n_benchmarks * obvious_p(log_ratio), 1.0)
    word = obvious(log_ratio)
    if word is Verdict.INCONCLUSIVE or p > alpha:
        return replace(answer, verdict=Verdict.INCONCLUSIVE)
    return replace(answer, verdict=word, p=p, test="t")


def _null_pair(one: Series, order: random.Random) -> float:
    return one.log_of(*one.measure(("base", "base"), order.randrange(1, 1 << 32)))


def one_by_one(value: Callable[[SideName, int], Value]) -> Measure:
    """Pairs whose second process starts when the first is over."""
    return lambda sides, seed: (value(sides[0], seed), value(sides[1], seed))


def _judged(series: Sequence[Series], plan: Plan, alpha: float) -> list[Compared]:
    found = [estimate(one.log_ratio()) for one in series]
    peaks = [[np.array([float(max(v.peak_bytes, 1)) for v in side]) for side in (one.base, one.new)] for one in series]
    noise = [[v for side in (one.base, one.new) for v in side] for one in series]
    adjusted = holm(np.array([f.p for f in found]))
    return [
        Compared(
            name=one.name,
            clock=one.clock,
            base_ns=one.values("base"),
            new_ns=one.values("new"),
            found=f,
            p=float(p),
            verdict=judge(f, float(p), alpha, plan.floor),
            mde=minimum_detectable(one.log_ratio(), plan.alpha),
            peak_bytes=(float(np.median(peak[0])), float(np.median(peak[1]))),
            peak=estimate(np.log(peak[1] / peak[0])),
            peak_verdict=_peak_verdict(peak[0], peak[1]),
            involuntary_switches=float(np.median([v.involuntary_switches for v in values])),
            steal_share=min(sum(v.steal_ns for v in values) / max(sum(v.wall_ns * v.loops for v in values), 1.0), 1.0),
        )
        for one, f, p, peak, values in zip(series, found, adjusted, peaks, noise, strict=True)
    ]


def _peak_verdict(base: Floats, new: Floats) -> str:
    values = np.log(new / base)
    found = estimate(values)
    # An interpreter's own bookkeeping differs by a few pages between two runs of one program.
    word = judge(found, found.p, ALPHA, max(FLOOR, PEAK_FLOOR_BYTES / float(np.median(base))))
    if word is Verdict.INCONCLUSIVE:
        word = obvious(values)
    return {Verdict.SLOWER: "more", Verdict.FASTER: "less"}.get(word, str(word))


def _control(null: Sequence[float]) -> NullControl:
    if len(null) < LEAST_NULL_PAIRS:
        return NullControl(verdict="good", n_pairs=len(null), ratio=None, p=None)
    values = np.array(null)
    p = sign_flip_p(values)
    centre = float(np.median(values))
    bad = p < 0.02 and abs(centre) > 0.01
    return NullControl(verdict="suspect" if bad else "good", n_pairs=len(null), ratio=float(np.exp(centre)), p=p)


def is_wide(answer: Compared) -> bool:
    """Is the interval of a change wider than the change? One pair far off does that to ten; more pairs bear it."""
    claimed = answer.verdict in (Verdict.SLOWER, Verdict.FASTER)
    return claimed and answer.found.high - answer.found.low > abs(answer.found.ratio - 1)


def sides_with(found: Estimate, verdict: Verdict) -> bool:
    """Does the interval leave out that nothing, or the opposite, is the case?"""
    return found.low > 1 if verdict is Verdict.SLOWER else found.high < 1


def _inconclusive(answer: Compared) -> Compared:
    return replace(answer, verdict=Verdict.INCONCLUSIVE)
