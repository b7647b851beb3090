"""Rules of `--fail-on`, and pass, fail and inconclusive."""

from __future__ import annotations

import numpy as np
import pytest
from model.sides import sampled

from proftool.errors import UsageError
from proftool.model.compare import diff
from proftool.model.diff import Diff
from proftool.reports.diff_markdown import render_markdown
from proftool.units import Unit
from proftool.workflows.gate import Outcome, gate, parse_rule


def compared(seed: int, *, own_cv: float = 0.01, **plant: float) -> Diff:
    """Five runs a side."""
    rng = np.random.default_rng(seed)
    return diff([sampled(rng, own_cv=own_cv) for _ in range(5)], [sampled(rng, plant=plant, own_cv=own_cv) for _ in range(5)])


def test_a_planted_change_fails() -> None:
    """Status 1, with the function named."""
    answer = compared(7, transform=1.3)
    gated = gate(answer, "self>5% q<0.05")
    assert (gated.outcome, gated.outcome.exit_status) == (Outcome.FAIL, 1)
    assert gated.functions == (answer.functions[0],)
    assert "**fail**" in render_markdown(answer, outcome=gated.outcome, rule=gated.rule)


def test_a_change_below_the_limit_does_not_fail() -> None:
    """+30 % is less than 80 %."""
    assert gate(compared(7, transform=1.3), "self>80% q<0.05").outcome is not Outcome.FAIL


def test_a_faster_function_passes() -> None:
    """Only what gets worse can fail."""
    assert gate(compared(7, transform=0.5), "self>5% q<0.05").outcome is not Outcome.FAIL


def test_noise_is_inconclusive() -> None:
    """Runs that differ by a third each cannot exclude 5 %."""
    gated = gate(compared(9, own_cv=0.3), "self>5% q<0.05")
    assert (gated.outcome, gated.outcome.exit_status) == (Outcome.INCONCLUSIVE, 10)


def test_identical_runs_pass() -> None:
    """A run against itself is status 0."""
    run = sampled(np.random.default_rng(1))
    assert gate(diff([run], [run]), "self>5% q<0.05").outcome.exit_status == 0


@pytest.mark.parametrize("rule", ["self>5%", "total>2% and q<0.05", "self>10ms", "wall_time>10ms q<0.05", "self >= 5 %".replace(" %", "%")])
def test_rules_are_read(rule: str) -> None:
    """Every form that the surface promises."""
    assert parse_rule(rule, "wall_time", Unit.NANOSECONDS)


def test_bytes_are_read_as_bytes() -> None:
    """`peak_bytes>1MB` is a million bytes of a function's own."""
    (condition,) = parse_rule("peak_bytes>1MB", "peak_bytes", Unit.BYTES)
    assert (condition.quantity, condition.limit, condition.relative) == ("self", 1e6, False)


@pytest.mark.parametrize("rule", ["", "self", "self<5%", "q>0.05", "peak_bytes>1MB", "self>5parsecs", "self>5% or q<0.05"])
def test_wrong_rules_are_told(rule: str) -> None:
    """What is no rule is a usage error with an example."""
    with pytest.raises(UsageError, match="no rule"):
        parse_rule(rule, "wall_time", Unit.NANOSECONDS)
