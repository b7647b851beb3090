"""What changed between two sides, each of one run or several.

A `Diff` holds a Profile of the union tree whose metrics come in pairs `<metric>.before` / `<metric>.after` (means per unit
of exposure, rounded to base units), so that every report, transform and the viewer work on a diff unchanged, plus a verdict
per function and per node. Both sides are kept everywhere: vanished paths stay visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from proftool.model.meta import Meta
from proftool.model.profile import Metric, Profile, UInt8Array


class Verdict(StrEnum):
    """What is said of a function: time goes slower/faster, counts and bytes more/less."""

    SLOWER = "slower"
    FASTER = "faster"
    MORE = "more"
    LESS = "less"
    NEW = "new"
    GONE = "gone"
    MOVED = "moved"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


VERDICTS: tuple[Verdict, ...] = tuple(Verdict)
"""Codes of `Diff.node_verdict`, by place."""


FLAGGED: frozenset[Verdict] = frozenset({Verdict.SLOWER, Verdict.FASTER, Verdict.MORE, Verdict.LESS, Verdict.NEW, Verdict.GONE})
"""Verdicts that claim a change."""


class Comparable(StrEnum):
    """May the two sides be set against each other at all?"""

    SAME = "same"
    ADJUSTABLE = "adjustable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparability:
    """The answer before any number, with its reasons and, where adjusted, how."""

    verdict: Comparable
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionChange:
    """One function on both sides; values are means per exposure in the metric's unit, intervals of `delta_self`."""

    function: int
    """Row of `Diff.profile.functions`."""
    base_self: float
    new_self: float
    base_total: float
    new_total: float
    low: float | None
    high: float | None
    q: float | None
    """p, adjusted for the number of functions; None where nothing was tested."""
    verdict: Verdict
    weak: bool = False
    """One run a side: the verdict rests on counts and their over-dispersion."""
    moved_from: str | None = None
    """`module:qualname` on the base side, where it moved, was renamed or wrapped."""
    more_calls: float | None = None
    """Part of delta_self that more (or fewer) calls explain; with `dearer_calls` it adds up to delta_self."""
    dearer_calls: float | None = None
    code_changed: bool | None = None

    @property
    def delta_self(self) -> float:
        """New minus base."""
        return self.new_self - self.base_self

    @property
    def delta_total(self) -> float:
        """New minus base, with callees."""
        return self.new_total - self.base_total


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a diff: the runs that it is the mean of."""

    name: str
    metas: tuple[Meta, ...]
    exposure: float
    """What one unit is: number of runs (finished programs) or observed seconds (attached)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diff:
    """The whole answer."""

    profile: Profile
    metric: Metric
    base: Side
    new: Side
    comparability: Comparability
    base_total: float
    new_total: float
    functions: tuple[FunctionChange, ...]
    """Complete; largest significant |delta_self| first, then the rest by |delta_self|."""
    node_verdict: UInt8Array
    """Place in `VERDICTS`, shape (n_nodes,)."""
    node_certainty: NDArray[np.float32]
    """0 = nothing known (grey) .. 1 = certain, shape (n_nodes,)."""
    explained_share: float | None
    """Part of the total change that the flagged functions explain."""
    explanation: str = ""
    """One paragraph for people."""
