"""A fleet: what services send, and the profiles that come back. Cheap to make, connected at the first question."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from proftool.contracts_telemetry import Slice
from proftool.errors import StoreError
from proftool.store.fleet import schema
from proftool.store.fleet.engine import Engine
from proftool.store.fleet.facts import Known, Source, facts

if TYPE_CHECKING:
    from proftool.model.profile import Profile
    from proftool.store.fleet.flames import FlameQuery


_FOR_EVER = 36_500
"""Days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the fleet has of one version of a service."""

    service: str
    version: str
    processes: int
    hosts: int
    samples: int
    since_ns: int
    until_ns: int
    """Start of the last hour with a slice."""


class Fleet:
    """Continuous profiles in a ClickHouse database."""

    def __init__(self, url: str, *, redact: tuple[str, ...] = ()) -> None:
        self.engine = Engine(url)
        self._redact = redact
        self._known = Known()
        self._ready = False
        self._raw_days: int | None = None

    def set_up(self, raw_days: int | None = None, hour_days: int | None = None) -> None:
        """Make whatever is missing; days that are given also hold for tables that exist."""
        days = (raw_days or schema.RAW_DAYS, hour_days or schema.HOUR_DAYS)
        for command in schema.commands(self.engine.database, *days):
            self.engine.do(command)
        if raw_days is not None or hour_days is not None:
            kept = self.kept_days()
            for command in schema.retention(self.engine.database, raw_days or kept[0], hour_days or kept[1]):
                self.engine.do(command)
        self._ready, self._raw_days = True, None

    def kept_days(self) -> tuple[int, int]:
        """For how many days facts and hourly sums are kept, as their tables say."""
        import re

        found: list[int] = []
        for table in ("samples", "sample_hours"):
            (answer,) = self.engine.ask(
                "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {name:String}",
                1,
                {"database": self.engine.database, "name": table},
            )
            days = re.search(r"TTL .*?toIntervalDay\((\d+)\)", str(answer[0]) if len(answer) else "")
            if days is None and len(answer):
                found.append(_FOR_EVER)  # an administrator took the rule away, or another table's rule holds (`Distributed`)
                continue
            if days is None:
                raise StoreError(
                    f"the fleet `{self.engine.shown}` has no tables yet", cause="no service has sent anything", fix="`proftool fleet setup`"
                )
            found.append(int(days[1]))
        return found[0], found[1]

    def send(self, slices: Sequence[Slice], source: Source, *, batch: str, lost: int = 0) -> None:
        """
        Write slices, secrets redacted; the same batch counts once, however often it is sent.

        Args:
            batch: names these slices.
            lost: how many were dropped before them.
        """
        from dataclasses import replace

        from proftool.store.redact import redact_profile

        if not self._ready:
            self._make_ready()
        clean = [replace(one, profile=redact_profile(one.profile, self._redact)) for one in slices]
        rows = facts(clean, source, self._known, now_ns=time.time_ns(), lost=lost)
        for table, columns in rows.tables.items():
            self.engine.insert(table, columns, schema.COLUMNS[table], token=f"{batch}.{table}")
        self._known.ids |= rows.learned

    def _make_ready(self) -> None:
        """Tables are made by the first that writes, unless it may not and they are there."""
        (there,) = self.engine.ask(
            "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'observations_to_hours'",
            1,
            {"database": self.engine.database},
        )
        if not there[0]:
            self.set_up()
        self._ready = True

    def services(self, since_ns: int) -> list[Held]:
        """Every version of every service that was seen since, the newest first."""
        at = f"`{self.engine.database}`"
        answer = self.engine.ask(
            "SELECT service, version, uniqExact(host, pid), uniqExact(host), sum(samples), min(time_ns), max(time_ns) AS last FROM "
            f"(SELECT service, version, host, pid, samples, toInt64(hour) * {schema.NS_PER_HOUR} AS time_ns FROM {at}.observation_hours "
            "WHERE hour >= {hour:UInt32}) GROUP BY service, version ORDER BY last DESC, service, version",
            7,
            {"hour": max(since_ns, 0) // schema.NS_PER_HOUR},
        )
        return [
            Held(
                service=str(service),
                version=str(version),
                processes=cast(int, processes),
                hosts=cast(int, hosts),
                samples=cast(int, samples),
                since_ns=cast(int, since),
                until_ns=cast(int, until),
            )
            for service, version, processes, hosts, samples, since, until in zip(*answer, strict=True)
        ]

    def flame(self, query: FlameQuery) -> Profile | None:
        """All that was observed as one profile; None where nothing was."""
        from proftool.store.fleet.flames import Flames

        return Flames(self.engine).flame(query, now_ns=time.time_ns(), raw_days=self._days())

    def by_process(self, query: FlameQuery, groups: int) -> list[Profile]:
        """One profile for each group of processes: repeats, for a diff."""
        from proftool.store.fleet.flames import Flames

        return Flames(self.engine).by_process(query, groups, now_ns=time.time_ns(), raw_days=self._days())

    def _days(self) -> int:
        if self._raw_days is None:
            self._raw_days = self.kept_days()[0]
        return self._raw_days

    def close(self) -> None:
        """Let go of the connection."""
        self.engine.close()
