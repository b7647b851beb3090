"""Memory by the project's line that asked for it: what the rules about bytes share."""

from __future__ import annotations

import numpy as np

from proftool.insights.view import view
from proftool.model.insight import Confidence, Insight
from proftool.model.profile import Int64Array, Profile
from proftool.model.tree import node_self


def by_line(profile: Profile, metric: str) -> tuple[dict[int, int], int]:
    """Values by charged frame, and the metric's whole; empty where it was not recorded."""
    if not profile.has_metric(metric):
        return {}, 0
    values = node_self(profile, profile.metric_index(metric))
    return view(profile).lines(values), int(values.sum())


def node_frames(profile: Profile, nodes: Int64Array) -> Int64Array:
    """The charged frame of every given node, -1 where no line of the project is above it."""
    near = view(profile).near[nodes]
    return np.where(near < 0, -1, profile.nodes.frame[near]).astype(np.int64)


def insight(
    profile: Profile, rule: str, metric: str, frame: int, share: float, confidence: Confidence, evidence: str, advice: str, link: str
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
        metric=metric,
    )
