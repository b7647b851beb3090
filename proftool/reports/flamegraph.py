"""The report that people open: flame graph, table, callers, timeline and quality of a run or a diff, in one offline page.

A profile of caller-callee pairs is drawn as a reconstructed tree and says so; its tables stay exact.
"""

from __future__ import annotations

import shlex

import numpy as np

from proftool.contracts import ReportOptions
from proftool.model.diff import Diff
from proftool.model.meta import Meta
from proftool.model.profile import Profile
from proftool.model.reconstruct import reconstruct
from proftool.reports.page import Change, Comparison, page


class FlameGraph:
    """The report object; `render_diff` is for a Diff what `render` is for a Profile."""

    name = "html"
    suffix = ".html"

    def render(self, profile: Profile, options: ReportOptions) -> bytes:
        """The page of one run; ReportError where `options.max_bytes` is too small for any."""
        shown = reconstruct(profile) if profile.is_edges else profile
        return page(shown, title=title(profile.meta), metric=options.metric, max_bytes=options.max_bytes)

    def render_diff(self, diff: Diff, options: ReportOptions) -> bytes:
        """The page of a diff: the union tree, both sides of every number, the verdicts."""
        changes = tuple(
            Change(
                function=f.function, base_self=f.base_self, new_self=f.new_self, base_total=f.base_total, new_total=f.new_total,
                low=f.low, high=f.high, q=f.q, verdict=str(f.verdict), weak=f.weak, moved_from=f.moved_from,
                more_calls=f.more_calls, dearer_calls=f.dearer_calls,
            )
            for f in diff.functions
        )  # fmt: skip
        comparison = Comparison(
            metric=diff.metric.name, base=diff.base.name, new=diff.new.name, base_runs=len(diff.base.metas), new_runs=len(diff.new.metas),
            base_total=diff.base_total, new_total=diff.new_total, comparable=str(diff.comparability.verdict),
            reasons=diff.comparability.reasons, functions=changes, explained_share=diff.explained_share, explanation=diff.explanation,
        )  # fmt: skip
        extra = {
            "diff.verdict": diff.node_verdict,
            "diff.certainty": np.clip(np.round(diff.node_certainty * 255), 0, 255).astype(np.uint8),
        }
        return page(
            diff.profile, title=f"{diff.base.name} → {diff.new.name}", metric=options.metric, max_bytes=options.max_bytes,
            comparison=comparison, node_columns=extra,
        )  # fmt: skip


def title(meta: Meta) -> str:
    """What was run, as one line."""
    return shlex.join(meta.command) if meta.command else f"imported {meta.source} profile" if meta.source else "profile"


report = FlameGraph()

render_diff = report.render_diff
