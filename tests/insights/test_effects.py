"""The pairs whose effect is measured do the same work."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from insights.effects import EFFECTS

from proftool import registry


@pytest.mark.parametrize(("before", "after"), EFFECTS.values(), ids=[f"{rule}: {shape}" for rule, shape in EFFECTS])
def test_both_sides_give_the_same_answer(before: Callable[[], object], after: Callable[[], object]) -> None:
    """Faster at something else would be no effect of the advice."""
    assert before() == after()


def test_every_measured_rule_is_one_of_ours() -> None:
    """A renamed rule would leave its effect behind."""
    assert {rule for rule, _ in EFFECTS} <= set(registry.RULES)
