"""The report that people open: flame graph, table, callers, timeline and quality of a run or a diff, in one offline page.

A profile of caller-callee pairs is drawn as a reconstructed tree and says so; its tables stay exact.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from proftool.contracts import ReportOptions
from proftool.model.diff import Diff
from proftool.model.meta import Meta
from proftool.model.profile import Profile
from proftool.model.reconstruct import reconstruct
from proftool.model.tree import Tree, node_self
from proftool.reports.incident import Told
from proftool.reports.page import Change, Comparison, Extra, More, Page, page
from proftool.reports.part import below, names


class FlameGraph:
    """The report object; `render_diff` is for a Diff what `render` is for a Profile."""

    name = "html"
    suffix = ".html"

    def render(self, profile: Profile, options: ReportOptions) -> bytes:
        """The page of one run; ReportError where `options.max_bytes` is too small for any."""
        return self.draw(profile, options).content

    def draw(self, profile: Profile, options: ReportOptions) -> Page:
        """As `render`, with what had to be folded."""
        return page(stacks(profile), _extra(profile, options), max_bytes=options.max_bytes)

    def render_under_way(self, profile: Profile, options: ReportOptions, told: str) -> bytes:
        """The page of a recording that goes on, which asks the server that made it for more; `told` is another text whenever there is."""
        return page(stacks(profile), replace(_extra(profile, options), under_way=told), max_bytes=options.max_bytes).content

    def render_diff(self, diff: Diff, options: ReportOptions, *, incident: Told | None = None) -> bytes:
        """The page of a diff: the union tree, both sides of every number, the verdicts; of an incident with what is told of it."""
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
        extra = Extra(
            title=f"{diff.base.name} → {diff.new.name}" if incident is None else incident_title(incident), metric=options.metric,
            editor=options.editor, comparison=comparison, changes=_certain(diff), incident=incident,
        )  # fmt: skip
        return page(diff.profile, extra, max_bytes=options.max_bytes).content


def draw_incident(shown: Profile | Diff, told: Told, options: ReportOptions) -> bytes:
    """The page of an incident, with the diff of its bad time against a good one, or the profile alone."""
    if isinstance(shown, Diff):
        return report.render_diff(shown, options, incident=told)
    extra = Extra(title=incident_title(told), metric=options.metric, editor=options.editor, incident=told)
    return page(shown, extra, max_bytes=options.max_bytes).content


def incident_title(told: Told) -> str:
    """`slow-checkout of shop: p95 is 2.1, above 0.5`."""
    return f"{told.alert} of {told.service}: {told.text}"


class Parts:
    """The pages of a profile that is too large for one: the whole, folded, and below any node what is folded there."""

    def __init__(self, profile: Profile, options: ReportOptions, *, url: str) -> None:
        self._profile, self._options, self._url = stacks(profile), options, url
        self._extra = _extra(profile, options)
        self._tree: Tree | None = None
        self._whole: bytes | None = None

    def page(self, node: int | None = None) -> bytes:
        """The page of what lies below a node; None = of the whole. ReportError: there is no such node."""
        if node is None:
            if self._whole is None:
                self._whole = self._made(self._profile, replace(self._extra, more=More(url=self._url)))
            return self._whole
        self._tree = self._tree or Tree.of(self._profile)
        part, sources = below(self._profile, self._tree, node)
        more = More(url=self._url, under=names(self._profile, node))
        return self._made(part, replace(self._extra, more=more, sources=sources))

    def _made(self, profile: Profile, extra: Extra) -> bytes:
        return page(profile, extra, max_bytes=self._options.max_bytes).content


def stacks(profile: Profile) -> Profile:
    """The profile with a tree of stacks: reconstructed where it holds caller-callee pairs."""
    return reconstruct(profile) if profile.is_edges else profile


def _extra(profile: Profile, options: ReportOptions) -> Extra:
    return Extra(title=options.title or title(profile.meta), metric=options.metric, editor=options.editor, insights=options.insights)


def _certain(diff: Diff) -> NDArray[np.int64]:
    """Of every node's self change the part that is known: the change times its certainty."""
    change = node_self(diff.profile, 1) - node_self(diff.profile, 0)
    return np.round(change * diff.node_certainty.astype(float)).astype(np.int64)


def title(meta: Meta) -> str:
    """What was run, as one line."""
    return shlex.join(meta.command) if meta.command else f"imported {meta.source} profile" if meta.source else "profile"


report = FlameGraph()

render_diff = report.render_diff
render_under_way = report.render_under_way
