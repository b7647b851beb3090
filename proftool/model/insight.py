"""What a rule of advice found in a profile: the place, the evidence and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Confidence(StrEnum):
    """How sure an insight is that its advice pays."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """What a rule found in a profile, and what to do about it."""

    id: str
    """The rule's name, an anchor of `docs/pages/reference/insights.md`."""
    function: str
    """Qualified name of the function to change: the project's own where one is on the stack."""
    file: str | None
    line: int | None
    confidence: Confidence
    share: float
    """Part of the run's working time (or of its bytes) that it is about, 0..1."""
    evidence: str
    """What was measured, in one sentence."""
    advice: str
    link: str
    metric: str | None = None
    """Name of the profile's metric that `share` is a part of; None = not one alone."""
    effect: str | None = None
    """What the advice was measured to give on the rule's own program, in one sentence; None = not measured."""
