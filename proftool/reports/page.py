"""One offline HTML file: the viewer's bundle, a profile's columns, and a policy that forbids everything else.

Columns are those of formats/columns.py (as the store keeps them), base64 in a data block of the page, default view first:
strings, functions, frames, nodes, lanes, cells; the viewer paints before it inflates the rest. Everything that came from a
profile stands in two data blocks, JSON with `<` escaped and base64, and reaches the page as text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from proftool.errors import ReportError
from proftool.formats.columns import Column, Text, pack, pack_strings
from proftool.model.fold import fold
from proftool.model.meta import Meta
from proftool.model.profile import TABLES, Metric, Profile
from proftool.reports.compact import compact
from proftool.viewer import assets

MAX_NODES = 1_200_000
"""More are folded: a bound for the reader's memory; the file's own bound is `ReportOptions.max_bytes`."""
NO_COLUMNS: Mapping[str, NDArray[np.integer]] = {}
_FIRST = ("functions", "frames", "nodes", "lanes", "cells")


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What pruning did, for the page to say."""

    nodes_before: int
    nodes_after: int
    mass: dict[str, int]
    """Metric -> what `(n others)` nodes hold."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One function of a diff, as model.diff.FunctionChange."""

    function: int
    base_self: float
    new_self: float
    base_total: float
    new_total: float
    low: float | None
    high: float | None
    q: float | None
    verdict: str
    weak: bool
    moved_from: str | None
    more_calls: float | None
    dearer_calls: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a diff adds to its union profile."""

    metric: str
    base: str
    new: str
    base_runs: int
    new_runs: int
    base_total: float
    new_total: float
    comparable: str
    reasons: tuple[str, ...]
    functions: tuple[Change, ...]
    explained_share: float | None
    explanation: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the numbers."""

    schema: str = "proftool.page/1"
    title: str
    metric: str | None
    metrics: tuple[Metric, ...]
    meta: Meta
    strings: Text
    columns: tuple[Column, ...]
    folded: Folded | None = None
    thinned: tuple[str, ...] = ()
    comparison: Comparison | None = None


def page(
    profile: Profile,
    *,
    title: str,
    metric: str | None,
    max_bytes: int,
    comparison: Comparison | None = None,
    node_columns: Mapping[str, NDArray[np.integer]] | None = None,
) -> bytes:
    """
    The profile as a page of at most `max_bytes`; small nodes are folded as far as that needs, sums stay exact.

    Args:
        node_columns: further columns of shape (n_nodes,), kept only while nothing is folded.

    Raises:
        ReportError: not even a hundred nodes fit.
    """
    whole = profile
    limit = MAX_NODES
    thinned: tuple[str, ...] = ()
    while True:
        shown = fold(whole, max_nodes=limit) if len(whole.nodes) > limit else whole
        if shown is not whole and comparison is None:  # a comparison refers to rows of the functions
            shown = compact(shown)
        extra: Mapping[str, NDArray[np.integer]] = node_columns if node_columns and len(shown.nodes) == len(whole.nodes) else NO_COLUMNS
        content = _html(shown, _folded(whole, shown), title, metric, comparison, extra, thinned)
        if len(content) <= max_bytes:
            return content
        if len(whole.samples) + len(whole.intervals) > 20_000:
            whole, said = _without_timeline(whole)
            thinned += said
            continue
        if limit <= 100:
            raise ReportError(
                f"the page does not fit into {max_bytes:,} bytes",
                cause=f"even {limit:,} calling contexts with their names take {len(content):,} bytes",
                fix="allow a larger file",
            )
        fixed = len(assets().script) + len(assets().style)
        limit = max(100, int(min(limit, len(shown.nodes)) * min(0.9, max(0.1, 0.95 * (max_bytes - fixed) / (len(content) - fixed)))))


def _without_timeline(profile: Profile) -> tuple[Profile, tuple[str, ...]]:
    from dataclasses import replace

    from proftool.model.profile import Intervals, Samples

    said = (f"the timeline ({len(profile.samples) + len(profile.intervals):,} rows) did not fit into this file",)
    return replace(profile, samples=Samples(), intervals=Intervals()), said


def _folded(whole: Profile, shown: Profile) -> Folded | None:
    if shown is whole:
        return None
    f = shown.functions
    known = set(whole.strings)
    names = [shown.strings[index] for index in cast(list[int], f.qualname.tolist())]
    others = [i for i, name in enumerate(names) if name not in known and name.startswith("(")]
    inside = np.isin(shown.frames.function[shown.nodes.frame], others)
    c = shown.cells
    mass = {metric.name: int(c.value[(c.metric == index) & inside[c.node]].sum()) for index, metric in enumerate(shown.metrics)}
    return Folded(nodes_before=len(whole.nodes), nodes_after=len(shown.nodes), mass=mass)


def _html(
    profile: Profile,
    folded: Folded | None,
    title: str,
    metric: str | None,
    comparison: Comparison | None,
    extra: Mapping[str, NDArray[np.integer]],
    thinned: tuple[str, ...],
) -> bytes:
    text, strings = pack_strings(profile.strings)
    tables = (*_FIRST, *(name for name in TABLES if name not in _FIRST))
    wanted = {f"{table}.{name}": column for table in tables for name, column in getattr(profile, table).columns().items()}
    columns, body = pack({**{name: wanted[name] for name in wanted if name.split(".")[0] in _FIRST}, **extra,
                          **{name: wanted[name] for name in wanted if name.split(".")[0] not in _FIRST}})  # fmt: skip
    head = Head(title=title, metric=metric, metrics=profile.metrics, meta=profile.meta, strings=text, columns=columns,
                folded=folded, thinned=thinned, comparison=comparison)  # fmt: skip
    told = _json(head).replace(b"<", b"\\u003c")
    bundle = assets()
    script, style = bundle.script.encode(), bundle.style.encode()
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return b"".join(
        (
            b'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'.encode(),
            b'<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n',
            b'<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(title)}</title>\n".encode("utf-8", "replace"),
            b"<style>",
            style,
            b'</style></head>\n<body><div id="app"></div>\n',
            b"<noscript>This report draws with JavaScript, which is switched off here.</noscript>\n",
            b'<script type="application/json" id="head">',
            told,
            b'</script>\n<script type="text/plain" id="body">',
            base64.b64encode(strings + body),
            b"</script>\n<script>",
            script,
            b"</script>\n</body></html>\n",
        )
    )


def _json(head: Head) -> bytes:
    try:
        return msgspec.json.encode(head)
    except UnicodeEncodeError:  # lone surrogates of undecodable file names: a browser cannot hold them either
        import json

        return json.dumps(msgspec.to_builtins(head)).encode()


def _hash(content: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"
