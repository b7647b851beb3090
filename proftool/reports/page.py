"""One offline HTML file: the viewer's bundle, a profile's columns, and a policy that forbids everything else.

Columns are those of formats/columns.py (as the store keeps them), base64 in a data block of the page, default view first:
strings, functions, frames, nodes, lanes, cells; the viewer paints before it inflates the rest. Everything that came from a
profile stands in two data blocks, JSON with `<` escaped and base64, and reaches the page as text nodes only.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from proftool.errors import ReportError
from proftool.formats.columns import Column, Text, pack, pack_strings
from proftool.model import fold
from proftool.model.insight import Insight
from proftool.model.meta import Meta
from proftool.model.profile import ROOT, TABLES, Metric, Profile
from proftool.reports import thin
from proftool.reports.compact import compact
from proftool.reports.incident import Told
from proftool.units import Unit, people
from proftool.viewer import assets

MAX_NODES = 1_200_000
"""More are folded: a bound for the reader's memory; the file's own bound is `ReportOptions.max_bytes`."""
MAX_TIMELINE_ROWS = 2_000_000
"""As for the nodes: a bound for the reader's memory."""
LEAST_TIMELINE_ROWS = 2_000
TIMELINE_SHARE = 0.3
"""Part of the file that a timeline may take before it is thinned."""
LEAST_CHANGES = 1_000
"""Functions of a diff that stand on the page whatever their number; the flagged come first."""
NO_TEXT, _ = pack_strings(())
_FIRST = ("functions", "frames", "nodes", "lanes", "cells")


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What pruning did, for the page to say."""

    nodes_before: int
    nodes_after: int
    mass: dict[str, int]
    """Metric -> what `(n others)` nodes hold."""


class More(msgspec.Struct, frozen=True, kw_only=True):
    """A page that a server on this machine made: where the folded parts are to be had."""

    url: str
    """Without a query the whole; `?node=N` what lies below node N of the whole profile."""
    under: tuple[str, ...] = ()
    """Names from the root down to the node that this page shows the inside of; empty for the whole."""


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
    """What else does not stand on the page, or not as finely as it was recorded; sentences."""
    comparison: Comparison | None = None
    editor: str | None = None
    """URL of a source line, with {path}, {line} and {column}; None = the viewer's default."""
    more: More | None = None
    incident: Told | None = None
    """The page is of an incident: what is told of it above the profile."""
    insights: tuple[Insight, ...] = ()
    under_way: str | None = None
    """A server made the page of a recording that goes on: the same address answers with more, and then with another text here; its
    `/events` tell when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """What a page holds beside its profile."""

    title: str
    metric: str | None = None
    editor: str | None = None
    comparison: Comparison | None = None
    insights: tuple[Insight, ...] = ()
    """Advice, the largest share first; the viewer finds their functions by name and file."""
    changes: NDArray[np.int64] | None = None
    """Certain part of every node's change, shape (n_nodes,), in the metric's unit and signed; nodes folded into one are added up."""
    more: More | None = None
    sources: NDArray[np.integer] | None = None
    """With `more`: nodes of the whole profile that the nodes stand for, shape (n_nodes,); None = they are the whole profile's own."""
    incident: Told | None = None
    under_way: str | None = None
    """The recording goes on, the page asks the server that made it for more; another text whenever there is."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and what pruning did to it: None where everything stands on it."""

    content: bytes
    folded: Folded | None


def page(profile: Profile, extra: Extra, *, max_bytes: int) -> Page:
    """
    The profile as a page of at most `max_bytes`: a timeline is thinned and small nodes are folded as far as that needs, sums stay exact.

    Raises:
        ReportError: not even a hundred nodes fit.
    """
    whole, limit, timeline, thinned = profile, MAX_NODES, MAX_TIMELINE_ROWS, ""
    comparison = extra.comparison
    while True:
        if thin.n_rows(whole) > timeline:
            whole, step = thin.thin(profile, timeline)
            rows = f"{thin.n_rows(whole):,} of {thin.n_rows(profile):,} rows"
            thinned = f"the timeline is thinned to steps of {people(step, Unit.NANOSECONDS)}: {rows}; its sums are exact"
        made = fold.folded(whole, max_nodes=limit, weights=() if extra.changes is None else (extra.changes,))
        content, size, folded = _drawn(whole, made, extra, comparison, thinned)
        if len(content) <= max_bytes:
            return Page(content, folded)
        if size > TIMELINE_SHARE * max_bytes and thin.n_rows(whole) > LEAST_TIMELINE_ROWS:
            timeline = max(LEAST_TIMELINE_ROWS, int(thin.n_rows(whole) * min(0.9, 0.9 * TIMELINE_SHARE * max_bytes / size)))
            # Thinning stops where nothing is left to add up; then the nodes have to go.
            if thin.n_rows(thin.thin(profile, timeline)[0]) < thin.n_rows(whole):
                continue
        if comparison is not None and len(comparison.functions) > LEAST_CHANGES:
            kept = comparison.functions[: max(LEAST_CHANGES, len(comparison.functions) // 4)]
            comparison = msgspec.structs.replace(comparison, functions=kept)
            continue
        if limit <= 100:
            raise ReportError(
                f"the page does not fit into {max_bytes:,} bytes",
                cause=f"even {limit:,} calling contexts with their names take {len(content):,} bytes",
                fix="allow a larger file",
            )
        fixed = len(assets().script) + len(assets().style)
        limit = max(100, int(min(limit, len(made.profile.nodes)) * min(0.9, max(0.1, 0.95 * (max_bytes - fixed) / (len(content) - fixed)))))


def _drawn(whole: Profile, made: fold.Fold, extra: Extra, comparison: Comparison | None, thinned: str) -> tuple[bytes, int, Folded | None]:
    """The page of a folded profile, how many of its bytes are the timeline, and what was folded."""
    shown = made.profile
    columns: dict[str, NDArray[np.integer]] = {}
    if extra.changes is not None:
        columns["diff.known"] = np.zeros(len(shown.nodes), np.int64)
        np.add.at(columns["diff.known"], made.place, extra.changes)
    if extra.more is not None:
        columns["served.node"] = made.source if extra.sources is None else np.append(extra.sources, ROOT)[made.source].astype(np.int32)
    folded, told = _folded(whole, shown), comparison
    if shown is not whole or comparison is not extra.comparison:
        shown, place = compact(shown, () if comparison is None else [change.function for change in comparison.functions])
        told = None if comparison is None else _moved(comparison, place)
    left_out = (thinned, *_left_out(extra.comparison, comparison))
    head = Head(
        title=extra.title, metric=extra.metric, metrics=shown.metrics, meta=shown.meta, strings=NO_TEXT, columns=(), folded=folded,
        thinned=tuple(filter(None, left_out)), comparison=told, editor=extra.editor, more=extra.more,
        incident=extra.incident,
        insights=extra.insights, under_way=extra.under_way,
    )  # fmt: skip
    return *_html(shown, head, columns), folded


def _moved(comparison: Comparison, place: NDArray[np.integer]) -> Comparison:
    functions = tuple(msgspec.structs.replace(change, function=int(place[change.function])) for change in comparison.functions)
    return msgspec.structs.replace(comparison, functions=functions)


def _left_out(whole: Comparison | None, shown: Comparison | None) -> tuple[str, ...]:
    if whole is None or shown is None or whole is shown:
        return ()
    return (f"{len(whole.functions) - len(shown.functions):,} functions that changed least are not in the table of what changed",)


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


def _html(profile: Profile, head: Head, extra: Mapping[str, NDArray[np.integer]]) -> tuple[bytes, int]:
    """The page, and how many of its bytes are the timeline."""
    text, strings = pack_strings(profile.strings)
    first, later = dict[str, NDArray[np.integer]](), dict[str, NDArray[np.integer]]()
    for name in TABLES:
        into = first if name in _FIRST else later
        into.update({f"{name}.{column}": values for column, values in getattr(profile, name).columns().items()})
    columns, body = pack({**first, **extra, **later})
    timeline = sum(column.size for column in columns if column.name.split(".")[0] in ("samples", "intervals", "counters"))
    head = msgspec.structs.replace(head, strings=text, columns=columns)
    told = _json(head).replace(b"<", b"\\u003c")
    bundle = assets()
    script, style = bundle.script.encode(), bundle.style.encode()
    asks = "" if head.under_way is None else "connect-src 'self'; "
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data: blob:; "
        f"{asks}base-uri 'none'; form-action 'none'"
    )
    content = b"".join(
        (
            b'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'.encode(),
            b'<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n',
            b'<meta name="color-scheme" content="light dark">\n',
            f"<title>{escape(head.title)}</title>\n".encode("utf-8", "replace"),
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
    return content, timeline * 4 // 3


def _json(head: Head) -> bytes:
    try:
        return msgspec.json.encode(head)
    except UnicodeEncodeError:  # lone surrogates of undecodable file names: a browser cannot hold them either
        import json

        return json.dumps(msgspec.to_builtins(head)).encode()


def _hash(content: bytes) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}"
