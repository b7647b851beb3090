"""The diff of two sides: its laws, and what it says of planted changes on a machine that drifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from model.sides import FLAGGED, by_name, counted, flagged, sampled
from text_profile import profile_from_text

from proftool.errors import NotComparable
from proftool.model.compare import diff
from proftool.model.diff import VERDICTS, Verdict
from proftool.model.profile import PEAK_BYTES, SAMPLES, Profile
from proftool.model.tree import metric_total


def sides(seed: int, n: int, **planted: object) -> tuple[list, list]:
    """Two sides of n runs."""
    rng = np.random.default_rng(seed)
    return [sampled(rng) for _ in range(n)], [sampled(rng, **planted) for _ in range(n)]  # pyright: ignore[reportArgumentType]


def test_a_run_against_itself_is_empty() -> None:
    """diff(a, a) has no change at all."""
    run = sampled(np.random.default_rng(1))
    answer = diff([run], [run])
    assert flagged(answer) == {}
    assert all(c.delta_self == 0 and c.delta_total == 0 and c.verdict is Verdict.SAME for c in answer.functions)


@pytest.mark.parametrize("n", [1, 5])
def test_swapped_sides_mirror_the_answer(n: int) -> None:
    """diff(b, a) = -diff(a, b), intervals and q included."""
    base, new = sides(2, n, plant={"parse": 1.3})
    there, back = by_name(diff(base, new)), by_name(diff(new, base))
    assert there.keys() == back.keys()
    for name, c in there.items():
        assert c.delta_self == -back[name].delta_self
        assert c.delta_total == -back[name].delta_total
        assert c.q == pytest.approx(back[name].q)
        assert (c.low, c.high) == pytest.approx((-(back[name].high or 0), -(back[name].low or 0)))


def test_functions_add_up_to_the_total() -> None:
    """Σ delta_self is the change of the total, and the union tree's metrics hold both totals."""
    base, new = sides(3, 5, plant={"transform": 1.3})
    answer = diff(base, new)
    assert sum(c.delta_self for c in answer.functions) == pytest.approx(answer.new_total - answer.base_total)
    assert [metric_total(answer.profile, side) for side in (0, 1)] == pytest.approx([answer.base_total, answer.new_total], abs=50)
    assert [m.name for m in answer.profile.metrics] == ["wall_time.before", "wall_time.after"]


def test_identical_programs_are_not_flagged_though_the_machine_drifts() -> None:
    """A/A with the second side recorded on a machine 30 % slower."""
    alarms = sum(bool(flagged(diff(*sides(seed, 5, drift=1.3)))) for seed in range(30))
    assert alarms <= 1  # 4 % of 30 comparisons


def test_identical_single_runs_are_not_flagged() -> None:
    """A/A with one run a side."""
    alarms = sum(bool(flagged(diff(*sides(seed, 1)))) for seed in range(40))
    assert alarms <= 3  # 8 % of 40 comparisons


@pytest.mark.parametrize("drift", [0.9, 1.0, 1.2])
def test_a_planted_change_leads_and_nothing_else_is_flagged(drift: float) -> None:
    """+30 % in one function, five runs a side, recorded one side after the other."""
    answer = diff(*sides(7, 5, plant={"transform": 1.3}, drift=drift))
    assert flagged(answer) == {"transform": "slower"}
    transform = by_name(answer)["transform"]
    assert answer.functions[0] is transform
    assert transform.q is not None
    assert transform.q < 0.05
    assert not transform.weak
    assert "`transform` is slower" in answer.explanation


@pytest.mark.parametrize("machine", [0.6, 1.6])
def test_a_slower_machine_is_told_from_a_slower_function(machine: float) -> None:
    """The side's machine was 1.6 times slower, or faster: the planted +30 % is found, first, alone, and shown at its size."""
    rng = np.random.default_rng(11)
    base = [sampled(rng, machine=1.0, speed_cv=0.02) for _ in range(5)]
    new = [sampled(rng, machine=machine, speed_cv=0.02, plant={"transform": 1.3}) for _ in range(5)]
    there, back = diff(base, new), diff(new, base)
    assert flagged(there) == {"transform": "slower"}
    assert flagged(back) == {"transform": "faster"}
    transform = by_name(there)["transform"]
    assert transform.new_self / transform.base_self == pytest.approx(1.3, abs=0.1)
    assert transform.delta_self == -by_name(back)["transform"].delta_self
    slow = "new" if machine > 1 else "base"
    assert any(f"times slower for {slow}" in reason and "as measured" in reason for reason in there.comparability.reasons)
    assert "the machine was" in there.explanation
    assert sum(c.delta_self for c in there.functions) == pytest.approx(there.new_total - there.base_total)
    assert [metric_total(there.profile, side) for side in (0, 1)] == pytest.approx([there.base_total, there.new_total], abs=50)


def test_a_program_that_became_slower_in_all_functions_is_shown_as_measured() -> None:
    """The probe did not move, so it is no machine: values stay, and the answer names what would settle it."""
    rng = np.random.default_rng(12)
    base = [sampled(rng, machine=1.0, speed_cv=0.02) for _ in range(5)]
    new = [sampled(rng, machine=1.0, speed_cv=0.02, drift=1.3) for _ in range(5)]
    answer = diff(base, new)
    assert answer.new_total / answer.base_total == pytest.approx(1.3, abs=0.05)
    assert any("--against" in reason for reason in answer.comparability.reasons)
    assert all(c.low is not None and c.high is not None and c.low <= c.delta_self <= c.high for c in answer.functions)


def test_a_machine_that_the_probe_does_not_know_moves_no_value() -> None:
    """Without probes what all functions do together is said and not taken off."""
    rng = np.random.default_rng(13)
    base, new = [sampled(rng, speed_cv=0.02) for _ in range(5)], [sampled(rng, speed_cv=0.02, drift=1.5) for _ in range(5)]
    answer = diff(base, new)
    assert answer.new_total / answer.base_total == pytest.approx(1.5, abs=0.05)
    assert flagged(answer) == {}


def test_a_function_that_stood_in_line_is_not_slower() -> None:
    """Of two equal runs each stands in line for 70 % of its time, 30 samples at a time, in whatever function it was just then."""
    rng = np.random.default_rng(14)
    share = {f"part{at}": 1 / 20 for at in range(20)}
    runs = [sampled(rng, n_samples=150, shares=share, machine=1.0, random_gaps=True, in_line=0.7) for _ in range(40)]
    assert sum(bool(flagged(diff([one], [other]))) for one, other in zip(runs[::2], runs[1::2], strict=True)) <= 1


@pytest.mark.parametrize(("machine", "expected"), [(1.0, {"work": "slower"}), (1.6, {})])
def test_one_function_with_all_the_time_is_judged_by_the_probe(machine: float, expected: dict[str, str]) -> None:
    """No other function is there to compare with: found where the machine was the same, left open where it was not."""
    rng = np.random.default_rng(14)
    shares = {"work": 0.99, "rest": 0.01}
    base = [sampled(rng, machine=1.0, speed_cv=0.02, shares=shares) for _ in range(5)]
    new = [sampled(rng, machine=machine, speed_cv=0.02, shares=shares, plant={"work": 1.3}) for _ in range(5)]
    answer = diff(base, new)
    assert flagged(answer) == expected


@pytest.mark.parametrize("n", [1, 5])
def test_intervals_do_not_contradict_their_verdict(n: int) -> None:
    """What is flagged lies beyond zero, what is not holds zero, and the shown change lies inside."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        base = [sampled(rng, machine=1.0, random_gaps=True) for _ in range(n)]
        answer = diff(base, [sampled(rng, machine=1.0, random_gaps=True, plant={"transform": 1.3}) for _ in range(n)])
        for c in answer.functions:
            assert c.low is not None
            assert c.high is not None
            assert c.low <= c.delta_self <= c.high
            assert (c.low >= 0 or c.high <= 0) == (str(c.verdict) in FLAGGED) or c.low == c.high == 0 or 0 in (c.low, c.high)


def test_weak_evidence_is_never_certain() -> None:
    """One run a side, ten times as slow: q is small and not 0, and nothing says certain."""
    answer = diff(*sides(5, 1, plant={"transform": 10.0}, speed_cv=0.02))
    transform = by_name(answer)["transform"]
    assert transform.verdict is Verdict.SLOWER
    assert transform.q
    assert "certain" not in answer.explanation


def test_what_filled_each_peak_is_told() -> None:
    """Memory: the paragraph names the holders of both peaks."""
    base = profile_from_text("main main\nload cache\n= 8000000 2000000", metric=PEAK_BYTES)
    new = profile_from_text("main main\nload cache\n= 60000000 2000000", metric=PEAK_BYTES)
    told = diff([base], [new], names=("old", "fresh")).explanation
    assert "At the peak of old" in told
    assert "At the peak of fresh" in told
    assert "`load`" in told.partition("At the peak of fresh")[2]


def test_few_samples_that_tell_whole_visits_are_enough() -> None:
    """Sixty samples of a sampler that looks at returns: +30 % by one run a side in 19 of 20, and identical programs in none of 40."""
    rng = np.random.default_rng(5)
    found = [flagged(diff(*(one_of(rng, plant=plant) for plant in ({}, {"transform": 1.3})))) for _ in range(20)]
    assert sum(next(iter(one.items()), None) == ("transform", "slower") for one in found) >= 19
    assert sum(bool(flagged(diff(one_of(rng), one_of(rng)))) for _ in range(40)) == 0


def one_of(rng: np.random.Generator, **more: object) -> list[Profile]:
    """One run, of a sampler that looks at returns, on a machine that is as fast for all."""
    return [sampled(rng, at_returns=True, speed_cv=0.0, machine=1.0, beside_sd=0.02, **more)]  # pyright: ignore[reportArgumentType]


def test_single_runs_are_marked_weak() -> None:
    """A large change is found with one run a side, and said to be weak evidence."""
    base, new = sides(5, 1, plant={"transform": 1.8}, speed_cv=0.02)
    answer = diff(base, new)
    assert by_name(answer)["transform"].weak
    assert "weak evidence" in answer.explanation


def test_nodes_carry_the_verdict_of_the_function_that_changed() -> None:
    """Only the node of the planted function is coloured; its caller is not."""
    answer = diff(*sides(7, 5, plant={"transform": 1.3}))
    coloured = np.flatnonzero(answer.node_verdict != VERDICTS.index(Verdict.SAME))
    names = [answer.profile.text(int(answer.profile.functions.qualname[answer.profile.nodes.frame[node]])) for node in coloured]
    assert names == ["transform"]
    assert answer.node_certainty[coloured[0]] > 0.95


def test_double_calls_against_double_cost() -> None:
    """Δ splits into more calls and dearer calls, which add up to it."""
    calls, cost = {"f": 1000, "g": 1000}, {"f": 10_000, "g": 10_000}
    more = by_name(diff([counted(calls, cost)], [counted({"f": 2000, "g": 1000}, cost)]))["f"]
    dearer = by_name(diff([counted(calls, cost)], [counted(calls, {"f": 20_000, "g": 10_000})]))["f"]
    assert (more.more_calls, more.dearer_calls) == (more.delta_self, 0)
    assert (dearer.more_calls, dearer.dearer_calls) == (0, dearer.delta_self)


def test_calls_are_certain() -> None:
    """Counts of a deterministic program need no statistics."""
    calls, cost = {"f": 1000, "g": 1000}, {"f": 10, "g": 10}
    answer = diff([counted(calls, cost)], [counted({"f": 2000, "g": 1000}, cost)], metric="calls")
    assert flagged(answer) == {"f": "more"}
    f = answer.functions[0]
    assert (f.q, f.low, f.high, f.weak) == (0.0, 1000.0, 1000.0, False)


def test_bookkeeping_of_some_bytes_is_not_flagged() -> None:
    """Memory: 64 KiB of noise is nothing, 50 MB at one place is the answer."""
    small = profile_from_text("main main\nload cache\n= 8000000 8000000", metric=PEAK_BYTES)
    noisy = profile_from_text("main main\nload cache\n= 8004096 8000000", metric=PEAK_BYTES)
    grown = profile_from_text("main main\nload cache\n= 60428800 8000000", metric=PEAK_BYTES)
    assert flagged(diff([small], [noisy])) == {}
    answer = diff([small], [grown])
    assert flagged(answer) == {"load": "more"}
    assert answer.functions[0].delta_self == 52_428_800


def test_sides_without_a_common_metric_are_refused() -> None:
    """Time against bytes is no comparison, and the error says why."""
    bytes_, counts = profile_from_text("main\n= 5", metric=PEAK_BYTES), profile_from_text("main\n= 5", metric=SAMPLES)
    with pytest.raises(NotComparable) as told:
        diff([bytes_], [counts], names=("old", "new"))
    assert "no metric in common" in told.value.cause


def test_values_are_per_observed_second_of_attached_runs() -> None:
    """Two seconds of observation with twice the time spent are the same as one."""
    one = sampled(np.random.default_rng(4))
    two = replace(one, cells=replace(one.cells, value=one.cells.value * 2))
    recorded = one.meta.passes[0]
    seen = [
        p.with_meta(replace(p.meta, passes=(replace(recorded, attached=True, duration_ns=s * 10**9),))) for p, s in ((one, 1), (two, 2))
    ]
    answer = diff([seen[0]], [seen[1]])
    assert answer.new_total == pytest.approx(answer.base_total)
    assert flagged(answer) == {}


def test_an_arena_that_another_function_asks_for_is_no_change() -> None:
    """The allocator takes 1 MiB for whoever's object did not fit: the same peak, held by another function. More of it is more."""
    base = profile_from_text("main main\nload cache\n= 3145728 1048576", metric=PEAK_BYTES)
    swapped = profile_from_text("main main\nload cache\n= 2097352 2097300", metric=PEAK_BYTES)
    grown = profile_from_text("main main\nload cache\n= 3145728 2097152", metric=PEAK_BYTES)
    moved = profile_from_text("main main\nload cache\n= 1048576 53477376", metric=PEAK_BYTES)
    answer = diff([base], [swapped])
    assert flagged(answer) == {}
    assert "arenas of small objects (1 MiB each) are held by other functions: 2 differ" in answer.explanation
    assert flagged(diff([base], [grown])) == {"cache": "more"}
    held = profile_from_text("main main\nload cache\n= 53477376 1048576", metric=PEAK_BYTES)
    assert flagged(diff([held], [moved])) == {"load": "less", "cache": "more"}


def test_an_arena_is_no_change_by_few_runs_and_by_many_if_it_always_is(subtests: pytest.Subtests) -> None:
    """What differs in each of four runs a side differs."""
    base = profile_from_text("main main\nload cache\n= 3145728 1048576", metric=PEAK_BYTES)
    new = profile_from_text("main main\nload cache\n= 2097152 2097152", metric=PEAK_BYTES)
    for runs, told in ((1, {}), (3, {}), (4, {"load": "less", "cache": "more"})):
        with subtests.test(runs=runs):
            assert flagged(diff([base] * runs, [new] * runs)) == told
