"""The views of runs: the list, one run, two compared, one command over time. A run in progress is shown as far as it has come."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from proftool import registry
from proftool.contracts_store import Run, RunQuery
from proftool.dashboard import ask
from proftool.dashboard.assets import report_policy
from proftool.dashboard.html import Html
from proftool.errors import RunNotFound
from proftool.model.comparable import DEFAULT_METRICS
from proftool.settings import Settings
from proftool.store.names import resolve
from proftool.store.runs import SqlRunStore
from proftool.units import Unit, ago, people, unit_of
from proftool.workflows.report import page_options
from proftool.workflows.under_way import UnderWay, find, look, profile_so_far, under_way

PER_PAGE = 100
_MOST_PAGES = 1_000_000
_TREND_RUNS = 300
_NOWHERE = Path("/nonexistent")
"""Names that come over the network stand for stored runs, never for files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run on a line over time; x and y in 0..1, y upward."""

    run: Run
    x: float
    y: float
    value: str


class RunViews:
    """Each takes a request and gives a page, off the event loop."""

    def __init__(self, html: Html, store: SqlRunStore, settings: Settings) -> None:
        self._html, self._store, self._settings = html, store, settings
        html.environment.filters |= {"ago": _ago, "command": _command, "total": _total, "seconds": _seconds}

    def runs(self, request: Request) -> Response:
        """Newest first, a page at a time, with the line of each command's totals."""
        page = min(ask.number(request, "page") or 1, _MOST_PAGES)
        label = request.query_params.get("label") or None
        found = self._store.find(RunQuery(label=label, limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE))
        lines = _lines(found[:PER_PAGE])
        in_progress = under_way(self._store) if page == 1 else ()
        return self._html.page(
            request,
            "runs.html",
            title="Runs",
            here="/",
            runs=found[:PER_PAGE],
            lines=lines,
            page=page,
            label=label,
            more=len(found) > PER_PAGE,
            in_progress=[one for one in in_progress if label in (None, one.asked.label)],
        )

    def run(self, request: Request) -> Response:
        """The viewer; of a run in progress on what it has told, which it is asked for more of by that."""
        one = find(self._store, request.path_params["id"])
        if one is not None:
            return self._run_in_progress(request, one)
        profile = self._store.load(self._stored(request.path_params["id"]))
        return report(registry.report("html").render(profile, page_options(self._settings, profile=profile)))

    def _run_in_progress(self, request: Request, one: UnderWay) -> Response:
        from proftool.reports.flamegraph import render_under_way

        profile = profile_so_far(self._store, one)
        if one.so_far:
            # After the reading: what was told up to here is on this page, and the next is to be new.
            look(one)
        if profile is None:
            return self._html.page(request, "under_way.html", title=shlex.join(one.command), here="/", one=one)
        return report(render_under_way(profile, page_options(self._settings), one.told), under_way=True)

    def diff(self, request: Request) -> Response:
        """The viewer on a diff; `base` and `new` name runs."""
        from proftool.reports.flamegraph import render_diff
        from proftool.workflows.compare import compare

        asked = request.query_params.getlist("run")
        base, new = (request.query_params.get("base"), request.query_params.get("new")) if len(asked) != 2 else (asked[1], asked[0])
        if not base or not new:
            raise RunNotFound(
                "two runs make a diff", cause=f"{len(asked)} were chosen", fix="choose two in the list, the older one is the base"
            )
        for name in (base, new):
            self._stored(name)
        return report(render_diff(compare(base, new, self._store, _NOWHERE).diff, page_options(self._settings)))

    def trend(self, request: Request) -> Response:
        """One command's total over its runs, each a link to it and to its diff with the one before."""
        of = self._stored(request.query_params.get("of", ""))
        runs = _alike(self._store.find(RunQuery(limit=5000)), of)[:_TREND_RUNS]
        points = _points(runs)
        return self._html.page(
            request, "trend.html", title="Trend", here="/", of=of, points=points, line=_polyline(points), metric=_metric(of)
        )

    def _stored(self, name: str) -> Run:
        """The run of that name; a path is a file of this disk, and no name here."""
        found = None if "/" in name or name.startswith(".") else resolve(name, self._store, _NOWHERE).run
        if found is None:
            raise RunNotFound("no such run", cause=f"`{name}` names no stored run", fix="choose one in the list")
        return found


def report(content: bytes, *, under_way: bool = False) -> Response:
    """A report as an answer."""
    return HTMLResponse(content, headers={"content-security-policy": report_policy(under_way=under_way)})


def _alike(runs: Sequence[Run], like: Run) -> list[Run]:
    """Runs of the same command measured in the same way, newest first."""
    return [run for run in runs if (run.command, run.modes, run.backends) == (like.command, like.modes, like.backends)]


def _lines(runs: Sequence[Run]) -> dict[str, str]:
    """Run id -> the line of the totals of its command among these runs."""
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.command, run.modes, run.backends), []).append(run)
    lines = {key: _polyline(_points(group)) for key, group in groups.items()}
    return {run.id: lines[run.command, run.modes, run.backends] for run in runs}


def _metric(run: Run) -> str | None:
    return next((name for name in DEFAULT_METRICS if name in run.totals), None)


def _points(runs: Sequence[Run]) -> list[Point]:
    """Oldest first, evenly spaced: the order of runs, not the calendar, is what a regression has."""
    known = [(run, run.totals[name]) for run in reversed(runs) if (name := _metric(run)) is not None]
    top = max((value for _, value in known), default=0)
    return [
        Point(run=run, x=i / max(len(known) - 1, 1), y=value / top if top else 0.0, value=_total(run))
        for i, (run, value) in enumerate(known)
    ]


def _polyline(points: Sequence[Point]) -> str:
    """`points` of an SVG polyline in a box of 100 by 20."""
    return " ".join(f"{point.x * 98 + 1:.1f},{19 - point.y * 18:.1f}" for point in points)


def _command(run: Run | UnderWay) -> str:
    return shlex.join(run.command) if run.command else "a process or a file"


def _total(run: Run) -> str:
    name = _metric(run)
    if name is None:
        return ""
    return people(run.totals[name], unit_of(name))


def _seconds(run: Run) -> str:
    return "" if run.duration_s is None else people(round(run.duration_s * 1e9), Unit.NANOSECONDS)


def _ago(run: Run | UnderWay) -> str:
    if isinstance(run, UnderWay):
        began = datetime.fromtimestamp(run.asked.started_ns / 1e9, UTC)
    elif run.started_at is None:
        return ""
    else:
        began = datetime.fromisoformat(run.started_at)
    return ago((datetime.now(UTC) - began).total_seconds())
