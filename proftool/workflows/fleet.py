"""A fleet's verbs as plain functions: where slices go, what is held, one flame graph of many processes, two versions compared."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proftool.errors import RunNotFound, UsageError
from proftool.settings import Settings

if TYPE_CHECKING:
    from proftool.contracts_telemetry import Slice, SliceTarget
    from proftool.model.meta import Git
    from proftool.model.profile import Profile
    from proftool.store.fleet.fleet import Fleet, Held
    from proftool.telemetry.slices_writer import SliceWriter
    from proftool.workflows.compare import Compared

GROUPS = 12
"""Groups of processes on one side of a diff: enough for a permutation test, few enough to read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Since when and until when, ns since the epoch."""

    since_ns: int
    until_ns: int

    @staticmethod
    def last(duration_ns: int) -> Stretch:
        """Until now."""
        now_ns = time.time_ns()
        return Stretch(since_ns=now_ns - duration_ns, until_ns=now_ns + 1)


def open_fleet(settings: Settings) -> Fleet:
    """The fleet of these settings; UsageError where none is named, or one that cannot be read."""
    from proftool.store.fleet.engine import is_engine
    from proftool.store.fleet.fleet import Fleet

    if settings.fleet is None:
        raise UsageError(
            "no fleet is named", cause="the setting `fleet` is not set", fix="`PROFTOOL_FLEET=clickhouse://host:8123/proftool`"
        )
    if not is_engine(settings.fleet):
        raise UsageError(
            f"`{settings.fleet.partition('://')[0]}://` is no fleet that can be read",
            cause=f"{settings.origin('fleet')} names it",
            fix="name a ClickHouse server: `PROFTOOL_FLEET=clickhouse://host:8123/proftool`",
        )
    return Fleet(settings.fleet, redact=settings.redact)


def slice_writer(service: str, settings: Settings, git: Git | None) -> SliceWriter | None:
    """What sends this process's slices to where `fleet` says; None where it says nothing. UsageError for what nobody can send to."""
    if settings.fleet is None:
        return None
    from proftool.store.fleet.engine import Engine, is_engine
    from proftool.telemetry.profiles_out import About, Receiver
    from proftool.telemetry.slices_writer import SliceWriter

    url, version, host = settings.fleet, version_of(settings, git), platform.node()
    if is_engine(url):
        Engine(url)  # a wrong URL is said now, not in the thread
        return SliceWriter(lambda: _ToFleet(open_fleet(settings), version, host))
    about = About(service=service, version=version, host=host)
    Receiver(url, about)

    def receiver() -> SliceTarget:
        return _Redacted(Receiver(url, about), settings.redact)

    return SliceWriter(receiver)


def version_of(settings: Settings, git: Git | None) -> str:
    """What this deployment of a service is called: the setting, OpenTelemetry's resource, the commit; empty where nothing says."""
    if settings.service_version is not None:
        return settings.service_version
    for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, _, value = pair.partition("=")
        if name.strip() == "service.version" and value.strip():
            return value.strip()
    return "" if git is None else git.commit[:12] + ("+" if git.dirty else "")


class _ToFleet:
    """A fleet as a SliceTarget."""

    def __init__(self, fleet: Fleet, version: str, host: str) -> None:
        from proftool.store.fleet.facts import Source

        self._fleet, self._source = fleet, Source(version=version, host=host)

    def send(self, slices: Sequence[Slice], *, batch: str, lost: int) -> None:
        self._fleet.send(slices, self._source, batch=batch, lost=lost)

    def close(self) -> None:
        self._fleet.close()


class _Redacted:
    """A target that gets nothing secret."""

    def __init__(self, target: SliceTarget, patterns: tuple[str, ...]) -> None:
        self._target, self._patterns = target, patterns

    def send(self, slices: Sequence[Slice], *, batch: str, lost: int) -> None:
        from dataclasses import replace

        from proftool.store.redact import redact_profile

        clean = [replace(one, profile=redact_profile(one.profile, self._patterns)) for one in slices]
        self._target.send(clean, batch=batch, lost=lost)

    def close(self) -> None:
        self._target.close()


def flame(fleet: Fleet, service: str, stretch: Stretch, *, version: str | None = None, route: str | None = None) -> Profile:
    """All that the fleet saw of a service in that time as one profile; RunNotFound where it saw nothing."""
    from proftool.store.fleet.flames import FlameQuery

    query = FlameQuery(service=service, since_ns=stretch.since_ns, until_ns=stretch.until_ns, version=version, route=route)
    found = fleet.flame(query)
    if found is None:
        raise _nothing(fleet, service, version)
    return found


def diff_versions(
    fleet: Fleet,
    service: str,
    versions: tuple[str, str],
    stretch: Stretch,
    *,
    route: str | None = None,
    metric: str | None = None,
    force: bool = False,
    floor_share: float,
) -> Compared:
    """
    Two versions of a service compared, per second of observation. A group of processes is one repeat, so that what differs between
    processes of one version is told from what differs between the versions; of fewer than two processes there is one sum.

    Raises:
        RunNotFound: nothing was seen of a version.
        NotComparable: the sides measure different things.
    """
    from proftool.model.compare import diff
    from proftool.store.fleet.flames import FlameQuery
    from proftool.workflows.compare import Compared

    sides: list[list[Profile]] = []
    for version in versions:
        query = FlameQuery(service=service, since_ns=stretch.since_ns, until_ns=stretch.until_ns, version=version, route=route)
        side = fleet.by_process(query, GROUPS)
        if not side:
            raise _nothing(fleet, service, version)
        sides.append(side)
    names = (f"{service} {versions[0]}".strip(), f"{service} {versions[1]}".strip())
    found = diff(sides[0], sides[1], metric=metric, floor_share=floor_share, names=names, force=force)
    return Compared(diff=found, base=None, new=None)


def services(fleet: Fleet, stretch: Stretch) -> list[Held]:
    """Every version of every service that was seen since."""
    return fleet.services(stretch.since_ns)


def services_document(held: Sequence[Held]) -> dict[str, object]:
    """The JSON document of `fleet services`."""
    from dataclasses import asdict

    return {"schema": "proftool.fleet/1", "services": [asdict(one) for one in held]}


def _nothing(fleet: Fleet, service: str, version: str | None) -> RunNotFound:
    known = fleet.services(0)
    own = [one.version or "(none)" for one in known if one.service == service]
    names = sorted({one.service for one in known})
    if own:
        what = f"version `{version}` of `{service}`" if version is not None else f"`{service}`"
        return RunNotFound(
            f"the fleet saw nothing of {what} in that time",
            cause=f"its versions, the last seen first: {', '.join(own[:8])}",
            fix="name another version, or look further back with `--last 7d`",
        )
    return RunNotFound(
        f"the fleet knows no service `{service}`",
        cause=f"it knows: {', '.join(names[:20])}" if names else "no service has sent anything",
        fix="`proftool fleet services` shows what is there",
    )
