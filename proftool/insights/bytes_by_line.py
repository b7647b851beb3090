"""Memory by the project's line that asked for it: what the rules about bytes share."""

from __future__ import annotations

from proftool.insights.view import view
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import Profile
from proftool.model.tree import node_self


def by_line(profile: Profile, metric: str) -> tuple[dict[int, int], int]:
    """Values by charged frame, and the metric's whole; empty where it was not recorded."""
    if not profile.has_metric(metric):
        return {}, 0
    values = node_self(profile, profile.metric_index(metric))
    return view(profile).lines(values), int(values.sum())


def insight(
    profile: Profile, rule: str, frame: int, share: float, confidence: Confidence, evidence: str, advice: str, link: str
) -> Insight:
    """The insight of a line."""
    f = profile.functions
    function, line = int(profile.frames.function[frame]), int(profile.frames.line[frame])
    return Insight(
        id=rule,
        function=profile.text(int(f.qualname[function])),
        file=profile.text(int(f.file[function])) or None,
        line=line or int(f.first_line[function]) or None,
        confidence=confidence,
        share=share,
        evidence=evidence,
        advice=advice,
        link=link,
    )
