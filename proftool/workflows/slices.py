"""Flame graphs of a running service: its sampler's slices of a span, of a route, of a stretch of time; and two stretches compared.

A slice is one process for some seconds. Merged they are one profile like any other; compared, each slice is a run with its observed seconds
as exposure, so that from four a side on the diff knows how much slices of one side differ among themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from proftool.contracts_telemetry import Slice, SliceQuery, TelemetryStore
from proftool.errors import NotComparable, RunNotFound

if TYPE_CHECKING:
    from proftool.model.diff import Diff
    from proftool.model.profile import Profile

MAX_SLICES = 600
"""Of a stretch, the newest: ten hours of one process."""
MAX_COMPARED = 40
"""A side; evenly over its stretch. More makes the answer slower and hardly surer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time range of a service, ns since the epoch; `route` narrows to what served it."""

    service: str
    since_ns: int
    until_ns: int
    route: str | None = None


def flame_of_stretch(telemetry: TelemetryStore, stretch: Stretch) -> Profile:
    """What its processes did in it, as one recording from the first slice's begin to the last one's end; RunNotFound where none is kept."""
    from proftool.model.merge import merge

    found = [(one, profile) for one in _slices(telemetry, stretch, MAX_SLICES) if (profile := _part(one, stretch.route)) is not None]
    if not found:
        raise _nothing(stretch)
    merged = merge([profile for _, profile in found])
    lasted_ns = max(one.end_ns for one, _ in found) - min(one.start_ns for one, _ in found)
    passes = tuple(replace(one, duration_ns=lasted_ns) for one in merged.meta.passes)
    return merged.with_meta(replace(merged.meta, passes=passes))


def flame_of_trace(telemetry: TelemetryStore, trace_id: str, spans: Collection[str] | None = None) -> Profile:
    """What was sampled in the trace, or in these of its spans; RunNotFound where nothing was."""
    from proftool.model.merge import merge

    found: list[Profile] = []
    for one in telemetry.find_slices(SliceQuery(trace_id=trace_id, limit=None)):
        part = one.profile if spans is None else _of_tasks(one.profile, spans)
        if part is not None:
            found.append(part)
    if not found:
        raise RunNotFound(
            "nothing was sampled there",
            cause="the sampler looks some ten to a hundred times a second: what is shorter is rarely seen",
            fix="send the request with `X-Proftool-Record`: it is then recorded 1,000 times a second",
        )
    return merge(found)


def compare_stretches(telemetry: TelemetryStore, base: Stretch, new: Stretch, names: tuple[str, str], *, metric: str | None = None) -> Diff:
    """
    The second against the first, per observed second.

    Raises:
        RunNotFound: no slice is kept of a side.
        NotComparable: the sides measure different things.
    """
    from proftool.model.compare import diff

    sides: list[list[Profile]] = []
    for stretch in (base, new):
        slices = _spread(_slices(telemetry, stretch, None), MAX_COMPARED)
        parts = [profile for one in slices if (profile := _part(one, stretch.route)) is not None]
        if not parts:
            raise _nothing(stretch)
        sides.append(parts)
    if base.service != new.service:
        raise NotComparable("two services are two programs", cause=f"`{base.service}` and `{new.service}`", fix="compare one with itself")
    return diff(sides[0], sides[1], names=names, metric=metric)


def _slices(telemetry: TelemetryStore, stretch: Stretch, limit: int | None) -> Sequence[Slice]:
    return telemetry.find_slices(
        SliceQuery(service=stretch.service, since_ns=stretch.since_ns, until_ns=stretch.until_ns, limit=limit)
    )  # fmt: skip


def _spread(slices: Sequence[Slice], most: int) -> Sequence[Slice]:
    if len(slices) <= most:
        return slices
    return [slices[i * len(slices) // most] for i in range(most)]


def _part(one: Slice, route: str | None) -> Profile | None:
    return one.profile if route is None else _of_tasks(one.profile, (route,))


def _of_tasks(profile: Profile, tasks: Collection[str]) -> Profile | None:
    from proftool.model.select import only_lanes

    lanes = [row for row, index in enumerate(profile.lanes.task.tolist()) if profile.text(int(index)) in tasks]
    return only_lanes(profile, lanes) if lanes else None


def _nothing(stretch: Stretch) -> RunNotFound:
    of = f"`{stretch.service}`" + (f", {stretch.route}," if stretch.route else "")
    return RunNotFound(
        "nothing was sampled in that time",
        cause=f"no slice of {of} is kept of that range; a service stores one a minute, and what is older than a week goes",
        fix="choose another range; the service must have called `proftool.watch`",
    )
