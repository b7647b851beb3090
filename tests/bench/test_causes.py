"""Where the causes of a change come from: recordings brought to measured times, which the machine's probe must not move again."""

from __future__ import annotations

import numpy as np
from model.sides import sampled

from proftool.bench.causes import brought_to, causes, judged
from proftool.bench.pairs import Compared
from proftool.bench.statistics import Estimate, Verdict
from proftool.model.compare import diff

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
