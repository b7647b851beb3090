"""`bisect GOOD BAD`: the commit where a command, a benchmark or one function became slower or faster.

First GOOD and BAD themselves are compared; only a sure difference can be looked for. Each commit in the middle is then compared with
GOOD by interleaved pairs, and belongs to the side of half the (logarithmic) change that its pairs surely lie on. A commit that does
not run is passed over, as is one that stays undecided.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from proftool.bench import checkouts
from proftool.bench.pairs import Plan, Series, SideName, compare, one_by_one
from proftool.bench.processes import Side, Value
from proftool.bench.statistics import Verdict, estimate, sign_flip_p
from proftool.contracts import Mode
from proftool.errors import BackendFailed, NotComparable, UsageError
from proftool.model.tree import function_total
from proftool.workflows.bench import Asked, Say, Subject, subjects
from proftool.workflows.causes import recorded

LOOKS = (8, 12, 18, 30)
ALPHA = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One commit that was compared with GOOD."""

    commit: str
    subject: str
    ratio: float | None
    """New / GOOD; None where it did not run."""
    side: Literal["good", "bad", "undecided", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer: the first bad commit, or the range that could not be narrowed."""

    what: str
    ratio: float
    """BAD / GOOD."""
    low: float
    high: float
    suspects: tuple[str, ...]
    """Commits one of which is the first bad one, oldest first; one if the search was decided."""
    subjects: dict[str, str]
    steps: tuple[Step, ...]

    @property
    def exit_status(self) -> int:
        """0 one commit, 10 several."""
        return 0 if len(self.suspects) == 1 else 10


def bisect(asked: Asked, function: str | None, *, say: Say) -> Found:
    """
    Search between `asked.base` (good) and `asked.head` (bad).

    Args:
        function: qualified name, or its end; its inclusive time in recordings is what is compared.
    """
    root = checkouts.top_level(Path.cwd())
    assert asked.head
    good, bad = checkouts.commit_of(root, asked.base), checkouts.commit_of(root, asked.head)
    told = checkouts.git(root, "rev-list", "--first-parent", "--reverse", "--format=%H %s", "--no-commit-header", f"{good}..{bad}")
    rows = [line.partition(" ") for line in told.splitlines()]
    between = [(commit, message) for commit, _, message in rows]
    if not between:
        raise UsageError(
            "there is no commit to find",
            cause=f"no commit lies between `{asked.base}` and `{asked.head}`",
            fix="name the older, faster one first",
        )
    commits, messages = [commit for commit, _ in between], dict(between)
    what, whole = _ends(asked, function, say)
    half = float(np.log(whole.ratio)) / 2
    low, high = -1, len(commits) - 1  # commits[low] is good (-1: GOOD itself), commits[high] is bad
    passed: set[int] = set()
    steps: list[Step] = []
    while high - low > 1:
        middle = _nearest(low, high, passed)
        if middle is None:
            break
        commit = commits[middle]
        say(f"{high - low - 1} commits left: {commit[:10]} {messages[commit]}")
        ratio, side = _side(replace(asked, base=good, head=commit), function, half, say)
        steps.append(Step(commit=commit, subject=messages[commit], ratio=ratio, side=side))
        if side == "good":
            low = middle
        elif side == "bad":
            high = middle
        else:
            passed.add(middle)
    return Found(
        what=what, ratio=whole.ratio, low=whole.low, high=whole.high, suspects=tuple(commits[low + 1 : high + 1]), subjects=messages,
        steps=tuple(steps),
    )  # fmt: skip


def _nearest(low: int, high: int, passed: set[int]) -> int | None:
    """The commit nearest to the middle that was not passed over."""
    middle = (low + high) // 2
    return min((at for at in range(low + 1, high) if at not in passed), key=lambda at: abs(at - middle), default=None)


@dataclass(frozen=True, slots=True)
class _Whole:
    ratio: float
    low: float
    high: float


def _ends(asked: Asked, function: str | None, say: Say) -> tuple[str, _Whole]:
    """GOOD against BAD; NotComparable where no sure difference lies between them."""
    with checkouts.sides(Path.cwd(), asked.base, asked.head, settings=asked.settings, carry=asked.carry, build=asked.build) as (old, new):
        series = _series(asked, function, {"base": old, "new": new})
        answers, control = compare(
            [series], Plan(most_pairs=asked.most_pairs), seed=random.randrange(1 << 30), progress=lambda n, most: say(f"ends: pair {n}")
        )
    answer = answers[0]
    if answer.verdict not in (Verdict.SLOWER, Verdict.FASTER):
        suspect = ", and base differed from itself: the machine is too disturbed" if control.verdict == "suspect" else ""
        raise NotComparable(
            f"`{asked.base}` and `{asked.head}` do not surely differ",
            cause=f"{series.name} is {answer.verdict}: {(answer.found.ratio - 1) * 100:+.1f} % "
            f"[{(answer.found.low - 1) * 100:+.1f}, {(answer.found.high - 1) * 100:+.1f}]{suspect}",
            fix="name revisions between which it changed, or measure longer with `--pairs`",
        )
    return series.name, _Whole(answer.found.ratio, answer.found.low, answer.found.high)


def _side(asked: Asked, function: str | None, half: float, say: Say) -> tuple[float | None, Literal["good", "bad", "undecided", "broken"]]:
    try:
        with checkouts.sides(Path.cwd(), asked.base, asked.head, settings=asked.settings, carry=asked.carry, build=asked.build) as (
            old,
            new,
        ):
            series = _series(asked, function, {"base": old, "new": new})
            order = random.Random(0)
            ratios: list[float] = []
            for look in LOOKS:
                while len(ratios) < look:
                    ratios.append(series.log_of(*series.pair(order)))
                    say(f"pair {len(ratios)} of at most {LOOKS[-1]}")
                values = np.array(ratios)
                # Seen from half of the change a commit lies as far on one side as on the other.
                if sign_flip_p(values - half) <= ALPHA:
                    centre = float(np.log(estimate(values).ratio))
                    return float(np.exp(centre)), "bad" if (centre - half) * half > 0 else "good"
            return float(np.exp(np.median(ratios))), "undecided"
    except (BackendFailed, UsageError) as problem:
        say(f"passed over: {problem.what}")
        return None, "broken"


def _series(asked: Asked, function: str | None, both: Mapping[SideName, Side]) -> Series:
    found: Sequence[Subject] = subjects(asked, both).of
    if len(found) > 1:
        raise UsageError(
            "several benchmarks to look for", cause=f"{len(found)} are on both sides", fix="name one: `--bench file.py::bench_name`"
        )
    if function is None:
        return found[0].series
    return Series(name=function, measure=one_by_one(_function(function, found[0], both)), clock="cpu")


def _function(name: str, subject: Subject, both: Mapping[SideName, Side]) -> Callable[[SideName, int], Value]:
    """Time in a function and what it calls, from one recording."""

    def value(side: SideName, seed: int) -> Value:
        profile = recorded(subject.work.argv, both[side], seed=seed, mode=Mode.SAMPLE)
        names = [profile.strings[int(at)] for at in profile.functions.qualname]
        chosen = [at for at, own in enumerate(names) if own == name or own.endswith(f".{name}")]
        totals = function_total(profile, profile.metric_index("wall_time"))
        spent = float(sum(totals[at] for at in chosen))
        if not spent:
            raise BackendFailed(
                f"`{name}` was not seen on side {both[side].name}",
                cause="no sample of the recording lies in it",
                fix="write its qualified name as `proftool show` has it; it must run for some milliseconds",
            )
        return Value(cpu_ns=spent / subject.work.runs, wall_ns=spent / subject.work.runs, loops=1, peak_bytes=1, involuntary_switches=0)

    return value


def document(found: Found) -> dict[str, object]:
    """The answer for programs."""
    return {
        "schema": "proftool.bisect/1",
        "what": found.what,
        "ratio": {"estimate": found.ratio, "low": found.low, "high": found.high},
        "suspects": [{"commit": commit, "subject": found.subjects[commit]} for commit in found.suspects],
        "steps": [{"commit": s.commit, "subject": s.subject, "ratio": s.ratio, "side": s.side} for s in found.steps],
    }


def lines(found: Found) -> list[str]:
    """The answer for people."""
    told = [f"  {found.what}: {(found.ratio - 1) * 100:+.1f} %  [{(found.low - 1) * 100:+.1f}, {(found.high - 1) * 100:+.1f}]"]
    for step in found.steps:
        ratio = "did not run" if step.ratio is None else f"{(step.ratio - 1) * 100:+.1f} %"
        told.append(f"    {step.side:<10} {step.commit[:10]}  {ratio:<12} {step.subject}")
    first = "  the change came with" if len(found.suspects) == 1 else "  the change came with one of"
    return [*told, first, *(f"    {commit[:10]}  {found.subjects[commit]}" for commit in found.suspects)]
