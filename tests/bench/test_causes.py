"""Where the causes of a change come from: recordings brought to measured times, which the machine's probe must not move again."""

from __future__ import annotations

import numpy as np
from model.sides import name_of, sampled

from proftool.bench.causes import Calls, brought_to, causes, judged, reached
from proftool.bench.pairs import Compared
from proftool.bench.statistics import Estimate, Verdict
from proftool.model.compare import diff
from proftool.model.diff import Verdict as Changed

ONE = {"inner_loop": 0.97, "walk": 0.03}
"""Nearly all the time in one function, as in a benchmark of one loop."""


def _measured(base_ns: float, new_ns: float) -> Compared:
    spread = np.exp(np.linspace(-0.02, 0.02, 16))
    base, new, ratio = base_ns * spread, new_ns * spread[::-1], new_ns / base_ns
    found = Estimate(ratio=ratio, low=0.98 * ratio, high=1.02 * ratio, p=0.001, n_pairs=16)
    unknown = Estimate(ratio=1.0, low=1.0, high=1.0, p=1.0, n_pairs=16)
    return Compared(
        name="bench_tree", clock="cpu", base_ns=base, new_ns=new, found=found, p=0.001, verdict=Verdict.SLOWER, mde=0.02,
        peak_bytes=(1.0, 1.0), peak=unknown,
    )  # fmt: skip


TAXED = {"tax": 2 / 3, "dedupe": 1 / 3}
"""As recorded: 20 ms of Python code, three times as long under the recorder, and 30 ms in C, which it leaves alone."""


def test_what_did_not_change_is_no_cause_where_the_recorder_takes_more_of_the_other() -> None:
    """`tax` takes 40 ms instead of 20, `dedupe` 30 on both sides; of recordings brought to 50 and 70 ms it has 16.7 and then 14 ms."""
    rng = np.random.default_rng(4)
    base = [brought_to(sampled(rng, shares=TAXED, n_samples=4000), "cpu", 50e6) for _ in range(6)]
    new = [brought_to(sampled(rng, shares=TAXED, n_samples=4000, plant={"tax": 2.0}), "cpu", 70e6) for _ in range(6)]
    measured = _measured(50e6, 70e6)
    found = diff(base, new, metric="wall_time", force=True)
    named = {name_of(found, change): change.function for change in found.functions}
    known = judged(found, base, new, measured, reaches=lambda _: frozenset({named["tax"]}))
    assert {name_of(known, c) for c in known.functions if c.verdict in (Changed.SLOWER, Changed.FASTER)} == {"tax"}
    (dedupe,) = (c for c in known.functions if c.function == named["dedupe"])
    assert dedupe.low is not None
    assert dedupe.high is not None
    assert dedupe.low < 0 <= dedupe.high


def test_what_a_change_reached_is_what_it_edited_and_what_is_called_more_often() -> None:
    """By its line, and by the exact calls of both sides."""
    rng = np.random.default_rng(4)
    found = diff([sampled(rng, shares=TAXED)], [sampled(rng, shares=TAXED)], metric="wall_time", force=True)
    named = {name_of(found, change): change.function for change in found.functions}
    before = Calls(of={("app", "tax"): 3.0, ("app", "dedupe"): 1.0}, by={}, where={})
    after = Calls(of={("app", "tax"): 9.0, ("app", "dedupe"): 1.0}, by={}, where={})
    assert reached(found, (before, after), lambda file, line: None, lambda file, line: None) == {named["tax"]}
    assert reached(found, (before, before), lambda file, line: None, lambda file, line: None) == frozenset()


def test_a_function_that_no_edit_reached_is_a_cause_where_it_changed_for_sure() -> None:
    """A setting makes one of two equal functions 1.4 times as slow: whatever the recorder took of it, it is slower."""
    rng = np.random.default_rng(5)
    halves = {"tax": 0.5, "dedupe": 0.5}
    base = [brought_to(sampled(rng, shares=halves, n_samples=4000), "cpu", 50e6) for _ in range(6)]
    new = [brought_to(sampled(rng, shares=halves, n_samples=4000, plant={"dedupe": 1.4}), "cpu", 60e6) for _ in range(6)]
    measured = _measured(50e6, 60e6)
    found = judged(diff(base, new, metric="wall_time", force=True), base, new, measured)
    (cause, *others) = causes(found, measured, 1, None, lambda file, line: None, lambda file, line: None)
    assert (cause.name, cause.significant, others) == ("dedupe", True, [])


def test_a_machine_that_was_slower_while_the_new_side_was_recorded_does_not_turn_the_cause_round() -> None:
    """Timed +20 %; the six recordings of the new side met a machine 1.3 times slower, as their probe says: still +20 % in the loop."""
    rng = np.random.default_rng(3)
    base = [brought_to(sampled(rng, shares=ONE, machine=1.0), "cpu", 3.0e6) for _ in range(6)]
    new = [brought_to(sampled(rng, shares=ONE, machine=1.3, plant={"inner_loop": 1.2}), "cpu", 3.6e6) for _ in range(6)]
    measured = _measured(3.0e6, 3.6e6)
    found = judged(diff(base, new, metric="wall_time", force=True), base, new, measured)
    (cause, *_) = causes(found, measured, 1, None, lambda file, line: None, lambda file, line: None)
    assert (cause.name, cause.significant) == ("inner_loop", True)
    assert cause.share is not None
    assert 0.85 <= cause.share <= 1.15
