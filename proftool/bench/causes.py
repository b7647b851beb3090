"""Which functions are behind a difference, from recordings of both sides: shares of the timed change, how sure, calls or cost.

The timed pairs say *how much* a benchmark changed; recordings only say *where*. So every recording is first brought to what
its side takes by the clock that judges (without the time in line for a processor, and without waiting where CPU time judges): a
recording that was slowed as a whole, by the machine or by the sampler, says the same as one that was not, and the changes of all
functions add up to the measured one. Then the max-T test over functions of model/significance.py decides, without its own
correction for a common drift, which the timed pairs have taken out already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from proftool.bench.pairs import ALPHA, Compared
from proftool.bench.statistics import interval
from proftool.model import significance
from proftool.model.diff import VERDICTS, Diff, FunctionChange, Verdict
from proftool.model.explain import explain
from proftool.model.match import match
from proftool.model.preempted import PREEMPTED, WALL, without_preempted
from proftool.model.profile import ROOT, Cells, Profile
from proftool.model.transform import focus
from proftool.model.tree import function_self, metric_total, node_function, node_self

MAX_CAUSES = 8
FLOOR_SHARE = 0.01
"""Of the benchmark's time: a function that changed by less is never named."""
SAME_COST = 0.15
"""Of a function's change: calls that became dearer by less than this are said to cost what they did."""
RECORDER_RATIOS = tuple(float(ratio) for ratio in np.geomspace(1 / 3, 3, 9))
"""What the recorder may make the rest of the program dearer by, beside one function."""
_CLAIMS = frozenset({Verdict.SLOWER, Verdict.FASTER, Verdict.NEW, Verdict.GONE})

Touched = Callable[[str, int], int | None]
"""(file, first line of a function) -> the first line of it that the change edited, None where it did not."""
Key = tuple[str, str]
"""(module, qualified name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One function's part of a benchmark's change; times are ns of self time per run of the benchmark."""

    name: str
    module: str | None
    file: str | None
    line: int | None
    delta_ns: float
    share: float | None
    """Of the benchmark's change; may pass 1 where other functions became faster."""
    low_ns: float | None
    high_ns: float | None
    changed_in_diff: bool
    significant: bool = True
    calls: tuple[float, float] | None = None
    """Per run of the benchmark on either side, from a traced run; None where it was not seen there."""
    more_calls_ns: float | None = None
    """The part of `delta_ns` that the number of calls explains; the rest are dearer calls."""
    edited: str | None = None
    """`report.py:88`: the edited line in the function or, where it is called more often, in the caller that does so."""

    @property
    def dearer_calls_ns(self) -> float | None:
        """The part of the change that each call's own cost explains."""
        return None if self.more_calls_ns is None else self.delta_ns - self.more_calls_ns


@dataclass(frozen=True, slots=True)
class Calls:
    """How often functions are called per run of the benchmark, from one traced run of a side."""

    of: Mapping[Key, float]
    by: Mapping[tuple[Key, Key], float]
    """(caller, callee) -> calls."""
    where: Mapping[Key, tuple[str, int]]
    """File and first line."""


def inside(profile: Profile, file_end: str, function: str) -> Profile:
    """Only what ran below that function of that file: the measured loop and not its preparation; all where it was not seen."""
    f, strings = profile.functions, profile.strings
    found = [
        at
        for at in range(len(f))
        if strings[int(f.file[at])].endswith(file_end) and strings[int(f.qualname[at])].rsplit(".", 1)[-1] == function
    ]
    return focus(profile, found) if found else profile


def brought_to(profile: Profile, clock: str, total_ns: float) -> Profile:
    """The profile whose wall time, without time in line and, by the CPU clock, waiting, adds up to `total_ns`; without its probe."""
    for part in (PREEMPTED, *(("waiting_time",) if clock == "cpu" else ())):
        if profile.has_metric(part):
            profile = without_preempted(profile, WALL, part)
    metric = profile.metric_index(WALL)
    whole = metric_total(profile, metric)
    if whole <= 0:
        return profile
    c = profile.cells
    value = np.where(c.metric == metric, np.rint(c.value * (total_ns / whole)).astype(np.int64), c.value)
    # What was taken off above must not be taken off again by whoever compares.
    gone = np.isin(c.metric, [profile.metric_index(name) for name in (PREEMPTED, "waiting_time") if profile.has_metric(name)])
    value[gone] = 0
    # The measured times know the machine. A probe that says it was slower for one side would take that off a second time: of +20 % with a
    # machine 1.3 times slower for the new side's recordings, the planted function was said to have become faster.
    meta = replace(profile.meta, passes=tuple(replace(one, speed=None) for one in profile.meta.passes))
    return replace(profile, cells=Cells(node=c.node, lane=c.lane, metric=c.metric, value=value), meta=meta)


def reached(diff: Diff, calls: tuple[Calls, Calls] | None, touched: Touched, was_touched: Touched) -> frozenset[int]:
    """Functions of the diff that the change is known to have reached: it edited them, or they are called more or less often."""
    f, strings = diff.profile.functions, diff.profile.strings
    found: set[int] = set()
    for change in diff.functions:
        at = change.function
        key, file, line = (strings[int(f.module[at])], strings[int(f.qualname[at])]), strings[int(f.file[at])], int(f.first_line[at])
        edited = bool(file and line) and (was_touched if change.verdict is Verdict.GONE else touched)(file, line) is not None
        if edited or (calls is not None and calls[0].of.get(key, 0.0) != calls[1].of.get(key, 0.0)):
            found.add(at)
    return frozenset(found)


def judged(
    diff: Diff,
    base: Sequence[Profile],
    new: Sequence[Profile],
    measured: Compared,
    *,
    reaches: Callable[[Diff], frozenset[int]] = lambda _diff: frozenset(),
    seed: int = 0,
) -> Diff:
    """
    The diff of recordings that were brought to the measured times, its functions judged by these recordings alone.

    An interval is that of the composition and that of the timed pairs together, the latter at the level of the verdict. A function that the
    change is not known to have reached (`reaches`) is claimed only if it changed whatever the recorder took of it (`_whatever_was_taken`).
    """
    matched = match(base, new)
    values = np.zeros((len(matched.names), len(base) + len(new)))
    for at, (profile, place) in enumerate(zip((*base, *new), matched.maps, strict=True)):
        values[:, at] = np.bincount(place, function_self(profile, profile.metric_index(WALL)), len(matched.names))
    whole = float(max(values[:, : len(base)].sum(axis=0).mean(), values[:, len(base) :].sum(axis=0).mean()))
    floor = FLOOR_SHARE * whole
    tested = significance.compare_runs(values, len(base), floor=floor, seed=seed)
    alpha = max(significance.ALPHA, 2.001 / significance.comb(values.shape[1], len(base)))
    low, high = (float(np.exp(end)) for end in interval(np.log(measured.new_ns) - np.log(measured.base_ns), 1 - ALPHA))
    slack = (max(measured.found.ratio / low - 1, 0.0), max(high / measured.found.ratio - 1, 0.0))
    changes = [_change(c, tested, alpha, floor, slack) for c in diff.functions]
    known = reaches(replace(diff, functions=tuple(changes)))
    changes = [c if c.function in known or c.verdict not in _CLAIMS else _whatever_was_taken(c, diff, floor) for c in changes]
    changes.sort(key=lambda c: (c.verdict not in _CLAIMS, -abs(c.delta_self), c.function))
    verdict = np.full(len(diff.node_verdict), VERDICTS.index(Verdict.SAME), np.uint8)
    certainty = np.zeros(len(verdict), np.float32)
    union, function = diff.profile, node_function(diff.profile)
    moved = np.abs(node_self(union, 1) - node_self(union, 0)) >= floor
    for change in changes:
        if change.verdict in _CLAIMS:
            chosen = (function == change.function) & moved
            verdict[chosen], certainty[chosen] = VERDICTS.index(change.verdict), 1 - (change.q or 0.0)
    total = diff.new_total - diff.base_total
    explained = sum(c.delta_self for c in changes if c.verdict in _CLAIMS) / total if total else None
    result = replace(diff, functions=tuple(changes), node_verdict=verdict, node_certainty=certainty, explained_share=explained)
    return replace(result, explanation=explain(result))


def _change(change: FunctionChange, tested: significance.Tested, alpha: float, floor: float, slack: tuple[float, float]) -> FunctionChange:
    at = change.function
    delta = change.delta_self
    # The new side's total is itself only known to within the interval of the timed pairs: that moves every function by its part.
    low = delta - float(np.hypot(tested.delta[at] - tested.low[at], change.new_self * slack[0]))
    high = delta + float(np.hypot(tested.high[at] - tested.delta[at], change.new_self * slack[1]))
    sure = float(tested.q[at]) <= alpha and abs(delta) >= floor and (low > 0 or high < 0)
    reaches = max(abs(low), abs(high)) >= floor
    if sure and not change.base_self:
        verdict = Verdict.NEW
    elif sure and not change.new_self:
        verdict = Verdict.GONE
    elif sure:
        verdict = Verdict.SLOWER if delta > 0 else Verdict.FASTER
    else:
        verdict = Verdict.INCONCLUSIVE if reaches and delta else Verdict.SAME
    return replace(change, low=low, high=high, q=float(np.clip(tested.q[at], 0, 1)), verdict=verdict, weak=False)


def _whatever_was_taken(change: FunctionChange, diff: Diff, floor: float) -> FunctionChange:
    """
    The change with an interval that holds what it would be if the recorder had made the rest of the program dearer or cheaper than it.

    The sampler works inside the program: on CPython 3.11 a loop without calls took 1.8 times as long under it, and each call 0.4 µs more.
    All of a side is brought down by one factor, so the side that has more of what is dear is brought down further, and what did not change
    with it: where the body of a called function became dearer, 4 % of the change were said to come from a function beside it that was
    the same.
    """

    def delta(ratio: float) -> float:
        own = [
            total * share / (share + (1 - share) * ratio) if share else 0.0
            for total, share in (
                (diff.base_total, change.base_self / diff.base_total if diff.base_total else 0.0),
                (diff.new_total, change.new_self / diff.new_total if diff.new_total else 0.0),
            )
        ]
        return own[1] - own[0]

    moved = [delta(ratio) - delta(1.0) for ratio in RECORDER_RATIOS]
    low = None if change.low is None else change.low + min(moved)
    high = None if change.high is None else change.high + max(moved)
    if low is None or high is None or low > 0 or high < 0:
        return replace(change, low=low, high=high)
    return replace(change, low=low, high=high, verdict=Verdict.INCONCLUSIVE if max(-low, high) >= floor else Verdict.SAME)


def calls_of(profile: Profile, runs: int) -> Calls:
    """Calls per run, from a profile of caller-callee pairs of so many runs of the benchmark."""
    f, strings, e = profile.functions, profile.strings, profile.edges
    keys = [(strings[int(f.module[at])], strings[int(f.qualname[at])]) for at in range(len(f))]
    of: dict[Key, float] = {}
    by: dict[tuple[Key, Key], float] = {}
    for key, n in zip(keys, function_self(profile, profile.metric_index("calls")), strict=True):
        of[key] = of.get(key, 0.0) + float(n) / runs
    for caller, callee, n in zip(e.caller, e.callee, e.calls, strict=True):
        if caller != ROOT:
            pair = (keys[int(caller)], keys[int(callee)])
            by[pair] = by.get(pair, 0.0) + float(n) / runs
    where = {key: (strings[int(f.file[at])], int(f.first_line[at])) for at, key in enumerate(keys)}
    return Calls(of=of, by=by, where=where)


def causes(
    diff: Diff, measured: Compared, runs: int, calls: tuple[Calls, Calls] | None, touched: Touched, was_touched: Touched
) -> tuple[Cause, ...]:
    """
    The functions that changed, the largest first; where none surely did, the largest change with its interval, marked as not significant.

    Args:
        runs: runs of the benchmark in one recording.
        was_touched: the same for the old side: what is gone is known by the line where it stood.
    """
    f, strings = diff.profile.functions, diff.profile.strings
    change_ns = float(np.median(measured.new_ns) - np.median(measured.base_ns))
    sure = [c for c in diff.functions if c.verdict in _CLAIMS]
    found: list[Cause] = []
    for change in (sure or sorted(diff.functions, key=lambda c: -abs(c.delta_self))[:1])[:MAX_CAUSES]:
        at = change.function
        key = (strings[int(f.module[at])], strings[int(f.qualname[at])])
        file, line = strings[int(f.file[at])], int(f.first_line[at])
        delta_ns = change.delta_self / runs
        own = (was_touched if change.verdict is Verdict.GONE else touched)(file, line) if file and line else None
        n = (calls[0].of.get(key, 0.0), calls[1].of.get(key, 0.0)) if calls and (key in calls[0].of or key in calls[1].of) else None
        found.append(
            Cause(
                name=key[1],
                module=key[0] or None,
                file=file or None,
                line=line or None,
                delta_ns=delta_ns,
                share=delta_ns / change_ns if change_ns else None,
                low_ns=None if change.low is None else change.low / runs,
                high_ns=None if change.high is None else change.high / runs,
                changed_in_diff=own is not None,
                significant=change.verdict in _CLAIMS,
                calls=n,
                more_calls_ns=None if n is None else _more_calls(change.base_self / runs, change.new_self / runs, n),
                edited=f"{file}:{own}" if own else _edited_caller(key, calls, touched) if calls and n and n[1] > n[0] else None,
            )
        )
    return tuple(found)


def _more_calls(base_ns: float, new_ns: float, calls: tuple[float, float]) -> float:
    """Change by the number of calls at the mean cost of both sides; with the other part it adds up exactly."""
    before, after = calls
    if not before or not after:
        return new_ns - base_ns
    return (after - before) * (base_ns / before + new_ns / after) / 2


def _edited_caller(key: Key, calls: tuple[Calls, Calls], touched: Touched) -> str | None:
    """The edited line of the caller that calls a function more often than before."""
    more = {
        caller: n - calls[0].by.get((caller, callee), 0.0)
        for (caller, callee), n in calls[1].by.items()
        if callee == key and n > calls[0].by.get((caller, callee), 0.0)
    }
    for caller in sorted(more, key=lambda one: -more[one]):
        file, line = calls[1].where[caller]
        if file and line and (at := touched(file, line)):
            return f"{file}:{at}"
    return None
